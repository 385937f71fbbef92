"""Traces of acquisition are measured as they were made."""

import numpy as np
import pytest
from PIL import Image

from hilum.audit.acquisition import TRACES, jpeg_quality, traces
from hilum.evaluation.telling_apart import measure_shifts

NOISE, LETTERS = TRACES.index("noise"), TRACES.index("letters")


@pytest.mark.parametrize("quality", [5, 10, 30, 50, 75, 90, 98])
def test_the_quality_of_a_jpeg_is_read_from_its_tables(quality, tmp_path, rng):
    path = tmp_path / "a.jpg"
    Image.fromarray(rng.integers(0, 256, (64, 64), dtype=np.uint8)).save(path, quality=quality)
    assert jpeg_quality(path) == pytest.approx(quality, abs=1)


def test_what_is_no_jpeg_has_no_quality(tmp_path):
    path = tmp_path / "a.png"
    Image.fromarray(np.zeros((8, 8), np.uint8)).save(path)
    (tmp_path / "b.jpg").write_bytes(b"no picture")
    for file in (path, tmp_path / "b.jpg", tmp_path / "none"):
        assert np.isnan(jpeg_quality(file))


@pytest.mark.parametrize("deviation", [3.0, 8.0, 15.0])
def test_noise_is_measured_in_grey_levels_whatever_lies_below(deviation, rng, tmp_path):
    slope = np.linspace(60, 180, 224)[None] + np.zeros((224, 1))
    noisy = np.clip(slope + rng.normal(0, deviation, (224, 224)), 0, 255).astype(np.uint8)
    assert traces(noisy[None], [tmp_path])[0, NOISE] == pytest.approx(deviation, rel=0.1)


def test_letters_in_a_corner_are_counted_and_bones_are_not(tmp_path):
    grey = np.full((224, 224), 40, np.uint8)
    bone = grey.copy()
    bone[10:50, :60] = 200  # a shoulder
    marked = grey.copy()
    for column in (170, 185, 200):  # three strokes
        marked[8:20, column : column + 4] = 230
    middle = grey.copy()
    middle[100:112, 100:104] = 230
    counts = traces(np.stack([grey, bone, marked, middle]), [tmp_path] * 4)[:, LETTERS]
    assert counts.tolist() == [0, 0, 3, 0]


def test_shifts_are_in_deviations_of_both_and_skip_what_is_missing():
    one = np.array([[0.0, np.nan, 1.0], [2.0, np.nan, 1.0]])
    other = np.array([[10.0, 5.0, 1.0], [12.0, np.nan, 1.0]])
    far, *rest = measure_shifts(one, other, ("a", "b", "c"))
    assert (far.name, far.means) == ("a", (1.0, 11.0))
    assert far.distance == pytest.approx(10 / np.std([0, 2, 10, 12]))
    by_name = {each.name: each for each in rest}
    assert by_name["b"].means == (None, 5.0)
    assert by_name["b"].distance is None
    assert by_name["c"].distance == 0
