"""Discrimination at high sensitivity and specificity, and DeLong's interval."""

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy.stats import norm
from sklearn.metrics import roc_auc_score

from hilum.evaluation import assess
from hilum.evaluation.discrimination import Discrimination, delong_interval
from hilum.evaluation.figures import DEFINITIONS, FigureName
from hilum.evaluation.subjects import Ranking

PARTIAL = FigureName.PARTIAL_AUC
SPECIFICITIES = {
    FigureName.SPECIFICITY_AT_SENSITIVITY_90: 0.90,
    FigureName.SPECIFICITY_AT_SENSITIVITY_95: 0.95,
    FigureName.SPECIFICITY_AT_SENSITIVITY_99: 0.99,
}
SENSITIVITIES = {
    FigureName.SENSITIVITY_AT_SPECIFICITY_90: 0.90,
    FigureName.SENSITIVITY_AT_SPECIFICITY_95: 0.95,
    FigureName.SENSITIVITY_AT_SPECIFICITY_99: 0.99,
}

# Few distinct probabilities, so that ties are common.
rows = st.lists(
    st.tuples(st.integers(0, 8), st.booleans(), st.integers(0, 4)), min_size=2, max_size=60
)


def columns(drawn):
    eighths, truth, weights = map(np.array, zip(*drawn, strict=True))
    truth, weights = truth.astype(bool), weights.astype(float)
    assume(weights[truth].sum() > 0 and weights[~truth].sum() > 0)
    return eighths / 8.0, truth, weights


def people(count):
    return np.array([f"p{i}" for i in range(count)])


@settings(deadline=None)
@given(rows)
def test_the_partial_area_is_that_of_scikit_learn_with_the_classes_exchanged(drawn):
    p, truth, weights = columns(drawn)
    found = Discrimination(Ranking(p, truth)).values(weights[None])[PARTIAL][0]
    # False alarms among exchanged classes are missed pneumonias: at most 0.1 of them are allowed.
    kept = weights > 0  # scikit-learn 1.9 takes the threshold of one without weight for a step
    standardised = roc_auc_score(~truth[kept], -p[kept], sample_weight=weights[kept], max_fpr=0.1)
    least, most = 0.5 * 0.1**2, 0.1
    expected = (least + (2 * standardised - 1) * (most - least)) / most  # McClish, taken back
    assert found == pytest.approx(expected, abs=1e-9)


def test_guessing_and_knowing_have_the_partial_areas_that_their_definition_says():
    truth = np.arange(100) % 2 == 0
    one = np.ones((1, 100))
    assert Discrimination(Ranking(np.full(100, 0.5), truth)).values(one)[PARTIAL] == pytest.approx(
        0.05
    )
    assert Discrimination(Ranking(truth.astype(float), truth)).values(one)[
        PARTIAL
    ] == pytest.approx(1)
    assert Discrimination(Ranking(-truth.astype(float), truth)).values(one)[
        PARTIAL
    ] == pytest.approx(0)


def best_of_all_thresholds(p, truth, weights, hold, rate):
    """The highest other rate of any threshold that holds one, tried one by one."""
    best = 0.0
    for threshold in [*np.unique(p), np.inf]:
        called = p >= threshold
        sensitivity = weights[truth & called].sum() / weights[truth].sum()
        specificity = weights[~truth & ~called].sum() / weights[~truth].sum()
        held, other = (
            (sensitivity, specificity) if hold == "sensitivity" else (specificity, sensitivity)
        )
        if held >= rate - 1e-12:
            best = max(best, other)
    return best


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from([4, 12, 1000]))
def test_rates_are_the_best_of_all_thresholds(seed, distinct):
    rng = np.random.default_rng(seed)
    truth = np.arange(220) < 110  # 110 of each can tell 0.99 from 1
    p = np.round(np.clip(rng.normal(0.4 + 0.3 * truth, 0.2), 0, 1) * distinct) / distinct
    weights = rng.integers(0, 3, (2, 220)).astype(float)
    found = Discrimination(Ranking(p, truth)).values(weights)
    for row, drawn in enumerate(weights):
        for name, rate in SPECIFICITIES.items():
            expected = best_of_all_thresholds(p, truth, drawn, "sensitivity", rate)
            assert found[name][row] == pytest.approx(expected, abs=1e-12)
        for name, rate in SENSITIVITIES.items():
            expected = best_of_all_thresholds(p, truth, drawn, "specificity", rate)
            assert found[name][row] == pytest.approx(expected, abs=1e-12)


@settings(deadline=None)
@given(rows)
def test_a_weight_is_the_same_as_repeating_a_radiograph(drawn):
    p, truth, weights = columns([*drawn, *[(4, True, 1), (3, False, 1)] * 100])
    times = weights.astype(int)
    weighted = Discrimination(Ranking(p, truth)).values(weights[None])
    again = Discrimination(Ranking(np.repeat(p, times), np.repeat(truth, times)))
    for name, value in again.values(np.ones((1, times.sum()))).items():
        np.testing.assert_allclose(weighted[name], value, atol=1e-12)


def test_a_rate_that_cannot_be_told_from_one_gives_nothing():
    rng = np.random.default_rng(0)
    truth = np.arange(130) < 99  # 99 with pneumonia, 31 normal
    p = np.clip(rng.normal(0.4 + 0.3 * truth, 0.2), 0, 1)
    figures = assess({"d": Discrimination(Ranking(p, truth))}, people(130), rng, 50)["d"]
    undefined = {name for name, figure in figures.items() if figure.value is None}
    assert undefined == {
        FigureName.SPECIFICITY_AT_SENSITIVITY_99,
        FigureName.SENSITIVITY_AT_SPECIFICITY_99,
    }
    reason = figures[FigureName.SPECIFICITY_AT_SENSITIVITY_99].reason
    assert reason.startswith("too few radiographs with pneumonia to tell a rate of 0.99 from 1")


def test_figures_of_a_missing_class_are_undefined():
    ranking = Ranking(np.linspace(0, 1, 300), np.zeros(300, bool))
    figures = assess({"d": Discrimination(ranking)}, people(300), np.random.default_rng(0), 10)["d"]
    assert all(figure.value is None and figure.reason for figure in figures.values())


def test_intervals_hold_the_rate_of_the_whole_population():
    """Normal and ill are normally distributed, two standard deviations apart."""
    expected = {
        FigureName.SPECIFICITY_AT_SENSITIVITY_90: norm.cdf(2 + norm.ppf(0.1)),
        FigureName.SENSITIVITY_AT_SPECIFICITY_95: norm.sf(norm.ppf(0.95) - 2),
        PARTIAL: norm.cdf(2 + norm.ppf(np.linspace(0, 0.1, 20_001)[1:])).mean(),
    }
    held = dict.fromkeys(expected, 0)
    worlds = 60
    for seed in range(worlds):
        rng = np.random.default_rng(seed)
        truth = np.arange(500) < 250
        ranking = Ranking(rng.normal(2.0 * truth), truth)
        figures = assess({"d": Discrimination(ranking)}, people(500), rng, 200)["d"]
        for name, value in expected.items():
            interval = figures[name].interval
            held[name] += interval.lower <= value <= interval.upper
    assert all(count >= 0.87 * worlds for count in held.values()), held


def test_every_figure_has_a_definition():
    assert set(DEFINITIONS) == set(FigureName)
    title, text = DEFINITIONS[FigureName.SPECIFICITY_AT_SENSITIVITY_95]
    assert title == "Specificity at a sensitivity of 0.95"
    assert "at least 0.95" in text


def clustered(rng, patients=120, each=3):
    whose = np.repeat(np.arange(patients), each)
    truth = (np.arange(patients) % 2 == 0)[whose]
    scores = rng.normal(size=patients)[whose] + 0.4 * rng.normal(size=len(whose)) + 1.5 * truth
    return Ranking(scores, truth), people(patients)[whose]


def test_delong_holds_the_area_of_the_whole_population_over_patients():
    area = norm.cdf(1.5 / np.sqrt(2 * (1 + 0.4**2)))
    held = naive = 0
    for seed in range(200):
        ranking, patients = clustered(np.random.default_rng(seed))
        interval = delong_interval(ranking, patients)
        held += interval.lower <= area <= interval.upper
        alone = delong_interval(ranking, people(len(patients)))
        naive += alone.lower <= area <= alone.upper
    assert 0.91 <= held / 200 <= 0.99
    assert naive / 200 < 0.88


def test_delong_and_bootstrap_agree():
    ranking, patients = clustered(np.random.default_rng(1), patients=400)
    exact = delong_interval(ranking, patients)
    figures = assess({"r": ranking}, patients, np.random.default_rng(0), 2000)["r"]
    drawn = figures[FigureName.AUC].interval
    assert exact.method == "DeLong over patients"
    assert (exact.lower, exact.upper) == pytest.approx((drawn.lower, drawn.upper), abs=0.006)


def test_delong_claims_no_certainty_and_nothing_from_few_patients():
    truth = np.arange(40) < 20
    assert "claims certainty" in delong_interval(Ranking(truth.astype(float), truth), people(40))
    few = np.array(["one"] * 20 + [f"p{i}" for i in range(20)])
    mixed = Ranking(np.arange(40) % 7 / 7, truth)
    assert delong_interval(mixed, few) == "only 1 patient with pneumonia; an interval needs 10"
