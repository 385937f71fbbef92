"""Areas under the ROC curve of the same radiographs read several times, and how far each moved.

Intervals are DeLong's, over patients. That of an area is made on its log-odds, so that it stays below 1;
that of a change is paired and plain. Where an area is exactly 1 DeLong's variance is 0 and says nothing, so there is no interval.
"""

import numpy as np
from numpy.typing import NDArray

from hilum.evaluation.delong import NO_VARIANCE, Z, area_interval, areas_and_covariance
from hilum.evaluation.figures import Interval
from hilum.model.schema import Document

__all__ = ["Area", "area_changes"]


class Area(Document):
    """An area under the ROC curve, or a change of one."""

    value: float
    interval: Interval | None = None
    no_interval: str | None = None  # why there is none


def area_changes(
    scores: NDArray[np.float64], truth: NDArray[np.bool_], patients: NDArray[np.str_]
) -> list[tuple[Area, Area]]:
    """Return the area of each reading, and its change against the first reading.

    Args:
        scores: Of the finding, shape (readings, n), readings >= 1; only their order matters.
        truth: True where a radiograph has the finding, shape (n,).
        patients: Whose each is, shape (n,).

    Raises:
        EvaluationError: If fewer than two patients have the finding, or lack it.
    """
    areas, covariance = areas_and_covariance(scores, truth, patients)
    own = np.diag(covariance)
    of_change = own[0] + own - 2 * covariance[0]
    return [
        (_area(float(area), float(variance)), _change(float(area - areas[0]), float(moved)))
        for area, variance, moved in zip(areas, own, of_change, strict=True)
    ]


def _area(area: float, variance: float) -> Area:
    interval = area_interval(area, variance)
    if interval is None:
        return Area(
            value=min(max(area, 0.0), 1.0),
            no_interval="DeLong's variance is 0, as where every pair is in the right order",
        )
    return Area(value=area, interval=interval)


def _change(value: float, variance: float) -> Area:
    if variance <= NO_VARIANCE:
        return Area(value=value, no_interval="DeLong's variance is 0, as where no order changed")
    reach = Z * variance**0.5
    lower, upper = max(-1.0, value - reach), min(1.0, value + reach)
    interval = Interval(lower=lower, upper=upper, method="DeLong over patients")
    return Area(value=value, interval=interval)
