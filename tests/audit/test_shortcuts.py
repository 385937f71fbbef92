"""The audit of shortcuts finds what is planted, and little where nothing is."""

import shutil

import numpy as np
import polars as pl
import pytest
from PIL import Image

from hilum.audit.shortcuts import ALL, CORNERS, FRAME, MEASURES, WHOLE, audit_shortcuts
from hilum.cohort.build import BuildOptions, build_cohort
from hilum.cohort.split import split_parts
from hilum.findings import Part


@pytest.fixture(scope="module")
def planted(phantom_folder, tmp_path_factory):
    """Phantoms whose left border is bright where there is pneumonia, and whose test part is blurred."""
    folder = tmp_path_factory.mktemp("planted") / "drawn"
    shutil.copytree(phantom_folder, folder)
    for path in folder.rglob("*.png"):
        grey = np.array(Image.open(path))
        if "NORMAL" not in path.parts:
            grey[:, :10] = grey.max()
        if "test" in path.parts:
            grey = grey[::8, ::8].repeat(8, 0).repeat(8, 1)
        Image.fromarray(grey).save(path)
    return split_parts(build_cohort(folder, BuildOptions())[0], validation=0.3, seed=1)


def areas(audit):
    return {each.name: each.train.value for each in audit.telltales}


def test_a_planted_border_is_found_with_its_name(planted, phantom_cohort):
    clean, found = audit_shortcuts(phantom_cohort), audit_shortcuts(planted)
    assert areas(found)["left border"] > 0.95
    assert areas(clean)["left border"] < 0.8
    for name in (ALL, CORNERS, FRAME, WHOLE):
        assert areas(found)[name] > 0.9
    assert areas(found)["top border"] < 0.8
    values = [each.train.value for each in found.telltales]
    assert values == sorted(values, reverse=True)
    left = next(each for each in found.telltales if each.name == "left border")
    assert left.validation > 0.9
    together = next(each.train for each in clean.telltales if each.name == ALL)
    assert together.interval.lower < together.value < together.interval.upper
    [line] = [line for line in found.lines() if line.check == "shortcuts"]
    assert line.found > 0
    assert "left border" in line.text
    assert not line.serious


def test_a_part_that_was_taken_otherwise_is_told_apart(planted, phantom_cohort):
    for cohort, apart in ((phantom_cohort, False), (planted, True)):
        lines = {line.check: line for line in audit_shortcuts(cohort).lines()}
        assert bool(lines["train against test"].found) == apart
        assert not lines["train against validation"].found
    # A picture without detail is a small file.
    drivers = ("file size", "bytes per pixel", "fine detail", "coarse detail")
    assert any(f"farthest apart: {name}" in lines["train against test"].text for name in drivers)


def test_a_shift_names_every_measure(planted):
    shift = next(e for e in audit_shortcuts(planted).shifts if e.parts == ("train", "test"))
    assert {each.name for each in shift.measures} == set(MEASURES)
    apart = [abs(each.distance or 0) for each in shift.measures]
    assert apart == sorted(apart, reverse=True)
    assert (shift.driver, shift.distance) == (shift.measures[0].name, apart[0])
    quality = next(each for each in shift.measures if each.name == "JPEG quality")
    assert quality.means == (None, None)  # phantoms are PNG
    noise = next(each for each in shift.measures if each.name == "noise")
    assert noise.distance < -0.5  # the test part is blurred


def test_a_cohort_too_small_to_learn_from_is_left_alone(phantom_cohort):
    few = phantom_cohort.where(
        pl.col("patient").is_in(phantom_cohort.table["patient"].unique().sort()[:5].to_list())
    )
    assert audit_shortcuts(few) is None


def test_parts_that_cannot_say_anything_do_not_silence_the_rest(phantom_cohort):
    """A validation part of normal radiographs alone, and a test part of three patients."""
    few = phantom_cohort.part(Part.TEST).table["patient"].unique().sort()[:3].to_list()
    part, finding = pl.col("part"), pl.col("finding")
    cohort = phantom_cohort.where(
        (part == "train")
        | ((part == "validation") & (finding == "normal"))
        | pl.col("patient").is_in(few)
    )
    found = audit_shortcuts(cohort)
    assert found is not None
    assert all(each.validation is None for each in found.telltales)
    assert {shift.parts for shift in found.shifts} == {("train", "validation")}
