"""Subgroups: whether a classifier serves some radiographs or patients worse than the rest.

Every subgroup gets its figures, its difference to the rest, and a p value that is corrected for all
the looking (Holm, Scandinavian Journal of Statistics 1979;6:65-70). Two tests are made and the larger
p counts. The permutation of patients between subgroup and rest is exact where the two are alike in
everything; where patients of one have more radiographs, or ones that are harder, it may call chance a
finding. The normal test with the bootstrap's standard error bears that, but not few mistakes.
"""

from collections.abc import Iterator
from math import erfc, sqrt

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from hilum.cohort.table import Cohort
from hilum.evaluation.comparison import holm
from hilum.evaluation.figures import Figure, FigureName, Interval
from hilum.evaluation.intervals import REPLICATES, assess, bootstrap, drawn_interval, too_few
from hilum.evaluation.predictions import Predictions
from hilum.evaluation.subgroup_axes import Group, subgroup_axes
from hilum.evaluation.subjects import Decision, Measure, Ranking, Subject
from hilum.model.schema import Document, OperatingPoint

__all__ = [
    "ENOUGH_PATIENTS",
    "Subgroup",
    "SubgroupAxis",
    "SubgroupDifference",
    "difference_p",
    "subgroup_evidence",
    "subgroup_findings",
]

# With fewer patients in a class a figure moves by more than 0.03 with each, so differences say little.
ENOUGH_PATIENTS = 30
# A corrected p below this is said in words.
_NOTABLE = 0.05
_FIGURES = (FigureName.AUC, FigureName.SENSITIVITY, FigureName.SPECIFICITY)
# Enough to tell 0.05 from 0.03, and half of what a subgroup costs.
_PERMUTATIONS = 1000
_CHUNK = 1 << 18  # permuted radiographs held at once, as in the bootstrap

Mask = NDArray[np.bool_]


class SubgroupDifference(Document):
    """A figure of a subgroup less the same figure of the rest."""

    difference: float | None  # None where either is undefined
    interval: Interval | None  # bootstrap over patients
    p: float | None  # the larger of the permutation over patients and the normal test
    p_corrected: float | None = None  # by Holm, over all figures of all subgroups
    reason: str | None = None  # why there is no difference, no interval or no p


class Subgroup(Document):
    """What a classifier is worth on some of the radiographs."""

    name: str
    radiographs: int = Field(ge=1)
    patients: int = Field(ge=1)
    patients_with_pneumonia: int = Field(ge=0)
    patients_normal: int = Field(ge=0)  # a patient with radiographs of both kinds counts in both
    figures: dict[FigureName, Figure]  # AUC, sensitivity, specificity
    differences: dict[FigureName, SubgroupDifference]  # to the rest of the axis
    warning: str | None = None  # where it is too small to say much


class SubgroupAxis(Document):
    """The subgroups that one thing divides the radiographs into."""

    axis: str  # such as "view"
    groups: tuple[Subgroup, ...]  # none, or two and more
    unknown: int = Field(default=0, ge=0)  # radiographs in no group, for nothing says which
    reason: str | None = None  # why there are no groups


def subgroup_evidence(
    predictions: Predictions,
    part: Cohort,
    point: OperatingPoint,
    *,
    seed: int,
    replicates: int = REPLICATES,
) -> tuple[SubgroupAxis, ...]:
    """Measure every subgroup of the radiographs, and how it differs from the rest.

    Args:
        predictions: Of the part.
        part: The cohort that knows view, age, sex, source, scanner, size and finding of each.
        point: At which sensitivity and specificity are taken.
        seed: Of bootstrap and permutations; each subgroup draws from its own generator.
        replicates: How many bootstrap replicates, and at most how many permutations.

    Returns:
        One entry for each axis, also for those that divide nothing, with the reason.

    Raises:
        EvaluationError: If the cohort lacks a radiograph of the predictions.
    """
    axes = []
    for number, (axis, groups, unknown) in enumerate(subgroup_axes(predictions, part)):
        if len(groups) < 2:
            only = f"“{groups[0].name}” is the only one" if groups else "no radiograph says it"
            axes.append(SubgroupAxis(axis=axis, groups=(), unknown=unknown, reason=only))
            continue
        measured: list[Subgroup] = []
        for index, group in enumerate(groups):
            rng = np.random.default_rng([seed, number, index])
            mirrored = measured[0] if len(groups) == 2 and index == 1 else None
            measured.append(_measured(predictions, point, group, mirrored, rng, replicates))
        axes.append(SubgroupAxis(axis=axis, groups=tuple(measured), unknown=unknown))
    return _corrected(axes)


def _measured(
    predictions: Predictions,
    point: OperatingPoint,
    group: Group,
    mirrored: Subgroup | None,
    rng: np.random.Generator,
    replicates: int,
) -> Subgroup:
    truth, score, patients = predictions.is_pneumonia, predictions.pneumonia, predictions.patients
    called = score >= point.threshold
    inside = group.inside
    subjects: dict[str, Subject] = {
        "ranking": Ranking(score[inside], truth[inside]),
        "decision": Decision(truth[inside], called[inside]),
    }
    found = assess(subjects, patients[inside], rng, replicates)
    both = {**found["ranking"], **found["decision"]}
    ill, well = (len(np.unique(patients[inside & mask])) for mask in (truth, ~truth))
    few = [
        f"{people} {'patient' if people == 1 else 'patients'} {words}"
        for people, words in ((ill, "with pneumonia"), (well, "that are normal"))
        if people < ENOUGH_PATIENTS
    ]
    if mirrored is None:
        whole = (Ranking(score, truth), Decision(truth, called))
        differences = _differences(whole, group, truth, patients, rng, replicates)
    else:
        # Two groups are each the other's rest: one comparison, which is made and corrected once.
        differences = {name: _turned(each) for name, each in mirrored.differences.items()}
    return Subgroup(
        name=group.name,
        radiographs=int(inside.sum()),
        patients=len(np.unique(patients[inside])),
        patients_with_pneumonia=ill,
        patients_normal=well,
        figures={name: both[name] for name in _FIGURES},
        differences=differences,
        warning=f"Only {' and '.join(few)}: below {ENOUGH_PATIENTS} the figures say little."
        if few
        else None,
    )


def _differences(
    subjects: tuple[Ranking, Decision],
    group: Group,
    truth: Mask,
    patients: NDArray[np.str_],
    rng: np.random.Generator,
    replicates: int,
) -> dict[FigureName, SubgroupDifference]:
    sides = group.inside, group.outside

    def gaps(inside: NDArray[np.float64], outside: NDArray[np.float64]) -> NDArray[np.float64]:
        one, other = (
            {FigureName.AUC: subjects[0].areas(weights), **subjects[1].values(weights)}
            for weights in (inside, outside)
        )
        return np.stack([one[name] - other[name] for name in _FIGURES], axis=1)

    ones = np.ones((1, len(truth)))
    estimates = gaps(ones * sides[0], ones * sides[1])[0]
    drawn = bootstrap(lambda w: gaps(w * sides[0], w * sides[1]), patients, rng, replicates)
    dealt = _permuted(*sides, truth, patients, rng, min(replicates, _PERMUTATIONS))
    permuted = np.concatenate([gaps(*each) for each in dealt])
    differences = {}
    for column, name in enumerate(_FIGURES):
        subject = subjects[name is not FigureName.AUC]
        value = float(estimates[column])
        if why := _unfit(subject.measures[name], sides, patients):
            differences[name] = SubgroupDifference(
                difference=None, interval=None, p=None, reason=why
            )
            continue
        interval = _interval(subject, name, sides, drawn[:, column])
        differences[name] = SubgroupDifference(
            difference=value,
            interval=None if isinstance(interval, str) else interval,
            p=difference_p(value, drawn[:, column], permuted[:, column]),
            reason=interval if isinstance(interval, str) else None,
        )
    return differences


def _unfit(measure: Measure, sides: tuple[Mask, Mask], patients: NDArray[np.str_]) -> str | None:
    """Say why a figure cannot be held against the rest, if it cannot."""
    if not (sides[0] ^ sides[1])[measure.among].any():
        return "the same radiographs stand on both sides"
    for where, side in zip(("the subgroup", "the rest"), sides, strict=True):
        groups = {name: mask & side for name, mask in measure.groups.items()}
        if why := too_few(Measure(measure.among & side, groups, measure.undefined), patients):
            return f"in {where} {why}"
    return None


def _interval(
    subject: Subject, name: FigureName, sides: tuple[Mask, Mask], drawn: NDArray[np.float64]
) -> Interval | str:
    """Return the interval of a difference, or why there is none."""
    values = subject.values(np.stack(sides).astype(np.float64))[name]
    if subject.measures[name].proportion and np.isin(values, (0.0, 1.0)).any():
        return "one side's rate is exactly 0 or 1, which no replicate can change"
    return drawn_interval(drawn)


def difference_p(value: float, drawn: NDArray[np.float64], permuted: NDArray[np.float64]) -> float:
    """Return the two-sided p value of a difference: the larger of two tests.

    Args:
        value: The difference that was found.
        drawn: It under the bootstrap, shape (b,); NaN where undefined.
        permuted: It with patients dealt anew to subgroup and rest, shape (b,).

    Returns:
        In (0, 1]; never below 1 / (b + 1), as the sample as it is counts as one of its own
        permutations (Phipson and Smyth, Stat Appl Genet Mol Biol 2010;9:39).
    """
    # An undefined permutation counts against the finding.
    beyond = ~(np.abs(permuted) < abs(value) - 1e-12)
    by_permutation = (1 + int(beyond.sum())) / (len(permuted) + 1)
    error = float(np.nanstd(drawn))
    by_normal = erfc(abs(value) / error / sqrt(2)) if error > 0 else 0.0
    return max(by_permutation, by_normal)


def _permuted(
    inside: Mask,
    outside: Mask,
    truth: Mask,
    patients: NDArray[np.str_],
    rng: np.random.Generator,
    replicates: int,
) -> Iterator[tuple[NDArray[np.float64], NDArray[np.float64]]]:
    """Deal patients anew to both sides, with as many of each kind as there were.

    A patient who is wholly on one side changes it with all his radiographs, against one who has
    radiographs of the same classes. One who is on both, as when views differ, deals his own radiographs
    of a class anew. What belongs to both sides stays.

    Yields:
        Weights of both sides, each of shape (b, n).
    """
    moving = np.flatnonzero(inside ^ outside)
    whose = np.unique(patients[moving], return_inverse=True)[1]
    ill, side = truth[moving], inside[moving]
    share = np.bincount(whose, side) / np.bincount(whose)
    classes = 2 * (np.bincount(whose, ill) > 0) + (np.bincount(whose, ~ill) > 0)
    whole = (share == 0) | (share == 1)
    strata = [np.flatnonzero(whole & (classes == kind)) for kind in (1, 2, 3)]
    # Radiographs of a patient on both sides, cell by cell: one cell is one patient and class.
    cell = 2 * whose + ill
    mixed = np.flatnonzero(~whole[whose])
    mixed = mixed[np.argsort(cell[mixed], kind="stable")]
    step = max(1, _CHUNK // len(truth))
    for start in range(0, replicates, step):
        rows = min(step, replicates - start)
        of_patient = np.tile(share == 1, (rows, 1))
        for people in strata:
            of_patient[:, people] = rng.permuted(of_patient[:, people], axis=1)
        dealt = of_patient[:, whose]
        # Sorted by cell and then by chance, so that sides change places within a cell alone.
        order = np.argsort(cell[mixed] + rng.random((rows, len(mixed))), axis=1)
        dealt[:, mixed] = side[mixed][order]
        weights = [np.tile(mask.astype(np.float64), (rows, 1)) for mask in (inside, outside)]
        weights[0][:, moving], weights[1][:, moving] = dealt, ~dealt
        yield weights[0], weights[1]


def _turned(each: SubgroupDifference) -> SubgroupDifference:
    """Return the same difference seen from the other side."""
    value, interval, reason = each.difference, each.interval, each.reason
    if interval:
        limits = {"lower": -interval.upper, "upper": -interval.lower}
        interval = interval.model_copy(update=limits)
    if reason and reason.startswith("in the "):
        place, other = ("the subgroup", "the rest")
        if reason.startswith(f"in {other}"):
            place, other = other, place
        reason = reason.replace(f"in {place}", f"in {other}", 1)
    update = {
        "difference": None if value is None else -value,
        "interval": interval,
        "reason": reason,
    }
    return each.model_copy(update=update)


def _corrected(axes: list[SubgroupAxis]) -> tuple[SubgroupAxis, ...]:
    """Correct the p values of a report for being many; two groups' single comparison counts once."""
    made = {
        (axis.axis, group.name, name): each.p
        for axis in axes
        for group in (axis.groups[:1] if len(axis.groups) == 2 else axis.groups)
        for name, each in group.differences.items()
    }
    found = dict(zip(made, holm(list(made.values())), strict=True))

    def filled(axis: SubgroupAxis, group: Subgroup) -> Subgroup:
        one = axis.groups[0] if len(axis.groups) == 2 else group
        return group.model_copy(
            update={
                "differences": {
                    name: each.model_copy(update={"p_corrected": found[axis.axis, one.name, name]})
                    for name, each in group.differences.items()
                }
            }
        )

    return tuple(
        axis.model_copy(update={"groups": tuple(filled(axis, group) for group in axis.groups)})
        for axis in axes
    )


def subgroup_findings(axes: tuple[SubgroupAxis, ...]) -> tuple[str, ...]:
    """Say each difference that chance hardly explains after the correction, the worse side once."""
    found = []
    for axis in axes:
        for group in axis.groups:
            for name, each in group.differences.items():
                if each.difference is None or each.difference >= 0:
                    continue
                if each.p_corrected is None or each.p_corrected >= _NOTABLE:
                    continue
                here = group.figures[name].value
                assert here is not None
                p = "below 0.001" if each.p_corrected < 0.001 else f"{each.p_corrected:.3f}"
                found.append(
                    f"By {axis.axis}, “{group.name}” fares worse: {name.heading} is {here:.3f}, "
                    f"{-each.difference:.3f} lower than in the rest (corrected p {p})."
                )
    return tuple(found)
