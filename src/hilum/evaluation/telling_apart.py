"""How well simple measures tell two sets of radiographs apart, and which of them differ."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from hilum.evaluation.figures import Figure, FigureName
from hilum.evaluation.intervals import REPLICATES, assess
from hilum.evaluation.shortcuts import out_of_fold_log_odds
from hilum.evaluation.subjects import Ranking
from hilum.model.schema import Document

__all__ = ["APART", "MeasureShift", "area_of", "measure_shifts", "surely", "told_apart"]

# Sets that can be told apart this well are not drawn from the same place.
APART = 0.6


class MeasureShift(Document):
    """How one measure differs between two sets of radiographs; missing values are left out."""

    name: str
    means: tuple[float | None, float | None]  # None where a set has no value
    distance: float | None  # second less first, in standard deviations of both sets together


def measure_shifts(
    one: NDArray[np.float64], other: NDArray[np.float64], names: Sequence[str]
) -> tuple[MeasureShift, ...]:
    """Say how each measure differs between two sets, the farthest apart first.

    Args:
        one: Shape (n, k); NaN is missing.
        other: Shape (m, k).
        names: Of the k measures.
    """
    shifts = []
    for name, left, right in zip(names, one.T, other.T, strict=True):
        left, right = left[~np.isnan(left)], right[~np.isnan(right)]
        means = tuple(float(each.mean()) if len(each) else None for each in (left, right))
        deviation = float(np.concatenate([left, right]).std()) if len(left) + len(right) else 0.0
        distance = None
        if means[0] is not None and means[1] is not None:
            # Rounding alone gives a constant measure a deviation of about 1e-15.
            distance = (means[1] - means[0]) / deviation if deviation > 1e-9 else 0.0
        shifts.append(MeasureShift(name=name, means=(means[0], means[1]), distance=distance))
    return tuple(sorted(shifts, key=lambda each: -abs(each.distance or 0.0)))


def area_of(
    scores: NDArray[np.float64],
    positive: NDArray[np.bool_],
    patients: NDArray[np.str_],
    rng: np.random.Generator,
    replicates: int = REPLICATES,
) -> Figure:
    """Return how well scores tell radiographs apart: the AUC with its interval over patients."""
    measured = assess({"": Ranking(scores, positive)}, patients, rng, replicates)
    return measured[""][FigureName.AUC]


def surely(area: Figure, level: float) -> bool:
    """Say whether an area reaches a level, chance allowed for."""
    if area.value is None:
        return False
    return (area.interval.lower if area.interval else area.value) >= level


def told_apart(
    measures: tuple[NDArray[np.float64], NDArray[np.float64]],
    patients: tuple[NDArray[np.str_], NDArray[np.str_]],
    names: Sequence[str],
    rng: np.random.Generator,
    replicates: int = REPLICATES,
) -> tuple[Figure, str, float]:
    """Return how well simple measures tell two sets of radiographs apart.

    Args:
        measures: Of each set, shapes (n, k) and (m, k).
        patients: Whose each radiograph is, shapes (n,) and (m,); a name in both is one person.
        names: Of the measures, k of them.
        rng: Of the bootstrap.
        replicates: How many bootstrap replicates.

    Returns:
        The AUC, cross-validated over patients; the measure whose means lie farthest apart; and how
        far, in standard deviations of both sets together.

    Raises:
        CohortError: If either set has fewer patients than there are folds.
    """
    both = np.nan_to_num(np.concatenate(measures))
    later = np.arange(len(both)) >= len(measures[0])
    people = np.concatenate(patients)
    scores = out_of_fold_log_odds(both, later, people)
    farthest = measure_shifts(*measures, names)[0]
    area = area_of(scores, later, people, rng, replicates)
    return area, farthest.name, abs(farthest.distance or 0.0)
