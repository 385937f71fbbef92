import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.optimize import minimize_scalar
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import LogisticRegression

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


def test_a_method_for_two_labels_is_refused_for_three():
    with pytest.raises(EvaluationError, match="'beta' is for two labels, and there are 3"):
        fit_calibration(np.zeros((3, 3)), np.arange(3), "beta")


METHODS = ["temperature", "scale-and-bias", "beta", "isotonic"]


def two_classes(n, seed, bend=lambda t: t):
    """Scores whose log-odds need `bend` to come true."""
    rng = np.random.default_rng(seed)
    log_odds = rng.normal(0.5, 2.5, n)
    truth = (rng.random(n) < 1 / (1 + np.exp(-bend(log_odds)))).astype(int)
    return np.stack([np.zeros(n), log_odds], axis=1), truth


def log_odds_after(calibration, log_odds):
    scores = np.stack([np.zeros(len(log_odds)), log_odds], axis=1)
    p = probabilities_from_scores(calibration, scores)
    return np.log(p[:, 1] / p[:, 0])


def test_temperature_is_the_scale_of_greatest_likelihood_and_has_no_bias():
    scores, truth = two_classes(3000, 0, lambda t: 0.6 * t)
    found = fit_calibration(scores, truth, "temperature")
    assert found.method == "temperature"
    assert found.bias == (0.0, 0.0)
    signed = np.where(truth == 1, scores[:, 1], -scores[:, 1])
    best = minimize_scalar(lambda s: np.logaddexp(0, -s * signed).mean(), bounds=(0.01, 9))
    assert found.scale == pytest.approx(best.x, rel=1e-3)


def test_beta_is_the_logistic_regression_of_its_paper():
    scores, truth = two_classes(4000, 1, lambda t: np.where(t > 0, 2.0 * t, 0.4 * t))
    found = fit_calibration(scores, truth, "beta")
    plain = fit_calibration(scores, truth)
    assert (found.scale, found.bias) == (plain.scale, plain.bias)  # heat maps are drawn by them
    p = 1 / (1 + np.exp(-scores[:, 1]))
    regression = LogisticRegression(C=np.inf, tol=1e-10).fit(
        np.stack([np.log(p), -np.log(1 - p)], axis=1), truth
    )
    expected = (*regression.coef_[0], regression.intercept_[0])
    np.testing.assert_allclose(found.beta, expected, atol=2e-3)


def test_isotonic_levels_are_those_of_scikit_learn():
    scores, truth = two_classes(500, 2)
    scores = np.round(scores)  # ties
    found = fit_calibration(scores, truth, "isotonic")
    t = found.scale * scores[:, 1] + found.bias[1]
    # Half a pneumonia below all radiographs, half a normal radiograph above them.
    by_sklearn = IsotonicRegression().fit(
        np.r_[t.min() - 1, t, t.max() + 1], np.r_[1, truth, 0], np.r_[0.5, np.ones(500), 0.5]
    )
    levels = np.unique(np.round(by_sklearn.predict(t), 9))
    assert len(found.knots) == len(levels) > 5
    found_levels = 1 / (1 + np.exp(-np.array(found.knots)[:, 1]))
    np.testing.assert_allclose(found_levels, levels, atol=1e-8)
    for centre, level in zip(np.array(found.knots)[:, 0], levels, strict=True):
        rows = np.isclose(by_sklearn.predict(t), level, atol=1e-8)
        assert centre == pytest.approx(t[rows].mean())


def test_isotonic_follows_what_no_other_method_can():
    def staircase(t):
        return 4 * np.tanh(3 * (t + 2)) / 2 + 2 * np.tanh(3 * (t - 3))

    scores, truth = two_classes(20_000, 3, staircase)
    grid = np.linspace(-3.5, 4.5, 60)
    errors = {}
    for method in METHODS:
        after = log_odds_after(fit_calibration(scores, truth, method), grid)
        errors[method] = np.abs(
            1 / (1 + np.exp(-after)) - 1 / (1 + np.exp(-staircase(grid)))
        ).mean()
    assert errors["isotonic"] < 0.03
    assert errors["isotonic"] < 0.4 * min(errors[m] for m in METHODS if m != "isotonic")


@settings(max_examples=20, deadline=None)
@given(
    log_odds=arrays(np.float64, 40, elements=st.floats(-20, 20)),
    truth=arrays(np.int64, 40, elements=st.integers(0, 1)),
)
def test_more_freedom_fits_better_and_no_method_ties_or_claims_certainty(log_odds, truth):
    assume(0 < truth.sum() < 40)
    scores = np.stack([np.zeros(40), np.round(log_odds, 2)], axis=1)
    loss = {}
    for method in METHODS:
        fitted = fit_calibration(scores, truth, method)
        p = probabilities_from_scores(fitted, scores)
        loss[method] = negative_log_likelihood(p, truth)
        order = np.argsort(scores[:, 1])
        rises = np.diff(scores[order, 1]) > 0
        # Beyond 1e-13 of 0 and 1, and for scales near 0, double precision ends.
        inside = (p.min(axis=1) > 1e-13)[order]
        if fitted.scale > 1e-6:
            assert (np.diff(p[order, 1])[rises & inside[1:] & inside[:-1]] > 0).all()
    plain = negative_log_likelihood(
        probabilities_from_scores(Calibration(bias=(0.0, 0.0)), scores), truth
    )
    assert loss["temperature"] <= plain + 1e-9
    assert loss["beta"] <= loss["scale-and-bias"] + 1e-9


def test_isotonic_does_not_claim_certainty_where_all_were_normal():
    scores = np.stack([np.zeros(40), np.repeat([-1.0, 1.0], 20)], axis=1)
    truth = np.repeat([0, 1], 20)
    p = probabilities_from_scores(fit_calibration(scores, truth, "isotonic"), scores)[:, 1]
    np.testing.assert_allclose(p, np.repeat([0.5 / 20.5, 20 / 20.5], 20))


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
