"""What a classifier is worth where pneumonia is rarer, and whether acting on it does good.

Three of four radiographs of the Guangzhou set show pneumonia, and in no emergency room do they.
Sensitivity and specificity carry over where the same disease is merely rarer; predictive values and
probabilities do not, and are worked out anew by Bayes' theorem.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from hilum.errors import EvaluationError
from hilum.evaluation.calibration import mass_bins
from hilum.evaluation.figures import Figure, FigureName, Interval
from hilum.evaluation.subjects import Decision, Measure, Replicates, Weights
from hilum.model.schema import Document

__all__ = [
    "PREVALENCES",
    "AtPrevalence",
    "NetBenefit",
    "PrevalenceFigures",
    "calibration_error_at",
    "decision_curve",
    "exact_where_certain",
    "probabilities_at",
]

# From screening the well to a ward of children with fever and cough.
PREVALENCES = (0.01, 0.05, 0.1, 0.2, 0.5)
_THRESHOLDS = np.round(np.arange(0.01, 1.0, 0.01), 2)


class PrevalenceFigures(Document):
    """Predictive values where a stated share of the radiographs shows pneumonia."""

    prevalence: float = Field(gt=0.0, lt=1.0)
    ppv: Figure
    npv: Figure
    # What the operating point's threshold is on probabilities moved to that prevalence, and their
    # expected calibration error there; None where this part lacks a class.
    threshold: float | None = None
    calibration_error: float | None = None


class NetBenefit(Document):
    """What acting at a threshold gains, in true positives per radiograph; 0 is acting on none.

    The threshold says how many false alarms a true positive is worth: at 0.1, nine (Vickers and
    Elkin, Medical Decision Making 2006;26:565-574).
    """

    threshold: float = Field(gt=0.0, lt=1.0)
    classifier: float
    refer_all: float


@dataclass(frozen=True, slots=True, eq=False)
class AtPrevalence:
    """The predictive values that a decision would have at another prevalence.

    Args:
        decision: Whose sensitivity and specificity carry over.
        prevalence: Of pneumonia, in (0, 1).
    """

    decision: Decision
    prevalence: float

    @property
    def measures(self) -> dict[FigureName, Measure]:
        """What each figure rests on: both classes, as sensitivity and specificity do."""
        of = self.decision.measures
        sensitivity, specificity = of[FigureName.SENSITIVITY], of[FigureName.SPECIFICITY]
        both = Measure(
            np.ones_like(self.decision.truth),
            {**sensitivity.groups, **specificity.groups},
            "a class is missing, or no radiograph would be called so",
        )
        return {FigureName.PPV: both, FigureName.NPV: both}

    def values(self, weights: Weights) -> dict[FigureName, Replicates]:
        """Return both predictive values under each set of weights; NaN where undefined."""
        rates = self.decision.values(weights)
        sensitivity, specificity = rates[FigureName.SENSITIVITY], rates[FigureName.SPECIFICITY]
        ill, well = self.prevalence, 1.0 - self.prevalence
        found, alarms = sensitivity * ill, (1.0 - specificity) * well
        missed, cleared = (1.0 - sensitivity) * ill, specificity * well
        return {
            FigureName.PPV: _share(found, found + alarms),
            FigureName.NPV: _share(cleared, cleared + missed),
        }


def exact_where_certain(
    value: FigureName, found: Figure, sensitivity: Figure, specificity: Figure, prevalence: float
) -> Figure:
    """Return a predictive value with an interval where the bootstrap gives none.

    Without one false alarm among 200 radiographs the PPV is 1 at any prevalence and in every
    replicate, which says nothing: at a prevalence of 1 % the limit of the specificity allows a third.
    The lower limit is then the value at the lower limits of sensitivity and specificity, exact where they are 1.

    Args:
        value: PPV or NPV.
        found: What the bootstrap gave.
        sensitivity: At the same operating point.
        specificity: Likewise.
        prevalence: Of pneumonia, in (0, 1).
    """
    rates = (sensitivity.interval, specificity.interval)
    if found.value != 1.0 or found.interval is not None or None in rates:
        return found
    low_sensitivity, low_specificity = (rate.lower for rate in rates if rate)
    if value is FigureName.PPV:
        right, wrong = low_sensitivity * prevalence, (1 - low_specificity) * (1 - prevalence)
    else:
        right, wrong = low_specificity * (1 - prevalence), (1 - low_sensitivity) * prevalence
    interval = Interval(
        lower=right / (right + wrong), upper=1.0, method="Clopper-Pearson over patients"
    )
    return found.model_copy(update={"interval": interval, "no_interval": None})


def _share(part: Replicates, whole: Replicates) -> Replicates:
    undefined = np.full(part.shape, np.nan)
    return np.asarray(np.divide(part, whole, out=undefined, where=whole > 0), dtype=np.float64)


def probabilities_at(
    pneumonia: NDArray[np.float64], seen: float, wanted: float
) -> NDArray[np.float64]:
    """Return what calibrated probabilities become at another prevalence.

    The odds change as the prior odds do (Saerens, Latinne and Decaestecker, Neural Computation
    2002;14:21-41), if the radiographs of either finding stay what they are.

    Args:
        pneumonia: Calibrated where the prevalence is `seen`, shape (n,), in [0, 1].
        seen: Prevalence that they were calibrated for, in (0, 1).
        wanted: Prevalence elsewhere, in (0, 1).

    Raises:
        EvaluationError: If a prevalence is not in (0, 1).
    """
    for prevalence in (seen, wanted):
        if not 0.0 < prevalence < 1.0:
            raise EvaluationError(
                f"a prevalence of {prevalence:g} says that all or none are ill; give one between 0 and 1"
            )
    ill, well = pneumonia * wanted / seen, (1.0 - pneumonia) * (1.0 - wanted) / (1.0 - seen)
    return np.asarray(ill / (ill + well), dtype=np.float64)


def calibration_error_at(
    pneumonia: NDArray[np.float64], truth: NDArray[np.bool_], wanted: float
) -> float:
    """Return the expected calibration error at another prevalence, of probabilities moved to it.

    Each radiograph weighs what its class weighs there; bins are of equal mass here, and hold the same
    radiographs after the move.

    Args:
        pneumonia: Calibrated here, shape (n,), in [0, 1].
        truth: The reference standard, shape (n,); both classes occur.
        wanted: Prevalence elsewhere, in (0, 1).

    Raises:
        EvaluationError: If a prevalence is not in (0, 1).
    """
    seen = float(truth.mean())
    gap = probabilities_at(pneumonia, seen, wanted) - truth
    weights = np.where(truth, wanted / seen, (1.0 - wanted) / (1.0 - seen))
    bins = mass_bins(pneumonia)
    return float(sum(abs((weights[rows] * gap[rows]).sum()) for rows in bins) / weights.sum())


def decision_curve(
    pneumonia: NDArray[np.float64], truth: NDArray[np.bool_]
) -> tuple[NetBenefit, ...]:
    """Return the net benefit of acting on the probabilities at each threshold.

    Args:
        pneumonia: Calibrated probability of pneumonia, shape (n,).
        truth: True where there is pneumonia, shape (n,).

    Returns:
        By rising threshold, at the prevalence of these radiographs; empty where a class is missing.
    """
    if truth.all() or not truth.any():
        return ()
    called = pneumonia[None, :] >= _THRESHOLDS[:, None]
    price = _THRESHOLDS / (1.0 - _THRESHOLDS)
    gained, alarms = (called & truth).mean(axis=1), (called & ~truth).mean(axis=1)
    everybody = truth.mean() - (~truth).mean() * price
    return tuple(
        NetBenefit(threshold=float(t), classifier=float(c), refer_all=float(a))
        for t, c, a in zip(_THRESHOLDS, gained - alarms * price, everybody, strict=True)
    )
