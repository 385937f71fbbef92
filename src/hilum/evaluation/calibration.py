"""Calibration: whether a probability of 0.8 comes true eight times in ten.

Fitting is done here; `hilum.model.calibration` applies the result, so that screening needs no part
of evaluation.
"""

from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from hilum.errors import EvaluationError
from hilum.evaluation.figures import Interval
from hilum.evaluation.intervals import wilson
from hilum.model.schema import Calibration, Document

__all__ = [
    "CalibrationTable",
    "Method",
    "ReliabilityBin",
    "calibration_table",
    "fit_calibration",
    "mass_bins",
    "negative_log_likelihood",
]

# Weight of the ridge against the summed log-loss: a normal prior of standard deviation 10 on log
# scale and biases. Where classes are separable the likelihood grows without end as the scale does;
# this stops it, and moves nothing else, since it weighs less than one radiograph. Being zero at the
# identity, it also keeps the fit from ever being worse than no calibration.
_RIDGE = 0.005

# Smallest slope of a beta calibration, over the scale without a curve; at 0 it would tie radiographs that the classifier tells apart.
_LEAST_SLOPE = 0.01

# Radiographs that are thought beyond each end of an isotonic fit. With half a one, as in Jeffreys'
# prior, 20 normal radiographs at the lower end give a probability of 0.024 there, not 0.
_END_WEIGHT = 0.5
_LEVEL_TOLERANCE = 1e-12  # far above rounding, far below one radiograph in a million

# Keeps exp(log scale) far from overflow during the line search.
_LOG_SCALE_LIMIT = 12.0

Method = Literal["temperature", "scale-and-bias", "beta", "isotonic"]

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


def fit_calibration(
    scores: NDArray[np.float64], truth: NDArray[np.int64], method: Method = "scale-and-bias"
) -> Calibration:
    """Fit a calibration by maximum likelihood.

    - "temperature": a scale alone (Guo et al., ICML 2017).
    - "scale-and-bias": Platt scaling for two classes; for more, temperature scaling with a bias per
      class, which also follows a change of prevalence (Alexandari et al., ICML 2020). Only
      differences of biases matter, so the first is 0.
    - "beta", for two classes: a scale each for what the scores call likely and unlikely, and a bias
      (Kull et al., AISTATS 2017); with equal scales it is scale and bias.
    - "isotonic", for two classes: whatever rises (Zadrozny & Elkan, KDD 2002), made smooth.

    `hilum.evaluation.calibration_choice` chooses among them.

    Args:
        scores: Raw, finite, of the validation part, shape (n, labels).
        truth: Label index, shape (n,); every label must occur.
        method: How.

    Returns:
        The calibration. The likelihood on these radiographs is never below that of the raw softmax,
        nor, for "beta", below that of scale and bias.

    Raises:
        EvaluationError: If shapes differ, a score is not finite, a label never occurs, or the method
            is for two classes and there are more.
    """
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
    if method in ("beta", "isotonic") and labels != 2:
        raise EvaluationError(
            f"the calibration '{method}' is for two labels, and there are {labels}; "
            "use 'temperature' or 'scale-and-bias'"
        )
    scale, bias = _scale_and_bias(raw, target, with_bias=method != "temperature")
    log_odds = raw[:, 1] - raw[:, 0]
    return Calibration(
        method=method,
        scale=scale,
        bias=bias,
        radiographs=n,
        beta=_beta(log_odds, target[:, 1], scale, bias[1]) if method == "beta" else None,
        knots=_knots(scale * log_odds + bias[1], target[:, 1]) if method == "isotonic" else (),
    )


def _scale_and_bias(
    raw: NDArray[np.float64], target: NDArray[np.float64], *, with_bias: bool
) -> tuple[float, tuple[float, ...]]:
    from scipy.optimize import minimize

    n, labels = raw.shape

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
    free = (None, None) if with_bias else (0.0, 0.0)
    limits = [(-_LOG_SCALE_LIMIT, _LOG_SCALE_LIMIT)] + [free] * (labels - 1)
    found = minimize(loss, start, jac=True, method="L-BFGS-B", bounds=limits)
    best = found.x if np.isfinite(found.fun) and found.fun <= loss(start)[0] else start
    return float(np.exp(best[0])), (0.0, *map(float, best[1:]))


def _beta(
    log_odds: NDArray[np.float64], target: NDArray[np.float64], scale: float, bias: float
) -> tuple[float, float, float]:
    """Fit a, b and c of c + a ln p - b ln(1 - p), by logistic regression with a, b > 0.

    The search starts from scale and bias, where a and b are the scale.
    """
    from scipy.optimize import minimize
    from scipy.special import expit

    low, high = -np.logaddexp(0.0, -log_odds), np.logaddexp(0.0, log_odds)
    features = np.stack([scale * low, scale * high, np.ones_like(log_odds)], axis=1)
    start = np.array([1.0, 1.0, bias])
    n = len(log_odds)

    def loss(parameters: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        bent = features @ parameters
        away = parameters - start
        value = (np.logaddexp(0.0, bent) - target * bent).mean()
        slope = features.T @ (expit(bent) - target) / n
        return float(value + _RIDGE / n * away @ away), slope + 2.0 * _RIDGE / n * away

    limits = [(_LEAST_SLOPE, None), (_LEAST_SLOPE, None), (None, None)]
    found = minimize(loss, start, jac=True, method="L-BFGS-B", bounds=limits)
    best = found.x if np.isfinite(found.fun) and found.fun <= loss(start)[0] else start
    return float(scale * best[0]), float(scale * best[1]), float(best[2])


def _knots(
    log_odds: NDArray[np.float64], target: NDArray[np.float64]
) -> tuple[tuple[float, float], ...]:
    """Fit a curve that rises: isotonic regression, with its steps joined at their centres.

    Steps tie all radiographs of a level. Straight lines between the means of the levels (centred
    isotonic regression; Oron & Flournoy, Stat Biopharm Res 2017;9:258-267) tie none. Half a pneumonia
    below all radiographs and half a normal one above them keep every level from 0 and 1.
    """
    from scipy.optimize import isotonic_regression

    distinct, place = np.unique(log_odds, return_inverse=True)
    count = np.bincount(place).astype(np.float64)
    found = np.bincount(place, weights=target) / count
    levels = isotonic_regression(
        np.r_[1.0, found, 0.0], weights=np.r_[_END_WEIGHT, count, _END_WEIGHT]
    ).x[1:-1]
    knots: list[tuple[float, float]] = []
    # Equal levels are one level, however rounding has it.
    starts = np.flatnonzero(np.r_[True, np.diff(levels) > _LEVEL_TOLERANCE])
    for rows in np.split(np.arange(len(distinct)), starts[1:]):
        centre = np.average(distinct[rows], weights=count[rows])
        # Rounding must not put a mean outside of what it is the mean of, or knots might not rise.
        centre = np.clip(centre, distinct[rows[0]], distinct[rows[-1]])
        level = levels[rows[0]]
        knots.append((float(centre), float(np.log(level / (1.0 - level)))))
    return tuple(knots)


def mass_bins(pneumonia: NDArray[np.float64]) -> list[NDArray[np.intp]]:
    """Return the radiographs of each bin of about equal mass, by rising probability.

    Args:
        pneumonia: Shape (n,), in [0, 1], n >= 1; equal ones share a bin.
    """
    n = len(pneumonia)
    order = np.argsort(pneumonia, kind="stable")
    ordered = pneumonia[order]
    wanted = max(1, min(_BINS, n // _PER_BIN))
    cuts = np.arange(1, wanted) * n // wanted
    # A cut inside a run of ties moves to its start: a bin must not depend on the rows' order.
    cuts = np.unique(np.searchsorted(ordered, ordered[cuts], side="left"))
    return np.split(order, cuts[cuts > 0])


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
    bins: list[ReliabilityBin] = []
    for rows in mass_bins(pneumonia):
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
        mean_probability=float(np.sort(pneumonia).mean()),  # sorted, so that rounding is the same
        observed=float(is_pneumonia.mean()),
        bins=tuple(bins),
        histogram_normal=tuple(map(int, np.histogram(pneumonia[~is_pneumonia], edges)[0])),
        histogram_pneumonia=tuple(map(int, np.histogram(pneumonia[is_pneumonia], edges)[0])),
    )
