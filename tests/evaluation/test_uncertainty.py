"""Conformal sets keep their promise in every finding, and referring the unsure helps."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hilum.evaluation.predictions import Predictions
from hilum.evaluation.uncertainty import (
    abstention_curve,
    conformal_limits,
    measure_conformal_sets,
)
from hilum.findings import Task
from hilum.model.schema import Labels


def drawn(rng, count, labels=3, blur=1.0):
    truth = rng.choice(labels, count, p=[0.7, 0.2, 0.1][:labels] if labels == 3 else None)
    scores = rng.normal(size=(count, labels)) * blur + 2 * np.eye(labels)[truth]
    odds = np.exp(scores)
    return odds / odds.sum(axis=1, keepdims=True), truth


@pytest.mark.parametrize("level", [0.8, 0.9, 0.95])
def test_the_promised_coverage_is_kept_in_each_label(level):
    """Over many draws; the mean coverage lies between the level and the level + 1 / (n + 1)."""
    rng = np.random.default_rng(1)
    covered = np.zeros((200, 3))
    for i in range(200):
        probabilities, truth = drawn(rng, 600)
        limits = conformal_limits(probabilities[:300], truth[:300], level)
        held = (probabilities[300:] >= limits)[np.arange(300), truth[300:]]
        covered[i] = [held[truth[300:] == label].mean() for label in range(3)]
    assert (covered.mean(axis=0) > level - 0.01).all()
    assert (covered.mean(axis=0) < level + 0.06).all()


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**6), st.floats(0.5, 0.95), st.floats(0.5, 0.95))
def test_a_higher_level_never_makes_a_set_smaller(seed, one, other):
    probabilities, truth = drawn(np.random.default_rng(seed), 60)
    low, high = sorted((one, other))
    smaller = probabilities >= conformal_limits(probabilities, truth, low)
    larger = probabilities >= conformal_limits(probabilities, truth, high)
    assert (larger | ~smaller).all()


def test_too_few_radiographs_rule_nothing_out():
    probabilities = np.array([[0.9, 0.1], [0.8, 0.2], [0.1, 0.9]])
    assert conformal_limits(probabilities, np.array([0, 0, 1]), 0.9).tolist() == [0, 0]


def predictions(rng, count=400):
    probabilities, truth = drawn(rng, count)
    return Predictions(
        labels=Labels(task=Task.THREE_CLASS, findings=Task.THREE_CLASS.labels),
        probabilities=probabilities,
        truth=truth,
        patients=np.array([f"p{i // 2}" for i in range(count)]),
        ids=np.array([f"r{i}" for i in range(count)]),
    )


def test_sets_are_measured_on_patients_that_did_not_set_them():
    rng = np.random.default_rng(5)
    found = measure_conformal_sets(predictions(rng), rng, 200)
    assert found.one_finding + found.several + found.none == pytest.approx(1)
    assert [str(each.finding) for each in found.coverage] == [
        str(f) for f in Task.THREE_CLASS.labels
    ]
    normal = found.coverage[0].coverage
    assert normal.value == pytest.approx(0.9, abs=0.05)
    assert normal.interval.lower < 0.9 < normal.interval.upper


def test_referring_the_unsure_helps_and_starts_from_all():
    rng = np.random.default_rng(2)
    truth = rng.random(2000) < 0.4
    odds = rng.normal(size=2000) * 1.5 + 2 * truth - 1
    pneumonia = 1 / (1 + np.exp(-odds))
    curve = abstention_curve(pneumonia, truth, 0.5)
    assert curve[0].referred == 0
    assert curve[0].accuracy == ((pneumonia >= 0.5) == truth).mean()
    assert curve[-1].referred == 0.5
    assert curve[-1].accuracy > curve[0].accuracy + 0.05
    alone = abstention_curve(np.array([0.9]), np.array([True]), 0.5)
    assert alone[0].specificity is None
