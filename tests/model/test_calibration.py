import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from hilum.errors import ModelError
from hilum.model.calibration import probabilities_from_scores
from hilum.model.schema import Calibration

scores = arrays(np.float64, (7, 3), elements=st.floats(-1e6, 1e6))


@given(
    scores=scores, scale=st.floats(1e-3, 1e3), bias=st.tuples(st.just(0.0), *[st.floats(-9, 9)] * 2)
)
def test_probabilities_lie_in_range_and_sum_to_one(scores, scale, bias):
    result = probabilities_from_scores(Calibration(scale=scale, bias=bias), scores)
    assert ((result >= 0) & (result <= 1)).all()
    np.testing.assert_allclose(result.sum(axis=1), 1.0, atol=1e-12)


def test_without_calibration_it_is_the_plain_softmax():
    result = probabilities_from_scores(Calibration(bias=(0.0, 0.0)), np.array([[0.0, np.log(3.0)]]))
    np.testing.assert_allclose(result, [[0.25, 0.75]])


def test_scores_are_not_changed_in_place():
    given_scores = np.array([[1.0, 2.0]])
    probabilities_from_scores(Calibration(scale=2.0, bias=(0.0, 1.0)), given_scores)
    np.testing.assert_array_equal(given_scores, [[1.0, 2.0]])


def test_no_radiographs_give_no_rows():
    assert probabilities_from_scores(Calibration(bias=(0.0, 0.0)), np.empty((0, 2))).shape == (0, 2)


def test_scores_of_another_task_are_refused():
    with pytest.raises(ModelError, match=r"\(1, 3\) do not fit a calibration for 2 labels"):
        probabilities_from_scores(Calibration(bias=(0.0, 0.0)), np.zeros((1, 3)))


def test_a_score_that_is_not_finite_is_refused():
    with pytest.raises(ModelError, match="not finite"):
        probabilities_from_scores(Calibration(bias=(0.0, 0.0)), np.array([[0.0, np.nan]]))
