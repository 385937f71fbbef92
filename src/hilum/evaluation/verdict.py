"""The verdict: what the evidence says in words, and what must be said against it."""

from hilum.cohort.hashes import ALIKE_BY_CHANCE
from hilum.errors import EvaluationError
from hilum.evaluation.evidence import Evidence, PointFigures
from hilum.evaluation.external import external_finding
from hilum.evaluation.figures import Figure, FigureName
from hilum.evaluation.intervals import MINIMUM_PATIENTS
from hilum.evaluation.operating_points import parse_aim
from hilum.evaluation.subgroups import subgroup_findings
from hilum.evaluation.wording import figure_in_words, percent
from hilum.findings import Part

__all__ = ["caveats", "point_in_words", "verdict"]

# At least 100 with and 100 without the finding for a sound external validation
# (Collins et al., Stat Med 2016;35:214-226).
_ENOUGH_PATIENTS = 100
# A fall of this size between choosing and reporting changes how a worklist runs.
_NOTABLE_DROP = 0.05
# Mean probability against prevalence: beyond this, probabilities mislead whoever reads them.
_NOTABLE_MISCALIBRATION = 0.05
# A rate that falls by this under a mild or plausible change is no rate to rely on.
_COLLAPSE = 0.1


def point_in_words(measured: PointFigures) -> str:
    """Say an operating point, such as "sensitivity >= 0.95 on validation" (threshold 0.31)."""
    point = measured.point
    return f"“{point.aim} on {point.chosen_on}” (threshold {point.threshold:.3g})"


def verdict(evidence: Evidence) -> str:
    """Say in one or two sentences what was found at the operating point."""
    measured = evidence.operating_point
    counts, figures = measured.counts, measured.figures
    ill = counts.true_positives + counts.false_negatives
    well = counts.true_negatives + counts.false_positives
    parts = []
    if ill:
        parts.append(
            f"found {counts.true_positives} of {ill} pneumonias "
            f"(sensitivity {figure_in_words(figures[FigureName.SENSITIVITY])})"
        )
    if well:
        parts.append(
            f"cleared {counts.true_negatives} of {well} normals "
            f"(specificity {figure_in_words(figures[FigureName.SPECIFICITY])})"
        )
    drawn = "drawn phantoms" if evidence.phantom else "radiographs"
    return (
        f"On {evidence.radiographs} {drawn} of {evidence.patients} patients of the "
        f"{evidence.part} part, at the operating point {point_in_words(measured)}, the classifier "
        f"{' and '.join(parts)}."
    )


def caveats(evidence: Evidence) -> tuple[str, ...]:
    """Say what a reader must know before believing the figures, the gravest first."""
    return tuple(
        text
        for group in (
            _about_the_data(evidence),
            _about_the_aim(evidence),
            _about_size(evidence),
            _about_probabilities(evidence),
            _about_robustness(evidence),
            [external_finding(each) for each in evidence.external],
            subgroup_findings(evidence.subgroups),
        )
        for text in group
    )


def _about_the_data(evidence: Evidence) -> list[str]:
    found = []
    if evidence.phantom:
        found.append("These are drawn phantoms: this says nothing about real radiographs.")
    if evidence.part is Part.TRAIN:
        found.append(
            "The classifier was trained on this part, so every figure is far too good; "
            "evaluate the test part."
        )
    elif evidence.operating_point.point.chosen_on == str(evidence.part):
        found.append(
            f"The operating point was chosen on this same {evidence.part} part, and calibration fitted "
            "to it, so figures, probabilities and their calibration are optimistic; evaluate the test "
            "part before you believe them."
        )
    if evidence.test_openings is not None and evidence.test_openings > 1:
        found.append(
            f"This test part was opened {evidence.test_openings} times on this machine. The more "
            "often it is looked at, the more it is fitted to, and the better it looks."
        )
    if evidence.like_training > ALIKE_BY_CHANCE * evidence.radiographs:
        found.append(
            f"{evidence.like_training} of the {evidence.radiographs} radiographs look like ones that "
            "the classifier learned from. If they are copies, the figures are far too good; compare "
            "the cohorts before you believe them."
        )
    if evidence.unreadable:
        found.append(
            f"{evidence.unreadable} files of the part cannot be read and are in no figure."
        )
    if evidence.gate_refuses:
        found.append(
            f"{evidence.gate_refuses} of the radiographs measured here would be refused by the gate "
            "when screening, for their size, shape or contrast."
        )
    if evidence.left_out:
        found.append(
            f"{evidence.left_out} radiographs of the part are in no figure, because the task "
            f"“{evidence.labels.task}” has no place for their finding."
        )
    absent = [size.finding for size in evidence.sizes if not size.radiographs]
    return found + [f"No radiograph here has the finding “{finding}”." for finding in absent]


def _about_the_aim(evidence: Evidence) -> list[str]:
    measured = evidence.operating_point
    point = measured.point
    if point.chosen_on == str(evidence.part):
        return []
    found = []
    reached_there = {
        FigureName.SENSITIVITY: (point.counts.true_positives, point.counts.false_negatives),
        FigureName.SPECIFICITY: (point.counts.true_negatives, point.counts.false_positives),
    }
    try:
        aim = parse_aim(point.aim)
    except EvaluationError:
        aim = None  # a point from elsewhere may state its aim in other words
    for name, (right, wrong) in reached_there.items():
        figure = measured.figures[name]
        if figure.value is None or not right + wrong:
            continue
        if aim is not None and aim.kind == str(name) and aim.value is not None:
            if figure.value < aim.value:
                found.append(_missed(name, aim.value, figure, point.chosen_on, evidence.part))
        elif right / (right + wrong) - figure.value > _NOTABLE_DROP:
            before = right / (right + wrong)
            found.append(
                f"{name.heading} fell from {before:.3f} on {point.chosen_on} to "
                f"{figure.value:.3f} on {evidence.part}.{_chance(figure, before)}"
            )
    return found


def _chance(figure: Figure, before: float) -> str:
    """Say whether a fall may be chance, as far as the interval here can tell."""
    if figure.interval is None:
        return ""
    if figure.interval.upper < before:
        return (
            f" The interval lies wholly below {before:.3f}, so this is hardly chance: these "
            "radiographs differ from those the threshold was chosen on."
        )
    return f" The interval includes {before:.3f}, so it may be chance."


def _missed(name: FigureName, aimed: float, figure: Figure, chosen_on: str, part: Part) -> str:
    assert figure.value is not None
    text = (
        f"The aim was missed: {name.heading.lower()} {aimed:g} was aimed at on {chosen_on}, "
        f"{figure.value:.3f} was reached on {part}, a drop of {aimed - figure.value:.3f}."
    )
    return text + _chance(figure, aimed)


def _about_size(evidence: Evidence) -> list[str]:
    found = []
    for size in evidence.sizes:
        if 0 < size.patients < MINIMUM_PATIENTS:
            found.append(
                f"Only {size.patients} patients have the finding “{size.finding}”: too few for any "
                f"interval that involves them (at least {MINIMUM_PATIENTS} are needed)."
            )
        elif 0 < size.patients < _ENOUGH_PATIENTS:
            found.append(
                f"Only {size.patients} patients have the finding “{size.finding}”; at least "
                f"{_ENOUGH_PATIENTS} are advised before a classifier is judged."
            )
    if evidence.patients == evidence.radiographs > 1:
        found.append(
            "Every radiograph counts as a patient of its own here. If some show the same person, "
            "the intervals are too narrow."
        )
    return found


def _about_robustness(evidence: Evidence) -> list[str]:
    """Say what practice may bring that the classifier does not bear."""
    robust = evidence.robustness
    if robust is None or robust.auc is None or robust.sensitivity is None:
        return []
    before = {"sensitivity": robust.sensitivity.value, "specificity": robust.specificity.value}  # type: ignore[union-attr]
    worst: tuple[float, str] = (_COLLAPSE, "")
    for curve in robust.curves:
        for change in curve.ordinary:
            after = {
                "sensitivity": change.sensitivity.value,
                "specificity": change.specificity.value,
            }
            for rate, value in after.items():
                fall = (before[rate] or 0.0) - (value or 0.0)
                if fall > worst[0]:
                    words = f"under {curve.corruption} ({change.label}: {curve.unit}) {rate} falls from "
                    worst = fall, f"{words}{before[rate]:.3f} to {value or 0.0:.3f}"
    if not worst[1]:
        return []
    return [f"A change that practice may bring breaks it: {worst[1]}. See Robustness."]


def _about_probabilities(evidence: Evidence) -> list[str]:
    found = []
    table = evidence.calibration
    if abs(table.mean_probability - table.observed) > _NOTABLE_MISCALIBRATION:
        found.append(
            f"The probabilities are off here: their mean is {percent(table.mean_probability)}, "
            f"but {percent(table.observed)} of the radiographs have pneumonia."
        )
    if 0.0 < evidence.prevalence < 1.0:
        found.append(
            "Predictive values (PPV, NPV), F1, accuracy and average precision hold only where, as "
            f"here, {percent(evidence.prevalence)} of the radiographs show pneumonia. Where it is "
            "rarer, a radiograph called pneumonia is less likely to have it."
        )
    return found
