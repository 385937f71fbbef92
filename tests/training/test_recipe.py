"""Recipes are closed: what is wrong is named with what is allowed."""

import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hilum.errors import RecipeError
from hilum.findings import Task
from hilum.training import load_recipe, parse_setting, shipped_recipes
from hilum.training._lines import line_of
from hilum.training.recipe import copied_recipe, recipe_path


@pytest.mark.parametrize("name", list(shipped_recipes()))
def test_every_shipped_recipe_is_valid_and_says_what_it_is(name):
    recipe = load_recipe(name)
    assert recipe.name == name
    assert len(recipe.about) > 20


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("seed = 0", "sede = 0", "line 9: sede: is no key .* it may be .*head"),
        (
            'task = "binary"',
            'task = "four-class"',
            "line 7: task: Input should be 'binary' or 'three-class'",
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
    with pytest.raises(RecipeError, match=r"there is no recipe 'instnat'; use the path .* instant"):
        load_recipe("instnat")


def test_a_changed_recipe_is_validated_again():
    recipe = load_recipe("instant")
    assert recipe.changed(task="three-class").task is Task.THREE_CLASS
    assert recipe.changed(task=None) == recipe
    with pytest.raises(RecipeError, match="seed"):
        recipe.changed(seed=-1)


STAGED = """
name = "mine"
about = "A recipe of a test."
kind = "staged"
task = "binary"

[network]
name = "cnn-9"
weights = "random"

[[stages]]
name = "one"
train = "head"
epochs = 1

[[stages]]
name = "two"
train = "all"
epochs = 2
optimiser = { learning_rate = 1e-3 }

[augmentation]
rotate = 5

[operating_point]
aims = ["youden"]
"""


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("epochs = 2", "epoch = 2", r"line 16: stages.1.epochs: Field required"),
        ('kind = "staged"', 'kind = "stage"', r"line 4: kind: must be one of frozen, staged"),
        ('kind = "staged"\n', "", r"kind: must be one of frozen, staged"),
        ("epochs = 2", "epochs = 0", r"line 19: stages.1.epochs: Input should be greater"),
        (
            "epochs = 2",
            "epochs = 2\nepoch = 1",
            r"line 20: stages.1.epoch: is no key .* it may be name",
        ),
        ('train = "all"', 'train = "last:3"', r'line 18: stages.1.train: must be "head", "all"'),
        (
            "learning_rate = 1e-3",
            "rate = 1",
            r"line 20: .*optimiser.rate: is no key .* learning_rate",
        ),
        (
            "rotate = 5",
            "rotat = 5",
            r"line 23: augmentation.rotat: is no key .* it may be .*rotate",
        ),
        ("rotate = 5", "rotate = 500", r"line 23: augmentation.rotate"),
        ('"cnn-9"', '"cnn-90"', r"line 8: network.name: .*cnn-9"),
        ('weights = "random"', 'weights = "imagenet"', r"cnn-9 has no ImageNet weights"),
        ('name = "two"', 'name = "one"', r"two stages have the same name"),
    ],
)
def test_a_wrong_staged_recipe_names_the_line_and_what_is_allowed(tmp_path, old, new, message):
    assert old in STAGED
    path = tmp_path / "mine.toml"
    path.write_text(STAGED.replace(old, new))
    with pytest.raises(RecipeError, match=message):
        load_recipe(str(path))


def test_settings_reach_any_field_and_are_validated():
    recipe = load_recipe("two-stage")
    changes = dict(
        parse_setting(text)
        for text in (
            "stages.1.optimiser.learning_rate=0.002",
            "network.weights=random",
            "task=three-class",
        )
    )
    changed = recipe.changed(changes)
    assert changed.stages[1].optimiser.learning_rate == 0.002
    assert changed.stages[1].epochs == recipe.stages[1].epochs
    assert changed.network.weights == "random"
    assert changed.task is Task.THREE_CLASS
    with pytest.raises(RecipeError, match=r"has no place 'stages.7.epochs'"):
        recipe.changed({"stages.7.epochs": 3})
    with pytest.raises(RecipeError, match=r"stages.1.epochs"):
        recipe.changed({"stages.1.epochs": "many"})
    with pytest.raises(RecipeError, match="is no setting"):
        parse_setting("epochs")


def test_a_search_over_a_field_that_is_not_there_is_refused(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(STAGED + '\n[search]\n"stages.5.epochs" = { low = 1, high = 3 }\n')
    with pytest.raises(RecipeError, match="search"):
        load_recipe(str(path))


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('"stages.1.optimiser.learning_rte" = { low = 1, high = 2 }', "learning_rte: is no key"),
        ('"stages.1.optimiser.name" = { choices = ["adam", "adamx"] }', "adamx"),
        ('"loss.label_smoothing" = { low = 0.0, high = 3.0 }', "label_smoothing"),
    ],
)
def test_a_search_over_what_no_recipe_can_have_is_refused(tmp_path, line, message):
    path = tmp_path / "mine.toml"
    path.write_text(STAGED + f"\n[search]\n{line}\n")
    with pytest.raises(RecipeError, match=message):
        load_recipe(str(path))


def test_a_copied_recipe_keeps_its_comments_and_takes_the_new_name(tmp_path):
    text = copied_recipe("two-stage", "ours")
    path = tmp_path / "ours.toml"
    path.write_text(text)
    assert load_recipe(str(path)) == load_recipe("two-stage").changed(name="ours")
    assert text.count("#") == recipe_path("two-stage").read_text().count("#")
    with pytest.raises(RecipeError, match="is no name"):
        copied_recipe("two-stage", 'x"y')


def test_every_classic_recipe_names_its_source():
    classics = [load_recipe(name) for name in shipped_recipes() if name[0].isdigit()]
    assert {recipe.source.project for recipe in classics} == {"000", "001", "002", "003", "004"}
    assert all(recipe.source.system and recipe.source.differs for recipe in classics)


@given(
    st.dictionaries(
        st.text("abc-", min_size=1, max_size=4),
        st.integers(0, 9)
        | st.dictionaries(st.text("xyz", min_size=1, max_size=3), st.integers(0, 9)),
        min_size=1,
    ),
    st.lists(st.integers(0, 9), max_size=3),
)
def test_lines_of_keys_are_found(content, listed):
    plain = {key: value for key, value in content.items() if isinstance(value, int)}
    tables = {key: value for key, value in content.items() if not isinstance(value, int)}
    lines = [f"{key} = {value}" for key, value in plain.items()]
    for key, table in tables.items():
        lines += [f"[{key}]", *(f"{name} = {value}" for name, value in table.items())]
    for value in listed:
        lines += ["[[listed]]", "# a remark", f"value = {value}"]
    text = "\n".join(lines)
    tomllib.loads(text)
    for key, value in plain.items():
        assert lines[line_of(text, (key,)) - 1] == f"{key} = {value}"
    for key, table in tables.items():
        for name, value in table.items():
            assert lines[line_of(text, (key, name)) - 1] == f"{name} = {value}"
    for number, value in enumerate(listed):
        assert lines[line_of(text, ("listed", number, "value")) - 1] == f"value = {value}"


@pytest.mark.parametrize("changes", [{"task": "binary"}, {"network.weights": "random"}])
def test_kinds_are_softened_only_by_a_network_that_never_saw_them(changes):
    recipe = load_recipe("two-stage").changed({"task": "three-class", "loss.soft_kinds": 0.5})
    with pytest.raises(RecipeError, match="soft_kinds needs"):
        recipe.changed(changes)
