"""Training `instant`: from a cohort to a file with its evidence, the test part untouched."""

import polars as pl
import pytest

from hilum.errors import CohortError
from hilum.findings import Part
from hilum.model import load_model_file
from hilum.training import load_recipe, train


def test_the_file_says_how_it_was_made(model_path, phantom_cohort):
    model = load_model_file(model_path)
    origin = model.provenance
    assert origin.phantom
    assert origin.cohort_sha256 == phantom_cohort.digest()
    assert origin.recipe["name"] == "instant"
    assert origin.recipe["chosen"]["c"] in origin.recipe["head"]["c"]
    assert origin.command == "test"
    assert origin.radiographs["train"] == len(phantom_cohort.part(Part.TRAIN))
    assert model.operating_points[0].name.startswith("sensitivity")
    assert "research use only" in model.card


def test_phantoms_are_told_apart_better_than_chance(model_path):
    figures = load_model_file(model_path).evidence
    assert figures["part"] == "validation"
    assert figures["phantom"]
    assert figures["figures"]["auc"]["value"] > 0.7


def test_the_default_operating_point_reaches_its_aim_on_validation(model_path):
    point = load_model_file(model_path).operating_points[0]
    counts = point.counts
    assert counts.true_positives / (counts.true_positives + counts.false_negatives) >= 0.95


def test_the_same_seed_gives_the_same_classifier(phantom_cohort, model_path, tmp_path):
    again = train(load_recipe("instant"), phantom_cohort, tmp_path, command="test").model
    first = load_model_file(model_path)
    assert again.network == first.network
    assert again.calibration == first.calibration
    assert again.operating_points == first.operating_points


def test_the_test_part_is_never_read(phantom_cohort, tmp_path):
    """Training must not even open a file of the test part."""
    broken = phantom_cohort.table.with_columns(
        path=pl.when(pl.col("part") == "test").then(pl.lit("gone")).otherwise(pl.col("path"))
    )
    cohort = type(phantom_cohort)(
        broken, phantom_cohort.root, "x", True, "phantom", phantom_cohort.made_by
    )
    assert train(load_recipe("instant"), cohort, tmp_path, command="test").path.is_file()


def test_shared_patients_are_refused(phantom_cohort, tmp_path):
    one = phantom_cohort.part(Part.TRAIN).table["patient"][0]
    table = phantom_cohort.table.with_columns(
        patient=pl.when(pl.col("part") == "validation").then(pl.lit(one)).otherwise("patient")
    )
    leaky = type(phantom_cohort)(table, phantom_cohort.root, "x", True, "", {})
    with pytest.raises(CohortError, match="1 patients of x are in more than one of"):
        train(load_recipe("instant"), leaky, tmp_path, command="test")


def test_a_cohort_without_validation_says_how_to_make_it(phantom_cohort, tmp_path):
    table = phantom_cohort.table.with_columns(part=pl.lit("train"))
    whole = type(phantom_cohort)(table, phantom_cohort.root, "x", True, "", {})
    with pytest.raises(CohortError, match="no validation part"):
        train(load_recipe("instant"), whole, tmp_path, command="test")


@pytest.mark.real_data
def test_real_radiographs_are_read_with_patients_apart(real_data, tmp_path):
    """A quarter of the real training folder already gives a validation AUC near 0.99."""
    from hilum.cohort.build import BuildOptions, build_cohort
    from hilum.cohort.split import split_parts

    cohort, _ = build_cohort(real_data / "kermany512", BuildOptions())
    cohort = split_parts(cohort, validation=0.25)
    for task in ("binary", "three-class"):
        recipe = load_recipe("instant").changed(task=task)
        model = train(recipe, cohort, tmp_path / task, command="test").model
        assert model.evidence["figures"]["auc"]["value"] > 0.97
