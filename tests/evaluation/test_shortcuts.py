"""Pairs that shortcuts cannot order: a score that is a shortcut fails on them, a real one does not."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from hilum.evaluation.shortcuts import (
    CALIPER,
    ShortcutPairs,
    matched_chance,
    out_of_fold_log_odds,
    shortcut_log_odds,
)


@pytest.fixture(scope="module")
def biased():
    """Radiographs whose nuisance tells most of the label: truth, nuisances, disease, patients."""
    rng = np.random.default_rng(0)
    truth = np.arange(1200) % 3 > 0
    nuisance = np.stack([truth + rng.normal(0, 0.7, 1200), rng.normal(size=1200)], axis=1)
    disease = truth + rng.normal(0, 0.5, 1200)
    return truth, nuisance, disease, np.array([f"p{i // 2}" for i in range(1200)])


def test_a_shortcut_looks_good_but_not_on_equal_or_opposed_pairs(biased):
    truth, nuisance, disease, _ = biased
    half = np.arange(1200) < 600
    log_odds = shortcut_log_odds(nuisance[half], truth[half], nuisance[~half])
    assert roc_auc_score(truth[~half], log_odds) > 0.8
    pairs = ShortcutPairs.of(log_odds, truth[~half])
    lives_on_it = pairs.areas(log_odds)
    assert lives_on_it["equal"] == pytest.approx(0.5, abs=0.1)
    assert lives_on_it["opposed"] == 0
    reads_lungs = pairs.areas(disease[~half])
    assert reads_lungs["equal"] > 0.85
    assert reads_lungs["opposed"] > 0.85


def test_kinds_with_few_pairs_are_left_out():
    truth = np.array([False] * 10 + [True] * 10)
    apart = np.where(truth, 5.0, -5.0)
    assert ShortcutPairs.of(apart, truth).areas(apart) == {}


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(20, 60), st.integers(20, 60))
def test_areas_are_those_of_a_loop_over_pairs(seed, normal, pneumonia):
    rng = np.random.default_rng(seed)
    truth = np.arange(normal + pneumonia) >= normal
    log_odds, scores = rng.normal(size=(2, len(truth))).round(1)
    right = {"equal": [], "opposed": []}
    for n in np.flatnonzero(~truth):
        for p in np.flatnonzero(truth):
            lead = log_odds[p] - log_odds[n]
            value = 1.0 if scores[p] > scores[n] else 0.5 if scores[p] == scores[n] else 0.0
            if abs(lead) < CALIPER:
                right["equal"].append(value)
            elif lead < 0:
                right["opposed"].append(value)
    expected = {name: np.mean(values) for name, values in right.items() if len(values) >= 200}
    assert ShortcutPairs.of(log_odds, truth).areas(scores) == pytest.approx(expected)


def test_out_of_fold_says_less_of_what_it_could_have_learned_by_heart(biased):
    truth, _, _, patients = biased
    noise = np.random.default_rng(1).normal(size=(1200, 6))
    by_heart = shortcut_log_odds(noise, truth, noise)
    honest = out_of_fold_log_odds(noise, truth, patients)
    assert roc_auc_score(truth, by_heart) > 0.75
    assert abs(roc_auc_score(truth, honest) - 0.5) < 0.06


def test_matched_drawing_narrows_the_shortcut_and_balances_the_labels(biased):
    truth, nuisance, _, patients = biased
    labels = truth.astype(np.int64) * np.where(np.arange(1200) % 2, 1, 2)
    chance = matched_chance(out_of_fold_log_odds(nuisance, truth, patients), labels)
    assert chance.sum() == pytest.approx(1)
    assert chance.min() > 0.1 / 1200
    for label in (0, 1, 2):
        assert chance[labels == label].sum() == pytest.approx(1 / 3)
    before = roc_auc_score(truth, nuisance[:, 0])
    after = roc_auc_score(truth, nuisance[:, 0], sample_weight=chance)
    assert 0.5 < after < before - 0.05
