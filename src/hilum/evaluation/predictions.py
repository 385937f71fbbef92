"""What a classifier said of the radiographs of one part, beside what the reference standard says."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hilum.errors import EvaluationError
from hilum.model.schema import Labels

__all__ = ["Predictions"]

# Rows of probabilities must sum to 1; float32 softmax over three classes is good to about 1e-7.
_SUM_TOLERANCE = 1e-5


@dataclass(frozen=True, slots=True, eq=False)
class Predictions:
    """Calibrated probabilities and truth, one row per radiograph; checked, and read-only.

    Args:
        labels: What the columns mean; the first is normal.
        probabilities: Calibrated, shape (n, labels), float64 in [0, 1], rows sum to 1.
        truth: Index of the label that the reference standard gives, shape (n,), int64.
        patients: Who each radiograph shows, shape (n,), str; intervals keep patients whole.
        ids: Name of each radiograph, shape (n,), str, all different.

    Raises:
        EvaluationError: If shapes differ, a value is impossible, or an id is there twice.
    """

    labels: Labels
    probabilities: NDArray[np.float64]
    truth: NDArray[np.int64]
    patients: NDArray[np.str_]
    ids: NDArray[np.str_]

    def __post_init__(self) -> None:
        columns = {
            "probabilities": np.array(self.probabilities, dtype=np.float64),
            "truth": np.array(self.truth),
            "patients": np.array(self.patients, dtype=np.str_),
            "ids": np.array(self.ids, dtype=np.str_),
        }
        _check_shapes(columns, len(self.labels.findings))
        _check_values(columns, len(self.labels.findings))
        columns["truth"] = columns["truth"].astype(np.int64)
        for name, column in columns.items():
            column.flags.writeable = False
            object.__setattr__(self, name, column)

    def __len__(self) -> int:
        """Number of radiographs."""
        return len(self.truth)

    @property
    def pneumonia(self) -> NDArray[np.float64]:
        """Probability of pneumonia of any kind, shape (n,), in [0, 1]."""
        return np.clip(1.0 - self.probabilities[:, 0], 0.0, 1.0)

    @property
    def is_pneumonia(self) -> NDArray[np.bool_]:
        """True where the reference standard is pneumonia of any kind, shape (n,)."""
        return np.asarray(self.truth > 0)

    @property
    def patient_count(self) -> int:
        """Number of different patients."""
        return len(np.unique(self.patients))


def _check_shapes(columns: dict[str, NDArray[np.generic]], labels: int) -> None:
    n = len(columns["truth"]) if columns["truth"].ndim else 0
    if not n:
        raise EvaluationError("there are no radiographs to evaluate; choose a part that has some")
    expected = {"probabilities": (n, labels), "truth": (n,), "patients": (n,), "ids": (n,)}
    for name, shape in expected.items():
        if columns[name].shape != shape:
            raise EvaluationError(
                f"the column {name} of the predictions has shape {columns[name].shape}, "
                f"not {shape}; give one row for each radiograph"
            )


def _check_values(columns: dict[str, NDArray[np.generic]], labels: int) -> None:
    probabilities = columns["probabilities"].astype(np.float64)
    truth, ids = columns["truth"], columns["ids"]
    if truth.dtype.kind not in "iu" or truth.min() < 0 or truth.max() >= labels:
        raise EvaluationError(
            f"the truth must be a label index from 0 to {labels - 1}; check the labels' order"
        )
    inside = np.isfinite(probabilities) & (probabilities >= 0.0) & (probabilities <= 1.0)
    sums = np.abs(probabilities.sum(axis=1) - 1.0) <= _SUM_TOLERANCE
    if not (good := inside.all(axis=1) & sums).all():
        raise EvaluationError(
            f"row {int(np.argmin(good))} of the predictions holds no probabilities that sum to 1; "
            "calibrate the scores first"
        )
    if repeated := len(ids) - len(np.unique(ids)):
        raise EvaluationError(
            f"{repeated} radiographs are in the predictions twice, which would narrow every "
            "interval; keep one row of each id"
        )
