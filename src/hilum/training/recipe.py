"""Recipes: what to train and how, as closed TOML documents.

A recipe is immutable and valid once made; unknown keys and impossible values are refused with the
place and what is allowed. The resolved recipe is saved with the classifier.
"""

import tomllib
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError, field_validator

from hilum.errors import EvaluationError, RecipeError
from hilum.evaluation import parse_aim
from hilum.findings import Task
from hilum.model.schema import Document
from hilum.networks import FROZEN_BASES

__all__ = ["HeadSearch", "OperatingPoints", "Recipe", "load_recipe", "shipped_recipes"]


class HeadSearch(Document):
    """How the logistic head is chosen."""

    c: tuple[Annotated[float, Field(gt=0.0)], ...] = Field(min_length=1)  # ascending
    folds: int = Field(default=5, ge=2, le=20)
    balance: Literal["none", "balanced"] = "none"

    @field_validator("c")
    @classmethod
    def _ascends(cls, value: tuple[float, ...]) -> tuple[float, ...]:
        if list(value) != sorted(set(value)):
            raise ValueError("must ascend, because the search walks from strong to weak")
        return value


class OperatingPoints(Document):
    """Which operating points the classifier carries; the first is its default."""

    aims: tuple[str, ...] = Field(min_length=1)

    @field_validator("aims")
    @classmethod
    def _are_aims(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        try:
            names = [parse_aim(text).name for text in value]
        except EvaluationError as error:
            raise ValueError(str(error)) from error
        if len(set(names)) != len(names):
            raise ValueError("an aim is there twice")
        return value


class Recipe(Document):
    """What to train and how. Today's one kind is `frozen`: a frozen base and a logistic head."""

    name: str = Field(min_length=1)
    about: str
    kind: Literal["frozen"]
    task: Task
    network: str
    seed: int = Field(default=0, ge=0, lt=2**32)
    head: HeadSearch
    operating_point: OperatingPoints

    @field_validator("network")
    @classmethod
    def _is_known(cls, value: str) -> str:
        if value not in FROZEN_BASES:
            raise ValueError(f"must be one of {', '.join(FROZEN_BASES)}")
        return value

    def changed(self, **changes: Any) -> "Recipe":
        """Return the recipe with some fields changed, validated again.

        Raises:
            RecipeError: If a value is not allowed.
        """
        given = {key: value for key, value in changes.items() if value is not None}
        return _validated({**self.model_dump(mode="json"), **given}, self.name)


def shipped_recipes() -> dict[str, Path]:
    """Return the recipes that come with hilum, by name."""
    folder = Path(str(resources.files("hilum.training"))) / "recipes"
    return {path.stem: path for path in sorted(folder.glob("*.toml"))}


def load_recipe(name: str) -> Recipe:
    """Load a shipped recipe by name, or a TOML file by path.

    Raises:
        RecipeError: If there is none, it is no TOML, or a key or value is not allowed.
    """
    shipped = shipped_recipes()
    path = shipped.get(name, Path(name))
    if not path.is_file():
        raise RecipeError(
            f"there is no recipe '{name}'; use {', '.join(shipped)} or the path of a TOML file"
        )
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, OSError, UnicodeDecodeError) as error:
        raise RecipeError(f"the recipe {path} cannot be read: {error}") from error
    return _validated(content, str(path))


def _validated(content: dict[str, Any], where: str) -> Recipe:
    try:
        return Recipe.model_validate(content)
    except ValidationError as error:
        problems = "; ".join(
            f"{'.'.join(str(part) for part in problem['loc'])}: {problem['msg'].removeprefix('Value error, ')}"
            for problem in error.errors()
        )
        raise RecipeError(f"the recipe {where} does not hold: {problems}") from error
