"""`hilum recipe` and the options of `hilum train` that change one, as a user types them."""

import json

import pytest
from typer.testing import CliRunner

from hilum.cli.app import app
from hilum.errors import RecipeError, UsageError, WeightsError
from hilum.model import load, load_model_file
from hilum.training import load_recipe, shipped_recipes

SMALL = ["--set", "stages.0.epochs=1", "--set", "network.size=32"]


def run(*arguments):
    done = CliRunner().invoke(app, [str(argument) for argument in arguments])
    if done.exception and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done


def test_the_list_names_every_recipe_with_its_source():
    listed = json.loads(run("recipe", "list", "--json").stdout)
    assert [recipe["name"] for recipe in listed] == list(shipped_recipes())
    shown = run("recipe", "list").stdout
    assert "two-stage" in shown
    assert "003" in shown


def test_a_recipe_is_shown_as_written_or_with_its_defaults():
    assert run("recipe", "show", "two-stage").stdout == shipped_recipes()["two-stage"].read_text()
    full = json.loads(run("recipe", "show", "two-stage", "--json").stdout)
    assert full["stages"][0]["frozen"] == "cached"


def test_a_recipe_of_ones_own_is_written_once(tmp_path):
    path = tmp_path / "mine.toml"
    run("recipe", "new", "mine", "--like", "001-cnn", "-o", path)
    assert load_recipe(str(path)).name == "mine"
    with pytest.raises(UsageError, match="is there already"):
        run("recipe", "new", "mine", "-o", path)
    run("recipe", "new", "mine", "-o", path, "--force")
    assert load_recipe(str(path)).network.name == "efficientnet-lite0"


def test_a_sheet_is_drawn_and_instant_has_none(phantom_cohort_file, tmp_path):
    path = tmp_path / "sheet.png"
    run("recipe", "sheet", "001-cnn", "-c", phantom_cohort_file, "-o", path, "--count", 2)
    assert path.read_bytes().startswith(b"\x89PNG")
    with pytest.raises(RecipeError, match="instant augments nothing"):
        run("recipe", "sheet", "instant", "-c", phantom_cohort_file, "-o", tmp_path / "x.png")


@pytest.fixture(scope="module")
def dense_model(phantom_cohort_file, tmp_path_factory):
    """A classifier whose head mixes its places."""
    out = tmp_path_factory.mktemp("dense")
    run("train", "004-cnn-baseline", "-c", phantom_cohort_file, "-o", out, *SMALL)
    return out / "model.hilum"


def test_settings_are_recorded_in_the_file(dense_model):
    origin = load_model_file(dense_model).provenance
    assert origin.recipe["stages"][0]["epochs"] == 1
    assert origin.recipe["network"]["size"] == 32
    assert origin.network_weights.startswith("random")


def test_a_network_without_maps_reads_but_draws_no_overlay(dense_model, dicom_chest, tmp_path):
    assert not load(dense_model).draws_maps
    done = run("screen", dicom_chest, "-m", dense_model, "--json")
    assert json.loads(done.stdout)["probability"] is not None
    with pytest.raises(UsageError, match="no class activation map"):
        run("screen", dicom_chest, "-m", dense_model, "--overlays", tmp_path / "maps")


def test_an_earlier_training_is_the_start_of_the_next_task(
    dense_model, phantom_cohort_file, tmp_path
):
    out = tmp_path / "three"
    run(
        *["train", "004-cnn-baseline", "-c", phantom_cohort_file, "-o", out, *SMALL],
        *["--task", "three-class", "--weights", dense_model],
    )
    origin = load_model_file(out / "model.hilum").provenance
    assert "model.hilum" in origin.network_weights
    assert "fresh" in origin.network_weights


def test_weights_that_cannot_be_had_say_what_to_do(phantom_cohort_file, tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    with pytest.raises(WeightsError, match=r"--weights"):
        run("train", "001-vgg16", "-c", phantom_cohort_file, "-o", tmp_path / "x")
    assert not (tmp_path / "x" / "stages").exists()


def test_a_wrong_setting_is_refused(phantom_cohort_file, tmp_path):
    for setting, message in (
        ("stages.0.epoch=3", "is no key"),
        ("epochs", "is no setting"),
        ("stages.9.epochs=3", "has no place"),
    ):
        with pytest.raises(RecipeError, match=message):
            run("train", "001-cnn", "-c", phantom_cohort_file, "-o", tmp_path, "--set", setting)
