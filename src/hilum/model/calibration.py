"""Raw scores become calibrated probabilities; `hilum.evaluation.calibration` fits what is used here."""

import numpy as np
from numpy.typing import NDArray

from hilum.errors import ModelError
from hilum.model.schema import Calibration

__all__ = ["probabilities_from_scores"]


def probabilities_from_scores(
    calibration: Calibration, scores: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return the calibrated probabilities of each radiograph.

    They are softmax(scale * score + bias), or, with the methods "beta" and "isotonic", what a curve
    gives for two labels (see `Calibration`).

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
    if calibration.beta is not None:
        logits = _of_log_odds(_beta(calibration.beta, raw[:, 1] - raw[:, 0]))
    elif calibration.knots:
        logits = _of_log_odds(_between(calibration.knots, logits[:, 1] - logits[:, 0]))
    logits -= logits.max(axis=1, keepdims=True)  # the largest becomes 0, so exp cannot overflow
    odds = np.exp(logits)
    return np.asarray(odds / odds.sum(axis=1, keepdims=True), dtype=np.float64)


def _of_log_odds(log_odds: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.stack([np.zeros_like(log_odds), log_odds], axis=1)


def _beta(
    parameters: tuple[float, float, float], log_odds: NDArray[np.float64]
) -> NDArray[np.float64]:
    low, high, shift = parameters
    # ln p is -ln(1 + exp(-t)) and ln(1 - p) is -ln(1 + exp(t)), where t are the log-odds of p.
    bent = shift - low * np.logaddexp(0.0, -log_odds) + high * np.logaddexp(0.0, log_odds)
    return np.asarray(bent, dtype=np.float64)


def _between(
    knots: tuple[tuple[float, float], ...], log_odds: NDArray[np.float64]
) -> NDArray[np.float64]:
    before, after = np.array(knots, dtype=np.float64).T
    inside = np.clip(log_odds, before[0], before[-1])
    # Beyond the outermost knots the slope is 1, as without a curve, so that nobody there is tied.
    return np.asarray(np.interp(inside, before, after) + (log_odds - inside), dtype=np.float64)
