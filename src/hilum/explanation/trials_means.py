"""Means over radiographs with intervals over patients: the one figure that every trial reports.

A trial gives each radiograph a number. Its mean is compared with the mean of a baseline on the same
radiographs, so differences are taken within a radiograph first: that is the paired comparison. Patients
are resampled, as everywhere in hilum.
"""

from collections.abc import Mapping
from math import inf

import numpy as np
from numpy.typing import NDArray

from hilum.evaluation.figures import Figure
from hilum.evaluation.intervals import (
    MINIMUM_PATIENTS,
    REPLICATES,
    bootstrap,
    clopper_pearson,
    drawn_interval,
    too_few,
)
from hilum.evaluation.subjects import Measure

__all__ = ["above", "below", "doubt", "mean_figures"]


def mean_figures(
    columns: Mapping[str, NDArray[np.float64]],
    patients: NDArray[np.str_],
    rng: np.random.Generator,
    *,
    undefined: str,
    hits: frozenset[str] = frozenset(),
    replicates: int = REPLICATES,
) -> dict[str, Figure]:
    """Average numbers over radiographs, with intervals from one bootstrap over patients.

    Args:
        columns: By name, each of shape (n,); NaN where a radiograph has no such number. It is then in
            neither the mean nor the counts of the figure.
        patients: Whose each radiograph is, shape (n,), n >= 1.
        rng: Of the bootstrap.
        undefined: Why a radiograph would have no number, for people.
        hits: Names of columns that hold hits and misses, in [0, 1]. Where all are hits, or none is,
            the interval is the exact binomial one, because the bootstrap would have no width.
        replicates: Of the bootstrap.

    Returns:
        By name.
    """
    values = np.stack(list(columns.values()), axis=1)  # (n, columns)
    there = ~np.isnan(values)
    filled, counted = np.where(there, values, 0.0), there.astype(np.float64)

    def means(weights: NDArray[np.float64]) -> NDArray[np.float64]:
        weight = weights @ counted
        unknown = np.full(weight.shape, np.nan)
        return np.asarray(np.divide(weights @ filled, weight, out=unknown, where=weight > 0))

    estimates = means(np.ones((1, len(patients))))[0]
    drawn = bootstrap(means, patients, rng, replicates)
    return {
        name: _figure(estimates[i], drawn[:, i], there[:, i], patients, undefined, name in hits)
        for i, name in enumerate(columns)
    }


def below(figure: Figure, level: float) -> bool | None:
    """Say whether a figure's whole interval lies below a level.

    Returns:
        None where the interval holds the level, and where the sample carries no interval.
    """
    lower, upper = _limits(figure)
    if upper < level:
        return True
    return False if lower >= level else None


def above(figure: Figure, level: float) -> bool | None:
    """Say whether a figure's whole interval lies above a level; None as in `below`."""
    lower, upper = _limits(figure)
    if lower > level:
        return True
    return False if upper <= level else None


def doubt(figure: Figure, level: float) -> str:
    """Say why a figure decides nothing, where `below` or `above` is None."""
    if figure.interval is None:
        return f"there is no interval: {figure.no_interval}"
    return f"the interval holds {level:g}; try more radiographs"


def _limits(figure: Figure) -> tuple[float, float]:
    if figure.interval is not None:
        return figure.interval.lower, figure.interval.upper
    if figure.value is not None and figure.patients >= MINIMUM_PATIENTS:
        # Enough patients and yet no interval: all of them have the same value, which leaves no doubt.
        return figure.value, figure.value
    return -inf, inf


def _figure(
    estimate: float,
    drawn: NDArray[np.float64],
    there: NDArray[np.bool_],
    patients: NDArray[np.str_],
    undefined: str,
    hit: bool,
) -> Figure:
    count, people = int(there.sum()), len(np.unique(patients[there]))
    if not count:
        return Figure(
            value=None,
            reason=f"undefined on every radiograph: {undefined}",
            no_interval="the figure is undefined",
            radiographs=0,
            patients=0,
        )
    value = float(estimate)
    measure = Measure(there, {"in the trial": there}, undefined)
    interval = too_few(measure, patients) or (
        clopper_pearson(people if value == 1.0 else 0, people)
        if hit and value in (0.0, 1.0)
        else drawn_interval(drawn)
    )
    if isinstance(interval, str):
        return Figure(value=value, no_interval=interval, radiographs=count, patients=people)
    return Figure(value=value, interval=interval, radiographs=count, patients=people)
