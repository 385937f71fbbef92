"""The ROC and precision-recall curves as points for a plot, with a band over patients."""

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from hilum.evaluation.intervals import MINIMUM_PATIENTS, bootstrap, percentiles
from hilum.evaluation.subjects import Ranking
from hilum.model.schema import Document

__all__ = ["Band", "Curves", "PrecisionRecallPoint", "RocPoint", "curves"]

_POINTS = 200  # a plot 600 pixels wide shows no more; areas are computed on all points
_BAND_POINTS = 101


class RocPoint(Document):
    """What one threshold gives."""

    threshold: float | None  # null at the corner where nothing is called pneumonia
    false_positive_rate: float = Field(ge=0.0, le=1.0)  # 1 - specificity
    sensitivity: float = Field(ge=0.0, le=1.0)


class PrecisionRecallPoint(Document):
    """What one threshold gives."""

    threshold: float | None  # null at the end where nothing is called pneumonia
    recall: float = Field(ge=0.0, le=1.0)  # sensitivity
    precision: float = Field(ge=0.0, le=1.0)  # positive predictive value


class Band(Document):
    """Pointwise 95 % limits of sensitivity at given false-positive rates, by patient bootstrap."""

    false_positive_rate: tuple[float, ...]
    lower: tuple[float, ...]
    upper: tuple[float, ...]


class Curves(Document):
    """Both curves, thinned; empty where a class is absent."""

    roc: tuple[RocPoint, ...] = ()
    band: Band | None = None  # null where a class has too few patients
    precision_recall: tuple[PrecisionRecallPoint, ...] = ()


def _thinned(x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.intp]:
    """Choose at most `_POINTS` rows, evenly along the curve's length, with both ends."""
    if len(x) <= _POINTS:
        return np.arange(len(x))
    along = np.r_[0.0, np.cumsum(np.abs(np.diff(x)) + np.abs(np.diff(y)))]
    wanted = np.linspace(0.0, along[-1], _POINTS)
    return np.unique(np.r_[np.searchsorted(along, wanted, side="left"), len(x) - 1])


def _threshold(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def curves(
    ranking: Ranking, patients: NDArray[np.str_], rng: np.random.Generator, replicates: int
) -> Curves:
    """Trace both curves.

    Args:
        ranking: Probability of pneumonia against truth, n radiographs.
        patients: Who each radiograph shows, shape (n,).
        rng: The source of randomness of the band.
        replicates: How many bootstrap replicates.
    """
    from sklearn.metrics import precision_recall_curve, roc_curve

    truth = ranking.truth
    if truth.all() or not truth.any():
        return Curves()
    fpr, tpr, at = roc_curve(truth, ranking.probabilities)
    roc = tuple(
        RocPoint(
            threshold=_threshold(at[i]),
            false_positive_rate=float(fpr[i]),
            sensitivity=float(tpr[i]),
        )
        for i in _thinned(fpr, tpr)
    )
    precision, recall, levels = precision_recall_curve(truth, ranking.probabilities)
    levels = np.r_[levels, np.inf]  # scikit-learn appends the point (recall 0, precision 1)
    precision_recall = tuple(
        PrecisionRecallPoint(
            threshold=_threshold(levels[i]),
            recall=float(recall[i]),
            precision=float(precision[i]),
        )
        for i in _thinned(recall, precision)
    )
    return Curves(
        roc=roc,
        band=_band(ranking, patients, rng, replicates),
        precision_recall=precision_recall,
    )


def _band(
    ranking: Ranking, patients: NDArray[np.str_], rng: np.random.Generator, replicates: int
) -> Band | None:
    for mask in (ranking.truth, ~ranking.truth):
        if len(np.unique(patients[mask])) < MINIMUM_PATIENTS:
            return None
    grid = np.linspace(0.0, 1.0, _BAND_POINTS)
    drawn = bootstrap(
        lambda weights: ranking.sensitivity_at(weights, grid), patients, rng, replicates
    )
    lower, upper = percentiles(drawn)
    return Band(
        false_positive_rate=tuple(map(float, grid)),
        lower=tuple(map(float, lower)),
        upper=tuple(map(float, upper)),
    )
