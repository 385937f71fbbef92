"""Training a linear head on a frozen base network, without torch.

Every radiograph passes the base once, by OpenVINO. A multinomial logistic regression learns on the
pooled features; how strongly it is held back is chosen by cross-validation that keeps patients
together. The head is then joined to the base, calibrated, and given its operating points on the
validation part, which the fit never saw.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hilum.cohort.split import patient_folds
from hilum.model.network import BATCH, Network
from hilum.networks import FrozenBase
from hilum.training.recipe import HeadSearch

__all__ = ["Head", "embed", "fit_head"]

# Stops L-BFGS where the log-loss no longer changes in the third digit; tighter gave the same AUC.
_TOLERANCE = 1e-3
_ITERATIONS = 1000


@dataclass(frozen=True, slots=True)
class Head:
    """A linear layer on pooled features, with how it was chosen."""

    weights: NDArray[np.float64]  # (labels, channels)
    bias: NDArray[np.float64]  # (labels,)
    c: float
    log_losses: dict[float, float]  # cross-validated, for each c that was tried
    out_of_fold: NDArray[np.float64]  # probabilities by heads without the patient, (n, labels)


def embed(
    base: FrozenBase,
    pixels: NDArray[np.uint8],
    progress: Callable[[int, int], None] | None = None,
) -> NDArray[np.float32]:
    """Return the pooled features of radiographs.

    Args:
        base: The frozen network.
        pixels: Shape (n, size, size), uint8.
        progress: Called with how many of how many are done.

    Returns:
        Shape (n, channels), float32.
    """
    network = Network(base.path.read_bytes())
    features = np.empty((len(pixels), base.channels), np.float32)
    starts = range(0, len(pixels), BATCH)
    batches = (pixels[start : start + BATCH] for start in starts)
    for start, maps in zip(starts, network.stream(batches, "features"), strict=True):
        features[start : start + len(maps)] = maps.mean(axis=(2, 3))
        if progress:
            progress(start + len(maps), len(pixels))
    return features


def fit_head(
    features: NDArray[np.float32],
    truth: NDArray[np.int64],
    patients: NDArray[np.str_],
    search: HeadSearch,
    seed: int,
    progress: Callable[[int, int], None] | None = None,
) -> Head:
    """Choose and fit a logistic head.

    Args:
        features: Pooled, shape (n, channels).
        truth: Label index of each radiograph, shape (n,).
        patients: Patient of each, shape (n,); nobody is in two folds.
        search: What to try.
        seed: Of the folds.
        progress: Called with how many fits of at most how many are done.

    Returns:
        The head, fitted on all radiographs with the best strength.

    Raises:
        CohortError: If a label has fewer patients than there are folds.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import log_loss

    folds = patient_folds(truth, patients, search.folds, seed)
    mean = features.mean(axis=0)
    # A feature that never varies carries nothing; dividing by 1 leaves it at zero.
    deviation = np.where(features.std(axis=0) > 0, features.std(axis=0), 1.0).astype(np.float32)
    standard = (features - mean) / deviation
    labels = np.unique(truth)

    def fitted(rows: NDArray[np.bool_], c: float) -> LogisticRegression:
        weight = "balanced" if search.balance == "balanced" else None
        model = LogisticRegression(
            C=c, max_iter=_ITERATIONS, tol=_TOLERANCE, class_weight=weight, random_state=seed
        )
        return model.fit(standard[rows], truth[rows])

    losses: dict[float, float] = {}
    out_of_fold = np.empty((len(truth), len(labels)))
    for c in search.c:
        held_out = np.empty((len(truth), len(labels)))
        for fold in range(search.folds):
            out = folds == fold
            held_out[out] = fitted(~out, c).predict_proba(standard[out])
            if progress:
                progress(len(losses) * search.folds + fold + 1, len(search.c) * search.folds)
        # scikit-learn's float32 probabilities sum to 1 only in their own precision.
        held_out /= held_out.sum(axis=1, keepdims=True)
        losses[c] = float(log_loss(truth, held_out, labels=labels))
        if losses[c] > min(losses.values()):
            break
        out_of_fold = held_out
    best = min(losses, key=lambda c: losses[c])
    model = fitted(np.ones(len(truth), bool), best)
    weights, bias = model.coef_.astype(np.float64), model.intercept_.astype(np.float64)
    if len(labels) == 2:
        # scikit-learn keeps one row for two classes; half of it on each side is the same softmax.
        weights, bias = np.vstack([-weights, weights]) / 2, np.hstack([-bias, bias]) / 2
    weights = weights / deviation
    return Head(weights, bias - weights @ mean, best, losses, out_of_fold)
