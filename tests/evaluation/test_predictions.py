import numpy as np
import pytest

from hilum.errors import EvaluationError
from hilum.evaluation import Predictions
from hilum.findings import Task
from hilum.model.schema import Labels


def predictions(**changes):
    columns = {
        "labels": Labels(task=Task.BINARY, findings=Task.BINARY.labels),
        "probabilities": np.array([[0.9, 0.1], [0.2, 0.8]]),
        "truth": np.array([0, 1]),
        "patients": np.array(["a", "b"]),
        "ids": np.array(["1", "2"]),
    }
    return Predictions(**{**columns, **changes})


def test_pneumonia_is_whatever_is_not_normal():
    three = Labels(task=Task.THREE_CLASS, findings=Task.THREE_CLASS.labels)
    made = predictions(
        labels=three,
        probabilities=np.array([[0.5, 0.3, 0.2], [0.1, 0.1, 0.8]]),
        truth=np.array([0, 2]),
    )
    np.testing.assert_allclose(made.pneumonia, [0.5, 0.9])
    assert made.is_pneumonia.tolist() == [False, True]


def test_predictions_cannot_be_changed_nor_follow_the_arrays_they_came_from():
    truth = np.array([0, 1])
    made = predictions(truth=truth)
    truth[0] = 1
    assert made.truth[0] == 0
    with pytest.raises(ValueError, match="read-only"):
        made.truth[0] = 1


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"truth": np.array([], dtype=int)}, "no radiographs"),
        ({"truth": np.array([0, 2])}, "label index from 0 to 1"),
        ({"truth": np.array([0.0, 1.0])}, "label index"),
        ({"patients": np.array(["a"])}, r"column patients .* shape \(1,\), not \(2,\)"),
        ({"probabilities": np.array([[0.9, 0.1], [0.2, 0.9]])}, "row 1 .* sum to 1"),
        ({"probabilities": np.array([[np.nan, 0.1], [0.2, 0.8]])}, "row 0"),
        ({"probabilities": np.array([[1.2, -0.2], [0.2, 0.8]])}, "row 0"),
        ({"probabilities": np.array([[0.2, 0.3, 0.5]] * 2)}, r"shape \(2, 3\), not \(2, 2\)"),
        ({"ids": np.array(["1", "1"])}, "1 radiographs are in the predictions twice"),
    ],
)
def test_impossible_predictions_are_refused(changes, message):
    with pytest.raises(EvaluationError, match=message):
        predictions(**changes)
