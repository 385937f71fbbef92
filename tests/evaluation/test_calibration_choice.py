"""Choosing a calibration: each method where it is the truth, and the rule against its definition."""

import numpy as np
import pytest

from hilum.cohort.split import patient_folds
from hilum.errors import EvaluationError
from hilum.evaluation import fit_calibration, negative_log_likelihood
from hilum.evaluation.calibration_choice import FOLDS, CalibrationChoice, choose_calibration
from hilum.model.calibration import probabilities_from_scores


def world(bend, n=4000, seed=0, each=2, patient_effect=0.0):
    """Scores of patients with several radiographs; their log-odds come true once bent."""
    rng = np.random.default_rng(seed)
    patients = np.repeat(np.arange(n // each), each)
    log_odds = rng.normal(0, 2.5, n) + patient_effect * rng.normal(0, 1, n // each)[patients]
    truth = (rng.random(n) < 1 / (1 + np.exp(-bend(log_odds)))).astype(np.int64)
    scores = np.stack([np.zeros(n), log_odds], axis=1)
    return scores, truth, np.array([f"p{p}" for p in patients])


def terraces(t):
    return 4 * np.tanh(4 * (t + 2)) / 2 + 2 * np.tanh(4 * (t - 3))


@pytest.mark.parametrize(
    ("bend", "method"),
    [
        (lambda t: 0.5 * t, "temperature"),
        (lambda t: 0.5 * t + 1.2, "scale-and-bias"),
        (lambda t: 3 * np.logaddexp(0, t) - 0.3 * np.logaddexp(0, -t) - 2, "beta"),
        (terraces, "isotonic"),
    ],
)
def test_the_simplest_method_that_is_true_is_chosen_and_fitted_to_all(bend, method):
    scores, truth, patients = world(bend)
    calibration, choice = choose_calibration(scores, truth, patients)
    assert calibration.method == choice.method == method
    assert calibration == fit_calibration(scores, truth, method)
    assert [each.method for each in choice.methods] == [
        "temperature", "scale-and-bias", "beta", "isotonic",
    ]  # fmt: skip
    assert (choice.folds, choice.radiographs, choice.patients) == (FOLDS, 4000, 2000)


def test_figures_are_those_of_patients_that_were_held_out():
    scores, truth, patients = world(terraces, n=600)
    _, choice = choose_calibration(scores, truth, patients, seed=3)
    folds = patient_folds(truth, patients, FOLDS, 3)
    loss = {}
    for each in choice.methods:
        lost = np.zeros(600)
        for fold in range(FOLDS):
            here = folds == fold
            fitted = fit_calibration(scores[~here], truth[~here], each.method)
            p = probabilities_from_scores(fitted, scores[here])
            lost[here] = -np.log(np.where(truth[here] == 1, p[:, 1], p[:, 0]))
        loss[each.method] = lost
        assert each.log_loss == pytest.approx(lost.mean())
        in_sample = probabilities_from_scores(fit_calibration(scores, truth, each.method), scores)
        assert each.log_loss != pytest.approx(negative_log_likelihood(in_sample, truth), abs=1e-4)
    best = min(loss, key=lambda name: loss[name].mean())
    assert {each.method for each in choice.methods if each.behind == 0.0} == {best}
    for each in choice.methods:
        assert each.behind == pytest.approx(loss[each.method].mean() - loss[best].mean())


def test_the_first_within_one_standard_error_of_the_lowest_wins():
    for seed in range(3):
        scores, truth, patients = world(lambda t: 0.9 * t + 0.25, n=500, seed=seed)
        _, choice = choose_calibration(scores, truth, patients)
        near = [each for each in choice.methods if each.behind <= each.behind_standard_error]
        assert choice.method == near[0].method


def test_standard_errors_are_those_of_independent_patients():
    scores, truth, patients = world(lambda t: t + 1, n=400, each=1)
    _, choice = choose_calibration(scores, truth, patients)
    folds = patient_folds(truth, patients, FOLDS, 0)
    lost = np.zeros(400)
    for fold in range(FOLDS):
        here = folds == fold
        p = probabilities_from_scores(fit_calibration(scores[~here], truth[~here]), scores[here])
        lost[here] = -np.log(p[np.arange(here.sum()), truth[here]])
    of_bias = choice.methods[1]
    assert of_bias.standard_error == pytest.approx(lost.std(ddof=1) / np.sqrt(400))


def test_copies_of_radiographs_add_no_certainty():
    scores, truth, patients = world(terraces, n=400, each=1)
    _, once = choose_calibration(scores, truth, patients)
    _, copied = choose_calibration(
        *(np.repeat(column, 5, axis=0) for column in (scores, truth, patients))
    )
    for a, b in zip(once.methods, copied.methods, strict=True):
        assert b.standard_error == pytest.approx(a.standard_error, rel=0.15)
    assert copied.patients == once.patients


def test_three_labels_have_the_methods_that_are_for_any_number():
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 3, 600)
    scores = rng.normal(0, 1, (600, 3)) + 2.0 * np.eye(3)[truth]
    scores[:, 1] += 2.0
    calibration, choice = choose_calibration(scores, truth, np.arange(600).astype(str))
    assert [each.method for each in choice.methods] == ["temperature", "scale-and-bias"]
    assert calibration.method == "scale-and-bias"
    assert len(calibration.bias) == 3


def test_too_few_patients_of_a_label_give_scale_and_bias_with_the_reason():
    scores, truth, _ = world(lambda t: t, n=100, each=1)
    normal = np.flatnonzero(truth == 0)
    patients = np.arange(100).astype(str)
    patients[normal] = [str(i % 9) + " normal" for i in range(len(normal))]
    calibration, choice = choose_calibration(scores, truth, patients)
    assert calibration == fit_calibration(scores, truth)
    assert "only 9 patients; fewer than 10" in choice.reason
    assert (choice.methods, choice.folds) == ((), 0)
    assert CalibrationChoice.model_validate_json(choice.model_dump_json()) == choice


def test_the_same_seed_chooses_the_same():
    drawn = world(terraces, n=300)
    assert choose_calibration(*drawn, seed=5) == choose_calibration(*drawn, seed=5)


def test_a_missing_label_is_refused():
    with pytest.raises(EvaluationError, match="each of the 2 labels"):
        choose_calibration(np.zeros((9, 2)), np.zeros(9, int), np.arange(9).astype(str))
