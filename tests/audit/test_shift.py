"""Two cohorts: distances by definition, p values by simulation, and a shift that was planted."""

import shutil

import numpy as np
import polars as pl
import pytest
from PIL import Image
from scipy.linalg import sqrtm

from hilum.audit.pictures import take_in
from hilum.audit.shift import compare_cohorts, frechet, permuted_frechet
from hilum.cli.audit import embedder
from hilum.cohort.build import BuildOptions, build_cohort
from hilum.errors import CohortError
from hilum.findings import Part


def test_the_frechet_distance_is_that_of_its_formula(rng):
    one = rng.normal(size=(40, 5)) @ rng.normal(size=(5, 5))
    other = rng.normal(1, 2, size=(60, 5))
    a, b = np.cov(one.T), np.cov(other.T)
    shift = one.mean(0) - other.mean(0)
    expected = shift @ shift + np.trace(a + b - 2 * sqrtm(a @ b)).real
    assert frechet(one, other) == pytest.approx(expected)
    assert frechet(one, one) == pytest.approx(0, abs=1e-9)


def test_p_values_of_equal_cohorts_are_not_small_even_with_many_radiographs_a_patient():
    """Under no difference p is uniform; dealing radiographs instead of patients would make it small."""
    small = 0
    for seed in range(60):
        rng = np.random.default_rng(seed)
        patients = np.arange(40).repeat(5)
        x = rng.normal(size=(40, 3))[patients] + 0.2 * rng.normal(size=(200, 3))
        distance, chance = permuted_frechet(x, patients >= 25, patients.astype(str), rng, 39)
        small += (1 + (chance >= distance).sum()) / 40 <= 0.1
    assert small <= 13  # expected 6; 14 or more happens once in 500


@pytest.fixture(scope="module")
def two(phantom_cohort, tmp_path_factory):
    """The train part, and validation and test, of which a copy was darkened and blurred."""
    folder = tmp_path_factory.mktemp("two") / "drawn"
    shutil.copytree(phantom_cohort.root, folder)
    for path in folder.rglob("*.png"):
        grey = np.array(Image.open(path))[::4, ::4].repeat(4, 0).repeat(4, 1)
        Image.fromarray((grey * 0.6).astype(np.uint8)).save(path)
    changed, _ = build_cohort(folder, BuildOptions())
    parts = phantom_cohort.part(Part.TRAIN), phantom_cohort.part(Part.VALIDATION, Part.TEST)
    return [take_in(each, embedder(), turn=False) for each in (*parts, changed)]


def test_a_planted_shift_is_found_and_named(two):
    train, _, changed = two
    found = compare_cohorts(train, changed)
    assert found.embedding.value > 0.95
    assert found.acquisition.value > 0.95
    assert found.p_value == pytest.approx(1 / 200)
    assert found.frechet > 2 * found.by_chance
    assert found.measures[0].name in {
        "fine detail", "coarse detail", "brightness", "bright", "brightest", "file size",
        "bytes per pixel", "median grey", "noise", "contrast",
    }  # fmt: skip
    shift, shared = found.lines()
    assert shift.found
    assert not shift.serious
    assert not shared.found


def test_cohorts_of_one_kind_are_not_told_apart(two):
    train, rest, _ = two
    found = compare_cohorts(train, rest)
    assert found.embedding.value < 0.65
    assert found.embedding.interval is not None
    assert found.p_value > 0.02
    assert not found.lines()[0].found or found.acquisition.value < 0.7


def test_files_in_both_are_serious(two):
    train, *_ = two
    found = compare_cohorts(train, train)
    assert found.shared_files == len(train.cohort)
    assert found.lines()[1].serious
    assert len(set(found.names)) == 2


def test_a_handful_of_patients_is_refused(two, phantom_cohort):
    few = phantom_cohort.table["patient"].unique().sort()[:6].to_list()
    small = take_in(phantom_cohort.where(pl.col("patient").is_in(few)), embedder(), turn=False)
    with pytest.raises(CohortError, match="too few to compare"):
        compare_cohorts(two[0], small)
