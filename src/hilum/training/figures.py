"""What an epoch is worth on the validation part."""

import numpy as np
from numpy.typing import NDArray
from scipy.special import log_softmax, logsumexp
from sklearn.metrics import roc_auc_score

__all__ = ["pneumonia_scores", "validation_figures"]


def pneumonia_scores(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the log-odds of any pneumonia before calibration, shape (n,).

    Args:
        scores: Raw, shape (n, labels); the first label is normal.
    """
    log_odds: NDArray[np.float64] = logsumexp(scores[:, 1:], axis=1) - scores[:, 0]
    return log_odds


def validation_figures(scores: NDArray[np.float64], truth: NDArray[np.int64]) -> dict[str, float]:
    """Return loss, area under the ROC curve (mean of one-against-rest for three) and accuracy.

    Args:
        scores: Raw, shape (n, labels).
        truth: Label indices, shape (n,).
    """
    log_probabilities = log_softmax(scores, axis=1)
    if scores.shape[1] == 2:
        auc = roc_auc_score(truth, pneumonia_scores(scores))
    else:
        auc = np.mean(
            [roc_auc_score(truth == k, log_probabilities[:, k]) for k in range(scores.shape[1])]
        )
    return {
        "loss": float(-log_probabilities[np.arange(len(truth)), truth].mean()),
        "auc": float(auc),
        "accuracy": float((scores.argmax(axis=1) == truth).mean()),
    }
