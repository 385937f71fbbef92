"""What is known of a classifier's robustness, as documents: by grade, by corruption, and in words."""

from pydantic import Field

from hilum.evaluation.area_changes import Area
from hilum.evaluation.corruptions import Strength
from hilum.evaluation.figures import Figure
from hilum.model.schema import Document

__all__ = ["SMALL_SHIFT", "Change", "CorruptionCurve", "Robustness", "Stays"]

SMALL_SHIFT = 0.02  # share of the side by which a shift should never matter


class Change(Document):
    """What one grade of a corruption does."""

    amount: float
    label: str  # the amount, for people
    strength: Strength
    auc: Area
    auc_change: Area  # less that of the untouched radiographs; paired
    sensitivity: Figure
    specificity: Figure
    probability_moved: float = Field(ge=0.0, le=1.0)  # mean absolute change of the probability
    flipped: Figure  # share of decisions that are not what they were
    to_pneumonia: int = Field(ge=0)  # how many of them
    to_normal: int = Field(ge=0)


class CorruptionCurve(Document):
    """One corruption by rising amount."""

    corruption: str
    unit: str
    stands_for: str
    neutral: float | None  # the amount that changes nothing; None where there is none
    changes: tuple[Change, ...] = Field(min_length=1)

    @property
    def ordinary(self) -> tuple[Change, ...]:
        """What practice brings: the grades that are not severe."""
        return tuple(each for each in self.changes if each.strength is not Strength.SEVERE)

    @property
    def worst(self) -> Change:
        """The grade that lowers the AUC most; severe ones count only where there are no others."""
        return min(self.ordinary or self.changes, key=lambda each: each.auc_change.value)


class Stays(Document):
    """How often the decision stays what it was under something that should never matter."""

    under: str
    share: Figure


class Robustness(Document):
    """A classifier on untouched and on changed radiographs."""

    refused: str | None = None  # why nothing was measured; then there are no figures
    seed: int  # of the sample, of the noise and of the bootstrap
    replicates: int = Field(ge=1)
    radiographs: int = Field(ge=0)  # that were changed
    with_pneumonia: int = Field(ge=0)
    patients: int = Field(ge=0)
    out_of: int = Field(ge=0)  # radiographs of the part
    readings: int = Field(default=0, ge=0)  # of all radiographs, changed ones included
    operating_point: str  # its name
    threshold: float
    auc: Area | None = None  # of the untouched radiographs, as are the next two
    sensitivity: Figure | None = None
    specificity: Figure | None = None
    curves: tuple[CorruptionCurve, ...] = ()
    agreement: tuple[Stays, ...] = ()  # the last is under all of the others

    @property
    def worst(self) -> tuple[tuple[CorruptionCurve, Change], ...]:
        """The worst grade of each corruption, largest fall first; severe ones after the others."""

        def rank(found: tuple[CorruptionCurve, Change]) -> tuple[bool, float]:
            return found[1].strength is Strength.SEVERE, found[1].auc_change.value

        return tuple(sorted(((curve, curve.worst) for curve in self.curves), key=rank))

    @property
    def in_words(self) -> str:
        """What costs most, in a few sentences; or why nothing was measured."""
        if self.refused or self.auc is None:
            return f"Robustness was not measured: {self.refused}."
        curve, lowest = self.worst[0]
        change, interval = lowest.auc_change.value, lowest.auc_change.interval
        if change < 0:
            area = (
                f"Of the mild and plausible changes, {curve.corruption} ({lowest.label}: {curve.unit}) "
                f"lowers the AUC most, from {self.auc.value:.3f} to {lowest.auc.value:.3f}"
            )
            if interval is not None:
                area += f" (by {change:+.3f}, 95 % interval {interval.lower:+.3f} to {interval.upper:+.3f})"
        else:
            area = f"No mild or plausible change lowers the AUC of {self.auc.value:.3f}"
        where, flips = max(
            ((curve, change) for curve in self.curves for change in curve.ordinary),
            key=lambda each: each[1].flipped.value or 0.0,
        )
        stay = self.agreement[-1].share.value or 0.0
        return (
            f"{area}. Decisions change most under "
            f"{where.corruption} ({flips.label}: {where.unit}): {100 * (flips.flipped.value or 0.0):.1f} % of them, "
            f"{flips.to_pneumonia} to pneumonia and {flips.to_normal} to normal. "
            f"{100 * stay:.1f} % stay the same under all of mirroring and four shifts by "
            f"{100 * SMALL_SHIFT:g} %."
        )
