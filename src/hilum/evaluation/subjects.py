"""What can be measured on weighted radiographs: decisions, rankings and probabilities.

Every subject computes its figures for many sets of weights at once. Weights of one give the
estimate; the whole numbers of a bootstrap give its replicates, so that an estimate and its interval
can never come from two definitions. Where a figure is undefined it is NaN here, never 0.
"""

from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from hilum.evaluation.figures import FigureName

__all__ = [
    "Agreement",
    "Decision",
    "MacroRanking",
    "Measure",
    "ProbabilityError",
    "Ranking",
    "Subject",
    "rates",
    "ratio",
]

Weights = NDArray[np.float64]  # (replicates, n), whole numbers >= 0
Replicates = NDArray[np.float64]  # (replicates,)
Mask = NDArray[np.bool_]  # (n,)


@dataclass(frozen=True, slots=True, eq=False)
class Measure:
    """What a figure rests on."""

    among: Mask  # the radiographs it is computed on, its denominator
    groups: dict[str, Mask]  # each must hold enough patients for an interval; the key is for people
    undefined: str  # why it would be undefined
    proportion: bool = False  # a plain fraction of `among`
    rate: bool = False  # a fraction of `among` at a threshold that moves with the weights


class Subject(Protocol):
    """Something with figures on weighted radiographs."""

    @property
    def measures(self) -> dict[FigureName, Measure]:
        """What each figure rests on."""

    def values(self, weights: Weights) -> dict[FigureName, Replicates]:
        """Return each figure under each set of weights; NaN where undefined."""


def ratio(part: Replicates, whole: Replicates) -> Replicates:
    """Divide, NaN where the whole is empty."""
    undefined = np.full(part.shape, np.nan)
    return np.asarray(np.divide(part, whole, out=undefined, where=whole > 0), dtype=np.float64)


def rates(
    tp: Replicates, fp: Replicates, tn: Replicates, fn: Replicates
) -> dict[FigureName, Replicates]:
    """Derive the rates of two-by-two tables.

    Args:
        tp: True positives of each table, shape (b,), >= 0.
        fp: False positives.
        tn: True negatives.
        fn: False negatives.

    Returns:
        Seven figures, each of shape (b,); NaN where the denominator is empty. F1 and balanced
        accuracy are NaN, too, where a class they speak of is absent.
    """
    tp, fp, tn, fn = (np.asarray(count, dtype=np.float64) for count in (tp, fp, tn, fn))
    sensitivity, specificity = ratio(tp, tp + fn), ratio(tn, tn + fp)
    f1 = ratio(2 * tp, 2 * tp + fp + fn)
    return {
        FigureName.SENSITIVITY: sensitivity,
        FigureName.SPECIFICITY: specificity,
        FigureName.PPV: ratio(tp, tp + fp),
        FigureName.NPV: ratio(tn, tn + fn),
        FigureName.F1: np.where(np.isnan(sensitivity), np.nan, f1),
        FigureName.BALANCED_ACCURACY: (sensitivity + specificity) / 2,
        FigureName.ACCURACY: ratio(tp + tn, tp + fp + tn + fn),
    }


@dataclass(frozen=True, slots=True, eq=False)
class Decision:
    """A yes-or-no call of every radiograph against the reference standard.

    Args:
        truth: True where the radiograph has the finding, shape (n,).
        called: True where the classifier says so, shape (n,).
        finding: For people, such as "pneumonia".
        other: What the others are, such as "normal".
    """

    truth: Mask
    called: Mask
    finding: str = "pneumonia"
    other: str = "normal"

    @property
    def measures(self) -> dict[FigureName, Measure]:
        """What each figure rests on."""
        yes, no = self.truth, ~self.truth
        has = {f"with {self.finding}": yes}
        both = {**has, f"that are {self.other}": no}
        called = {**both, f"called {self.finding}": self.called}
        cleared = {**both, f"called {self.other}": ~self.called}
        everyone = np.ones_like(yes)
        no_finding = f"no radiograph has {self.finding}"
        no_other = f"no radiograph is {self.other}"
        either = f"{no_finding}, or {no_other}"
        return {
            FigureName.SENSITIVITY: Measure(yes, has, no_finding, True),
            FigureName.SPECIFICITY: Measure(no, {f"that are {self.other}": no}, no_other, True),
            FigureName.PPV: Measure(
                self.called, called, f"no radiograph was called {self.finding}", True
            ),
            FigureName.NPV: Measure(
                ~self.called, cleared, f"no radiograph was called {self.other}", True
            ),
            FigureName.F1: Measure(everyone, both, no_finding),
            FigureName.BALANCED_ACCURACY: Measure(everyone, both, either),
            FigureName.ACCURACY: Measure(everyone, both, "there are no radiographs", True),
        }

    def values(self, weights: Weights) -> dict[FigureName, Replicates]:
        """Return each rate under each set of weights."""
        cells = np.stack(
            [
                self.truth & self.called,
                ~self.truth & self.called,
                ~self.truth & ~self.called,
                self.truth & ~self.called,
            ],
            axis=1,
        ).astype(np.float64)
        return rates(*np.moveaxis(weights @ cells, 1, 0))


@dataclass(frozen=True, slots=True, eq=False)
class Ranking:
    """The order in which a probability puts radiographs with and without a finding.

    Args:
        probabilities: Of the finding, shape (n,); only their order matters.
        truth: True where the radiograph has the finding, shape (n,).
        finding: For people.
        other: What the others are.
    """

    probabilities: NDArray[np.float64]
    truth: Mask
    finding: str = "pneumonia"
    other: str = "normal"
    _order: NDArray[np.intp] = field(init=False, repr=False)  # by falling probability
    _ends: NDArray[np.intp] = field(init=False, repr=False)  # last of each run of ties

    def __post_init__(self) -> None:
        order = np.argsort(-self.probabilities, kind="stable")
        ordered = self.probabilities[order]
        ends = np.flatnonzero(np.r_[ordered[1:] != ordered[:-1], True])
        object.__setattr__(self, "_order", order)
        object.__setattr__(self, "_ends", ends)

    @property
    def measures(self) -> dict[FigureName, Measure]:
        """What each figure rests on."""
        groups = {f"with {self.finding}": self.truth, f"that are {self.other}": ~self.truth}
        reason = f"no radiograph has {self.finding}, or no radiograph is {self.other}"
        measure = Measure(np.ones_like(self.truth), groups, reason)
        return {FigureName.AUC: measure, FigureName.AVERAGE_PRECISION: measure}

    def values(self, weights: Weights) -> dict[FigureName, Replicates]:
        """Return AUC and average precision under each set of weights, ties counted exactly."""
        found, alarms = self.running(weights)
        called = found + alarms
        precision = np.divide(found, called, out=called, where=called > 0)
        ap = ratio((np.diff(found, prepend=0.0, axis=1) * precision).sum(axis=1), found[:, -1])
        return {
            FigureName.AUC: _area(found, alarms),
            FigureName.AVERAGE_PRECISION: np.where(alarms[:, -1] > 0, ap, np.nan),
        }

    def areas(self, weights: Weights) -> Replicates:
        """Return the AUC alone under each set of weights, which is cheaper."""
        return _area(*self.running(weights))

    def sensitivity_at(
        self, weights: Weights, false_positive_rates: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """Read the ROC curve at given false-positive rates.

        Args:
            weights: Shape (b, n).
            false_positive_rates: Shape (g,), in [0, 1].

        Returns:
            Sensitivity by linear interpolation, shape (b, g); a row of NaN where a class is absent.
        """
        found, alarms = self.running(weights)
        curves = np.full((len(weights), len(false_positive_rates)), np.nan)
        for row, (up, right) in enumerate(zip(found, alarms, strict=True)):
            if up[-1] and right[-1]:
                x, y = np.r_[0.0, right], np.r_[0.0, up]
                curves[row] = np.interp(false_positive_rates, x / x[-1], y / y[-1])
        return curves

    def running(self, weights: Weights) -> tuple[Weights, Weights]:
        """Return how much weight with and without the finding is at or above each probability.

        Args:
            weights: Shape (b, n).

        Returns:
            Both of shape (b, distinct probabilities), by falling probability.
        """
        ordered = weights[:, self._order]  # (b, n)
        both = ordered.cumsum(axis=1)[:, self._ends]
        ordered *= self.truth[self._order]
        found = ordered.cumsum(axis=1, out=ordered)[:, self._ends]
        return found, both - found


def _area(found: Weights, alarms: Weights) -> Replicates:
    """Return the share of pairs in the right order, half of the tied ones counted.

    That is the area under the curve through these points (Hanley & McNeil, Radiology
    1982;143:29-36).

    Args:
        found: Running sums with the finding, by falling probability, shape (b, distinct).
        alarms: Without it, likewise.
    """
    area = found[:, 0] * alarms[:, 0]
    area += ((alarms[:, 1:] - alarms[:, :-1]) * (found[:, 1:] + found[:, :-1])).sum(axis=1)
    return ratio(area / 2, found[:, -1] * alarms[:, -1])


@dataclass(frozen=True, slots=True, eq=False)
class MacroRanking:
    """The mean AUC of several classes, each against all others."""

    rankings: tuple[Ranking, ...]

    @property
    def measures(self) -> dict[FigureName, Measure]:
        """What the figure rests on."""
        groups = {f"with {ranking.finding}": ranking.truth for ranking in self.rankings}
        everyone = np.ones_like(self.rankings[0].truth)
        return {FigureName.MACRO_AUC: Measure(everyone, groups, "a class has no radiograph")}

    def values(self, weights: Weights) -> dict[FigureName, Replicates]:
        """Return the macro AUC under each set of weights; NaN where any class is absent."""
        each = [ranking.areas(weights) for ranking in self.rankings]
        return {FigureName.MACRO_AUC: np.mean(each, axis=0)}


@dataclass(frozen=True, slots=True, eq=False)
class Agreement:
    """How often the finding that was called is the true one, over several classes.

    Args:
        truth: Label index, shape (n,).
        called: Label index, shape (n,).
        findings: The labels' names.
    """

    truth: NDArray[np.int64]
    called: NDArray[np.int64]
    findings: tuple[str, ...]

    @property
    def measures(self) -> dict[FigureName, Measure]:
        """What each figure rests on."""
        groups = {f"with {name}": self.truth == i for i, name in enumerate(self.findings)}
        everyone = np.ones(self.truth.shape, dtype=np.bool_)
        reason = "a class has no radiograph"
        return {
            FigureName.BALANCED_ACCURACY: Measure(everyone, groups, reason),
            FigureName.ACCURACY: Measure(everyone, groups, "there are no radiographs", True),
        }

    def values(self, weights: Weights) -> dict[FigureName, Replicates]:
        """Return both accuracies under each set of weights."""
        right = (self.truth == self.called).astype(np.float64)
        classes = [(self.truth == i).astype(np.float64) for i in range(len(self.findings))]
        each = [ratio(weights @ (right * mask), weights @ mask) for mask in classes]
        return {
            FigureName.BALANCED_ACCURACY: np.mean(each, axis=0),
            FigureName.ACCURACY: ratio(weights @ right, weights.sum(axis=1)),
        }


@dataclass(frozen=True, slots=True, eq=False)
class ProbabilityError:
    """The Brier score: how far probabilities of pneumonia lie from what was found.

    Args:
        probabilities: Calibrated, of pneumonia, shape (n,), in [0, 1].
        truth: True where the reference standard is pneumonia, shape (n,).
    """

    probabilities: NDArray[np.float64]
    truth: Mask

    @property
    def measures(self) -> dict[FigureName, Measure]:
        """What the figure rests on."""
        groups = {"with pneumonia": self.truth, "that are normal": ~self.truth}
        everyone = np.ones_like(self.truth)
        return {FigureName.BRIER: Measure(everyone, groups, "there are no radiographs")}

    def values(self, weights: Weights) -> dict[FigureName, Replicates]:
        """Return the Brier score under each set of weights (Brier, Mon Weather Rev 1950;78:1-3)."""
        squared = np.square(self.probabilities - self.truth)
        return {FigureName.BRIER: ratio(weights @ squared, weights.sum(axis=1))}
