"""Recipes: what to train and how, as closed TOML documents.

A recipe is immutable and valid once made; unknown keys and impossible values are refused with the
line and what is allowed. The resolved recipe is saved with the classifier.
"""

import hashlib
import re
import tomllib
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import Field, TypeAdapter, ValidationError, field_validator, model_validator

from hilum.errors import EvaluationError, RecipeError
from hilum.evaluation import parse_aim
from hilum.findings import Task
from hilum.model.schema import Document
from hilum.networks import FROZEN_BASES
from hilum.training._lines import line_of
from hilum.training.augmentation import Augmentation
from hilum.training.stages import Choices, Loss, NetworkChoice, Range, Source, StageOptions

__all__ = [
    "FrozenRecipe",
    "HeadSearch",
    "OperatingPoints",
    "Recipe",
    "StagedRecipe",
    "copied_recipe",
    "load_recipe",
    "parse_setting",
    "recipe_path",
    "shipped_recipes",
]


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


class _Recipe(Document):
    """What every recipe says."""

    name: str = Field(min_length=1)
    about: str
    task: Task
    seed: int = Field(default=0, ge=0, lt=2**32)
    source: Source | None = None
    operating_point: OperatingPoints

    def changed(self, settings: Mapping[str, Any] | None = None, **changes: Any) -> Self:
        """Return the recipe with some fields changed, validated again.

        Args:
            settings: Values by dotted path, such as {"stages.0.epochs": 3}.
            changes: Values of top-level fields; None leaves a field as it is.

        Raises:
            RecipeError: If a path does not exist or a value is not allowed.
        """
        content: dict[str, Any] = self.model_dump(mode="json")
        given = {key: value for key, value in changes.items() if value is not None}
        for path, value in {**given, **(settings or {})}.items():
            _put(content, path, value, self.name)
        changed = _validated(content, self.name)
        assert isinstance(changed, type(self))
        return changed

    def digest(self) -> str:
        """Return the SHA-256 of what the recipe says."""
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()


class FrozenRecipe(_Recipe):
    """A frozen base and a logistic head, without torch."""

    kind: Literal["frozen"]
    network: str
    head: HeadSearch

    @field_validator("network")
    @classmethod
    def _is_known(cls, value: str) -> str:
        if value not in FROZEN_BASES:
            raise ValueError(f"must be one of {', '.join(FROZEN_BASES)}")
        return value


class StagedRecipe(_Recipe):
    """A network trained by gradient descent in one stage or more."""

    kind: Literal["staged"]
    network: NetworkChoice
    stages: tuple[StageOptions, ...] = Field(min_length=1)
    loss: Loss = Loss()
    augmentation: Augmentation = Augmentation()
    # Arithmetic of the forward pass in training. bfloat16 pays on dense convolutions (VGG, ResNet)
    # and costs on depthwise ones (EfficientNet): benchmarks/training.py measures it.
    precision: Literal["float32", "bfloat16"] = "float32"
    search: dict[str, Range | Choices] = Field(default_factory=dict)  # by dotted path, for tuning

    @model_validator(mode="after")
    def _holds_together(self) -> "StagedRecipe":
        names = [stage.name for stage in self.stages]
        if len(set(names)) != len(names):
            raise ValueError("two stages have the same name")
        if self.loss.soft_kinds and (
            len(self.task.labels) < 3 or self.network.weights != "imagenet"
        ):
            raise ValueError(
                'loss.soft_kinds needs task = "three-class" and weights = "imagenet": it asks a '
                "network that never saw a label whether a pneumonia is bacterial or viral"
            )
        content = self.model_dump(mode="json")
        for path in self.search:
            try:
                _put(content, path, None, self.name)
            except RecipeError as error:
                raise ValueError(f"search: {error}") from error
        return self


Recipe = FrozenRecipe | StagedRecipe
_KINDS = {"frozen": FrozenRecipe, "staged": StagedRecipe}
_ADAPTER: TypeAdapter[Recipe] = TypeAdapter(Annotated[Recipe, Field(discriminator="kind")])


def shipped_recipes() -> dict[str, Path]:
    """Return the recipes that come with hilum, by name."""
    folder = Path(str(resources.files("hilum.training"))) / "recipes"
    return {path.stem: path for path in sorted(folder.glob("*.toml"))}


def load_recipe(name: str) -> Recipe:
    """Load a shipped recipe by name, or a TOML file by path.

    Raises:
        RecipeError: If there is none, it is no TOML, or a key or value is not allowed.
    """
    path = recipe_path(name)
    try:
        text = path.read_text(encoding="utf-8")
        content = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, OSError, UnicodeDecodeError) as error:
        raise RecipeError(f"the recipe {path} cannot be read: {error}") from error
    return _validated(content, str(path), text)


def recipe_path(name: str) -> Path:
    """Return the file of a shipped recipe by name, or of a TOML file by path.

    Raises:
        RecipeError: If there is none.
    """
    shipped = shipped_recipes()
    path = shipped.get(name, Path(name))
    if not path.is_file():
        raise RecipeError(
            f"there is no recipe '{name}'; use the path of a TOML file or one of "
            f"{', '.join(shipped)}"
        )
    return path


def copied_recipe(name: str, new_name: str) -> str:
    """Return the text of a recipe with its comments, under another name.

    Raises:
        RecipeError: If there is no such recipe, or the new name cannot be written in TOML.
    """
    load_recipe(name)
    if not re.fullmatch(r"[\w. -]+", new_name):
        raise RecipeError(f"'{new_name}' is no name for a recipe; use letters, digits and -")
    text = recipe_path(name).read_text(encoding="utf-8")
    top, bracket, tables = text.partition("\n[")
    top, count = re.subn(r"(?m)^\s*name\s*=.*$", f'name = "{new_name}"', top, count=1)
    copied = top + bracket + tables
    if not count or tomllib.loads(copied)["name"] != new_name:
        raise RecipeError(f'the name in {name} cannot be found; write it as a line: name = "..."')
    return copied


def parse_setting(text: str) -> tuple[str, Any]:
    """Take apart a setting such as `stages.0.epochs=3`; the value is TOML, or a bare word.

    Raises:
        RecipeError: If there is no `=` or no path.
    """
    path, equals, value = text.partition("=")
    if not equals or not path.strip():
        raise RecipeError(f"'{text}' is no setting; write PATH=VALUE, such as stages.0.epochs=3")
    try:
        return path.strip(), tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        return path.strip(), value.strip()


def _put(content: dict[str, Any], path: str, value: Any, where: str) -> None:
    """Set a value by dotted path; what is absent may be made, as validation judges it later."""
    *parents, last = path.split(".")
    holder: Any = content
    for part in parents:
        if isinstance(holder, list) and part.isdigit() and int(part) < len(holder):
            holder = holder[int(part)]
        elif isinstance(holder, dict):
            if holder.get(part) is None:
                holder[part] = {}
            holder = holder[part]
        else:
            raise RecipeError(f"the recipe {where} has no place '{path}'")
    if isinstance(holder, list) and last.isdigit() and int(last) < len(holder):
        holder[int(last)] = value
    elif isinstance(holder, dict):
        holder[last] = value
    else:
        raise RecipeError(f"the recipe {where} has no place '{path}'")


def _validated(content: dict[str, Any], where: str, text: str | None = None) -> Recipe:
    try:
        recipe = _ADAPTER.validate_python(content)
        if isinstance(recipe, StagedRecipe):
            _check_search(recipe)
        return recipe
    except ValidationError as error:
        problems = "; ".join(_problem(problem, text) for problem in error.errors())
        raise RecipeError(f"the recipe {where} does not hold: {problems}") from error


def _check_search(recipe: StagedRecipe) -> None:
    """Refuse a search over fields or values that no recipe can have.

    Values that only do not go together with others are allowed; a search finds that out.

    Raises:
        RecipeError: Naming the field.
    """
    for path, field in recipe.search.items():
        tried = field.choices if isinstance(field, Choices) else (field.low, field.high)
        for value in tried:
            content = {**recipe.model_dump(mode="json"), "search": {}}
            _put(content, path, value, recipe.name)
            try:
                _ADAPTER.validate_python(content)
            except ValidationError as error:
                for problem in error.errors():
                    if [str(part) for part in problem["loc"][1:]] == path.split("."):
                        raise RecipeError(
                            f"the recipe {recipe.name} does not hold: search: "
                            f"{_problem(problem, None)} (for {value!r})"
                        ) from error


def _problem(problem: Any, text: str | None) -> str:
    # The first part of a place is the kind that the union chose, which is no key of the file.
    kind, *place = problem["loc"] or ("",)
    if problem["type"].startswith("union_tag"):
        line = line_of(text, ("kind",)) if text else None
        return f"{f'line {line}: ' if line else ''}kind: must be one of {', '.join(_KINDS)}"
    if kind not in _KINDS:
        kind, place = "staged", [kind, *place]
    place = [part for part in place if part not in ("Range", "Choices")]
    line = line_of(text, place) if text else None
    message = problem["msg"].removeprefix("Value error, ")
    if problem["type"] == "extra_forbidden":
        message = f"is no key that recipes have{_neighbours(_KINDS[kind], place)}"
    name = ".".join(str(part) for part in place)
    return f"{f'line {line}: ' if line else ''}{f'{name}: ' if name else ''}{message}"


def _neighbours(kind: Any, place: Sequence[str | int]) -> str:
    """Say which keys are allowed where an unknown one was found."""
    for name in (part for part in place[:-1] if isinstance(part, str)):
        field = kind.model_fields.get(name)
        kind = _document_in(field.annotation) if field else None
        if kind is None:
            return ""
    return f"; here it may be {', '.join(kind.model_fields)}"


def _document_in(annotation: Any) -> Any:
    """Return the document that a field's annotation holds, such as in `tuple[Stage, ...]`."""
    if isinstance(annotation, type) and issubclass(annotation, Document):
        return annotation
    found = (_document_in(inner) for inner in get_args(annotation))
    return next((kind for kind in found if kind is not None), None)
