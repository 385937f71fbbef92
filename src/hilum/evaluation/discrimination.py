"""Discrimination where it matters: at high sensitivity or specificity, and the AUC without chance.

An AUC also rewards operating points that nobody would use. What a clinic asks is how many healthy
children are referred if hardly a pneumonia may be missed.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hilum.evaluation.delong import area_interval, areas_and_covariance
from hilum.evaluation.figures import FigureName, Interval
from hilum.evaluation.intervals import too_few
from hilum.evaluation.subjects import Measure, Ranking, Replicates, Weights, ratio

__all__ = ["Discrimination", "delong_interval"]

# Sensitivities below this are of no use where a missed pneumonia is dear.
_LEAST_SENSITIVITY = 0.9

# 0.95 * 20 is 19.000000000000004 in binary; without this slack one more radiograph would be asked.
_SLACK = 1e-9

_SPECIFICITY_AT = {
    FigureName.SPECIFICITY_AT_SENSITIVITY_90: 0.90,
    FigureName.SPECIFICITY_AT_SENSITIVITY_95: 0.95,
    FigureName.SPECIFICITY_AT_SENSITIVITY_99: 0.99,
}
_SENSITIVITY_AT = {
    FigureName.SENSITIVITY_AT_SPECIFICITY_90: 0.90,
    FigureName.SENSITIVITY_AT_SPECIFICITY_95: 0.95,
    FigureName.SENSITIVITY_AT_SPECIFICITY_99: 0.99,
}


@dataclass(frozen=True, slots=True, eq=False)
class Discrimination:
    """How well a ranking tells apart where it matters: at high sensitivity or high specificity.

    A rate is held by thresholds that exist, those between two distinct probabilities, as operating
    points are: at least the wanted sensitivity, and then the best specificity, or the reverse. With
    fewer than 1 / (1 - rate) radiographs of its class a rate cannot be told from 1, and what it
    gives is undefined.

    Args:
        ranking: Of the radiographs.
    """

    ranking: Ranking

    @property
    def measures(self) -> dict[FigureName, Measure]:
        """What each figure rests on: both classes, for one sets the threshold of the other."""
        finding, other = self.ranking.finding, self.ranking.other
        yes, no = self.ranking.truth, ~self.ranking.truth
        groups = {f"with {finding}": yes, f"that are {other}": no}
        missing = f"no radiograph has {finding}, or no radiograph is {other}"
        few = "too few radiographs {} to tell a rate of {:.2f} from 1, or none of the other class"
        return {
            FigureName.PARTIAL_AUC: Measure(np.ones_like(yes), groups, missing),
            **{
                name: Measure(no, groups, few.format(f"with {finding}", rate), rate=True)
                for name, rate in _SPECIFICITY_AT.items()
            },
            **{
                name: Measure(yes, groups, few.format(f"that are {other}", rate), rate=True)
                for name, rate in _SENSITIVITY_AT.items()
            },
        }

    def values(self, weights: Weights) -> dict[FigureName, Replicates]:
        """Return each figure under each set of weights; NaN where undefined."""
        found, alarms = self.ranking.running(weights)
        positive, negative = (np.diff(each, prepend=0.0, axis=1) for each in (found, alarms))
        positives, negatives = found[:, -1], alarms[:, -1]
        both = (positives > 0) & (negatives > 0)
        has, lacks = int(self.ranking.truth.sum()), int((~self.ranking.truth).sum())
        values = {FigureName.PARTIAL_AUC: _high_sensitivity_area(positive, found, negative, alarms)}
        rows = np.arange(len(weights))
        for name, rate in _SPECIFICITY_AT.items():
            needed = rate * positives - _SLACK
            last = (found < needed[:, None]).sum(axis=1)  # the first threshold that is enough
            rates_there = 1.0 - ratio(alarms[rows, last], negatives)
            values[name] = np.where(both & _carries(has, rate), rates_there, np.nan)
        for name, rate in _SENSITIVITY_AT.items():
            allowed = (1.0 - rate) * negatives + _SLACK
            few_enough = (alarms <= allowed[:, None]).sum(axis=1)
            called = np.where(few_enough > 0, found[rows, np.maximum(few_enough, 1) - 1], 0.0)
            values[name] = np.where(both & _carries(lacks, rate), ratio(called, positives), np.nan)
        return values


def _carries(radiographs: int, rate: float) -> bool:
    return radiographs * (1.0 - rate) >= 1.0 - _SLACK


def _high_sensitivity_area(
    positive: Weights, found: Weights, negative: Weights, alarms: Weights
) -> Replicates:
    """Return the mean specificity over sensitivities from 0.9 to 1.

    That is the partial area over its largest value, 1 - 0.9 (Jiang, Metz & Nishikawa, Radiology
    1996;201:745-750), without McClish's change of scale, so that it reads as a specificity. The curve
    is straight over a run of ties.

    Args:
        positive: With the finding at each distinct probability, by falling probability, (b, d).
        found: Its running sum.
        negative: Without the finding, likewise.
        alarms: Its running sum.
    """
    positives, negatives = found[:, -1], alarms[:, -1]
    start = _LEAST_SENSITIVITY * positives[:, None]
    reach = np.clip(found - start, 0.0, positive)  # how much of the run lies above 0.9
    share = np.divide(reach, positive, out=np.zeros_like(reach), where=positive > 0)
    # Along the run, false alarms rise evenly up to `alarms`; half way through its upper part is the mean.
    area = (reach * (negatives[:, None] - alarms + negative * share / 2)).sum(axis=1)
    return ratio(area, (1.0 - _LEAST_SENSITIVITY) * positives * negatives)


def delong_interval(ranking: Ranking, patients: NDArray[np.str_]) -> Interval | str:
    """Return the 95 % interval of an AUC by its variance over patients, or why there is none.

    It draws nothing, and so checks the bootstrap.

    Args:
        ranking: Of the radiographs.
        patients: Who each radiograph shows, shape (n,).
    """
    if why := too_few(ranking.measures[FigureName.AUC], patients):
        return why
    areas, covariance = areas_and_covariance(ranking.probabilities[None], ranking.truth, patients)
    found = area_interval(float(areas[0]), float(covariance[0, 0]))
    return found or "the variance is zero here, so it claims certainty"
