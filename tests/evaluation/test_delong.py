"""DeLong's covariance against its definition, against resampling, and by simulation."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm
from sklearn.metrics import roc_auc_score

from hilum.errors import EvaluationError
from hilum.evaluation.delong import areas_and_covariance
from hilum.evaluation.intervals import bootstrap
from hilum.evaluation.subjects import FigureName, Ranking


def by_definition(scores, truth):
    """DeLong et al. 1988, pair by pair, for independent radiographs."""
    ill, well = scores[:, truth], scores[:, ~truth]
    wins = (ill[:, :, None] > well[:, None, :]) + 0.5 * (ill[:, :, None] == well[:, None, :])
    ten, one = wins.mean(axis=2), wins.mean(axis=1)
    return wins.mean(axis=(1, 2)), np.cov(ten) / ill.shape[1] + np.cov(one) / well.shape[1]


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6), st.integers(2, 12), st.integers(2, 12), st.booleans())
def test_independent_radiographs_give_what_delong_defined(seed, m, n, ties):
    rng = np.random.default_rng(seed)
    truth = rng.permutation(np.arange(m + n) < m)
    scores = rng.normal(size=(3, m + n)) + truth
    scores = scores.round() if ties else scores
    areas, covariance = areas_and_covariance(scores, truth, np.arange(m + n).astype(str))
    expected, wanted = by_definition(scores, truth)
    np.testing.assert_allclose(areas, expected, atol=1e-12)
    np.testing.assert_allclose(areas, [roc_auc_score(truth, s) for s in scores], atol=1e-12)
    np.testing.assert_allclose(covariance, wanted, atol=1e-12)


def clustered(rng, patients=150, each=4):
    """Radiographs of patients who are alike within; some patients have both kinds."""
    whose = np.repeat(np.arange(patients), each)
    truth = (whose % 3 == 0) ^ (rng.random(len(whose)) < 0.1)
    shared = rng.normal(size=patients)[whose]
    scores = np.stack(
        [shared + 0.5 * rng.normal(size=len(whose)) + truth * gain for gain in (1, 1)]
    )
    return scores, truth, whose.astype(str)


def test_patients_with_many_radiographs_widen_it_as_the_bootstrap_does():
    scores, truth, patients = clustered(np.random.default_rng(3))
    _, covariance = areas_and_covariance(scores, truth, patients)
    _, alone = areas_and_covariance(scores, truth, np.arange(len(truth)).astype(str))
    rankings = [Ranking(score, truth) for score in scores]
    drawn = bootstrap(
        lambda w: np.stack([r.values(w)[FigureName.AUC] for r in rankings], axis=1),
        patients,
        np.random.default_rng(0),
    )
    np.testing.assert_allclose(np.sqrt(np.diag(covariance)), drawn.std(axis=0), rtol=0.1)
    np.testing.assert_allclose(covariance[0, 1], np.cov(drawn.T)[0, 1], rtol=0.25)
    assert covariance[0, 0] > 2 * alone[0, 0]


def test_equal_classifiers_are_called_different_once_in_twenty():
    rng = np.random.default_rng(7)
    wrong = 0
    for _ in range(400):
        areas, c = areas_and_covariance(*clustered(rng, patients=60, each=3))
        z = (areas[1] - areas[0]) / np.sqrt(c[0, 0] + c[1, 1] - 2 * c[0, 1])
        wrong += 2 * norm.sf(abs(z)) < 0.05
    assert 0.02 < wrong / 400 < 0.09


@pytest.mark.parametrize("truth", [[True] * 4, [False, False, False, True]])
def test_too_few_patients_are_refused(truth):
    with pytest.raises(EvaluationError, match="two patients"):
        areas_and_covariance(np.ones((1, 4)), np.array(truth), np.array(list("abcd")))
