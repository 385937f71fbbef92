"""Trials of explanations: means, sanity checks, and what taking pixels away shows."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.ndimage import gaussian_filter, sobel
from scipy.stats import binomtest, norm, spearmanr
from sklearn.metrics import auc

from hilum.cohort.phantom import draw_anatomy, draw_exposure, draw_opacity, render
from hilum.errors import EvaluationError
from hilum.explanation.trials_erasing import erase, ranks, replaced
from hilum.explanation.trials_means import above, below, mean_figures
from hilum.explanation.trials_randomised import randomised
from hilum.explanation.trials_sanity import check_sanity, rank_correlation, structural_similarity
from hilum.findings import Finding
from hilum.model import load

SIDE = 48
FEW = 200  # bootstrap replicates, where the interval's last digit does not matter

levels = st.integers(0, 5).map(float)
small_maps = arrays(np.float32, (2, 5, 5), elements=levels)


@pytest.fixture(scope="module")
def drawn():
    """Phantoms with what is known of them: pixels, masks, lungs."""
    rng = np.random.default_rng(5)
    findings = [Finding.BACTERIAL, Finding.VIRAL, Finding.NORMAL] * 8
    pictures = [
        render(
            draw_anatomy(rng), draw_exposure(rng), draw_opacity(finding, rng), rows=96, columns=96
        )
        for finding in findings
    ]
    return (
        np.stack([picture.pixels for picture in pictures]),
        np.stack([picture.mask for picture in pictures]),
        np.stack([picture.lungs for picture in pictures]),
    )


@pytest.fixture(scope="module")
def squares():
    """Noise with a bright square somewhere on each, its mask, and one patient each."""
    rng = np.random.default_rng(2)
    pixels = rng.integers(40, 80, (30, SIDE, SIDE)).astype(np.uint8)
    masks = np.zeros(pixels.shape, bool)
    for mask in masks:
        row, column = rng.integers(2, SIDE - 14, 2)
        mask[row : row + 12, column : column + 12] = True
    pixels[masks] += 150
    return pixels, masks, people(30)


def people(count: int) -> np.ndarray:
    return np.array([f"patient {i}" for i in range(count)])


def bright(pixels):
    """Log-odds of a classifier that looks for bright places."""
    return (pixels > 150).mean(axis=(1, 2)) * 100 - 1


# --- means -------------------------------------------------------------------------------------------


def test_mean_leaves_out_what_is_undefined_and_counts_the_rest(rng):
    values = np.array([1.0, 2.0, np.nan, 6.0] * 5)
    whose = np.repeat(people(10), 2)
    figure = mean_figures({"a": values}, whose, rng, undefined="none", replicates=FEW)["a"]
    assert figure.value == pytest.approx(3.0)
    assert (figure.radiographs, figure.patients) == (15, 10)


def test_mean_of_nothing_is_undefined_with_the_reason(rng):
    figure = mean_figures({"a": np.full(3, np.nan)}, people(3), rng, undefined="all flat")["a"]
    assert figure.value is None
    assert "all flat" in figure.reason


def test_few_patients_get_a_mean_without_an_interval(rng):
    figure = mean_figures({"a": np.arange(40.0)}, np.repeat(people(4), 10), rng, undefined="")["a"]
    assert figure.value == pytest.approx(19.5)
    assert "only 4 patients" in figure.no_interval
    assert above(figure, 0.0) is None


def test_hits_without_a_miss_get_the_exact_interval(rng):
    ones = {"a": np.ones(20)}
    figure = mean_figures(ones, people(20), rng, undefined="", hits=frozenset("a"))["a"]
    exact = binomtest(20, 20).proportion_ci(0.95, method="exact")
    assert figure.interval.lower == pytest.approx(exact.low)
    assert mean_figures(ones, people(20), rng, undefined="")["a"].interval is None


def test_interval_of_clustered_means_covers_the_truth():
    covered = 0
    for seed in range(150):
        rng = np.random.default_rng(seed)
        whose = np.repeat(np.arange(40), 3)
        values = rng.normal(0, 1, 40)[whose] + rng.normal(0, 0.3, 120)
        figure = mean_figures({"a": values}, people(40)[whose], rng, undefined="", replicates=300)[
            "a"
        ]
        covered += figure.interval.lower <= 0 <= figure.interval.upper
    # An interval over radiographs would be too narrow by the root of nearly 3, and cover 75 %.
    assert covered / 150 > 0.95 - 3 * np.sqrt(0.05 * 0.95 / 150) - 0.02


def test_a_level_inside_the_interval_decides_nothing(rng):
    figure = mean_figures({"a": rng.normal(0, 1, 50)}, people(50), rng, undefined="")["a"]
    assert above(figure, figure.value) is None
    assert below(figure, figure.value) is None
    assert (above(figure, -9), above(figure, 9)) == (True, False)
    assert (below(figure, -9), below(figure, 9)) == (False, True)


# --- sanity checks -----------------------------------------------------------------------------------


@settings(max_examples=40)
@given(first=small_maps, second=small_maps)
def test_rank_correlation_is_that_of_scipy(first, second):
    for mine, one, other in zip(rank_correlation(first, second), first, second, strict=True):
        if np.ptp(one) and np.ptp(other):
            assert mine == pytest.approx(spearmanr(one.ravel(), other.ravel()).statistic, abs=1e-9)
        else:
            assert np.isnan(mine) if not np.ptp(one) else mine == 0.0


def test_structural_similarity_follows_its_definition(rng):
    one, other = rng.random((2, 1, 40, 40)).astype(np.float32)
    radius, sigma = 5, 40 / 32  # of the window, cut off at four standard deviations
    offsets = np.arange(-radius, radius + 1)
    kernel = norm.pdf(np.add.outer(offsets**2, offsets**2) ** 0.5, scale=sigma)
    kernel /= kernel.sum()
    a, b = (
        np.pad((m[0] - m[0].min()) / np.ptp(m[0]), radius, mode="symmetric").astype(np.float64)
        for m in (one, other)
    )
    expected = []
    for i, j in np.ndindex(40, 40):
        x, y = (m[i : i + 2 * radius + 1, j : j + 2 * radius + 1] for m in (a, b))
        mx, my = (kernel * x).sum(), (kernel * y).sum()
        vx, vy = (kernel * (x - mx) ** 2).sum(), (kernel * (y - my) ** 2).sum()
        both = (kernel * (x - mx) * (y - my)).sum()
        expected.append(
            (2 * mx * my + 1e-4) * (2 * both + 9e-4)
            / ((mx**2 + my**2 + 1e-4) * (vx + vy + 9e-4))
        )  # fmt: skip
    assert structural_similarity(one, other)[0] == pytest.approx(np.mean(expected), abs=1e-3)


@settings(max_examples=40)
@given(maps=small_maps, factor=st.floats(0.1, 10), shift=st.floats(-5, 5))
def test_unit_and_offset_of_a_map_change_no_similarity(maps, factor, shift):
    other = (factor * maps + shift).astype(np.float32)
    for similarity in (rank_correlation, structural_similarity):
        alike = similarity(maps, other)
        flat = np.ptp(maps, axis=(1, 2)) == 0
        assert np.isnan(alike[flat]).all()
        assert alike[~flat] == pytest.approx(1.0, abs=1e-3)


def test_method_that_draws_edges_fails_the_sanity_check(drawn, rng):
    pixels = drawn[0]

    def edges(some):
        return np.hypot(sobel(some.astype(np.float32), 1), sobel(some.astype(np.float32), 2))

    check = check_sanity(
        edges(pixels), {"whole network": [edges]}, pixels, people(24), rng, replicates=FEW
    )
    assert check.result == "failed"
    assert check.steps[-1].rank.value == pytest.approx(1.0)
    assert check.between_radiographs.structure.value < 0.9


def test_maps_that_share_nothing_pass_the_sanity_check(drawn, rng):
    pixels = drawn[0]

    def clouds(some, seed=1):
        noise = np.random.default_rng(seed).standard_normal(some.shape)
        return gaussian_filter(noise, (0, 6, 6)).astype(np.float32)

    others = {"head": [clouds], "whole network": [lambda some: clouds(some, 2)]}
    check = check_sanity(clouds(pixels), others, pixels, people(24), rng, replicates=FEW)
    assert check.result == "passed"
    # The first step's maps are the same maps, and do not decide.
    assert [step.rank.value > 0.9 for step in check.steps] == [True, False]


def test_a_negative_of_the_map_is_no_other_map(drawn, rng):
    maps = drawn[0].astype(np.float32)
    check = check_sanity(
        maps, {"x": [lambda some: -some.astype(np.float32)]}, drawn[0], people(24), rng, replicates=FEW
    )  # fmt: skip
    assert check.result == "failed"
    assert check.steps[0].rank.value == pytest.approx(1.0)


def test_sanity_of_few_patients_is_undecided(drawn, rng):
    few = drawn[0][:6]
    check = check_sanity(
        few.astype(np.float32), {"x": [lambda some: some.astype(np.float32)]}, few, people(6), rng
    )
    assert check.result == "undecided"
    assert "only 6 patients" in check.because


def test_sanity_check_needs_something_random(drawn, rng):
    with pytest.raises(EvaluationError, match="random weights"):
        check_sanity(drawn[0].astype(np.float32), {"x": []}, drawn[0], people(24), rng)


def test_shuffled_weights_forget_from_the_head_down(model_path, drawn):
    classifier = load(model_path)
    from PIL import Image

    pixels = np.stack(
        [np.asarray(Image.fromarray(each).resize((classifier.size,) * 2)) for each in drawn[0][:2]]
    )
    original = classifier.network.run(pixels)
    head = randomised(classifier.file, 0.0, np.random.default_rng(1)).network.run(pixels)
    again = randomised(classifier.file, 0.0, np.random.default_rng(1)).network.run(pixels)
    whole = randomised(classifier.file, 1.0, np.random.default_rng(1)).network.run(pixels)
    assert np.array_equal(head["scores"], again["scores"])
    assert not np.allclose(head["scores"], original["scores"], atol=0.01)
    # What the head reads is untouched until the layers below are shuffled, too.
    assert np.allclose(head["embedding"], original["embedding"])
    assert not np.allclose(whole["embedding"], original["embedding"], atol=0.01)


# --- deletion and insertion --------------------------------------------------------------------------


@given(maps=small_maps)
def test_ranks_order_every_pixel_by_saliency(maps):
    for each, place_of in zip(maps, ranks(maps, np.random.default_rng(0)), strict=True):
        assert sorted(place_of.ravel()) == list(range(25))
        assert (np.diff(each.ravel()[np.argsort(place_of.ravel())]) <= 0).all()


def test_ties_do_not_favour_the_top_of_the_picture(rng):
    first = ranks(np.zeros((200, 24, 24), np.float32), rng) < 288
    assert abs(first[:, :12].mean() - first[:, 12:].mean()) < 0.05


def test_a_true_map_passes_and_its_opposite_fails(squares, rng):
    pixels, masks, whose = squares
    for sign, result in ((1, "passed"), (-1, "failed")):
        maps = sign * masks.astype(np.float32)
        for kind in ("deletion", "insertion"):
            found = erase(kind, maps, bright, pixels, whose, rng, replicates=FEW)
            assert found.result == result, found.because
            assert (found.over_random.value > 0) == (sign > 0)


def test_curves_run_from_the_radiograph_to_its_replacement(squares, rng):
    pixels, masks, whose = squares
    found = erase(
        "deletion", masks.astype(np.float32), bright, pixels, whose, rng,
        steps=7, replacement="local mean", replicates=FEW,
    )  # fmt: skip
    soft = replaced(pixels, "local mean")
    for curve in found.curves:
        assert curve.scores[0] == pytest.approx(bright(pixels).mean())
        assert curve.scores[-1] == pytest.approx(bright(soft).mean())
        assert curve.area.value == pytest.approx(auc(np.linspace(0, 1, 8), curve.scores))
    areas = {curve.order: curve.area.value for curve in found.curves}
    assert found.over_random.value == pytest.approx(areas["random blocks"] - areas["saliency"])
    assert found.over_centre.value == pytest.approx(areas["from the centre"] - areas["saliency"])


def test_each_step_takes_the_most_salient_that_are_left(rng):
    pixels = np.zeros((1, 4, 4), np.uint8)
    pixels[0, 0, 0] = 160  # one of the four that go at the first of four steps
    maps = np.zeros((1, 4, 4), np.float32)
    maps[0, 0] = 1.0
    found = erase("deletion", maps, lambda p: p[:, 0, 0] / 1.0, pixels, people(1), rng, steps=4)
    soft = float(replaced(pixels, "blur")[0, 0, 0])
    assert found.curves[0].scores == (160.0, soft, soft, soft, soft)
    assert found.result == "undecided"


def test_deletion_of_a_classifier_that_likes_blur_is_undecided(squares, rng):
    pixels, masks, whose = squares

    def smooth(some):
        return -some.astype(float).std(axis=(1, 2))

    found = erase("deletion", masks.astype(np.float32), smooth, pixels, whose, rng, replicates=FEW)
    assert found.room.value < 0
    assert found.result == "undecided"
    assert "every pixel replaced" in found.because


def test_more_steps_than_pixels_are_refused(rng):
    pixels = np.zeros((1, 4, 4), np.uint8)
    with pytest.raises(EvaluationError, match="17 steps do not fit 16 pixels"):
        erase("deletion", pixels.astype(np.float32), bright, pixels, people(1), rng, steps=17)
