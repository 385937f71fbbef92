"""Calibration figures against their definitions, against scikit-learn and SciPy, and by simulation."""

import numpy as np
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from scipy.optimize import brentq
from scipy.special import expit, logit
from sklearn.linear_model import LogisticRegression

from hilum.evaluation.calibration import calibration_table
from hilum.evaluation.calibration_quality import Recalibration, calibration_quality
from hilum.evaluation.figures import FigureName

SLOPE, INTERCEPT = FigureName.CALIBRATION_SLOPE, FigureName.CALIBRATION_INTERCEPT


def people(count):
    return np.array([f"p{i}" for i in range(count)])


def quality(p, truth, patients=None, replicates=20, seed=0):
    rng = np.random.default_rng(seed)
    return calibration_quality(
        p, truth, people(len(p)) if patients is None else patients, rng, replicates
    )


rows = st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=1, max_size=90)


@settings(max_examples=60, deadline=None)
@given(rows)
def test_the_parts_add_up_to_the_brier_score(drawn):
    p, truth = (np.array(column) for column in zip(*drawn, strict=True))
    parts = quality(p, truth, replicates=1).brier
    added = parts.reliability - parts.resolution + parts.uncertainty
    added += parts.within_bin_variance - parts.within_bin_covariance
    assert added == pytest.approx(parts.brier, abs=1e-12)
    assert parts.brier == pytest.approx(np.mean((p - truth) ** 2))


def test_where_a_bin_has_one_probability_the_parts_are_those_of_murphy():
    rng = np.random.default_rng(0)
    p = rng.choice([0.1, 0.3, 0.45, 0.8], 400)
    truth = rng.random(400) < p**1.5
    parts = quality(p, truth).brier
    reliability = resolution = 0.0
    for value in np.unique(p):
        observed = truth[p == value].mean()
        reliability += (p == value).mean() * (value - observed) ** 2
        resolution += (p == value).mean() * (observed - truth.mean()) ** 2
    assert parts.reliability == pytest.approx(reliability)
    assert parts.resolution == pytest.approx(resolution)
    assert parts.uncertainty == pytest.approx(truth.mean() * (1 - truth.mean()))
    assert parts.within_bin_variance == pytest.approx(0.0, abs=1e-15)
    assert parts.within_bin_covariance == pytest.approx(0.0, abs=1e-15)


@settings(max_examples=60, deadline=None)
@given(rows)
def test_errors_by_bins_are_as_defined(drawn):
    p, truth = (np.array(column) for column in zip(*drawn, strict=True))
    found = quality(p, truth, replicates=1)
    table = calibration_table(p, truth, people(len(p)))
    assert found.expected_calibration_error == pytest.approx(table.expected_calibration_error)
    assert found.mass_bins == len(table.bins)
    expected, held = 0.0, 0
    for tenth in range(10):
        inside = (p * 10 >= tenth) & ((p * 10 < tenth + 1) | (tenth == 9))
        if inside.any():
            held += 1
            expected += inside.mean() * abs(p[inside].mean() - truth[inside].mean())
    assert found.equal_width_error == pytest.approx(expected)
    assert found.width_bins == held


def simulated(n, seed, bend=lambda t: t):
    rng = np.random.default_rng(seed)
    log_odds = rng.normal(0.5, 2.0, n)
    return expit(log_odds), rng.random(n) < expit(bend(log_odds))


@pytest.mark.parametrize("bend", [lambda t: t, lambda t: 0.4 * t + 2.0, lambda t: 2.5 * t - 3.0])
def test_slope_and_intercept_are_those_of_scikit_learn_and_of_a_root(bend):
    p, truth = simulated(500, 0, bend)
    weights = np.random.default_rng(1).integers(0, 4, (6, 500)).astype(float)
    found = Recalibration(p, truth).values(weights)
    for row, times in enumerate(weights):
        fitted = LogisticRegression(C=np.inf, tol=1e-10).fit(logit(p)[:, None], truth, times)
        assert found[SLOPE][row] == pytest.approx(fitted.coef_[0, 0], abs=2e-4)

        def surplus(a, times=times):
            return (times * (truth - expit(logit(p) + a))).sum()

        assert found[INTERCEPT][row] == pytest.approx(brentq(surplus, -20, 20), abs=1e-5)


@example(847)  # certain and wrong: the near start alone finds no maximum
@given(st.integers(0, 10**6))
@settings(max_examples=40, deadline=None)
def test_a_weight_is_the_same_as_repeating_a_radiograph(seed):
    rng = np.random.default_rng(seed)
    p = rng.integers(0, 9, 40) / 8  # 0 and 1 among them
    truth = rng.random(40) < 0.2 + 0.6 * p
    times = rng.integers(0, 3, 40)
    assume(0 < truth.sum() < 40)
    weighted = Recalibration(p, truth).values(times[None].astype(float))
    again = Recalibration(np.repeat(p, times), np.repeat(truth, times))
    repeated = again.values(np.ones((1, times.sum())))
    for name, value in weighted.items():
        np.testing.assert_allclose(value, repeated[name], rtol=1e-4, atol=1e-4)


def test_many_sets_of_weights_give_the_same_as_each_alone():
    p, truth = simulated(80, 2)
    weights = np.random.default_rng(0).integers(0, 3, (30, 80)).astype(float)
    subject = Recalibration(p, truth)
    together = subject.values(weights)
    for name in (SLOPE, INTERCEPT):
        alone = [subject.values(row[None])[name][0] for row in weights]
        np.testing.assert_allclose(together[name], alone, rtol=1e-9)


def test_intervals_over_patients_hold_what_is_true():
    """Patients whose radiographs are alike, at 95 %: a naive interval would hold it more seldom."""
    held = {SLOPE: 0, INTERCEPT: 0}
    worlds, naive = 50, 0
    for seed in range(worlds):
        rng = np.random.default_rng(seed)
        whose = np.repeat(np.arange(150), 4)
        log_odds = rng.normal(0, 1.5, 150)[whose]  # one probability for all of a patient,
        truth = (rng.random(150) < expit(log_odds[::4]))[whose]  # and one truth
        found = quality(expit(log_odds), truth, people(150)[whose], 200, seed)
        alone = quality(expit(log_odds), truth, None, 200, seed)
        held[SLOPE] += found.slope.interval.lower <= 1 <= found.slope.interval.upper
        held[INTERCEPT] += found.intercept.interval.lower <= 0 <= found.intercept.interval.upper
        naive += alone.intercept.interval.lower <= 0 <= alone.intercept.interval.upper
    assert 0.87 * worlds <= held[SLOPE]
    assert 0.87 * worlds <= held[INTERCEPT]
    assert naive < 0.8 * worlds


def test_a_slope_below_one_says_too_extreme_and_an_intercept_above_zero_too_low():
    p, truth = simulated(3000, 4, lambda t: 0.5 * t + 1.0)
    found = quality(p, truth, replicates=100)
    assert found.slope.interval.upper < 1
    assert found.slope.value == pytest.approx(0.5, abs=0.08)
    assert found.intercept.interval.lower > 0


@pytest.mark.parametrize(
    ("p", "truth", "undefined"),
    [
        (np.linspace(0.1, 0.9, 40), np.ones(40, bool), {"slope", "intercept"}),
        (np.linspace(0.1, 0.9, 40), np.arange(40) >= 20, {"slope"}),
        (np.linspace(0.1, 0.9, 40), np.arange(40) < 20, {"slope"}),
        (np.full(40, 0.3), np.arange(40) % 2 == 0, {"slope"}),
    ],
)
def test_what_has_no_maximum_is_undefined_with_a_reason(p, truth, undefined):
    found = quality(p, truth)
    for name in ("slope", "intercept"):
        figure = getattr(found, name)
        assert (figure.value is None) == (name in undefined)
        assert (figure.reason is not None) == (name in undefined)


def test_probabilities_of_zero_and_one_have_figures():
    truth = np.arange(60) % 2 == 0
    p = np.where(truth, 1.0, 0.0)
    p[:9] = 0.5
    p[10], p[11] = 0.0, 1.0  # wrong, and certain
    found = quality(p, truth)
    assert found.slope.value is not None
    assert found.intercept.value is not None


def test_few_patients_of_a_class_give_no_interval():
    p, truth = simulated(200, 5)
    patients = np.where(truth, people(200), "the only normal one")
    found = quality(p, truth, patients)
    assert found.slope.interval is None
    assert "only 1 patient that are normal" in found.slope.no_interval


def test_probabilities_squeezed_together_still_have_a_slope():
    rng = np.random.default_rng(3)
    log_odds = rng.normal(0, 2, 300)
    truth = rng.random(300) < expit(log_odds)
    found = quality(expit(log_odds / 200), truth).slope
    assert found.value == pytest.approx(200 * quality(expit(log_odds), truth).slope.value, rel=1e-3)
