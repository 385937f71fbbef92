"""Recipes are closed: what is wrong is named with what is allowed."""

import pytest

from hilum.errors import RecipeError
from hilum.findings import Task
from hilum.training import load_recipe, shipped_recipes


@pytest.mark.parametrize("name", list(shipped_recipes()))
def test_every_shipped_recipe_is_valid_and_says_what_it_is(name):
    recipe = load_recipe(name)
    assert recipe.name == name
    assert len(recipe.about) > 20


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("seed = 0", "sede = 0", "sede: Extra inputs are not permitted"),
        (
            'task = "binary"',
            'task = "four-class"',
            "task: Input should be 'binary' or 'three-class'",
        ),
        (
            'network = "efficientnet-lite0"',
            'network = "alexnet"',
            "must be one of efficientnet-lite0",
        ),
        ("folds = 5", "folds = 1", "head.folds: Input should be greater than or equal to 2"),
        ('"youden"', '"accuracy"', "operating_point.aims"),
        ("c = [0.0001, 0.0003,", "c = [0.0003, 0.0001,", "head.c: must ascend"),
        ("[head]", "[head", "cannot be read"),
    ],
)
def test_a_wrong_recipe_names_the_place_and_what_is_allowed(tmp_path, old, new, message):
    text = shipped_recipes()["instant"].read_text()
    assert old in text
    path = tmp_path / "mine.toml"
    path.write_text(text.replace(old, new))
    with pytest.raises(RecipeError, match=message):
        load_recipe(str(path))


def test_an_unknown_recipe_names_the_known_ones():
    with pytest.raises(RecipeError, match="there is no recipe 'instnat'; use instant"):
        load_recipe("instnat")


def test_a_changed_recipe_is_validated_again():
    recipe = load_recipe("instant")
    assert recipe.changed(task="three-class").task is Task.THREE_CLASS
    assert recipe.changed(task=None) == recipe
    with pytest.raises(RecipeError, match="seed"):
        recipe.changed(seed=-1)
