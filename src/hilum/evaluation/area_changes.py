"""Areas under the ROC curve of the same radiographs read several times, and how far each moved.

Intervals are DeLong's, over patients. That of an area is made on its log-odds, so that it stays below 1
(Pepe, The Statistical Evaluation of Medical Tests, 2003, section 5.2); that of a change is paired and
plain. Where an area is exactly 1 DeLong's variance is 0 and says nothing, so there is no interval.
"""

from statistics import NormalDist
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from hilum.evaluation.figures import LEVEL
from hilum.model.schema import Document

__all__ = ["Area", "AreaInterval", "area_changes"]

_NO_VARIANCE = 1e-15  # below it a variance is rounding


class AreaInterval(Document):
    """An interval of an area, or of a change of one."""

    lower: float
    upper: float
    level: float = LEVEL
    method: Literal["DeLong over patients"] = "DeLong over patients"


class Area(Document):
    """An area under the ROC curve, or a change of one."""

    value: float
    interval: AreaInterval | None = None
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
    # Not above: it needs scipy.stats, which takes a second to import, and the documents do not.
    from hilum.evaluation.delong import areas_and_covariance

    areas, covariance = areas_and_covariance(scores, truth, patients)
    own = np.diag(covariance)
    of_change = own[0] + own - 2 * covariance[0]
    return [
        (_area(float(area), float(variance)), _change(float(area - areas[0]), float(moved)))
        for area, variance, moved in zip(areas, own, of_change, strict=True)
    ]


def _area(area: float, variance: float) -> Area:
    if variance <= _NO_VARIANCE or not 0.0 < area < 1.0:
        return Area(
            value=min(max(area, 0.0), 1.0),
            no_interval="DeLong's variance is 0, as where every pair is in the right order",
        )
    odds = np.log(area / (1 - area))
    reach = _z() * np.sqrt(variance) / (area * (1 - area))
    lower, upper = 1 / (1 + np.exp(-(odds + np.array([-reach, reach]))))
    return Area(value=area, interval=AreaInterval(lower=float(lower), upper=float(upper)))


def _change(value: float, variance: float) -> Area:
    if variance <= _NO_VARIANCE:
        return Area(value=value, no_interval="DeLong's variance is 0, as where no order changed")
    reach = _z() * variance**0.5
    lower, upper = max(-1.0, value - reach), min(1.0, value + reach)
    return Area(value=value, interval=AreaInterval(lower=lower, upper=upper))


def _z() -> float:
    return NormalDist().inv_cdf((1 + LEVEL) / 2)
