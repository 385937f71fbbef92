import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from sklearn import metrics

from hilum.evaluation.figures import FigureName
from hilum.evaluation.subjects import (
    Agreement,
    Decision,
    MacroRanking,
    ProbabilityError,
    Ranking,
    rates,
)

# Few distinct probabilities, so that ties are common.
rows = st.lists(
    st.tuples(st.integers(0, 8), st.booleans(), st.integers(0, 4)), min_size=2, max_size=60
)


def columns(drawn):
    tenths, truth, weights = map(np.array, zip(*drawn, strict=True))
    return tenths / 8.0, truth.astype(bool), weights.astype(float)


@given(rows)
def test_weighted_ranking_equals_scikit_learn(drawn):
    probabilities, truth, weights = columns(drawn)
    assume(weights[truth].sum() > 0 and weights[~truth].sum() > 0)
    values = Ranking(probabilities, truth).values(weights[None])
    expected = metrics.roc_auc_score(truth, probabilities, sample_weight=weights)
    precision = metrics.average_precision_score(truth, probabilities, sample_weight=weights)
    assert values[FigureName.AUC][0] == pytest.approx(expected)
    assert values[FigureName.AVERAGE_PRECISION][0] == pytest.approx(precision)


@given(rows)
def test_a_weight_is_the_same_as_repeating_a_radiograph(drawn):
    probabilities, truth, weights = columns(drawn)
    times = weights.astype(int)
    assume(times.sum() > 0)
    again = np.repeat(probabilities, times), np.repeat(truth, times)
    for subject in (Ranking, ProbabilityError):
        weighted = subject(probabilities, truth).values(weights[None])
        repeated = subject(*again).values(np.ones((1, times.sum())))
        for name, value in weighted.items():
            np.testing.assert_allclose(value, repeated[name])


@given(rows, st.floats(0, 1))
def test_rates_equal_scikit_learn(drawn, threshold):
    probabilities, truth, weights = columns(drawn)
    called = probabilities >= threshold
    assume(weights[truth].sum() > 0 and weights[~truth].sum() > 0)
    values = {
        name: value[0] for name, value in Decision(truth, called).values(weights[None]).items()
    }
    same = {"sample_weight": weights, "zero_division": np.nan}
    assert values[FigureName.SENSITIVITY] == pytest.approx(
        metrics.recall_score(truth, called, **same)
    )
    assert values[FigureName.SPECIFICITY] == pytest.approx(
        metrics.recall_score(~truth, ~called, **same)
    )
    assert values[FigureName.PPV] == pytest.approx(
        metrics.precision_score(truth, called, **same), nan_ok=True
    )
    assert values[FigureName.NPV] == pytest.approx(
        metrics.precision_score(~truth, ~called, **same), nan_ok=True
    )
    assert values[FigureName.F1] == pytest.approx(metrics.f1_score(truth, called, **same))
    assert values[FigureName.ACCURACY] == pytest.approx(
        metrics.accuracy_score(truth, called, sample_weight=weights)
    )
    assert values[FigureName.BALANCED_ACCURACY] == pytest.approx(
        (values[FigureName.SENSITIVITY] + values[FigureName.SPECIFICITY]) / 2
    )


def test_rates_without_a_denominator_are_undefined_and_not_zero():
    only_normals = rates(*map(np.array, ([0.0], [3.0], [0.0], [0.0])))
    undefined = {name for name, value in only_normals.items() if np.isnan(value[0])}
    assert undefined == {
        FigureName.SENSITIVITY,
        FigureName.NPV,
        FigureName.F1,
        FigureName.BALANCED_ACCURACY,
    }
    assert only_normals[FigureName.SPECIFICITY][0] == 0.0


def test_many_sets_of_weights_give_the_same_as_each_alone():
    rng = np.random.default_rng(0)
    ranking = Ranking(rng.integers(0, 9, 40) / 8, rng.random(40) > 0.5)
    weights = rng.integers(0, 3, (5, 40)).astype(float)
    together = ranking.values(weights)[FigureName.AUC]
    alone = [ranking.values(row[None])[FigureName.AUC][0] for row in weights]
    np.testing.assert_allclose(together, alone)


def test_macro_figures_equal_scikit_learn():
    rng = np.random.default_rng(1)
    truth = rng.integers(0, 3, 90)
    probabilities = rng.dirichlet(np.ones(3), 90)
    called = probabilities.argmax(axis=1)
    one = np.ones((1, 90))
    rankings = tuple(Ranking(probabilities[:, i], truth == i) for i in range(3))
    expected = metrics.roc_auc_score(truth, probabilities, multi_class="ovr", average="macro")
    assert MacroRanking(rankings).values(one)[FigureName.MACRO_AUC][0] == pytest.approx(expected)
    agreement = Agreement(truth, called, ("a", "b", "c")).values(one)
    assert agreement[FigureName.ACCURACY][0] == pytest.approx((truth == called).mean())
    assert agreement[FigureName.BALANCED_ACCURACY][0] == pytest.approx(
        metrics.balanced_accuracy_score(truth, called)
    )


def test_the_area_under_the_interpolated_roc_curve_is_the_auc():
    rng = np.random.default_rng(2)
    truth = rng.random(200) > 0.4
    ranking = Ranking(np.round(rng.random(200) * 0.6 + truth * 0.3, 2), truth)
    one, grid = np.ones((1, 200)), np.linspace(0, 1, 20001)
    area = np.trapezoid(ranking.sensitivity_at(one, grid)[0], grid)
    assert area == pytest.approx(ranking.values(one)[FigureName.AUC][0], abs=1e-3)
