"""Operating points: the probability from which a radiograph is called pneumonia.

A point is chosen on the validation part and reported on the test part: a point that is chosen and
reported on the same radiographs is optimistic (Leeflang et al., Clin Chem 2008;54:729-737).
Probabilities are calibrated throughout, and a radiograph is referred when its probability of
pneumonia is at or above the threshold.

Between two neighbouring probabilities every threshold decides alike. hilum takes the middle, since
the same network gives slightly different probabilities in bfloat16 and float32, and a threshold that
lies on a radiograph's own probability would flip that radiograph from one machine to the next.
"""

import math
import re
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from hilum.errors import EvaluationError
from hilum.model.schema import Counts, OperatingPoint

__all__ = ["AIM_FORMS", "Aim", "AimKind", "choose_operating_point", "counts_at", "parse_aim"]

AIM_FORMS = ("sensitivity>=0.95", "specificity>=0.9", "cost>=10", "probability>=0.05", "youden")

_FORM = re.compile(
    r"(sensitivity|specificity|cost|probability)\s*>=\s*(\d*\.?\d+(?:[eE][+-]?\d+)?)"
)
# Another way to write a fixed threshold; it gives the aim `probability>=`.
_THRESHOLD = re.compile(r"threshold\s*=")
# 0.95 * 20 is 19.000000000000004 in binary; without this slack one more radiograph would be asked.
_SLACK = 1e-9
# Of a product and a sum, relative: equal costs are equal, and costs that differ by one alarm are not.
_ROUNDING = 4.0 * float(np.finfo(np.float64).eps)


class AimKind(StrEnum):
    """What an operating point is chosen for."""

    SENSITIVITY = "sensitivity"
    SPECIFICITY = "specificity"
    COST = "cost"
    PROBABILITY = "probability"
    YOUDEN = "youden"


@dataclass(frozen=True, slots=True)
class Aim:
    """What an operating point is chosen for; `str()` gives the text that `parse_aim` reads.

    Args:
        kind: The rule.
        value: The smallest sensitivity or specificity, or the fixed threshold, in (0, 1]; how many
            false alarms a missed pneumonia costs, above 0; None for Youden's index.

    Raises:
        EvaluationError: If kind and value do not fit.
    """

    kind: AimKind
    value: float | None = None

    def __post_init__(self) -> None:
        if (self.value is None) != (self.kind is AimKind.YOUDEN):
            raise EvaluationError(f"the aim '{self.kind}' does not fit its value; {_allowed()}")
        if self.value is None:
            return
        if self.kind is AimKind.COST and not 0.0 < self.value < math.inf:
            raise EvaluationError(
                f"the aim {self.kind}>={self.value:g} must say how many false alarms a missed "
                f"pneumonia costs, a number above 0; {_allowed()}"
            )
        if self.kind is not AimKind.COST and not 0.0 < self.value <= 1.0:
            raise EvaluationError(
                f"the aim {self.kind}>={self.value:g} must lie above 0 and not above 1, as a "
                f"fraction; {_allowed()}"
            )

    def __str__(self) -> str:
        return str(self.kind) if self.value is None else f"{self.kind}>={_number(self.value)}"

    @property
    def name(self) -> str:
        """A name without special characters, such as "sensitivity-0.95"."""
        return str(self.kind) if self.value is None else f"{self.kind}-{_number(self.value)}"

    @property
    def words(self) -> str:
        """For people, such as "sensitivity >= 0.95"; `parse_aim` reads it, too."""
        return str(self).replace(">=", " >= ")


def _number(value: float) -> str:
    return repr(float(value)).removesuffix(".0")  # the shortest text that reads back the same


def _allowed() -> str:
    return f"write one of {', '.join(AIM_FORMS)} (with your number)"


def parse_aim(text: str) -> Aim:
    """Read an aim: `sensitivity>=0.95`, `specificity>=0.9`, `cost>=10`, `probability>=0.05`, `youden`.

    `cost>=10` says that a missed pneumonia costs at least ten times what a false alarm does.
    `probability>=0.05` is a fixed threshold: call pneumonia whatever is at least that probable;
    `threshold=0.05` says the same.

    Raises:
        EvaluationError: If the text has another form, or the number is not in (0, 1], for a cost not
            above 0.
    """
    trimmed = _THRESHOLD.sub(f"{AimKind.PROBABILITY}>=", text.strip(), count=1)
    if trimmed == AimKind.YOUDEN:
        return Aim(AimKind.YOUDEN)
    if match := _FORM.fullmatch(trimmed):
        return Aim(AimKind(match[1]), float(match[2]))
    raise EvaluationError(f"'{text}' is no aim of an operating point; {_allowed()}")


def counts_at(
    threshold: float, pneumonia: NDArray[np.float64], is_pneumonia: NDArray[np.bool_]
) -> Counts:
    """Count the four kinds of decision at a threshold.

    Args:
        threshold: Refer when the probability is at or above it.
        pneumonia: Probability of pneumonia, shape (n,), in [0, 1].
        is_pneumonia: The reference standard, shape (n,).
    """
    called = pneumonia >= threshold
    return Counts(
        true_positives=int((called & is_pneumonia).sum()),
        false_positives=int((called & ~is_pneumonia).sum()),
        true_negatives=int((~called & ~is_pneumonia).sum()),
        false_negatives=int((~called & is_pneumonia).sum()),
    )


def choose_operating_point(
    aim: Aim, pneumonia: NDArray[np.float64], is_pneumonia: NDArray[np.bool_], chosen_on: str
) -> OperatingPoint:
    """Choose the threshold that meets an aim at the least cost.

    A wanted sensitivity takes the highest threshold that still reaches it, thus the highest
    specificity; a wanted specificity the lowest. Youden's index (Cancer 1950;3:32-35) takes the
    largest sensitivity + specificity, and among equals the most sensitive, since a missed pneumonia
    costs more than a second look.

    A cost ratio takes the threshold at which missed pneumonias times the ratio, plus false alarms,
    cost least on these radiographs, and among equals the most sensitive. Where probabilities are
    calibrated, that is 1 / (1 + ratio) but for chance: a radiograph of probability p costs p * ratio
    if it is not referred and 1 - p if it is (Elkan, IJCAI 2001). The aim `probability>=` takes this
    number itself, which no chance moves; it is the better one where pneumonias are few. Either holds
    at the prevalence of these radiographs.

    Args:
        aim: What to reach.
        pneumonia: Calibrated probability of pneumonia, shape (n,), in [0, 1].
        is_pneumonia: The reference standard, shape (n,).
        chosen_on: The part these radiographs are from, such as "validation".

    Returns:
        The point, with the four counts it gave on these radiographs.

    Raises:
        EvaluationError: If a class is absent, or the specificity cannot be reached because normal
            radiographs have probability 1.
        ValueError: If the shapes differ.
    """
    probabilities = np.asarray(pneumonia, dtype=np.float64)
    truth = np.asarray(is_pneumonia, dtype=np.bool_)
    if probabilities.ndim != 1 or probabilities.shape != truth.shape:
        raise ValueError(f"shapes {probabilities.shape} and {truth.shape} differ")
    if truth.all() or not truth.any():
        absent = "normal" if truth.any() else "pneumonia"
        raise EvaluationError(
            f"no {absent} radiograph is in the {chosen_on} part, so an operating point cannot be "
            "chosen; use a part that has both"
        )
    if aim.kind is AimKind.SENSITIVITY:
        threshold = _for_sensitivity(_value(aim), probabilities, truth)
    elif aim.kind is AimKind.SPECIFICITY:
        threshold = _for_specificity(_value(aim), probabilities, truth, chosen_on)
    elif aim.kind is AimKind.PROBABILITY:
        threshold = _value(aim)
    elif aim.kind is AimKind.COST:
        threshold = _for_cost(_value(aim), probabilities, truth)
    else:
        threshold = _for_youden(probabilities, truth)
    return OperatingPoint(
        name=aim.name,
        aim=aim.words,
        threshold=threshold,
        chosen_on=chosen_on,
        counts=counts_at(threshold, probabilities, truth),
    )


def _value(aim: Aim) -> float:
    assert aim.value is not None  # kept by Aim itself
    return aim.value


def _between(lower: float, upper: float) -> float:
    """Return the middle of two probabilities, or the upper where no number lies between."""
    middle = (lower + upper) / 2.0
    return middle if lower < middle < upper else upper


def _just_below(chosen: float, probabilities: NDArray[np.float64]) -> float:
    """Return a threshold that calls whatever reaches `chosen`, and nothing below."""
    below = probabilities[probabilities < chosen]
    return _between(float(below.max()) if below.size else 0.0, chosen)


def _for_sensitivity(
    wanted: float, probabilities: NDArray[np.float64], truth: NDArray[np.bool_]
) -> float:
    positives = np.sort(probabilities[truth])[::-1]
    needed = max(1, math.ceil(wanted * len(positives) - _SLACK))
    return _just_below(float(positives[needed - 1]), probabilities)


def _for_specificity(
    wanted: float, probabilities: NDArray[np.float64], truth: NDArray[np.bool_], chosen_on: str
) -> float:
    negatives = np.sort(probabilities[~truth])
    needed = max(1, math.ceil(wanted * len(negatives) - _SLACK))
    cleared = float(negatives[needed - 1])  # the threshold must lie above it
    if cleared >= 1.0:
        raise EvaluationError(
            f"specificity {wanted:g} cannot be reached on the {chosen_on} part, because "
            f"{int((negatives >= 1.0).sum())} of its {len(negatives)} normal radiographs have "
            "probability 1; ask for less, or train another classifier"
        )
    above = probabilities[probabilities > cleared]
    return _between(cleared, float(above.min()) if above.size else 1.0)


def _for_youden(probabilities: NDArray[np.float64], truth: NDArray[np.bool_]) -> float:
    distinct, found, cleared = _by_threshold(probabilities, truth)
    # In whole numbers, so that equal indices are equal: J = TP / P + TN / N - 1, times P * N.
    index = found * (~truth).sum() + cleared * truth.sum()
    return _just_below(float(distinct[np.argmax(index)]), probabilities)  # the first is the lowest


def _for_cost(ratio: float, probabilities: NDArray[np.float64], truth: NDArray[np.bool_]) -> float:
    distinct, found, cleared = _by_threshold(probabilities, truth)
    missed, alarms = truth.sum() - found, (~truth).sum() - cleared
    if distinct[-1] < 1.0:  # else no threshold refers nobody
        missed, alarms = np.r_[missed, truth.sum()], np.r_[alarms, 0]
    cost = ratio * missed + alarms
    cheapest = int(np.argmax(cost <= cost.min() * (1.0 + _ROUNDING)))  # the first is the lowest
    if cheapest == len(distinct):
        return _between(float(distinct[-1]), 1.0)
    return _just_below(float(distinct[cheapest]), probabilities)


def _by_threshold(
    probabilities: NDArray[np.float64], truth: NDArray[np.bool_]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Return the distinct probabilities, rising, with true positives and true negatives from each."""
    distinct, place = np.unique(probabilities, return_inverse=True)
    positives = np.bincount(place, weights=truth, minlength=len(distinct))
    negatives = np.bincount(place, weights=~truth, minlength=len(distinct))
    found = positives[::-1].cumsum()[::-1]  # true positives when calling from this value upwards
    return distinct, found, negatives.cumsum() - negatives
