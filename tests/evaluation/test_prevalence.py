"""Predictive values, probabilities and net benefit at a prevalence that is not the cohort's."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import precision_score

from hilum.errors import EvaluationError
from hilum.evaluation import Context, build_evidence, choose_operating_point, parse_aim
from hilum.evaluation.calibration import calibration_table
from hilum.evaluation.figures import FigureName
from hilum.evaluation.predictions import Predictions
from hilum.evaluation.prevalence import (
    AtPrevalence,
    calibration_error_at,
    decision_curve,
    probabilities_at,
)
from hilum.evaluation.subjects import Decision
from hilum.findings import Part, Task
from hilum.model.schema import Labels


def drawn(count, prevalence, seed=0):
    """Calibrated probabilities where so many are ill: two normal distributions, one apart."""
    rng = np.random.default_rng(seed)
    truth = rng.random(count) < prevalence
    score = rng.normal(size=count) + truth
    odds = np.exp(score - 0.5) * prevalence / (1 - prevalence)
    return odds / (1 + odds), score, truth


def test_predictive_values_are_those_of_a_cohort_with_that_prevalence():
    _, score, truth = drawn(200_000, 0.74)
    _, elsewhere, ill = drawn(200_000, 0.1, seed=1)
    found = AtPrevalence(Decision(truth, score > 0.8), 0.1).values(np.ones((1, len(truth))))
    assert found[FigureName.PPV][0] == pytest.approx(
        precision_score(ill, elsewhere > 0.8), abs=0.01
    )
    well = precision_score(~ill, elsewhere <= 0.8)
    assert found[FigureName.NPV][0] == pytest.approx(well, abs=0.005)


def test_at_the_own_prevalence_they_are_the_own():
    rng = np.random.default_rng(2)
    truth, called = rng.random(500) < 0.3, rng.random(500) < 0.5
    decision, ones = Decision(truth, called), np.ones((1, 500))
    here = AtPrevalence(decision, float(truth.mean())).values(ones)
    for name in (FigureName.PPV, FigureName.NPV):
        assert here[name][0] == pytest.approx(decision.values(ones)[name][0])


def test_probabilities_stay_calibrated_elsewhere():
    here, score, _ = drawn(200_000, 0.74)
    expected, _, ill = drawn(200_000, 0.05, seed=3)
    moved = probabilities_at(here, 0.74, 0.05)
    odds = np.exp(score - 0.5) * 0.05 / 0.95
    np.testing.assert_allclose(moved, odds / (1 + odds), rtol=1e-9)
    high = expected > 0.2
    assert ill[high].mean() == pytest.approx(expected[high].mean(), abs=0.01)


@given(st.floats(0, 1), st.floats(0.01, 0.99), st.floats(0.01, 0.99))
def test_there_and_back_is_where_it_was(p, one, other):
    values = np.array([p])
    moved = probabilities_at(values, one, other)
    assert 0 <= moved[0] <= 1
    np.testing.assert_allclose(probabilities_at(moved, other, one), values, atol=1e-6)


@pytest.mark.parametrize("prevalence", [0.0, 1.0, 1.5])
def test_a_prevalence_of_all_or_none_is_refused(prevalence):
    with pytest.raises(EvaluationError, match="between 0 and 1"):
        probabilities_at(np.array([0.5]), 0.5, prevalence)


def test_net_benefit_is_what_its_authors_define():
    pneumonia, truth = np.array([0.9, 0.6, 0.4, 0.1]), np.array([True, False, True, False])
    at = {point.threshold: point for point in decision_curve(pneumonia, truth)}
    assert at[0.5].classifier == pytest.approx(1 / 4 - 1 / 4)
    assert at[0.2].classifier == pytest.approx(2 / 4 - 1 / 4 * 0.25)
    assert at[0.2].refer_all == pytest.approx(0.5 - 0.5 * 0.25)
    assert decision_curve(pneumonia, np.ones(4, bool)) == ()


def test_no_false_alarm_is_no_certainty_where_pneumonia_is_rare():
    """None among 200 normal patients: Clopper-Pearson allows 1.8 % false alarms."""
    truth = np.arange(400) >= 200
    called = truth & (np.arange(400) % 10 > 0)
    predictions = Predictions(
        labels=Labels(task=Task.BINARY, findings=Task.BINARY.labels),
        probabilities=np.stack([1.0 - called, called], axis=1).astype(float),
        truth=truth.astype(np.int64),
        patients=np.arange(400).astype(str),
        ids=np.arange(400).astype(str),
    )
    point = choose_operating_point(
        parse_aim("probability>=0.5"), predictions.pneumonia, truth, "validation"
    )
    place = Context(
        cohort_name="drawn", part=Part.TEST, phantom=True, classifier_name="c", command=""
    )
    evidence = build_evidence(predictions, point, context=place, seed=0, replicates=200)
    rare = evidence.at_prevalence[0]
    assert rare.prevalence == 0.01
    assert rare.ppv.value == 1.0
    assert 0.2 < rare.ppv.interval.lower < 0.4
    assert rare.ppv.interval.upper == 1.0
    assert rare.npv.interval.upper < 1.0


def test_probabilities_moved_to_a_prevalence_are_calibrated_on_radiographs_from_there():
    """Against radiographs really drawn at that prevalence."""
    rng = np.random.default_rng(2)
    log_odds = {True: rng.normal(1.5, 1.2, 40_000), False: rng.normal(-1.5, 1.2, 40_000)}

    def drawn(prevalence, count=20_000):
        truth = rng.random(count) < prevalence
        scores = np.where(
            truth, rng.choice(log_odds[True], count), rng.choice(log_odds[False], count)
        )
        # The log-likelihood ratio of two normals, and Bayes' theorem.
        ratio = scores * 3 / 1.2**2
        return 1 / (1 + np.exp(-(ratio + np.log(prevalence / (1 - prevalence))))), truth

    here, truth = drawn(0.74)
    there, truth_there = drawn(0.1)
    assert calibration_error_at(here, truth, 0.1) < 0.01
    assert calibration_error_at(here, truth, float(truth.mean())) == pytest.approx(
        calibration_table(here, truth, np.arange(len(truth)).astype(str)).expected_calibration_error
    )
    moved = probabilities_at(here, 0.74, 0.1)
    assert np.quantile(moved[truth], 0.5) == pytest.approx(
        np.quantile(there[truth_there], 0.5), abs=0.03
    )
    # What is off here is off there, too.
    assert calibration_error_at(here**3, truth, 0.1) > 0.02
