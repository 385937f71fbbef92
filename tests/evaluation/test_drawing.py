"""A legend never covers a curve, and its names stay short and different."""

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hilum.evaluation.drawing import drawn_plot, shortened, unit_square


@given(st.lists(st.text(max_size=60), max_size=8, unique=True), st.integers(8, 40))
def test_short_names_are_as_many_short_enough_and_all_different(names, longest):
    short = shortened(names, longest)
    assert len(short) == len(set(short)) == len(names)
    assert all(len(text) <= longest + 3 for text in short)
    assert all(
        s == n for n, s in zip(names, short, strict=True) if len(n) <= longest and s in names
    )


def test_a_long_name_keeps_both_its_ends():
    (short,) = shortened(["runs/first/" + "x" * 80 + "/model-17.hilum"])
    assert short.startswith("runs/first/")
    assert short.endswith("model-17.hilum")
    assert len(short) == 40


def test_names_that_shortening_makes_alike_are_numbered():
    names = ["a" * 30 + middle + "z" * 30 for middle in "bc"]
    assert [text[:3] for text in shortened([*names, "other"])] == ["1: ", "2: ", "oth"]


def drawing(power):
    x = np.linspace(0, 1, 50)

    def draw(axes):
        axes.plot(x, x**power, label="a curve with a name of its own")
        unit_square(axes, "x", "y")
        axes.legend(loc="lower right", frameon=False)

    plot = drawn_plot("test", "Test", "A curve.", draw)
    box = re.search(r'viewBox="0 0 ([\d.]+) ([\d.]+)"', plot.svg)
    return float(box[1]), float(box[2])


def test_a_legend_that_would_cover_a_curve_moves_below_the_plot():
    free, covered = drawing(0.1), drawing(10.0)
    assert free[0] == pytest.approx(free[1])
    assert covered[0] == pytest.approx(free[0])
    assert covered[1] > free[1] + 10
