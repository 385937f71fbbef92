import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from hilum.errors import EvaluationError
from hilum.evaluation import calibration_table, fit_calibration, negative_log_likelihood
from hilum.model.calibration import probabilities_from_scores
from hilum.model.schema import Calibration


@settings(max_examples=60, deadline=None)
@given(
    scores=arrays(np.float64, (24, 3), elements=st.floats(-50, 50)),
    truth=arrays(np.int64, 24, elements=st.integers(0, 2)),
)
def test_calibration_never_lowers_the_likelihood(scores, truth):
    assume(len(np.unique(truth)) == 3)
    plain = probabilities_from_scores(Calibration(bias=(0.0, 0.0, 0.0)), scores)
    fitted = probabilities_from_scores(fit_calibration(scores, truth), scores)
    assert ((fitted >= 0) & (fitted <= 1)).all()
    np.testing.assert_allclose(fitted.sum(axis=1), 1.0)
    assert negative_log_likelihood(fitted, truth) <= negative_log_likelihood(plain, truth) + 1e-9


@pytest.mark.parametrize("labels", [2, 3])
@pytest.mark.parametrize(("scale", "shift"), [(0.3, 0.0), (4.0, 1.0), (0.02, -2.0)])
def test_a_known_distortion_is_recovered(labels, scale, shift):
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 1.5, (20_000, labels))
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    truth = (rng.random(20_000)[:, None] > probabilities.cumsum(axis=1)).sum(axis=1)
    distorted = logits / scale
    distorted[:, 1] -= shift / scale
    found = fit_calibration(distorted, truth)
    assert found.method == "scale-and-bias"
    assert found.radiographs == 20_000
    assert found.bias[0] == 0.0
    assert found.scale == pytest.approx(scale, rel=0.05)
    assert found.bias[1] == pytest.approx(shift, abs=0.08)


def test_separable_scores_give_a_finite_calibration():
    truth = np.arange(50) % 2
    found = fit_calibration(np.stack([-truth, truth], axis=1) * 3.0, truth)
    assert np.isfinite(found.scale)
    assert found.scale < 100
    probabilities = probabilities_from_scores(found, np.array([[-3.0, 3.0]]))
    assert 0.99 < probabilities[0, 1] < 1.0


def test_scores_that_say_nothing_are_calibrated_to_the_prevalence():
    truth = (np.arange(1000) < 250).astype(int)
    found = fit_calibration(np.zeros((1000, 2)), truth)
    assert probabilities_from_scores(found, np.zeros((1, 2)))[0, 1] == pytest.approx(0.25, abs=1e-3)


@pytest.mark.parametrize(
    ("scores", "truth", "message"),
    [
        (np.zeros((4, 2)), np.zeros(4, int), "each of the 2 labels"),
        (np.zeros((4, 2)), np.array([0, 1, 2, 1]), "each of the 2 labels"),
        (np.zeros((4, 2)), np.zeros(3, int), "do not belong together"),
        (np.full((2, 2), np.inf), np.array([0, 1]), "not finite"),
    ],
)
def test_what_cannot_be_calibrated_is_refused(scores, truth, message):
    with pytest.raises(EvaluationError, match=message):
        fit_calibration(scores, truth)


def people(count):
    return np.array([f"p{i}" for i in range(count)])


def test_bins_hold_equal_numbers_and_every_radiograph_once():
    rng = np.random.default_rng(0)
    p = rng.random(1000)
    table = calibration_table(p, rng.random(1000) < p, people(1000))
    assert [each.radiographs for each in table.bins] == [100] * 10
    assert sum(table.histogram_normal) + sum(table.histogram_pneumonia) == 1000
    assert table.expected_calibration_error < 0.06
    assert all(each.interval.lower <= each.observed <= each.interval.upper for each in table.bins)


def test_expected_calibration_error_is_the_distance_of_a_constant_forecast():
    truth = np.arange(100) < 30
    table = calibration_table(np.full(100, 0.8), truth, people(100))
    assert len(table.bins) == 1  # equal probabilities share a bin
    assert table.expected_calibration_error == pytest.approx(0.5)


@given(st.lists(st.tuples(st.integers(0, 5), st.booleans()), min_size=1, max_size=120))
def test_the_table_does_not_depend_on_the_order_of_rows(drawn):
    p, truth = (np.array(column) for column in zip(*drawn, strict=True))
    table = calibration_table(p / 5, truth, people(len(p)))
    assert calibration_table(p[::-1] / 5, truth[::-1], people(len(p))[::-1]) == table
    assert sum(each.radiographs for each in table.bins) == len(p)


def test_patients_with_many_radiographs_widen_the_interval_of_a_bin():
    truth = np.arange(40) % 2 == 0
    alone = calibration_table(np.full(40, 0.5), truth, people(40)).bins[0].interval
    shared = calibration_table(np.full(40, 0.5), truth, np.repeat(people(10), 4)).bins[0].interval
    assert shared.upper - shared.lower > 1.5 * (alone.upper - alone.lower)
