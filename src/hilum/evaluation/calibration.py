"""Calibration: whether a probability of 0.8 comes true eight times in ten.

Fitting is done here; `hilum.model.calibration` applies the result, so that screening needs no part
of evaluation.
"""

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from hilum.errors import EvaluationError
from hilum.evaluation.figures import Interval
from hilum.evaluation.intervals import wilson
from hilum.model.schema import Calibration, Document

__all__ = [
    "CalibrationTable",
    "ReliabilityBin",
    "calibration_table",
    "fit_calibration",
    "negative_log_likelihood",
]

# Weight of the ridge against the summed log-loss: a normal prior of standard deviation 10 on log
# scale and biases. Where classes are separable the likelihood grows without end as the scale does;
# this stops it, and moves nothing else, since it weighs less than one radiograph. Being zero at the
# identity, it also keeps the fit from ever being worse than no calibration.
_RIDGE = 0.005

# Keeps exp(log scale) far from overflow during the line search.
_LOG_SCALE_LIMIT = 12.0

_BINS = 10
_PER_BIN = 20  # with fewer radiographs a bin's observed rate says nothing
_HISTOGRAM_BINS = 20


class ReliabilityBin(Document):
    """Radiographs of similar probability, and how many of them had pneumonia."""

    lowest: float  # probability in the bin
    highest: float
    mean_probability: float
    observed: float  # fraction with pneumonia
    interval: Interval  # of the observed fraction
    radiographs: int = Field(ge=1)
    patients: int = Field(ge=1)


class CalibrationTable(Document):
    """How probabilities of pneumonia compare with what was found."""

    # Mean distance between probability and observed fraction over the bins, by their size
    # (Naeini et al., AAAI 2015), with bins of equal mass (Nixon et al., CVPR Workshops 2019). It has
    # no interval: resampling adds noise to every bin and so biases it upwards.
    expected_calibration_error: float
    binning: str  # for people
    mean_probability: float
    observed: float  # fraction with pneumonia; the prevalence
    bins: tuple[ReliabilityBin, ...]  # by rising probability
    histogram_normal: tuple[int, ...]  # radiographs by probability, equal widths over [0, 1]
    histogram_pneumonia: tuple[int, ...]


def negative_log_likelihood(probabilities: NDArray[np.float64], truth: NDArray[np.int64]) -> float:
    """Return the mean of -log(probability of the true label), in nats; lower is better.

    Args:
        probabilities: Shape (n, labels), rows sum to 1.
        truth: Label index, shape (n,).
    """
    chosen = probabilities[np.arange(len(truth)), truth]
    return float(-np.log(np.maximum(chosen, np.finfo(np.float64).tiny)).mean())


def fit_calibration(scores: NDArray[np.float64], truth: NDArray[np.int64]) -> Calibration:
    """Fit softmax(scale * score + bias) by maximum likelihood.

    For two classes this is Platt scaling; for more, temperature scaling with a bias per class, which
    also follows a change of prevalence (Alexandari et al., ICML 2020). Only differences of biases
    matter, so the first is 0.

    Args:
        scores: Raw, finite, of the validation part, shape (n, labels).
        truth: Label index, shape (n,); every label must occur.

    Returns:
        The calibration; its likelihood on these radiographs is never below that of the raw softmax.

    Raises:
        EvaluationError: If shapes differ, a score is not finite, or a label never occurs.
    """
    from scipy.optimize import minimize

    raw = np.asarray(scores, dtype=np.float64)
    if raw.ndim != 2 or raw.shape[1] < 2 or np.shape(truth) != raw.shape[:1]:
        raise EvaluationError(
            f"scores of shape {raw.shape} and truth of shape {np.shape(truth)} do not belong "
            "together; give one row of scores for each radiograph"
        )
    if not np.isfinite(raw).all():
        raise EvaluationError("a score is not finite, so nothing can be calibrated; train again")
    n, labels = raw.shape
    target = np.eye(labels)[truth] if set(np.unique(truth)) <= set(range(labels)) else None
    if target is None or not target.any(axis=0).all():
        raise EvaluationError(
            f"calibration needs radiographs of each of the {labels} labels in the validation part; "
            "add some of the missing ones"
        )

    def loss(parameters: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        scale = np.exp(parameters[0])
        logits = scale * raw + np.r_[0.0, parameters[1:]]
        top = logits.max(axis=1, keepdims=True)
        log_sum = top[:, 0] + np.log(np.exp(logits - top).sum(axis=1))
        residual = np.exp(logits - log_sum[:, None]) - target  # d loss / d logits
        value = (log_sum - (logits * target).sum(axis=1)).mean()
        slope = np.r_[scale * (residual * raw).sum(), residual[:, 1:].sum(axis=0)] / n
        ridge = _RIDGE / n
        return (
            float(value + ridge * parameters @ parameters),
            slope + 2.0 * ridge * parameters,
        )

    start = np.zeros(labels)
    limits = [(-_LOG_SCALE_LIMIT, _LOG_SCALE_LIMIT)] + [(None, None)] * (labels - 1)
    found = minimize(loss, start, jac=True, method="L-BFGS-B", bounds=limits)
    best = found.x if np.isfinite(found.fun) and found.fun <= loss(start)[0] else start
    return Calibration(
        method="scale-and-bias",
        scale=float(np.exp(best[0])),
        bias=(0.0, *map(float, best[1:])),
        radiographs=n,
    )


def calibration_table(
    pneumonia: NDArray[np.float64], is_pneumonia: NDArray[np.bool_], patients: NDArray[np.str_]
) -> CalibrationTable:
    """Compare probabilities of pneumonia with what was found, in bins of equal mass.

    Radiographs of equal probability share a bin. The Wilson interval of a bin counts its patients,
    not its radiographs, as independent: somewhat wide where patients have several, never too narrow.

    Args:
        pneumonia: Calibrated, shape (n,), in [0, 1], n >= 1.
        is_pneumonia: The reference standard, shape (n,).
        patients: Who each radiograph shows, shape (n,).
    """
    n = len(pneumonia)
    order = np.argsort(pneumonia, kind="stable")
    ordered = pneumonia[order]
    wanted = max(1, min(_BINS, n // _PER_BIN))
    cuts = np.arange(1, wanted) * n // wanted
    # A cut inside a run of ties moves to its start: a bin must not depend on the rows' order.
    cuts = np.unique(np.searchsorted(ordered, ordered[cuts], side="left"))
    bins: list[ReliabilityBin] = []
    for rows in np.split(order, cuts[cuts > 0]):
        observed = float(is_pneumonia[rows].mean())
        people = len(np.unique(patients[rows]))
        bins.append(
            ReliabilityBin(
                lowest=float(pneumonia[rows].min()),
                highest=float(pneumonia[rows].max()),
                mean_probability=float(pneumonia[rows].mean()),
                observed=observed,
                interval=wilson(observed, people),
                radiographs=len(rows),
                patients=people,
            )
        )
    gaps = [abs(each.mean_probability - each.observed) * each.radiographs for each in bins]
    edges = np.linspace(0.0, 1.0, _HISTOGRAM_BINS + 1)
    return CalibrationTable(
        expected_calibration_error=float(sum(gaps) / n),
        binning=f"{len(bins)} bins of equal mass; equal probabilities share a bin",
        mean_probability=float(ordered.mean()),  # ordered, so that rounding is the same
        observed=float(is_pneumonia.mean()),
        bins=tuple(bins),
        histogram_normal=tuple(map(int, np.histogram(pneumonia[~is_pneumonia], edges)[0])),
        histogram_pneumonia=tuple(map(int, np.histogram(pneumonia[is_pneumonia], edges)[0])),
    )
