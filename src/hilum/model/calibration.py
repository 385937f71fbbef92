"""Raw scores become calibrated probabilities; `hilum.evaluation.calibration` fits what is used here."""

import numpy as np
from numpy.typing import NDArray

from hilum.errors import ModelError
from hilum.model.schema import Calibration

__all__ = ["probabilities_from_scores"]


def probabilities_from_scores(
    calibration: Calibration, scores: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return softmax(scale * score + bias) for each radiograph.

    Args:
        calibration: Fitted on the validation part; the identity where its method is "none".
        scores: Raw, of any finite size, shape (n, labels).

    Returns:
        Probabilities in [0, 1], shape (n, labels); each row sums to 1.

    Raises:
        ModelError: If there is not one bias per label, or a score is not finite.
    """
    raw = np.asarray(scores, dtype=np.float64)
    if raw.ndim != 2 or raw.shape[1] != len(calibration.bias):
        raise ModelError(
            f"scores of shape {raw.shape} do not fit a calibration for "
            f"{len(calibration.bias)} labels; use the calibration of the same classifier"
        )
    if not np.isfinite(raw).all():
        raise ModelError("the network gave a score that is not finite; its file may be damaged")
    logits = calibration.scale * raw + np.asarray(calibration.bias, dtype=np.float64)
    logits -= logits.max(axis=1, keepdims=True)  # the largest becomes 0, so exp cannot overflow
    odds = np.exp(logits)
    return np.asarray(odds / odds.sum(axis=1, keepdims=True), dtype=np.float64)
