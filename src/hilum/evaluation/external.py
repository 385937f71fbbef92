"""External evidence: the same classifier at the same operating point on another hospital's radiographs.

A figure from the hospital that a classifier learned from says little of any other. Here both stand
side by side, with how far each figure fell and what may explain it. The two share no patient, so a
difference is between two bootstraps that are independent of each other.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray
from pydantic import Field

from hilum.cohort.hashes import ALIKE_BY_CHANCE
from hilum.cohort.table import Cohort
from hilum.errors import EvaluationError
from hilum.evaluation.calibration import calibration_table
from hilum.evaluation.external_causes import Cause, ReadPart, likely_causes
from hilum.evaluation.figures import Figure, FigureName, Interval
from hilum.evaluation.intervals import REPLICATES, assess, bootstrap, drawn_interval
from hilum.evaluation.operating_points import counts_at
from hilum.evaluation.predictions import Predictions
from hilum.evaluation.reading import predict
from hilum.evaluation.subjects import Decision, Ranking, Subject
from hilum.evaluation.wording import brief
from hilum.findings import Part
from hilum.model import Classifier
from hilum.model.schema import Counts, Document, OperatingPoint

__all__ = [
    "Drop",
    "ExternalCohort",
    "ExternalSide",
    "ReadPart",
    "external_evidence",
    "external_finding",
]

_FIGURES = (
    FigureName.AUC,
    FigureName.AVERAGE_PRECISION,
    FigureName.SENSITIVITY,
    FigureName.SPECIFICITY,
    FigureName.PPV,
    FigureName.NPV,
)


class ExternalSide(Document):
    """What a classifier is worth on one of two cohorts."""

    cohort_name: str
    part: Part
    phantom: bool
    radiographs: int = Field(ge=1)
    patients: int = Field(ge=1)
    patients_with_pneumonia: int = Field(ge=0)
    patients_normal: int = Field(ge=0)
    prevalence: float = Field(ge=0.0, le=1.0)  # of pneumonia, over radiographs
    counts: Counts  # at the operating point
    figures: dict[FigureName, Figure]
    mean_probability: float = Field(
        ge=0.0, le=1.0
    )  # of pneumonia; calibrated, it is the prevalence
    expected_calibration_error: float


class Drop(Document):
    """A figure there less the same figure here; below 0 it fell."""

    difference: float | None  # None where either is undefined
    interval: Interval | None  # two independent bootstraps over patients
    reason: str | None = None  # why there is no difference or no interval


class ExternalCohort(Document):
    """A classifier on radiographs from elsewhere, beside those of the reference part."""

    cohort_sha256: str  # of the external cohort
    operating_point: OperatingPoint  # of both
    here: ExternalSide  # the reference part
    there: ExternalSide  # the external part
    left_out: int = Field(default=0, ge=0)  # radiographs there whose finding the task cannot place
    unreadable: int = Field(default=0, ge=0)  # files of the external part
    test_openings: int | None = None  # how often the external test part was opened on this machine
    like_training: int = Field(default=0, ge=0)  # radiographs there like one that was learned from
    seed: int
    replicates: int = Field(ge=1)
    drops: dict[FigureName, Drop]
    causes: tuple[Cause, ...]


def external_evidence(
    classifier: Classifier,
    here: ReadPart,
    other: Cohort,
    part: Part,
    point: OperatingPoint,
    *,
    seed: int,
    replicates: int = REPLICATES,
    test_openings: int | None = None,
    like_training: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> ExternalCohort:
    """Read a part of another cohort and hold it against a part that was read.

    Args:
        classifier: That read `here`.
        here: The reference part.
        other: The external cohort.
        part: Which part of it.
        point: At which radiographs are called pneumonia, on both sides.
        seed: Of the bootstraps; the reference part's intervals are those of its own evidence.
        replicates: How many bootstrap replicates.
        test_openings: How often this external test part was opened, where it is one.
        like_training: How many radiographs there look like one that the classifier learned from.
        progress: Called with how many of how many radiographs are decoded.

    Raises:
        CohortError: If the part is empty, the task can place none of it, or its files changed.
        EvaluationError: If both are the same radiographs.
    """
    chosen = other.part(part)
    if shared := set(here.placed.table["sha256"]) & set(chosen.table["sha256"]):
        raise EvaluationError(
            f"{len(shared)} radiographs of {other.name} are in the reference part, too; external "
            "evidence needs a cohort from elsewhere"
        )
    # Elsewhere a finding may be absent; what cannot be measured without it says so.
    there = ReadPart(other.name, part, *predict(classifier, chosen, progress, every_finding=False))
    streams = [[seed], [seed, 1], [seed, 2]]  # the first is the seed itself, as in the evidence
    sides = [
        _side(each, point, np.random.default_rng(stream), replicates)
        for each, stream in zip((here, there), streams, strict=False)
    ]
    lost = other.where(pl.col("unreadable").is_not_null() & (pl.col("part") == str(part)))
    return ExternalCohort(
        cohort_sha256=other.digest(),
        operating_point=point,
        here=sides[0],
        there=sides[1],
        left_out=len(chosen) - len(there.placed),
        unreadable=len(lost),
        test_openings=test_openings,
        like_training=like_training,
        seed=seed,
        replicates=replicates,
        drops=_drops(here.predictions, there.predictions, sides, point, streams, replicates),
        causes=likely_causes(
            classifier,
            here,
            there,
            point,
            sides[0].figures,
            sides[1].figures,
            np.random.default_rng(streams[2]),
            replicates,
        ),
    )


def _subjects(predictions: Predictions, point: OperatingPoint) -> dict[str, Subject]:
    truth, score = predictions.is_pneumonia, predictions.pneumonia
    return {"ranking": Ranking(score, truth), "decision": Decision(truth, score >= point.threshold)}


def _side(
    read: ReadPart, point: OperatingPoint, rng: np.random.Generator, replicates: int
) -> ExternalSide:
    predictions = read.predictions
    truth, score, patients = predictions.is_pneumonia, predictions.pneumonia, predictions.patients
    measured = assess(_subjects(predictions, point), patients, rng, replicates)
    found = {**measured["ranking"], **measured["decision"]}
    calibration = calibration_table(score, truth, patients)
    return ExternalSide(
        cohort_name=read.cohort_name,
        part=read.part,
        phantom=read.placed.phantom,
        radiographs=len(predictions),
        patients=predictions.patient_count,
        patients_with_pneumonia=len(np.unique(patients[truth])),
        patients_normal=len(np.unique(patients[~truth])),
        prevalence=calibration.observed,
        counts=counts_at(point.threshold, score, truth),
        figures={name: found[name] for name in _FIGURES},
        mean_probability=calibration.mean_probability,
        expected_calibration_error=calibration.expected_calibration_error,
    )


def _drops(
    here: Predictions,
    there: Predictions,
    sides: list[ExternalSide],
    point: OperatingPoint,
    streams: list[list[int]],
    replicates: int,
) -> dict[FigureName, Drop]:
    drawn = []
    for predictions, stream in zip((here, there), streams, strict=False):
        subjects = _subjects(predictions, point).values()

        def values(weights: NDArray[np.float64], subjects: Any = subjects) -> NDArray[np.float64]:
            found = {name: v for each in subjects for name, v in each.values(weights).items()}
            return np.stack([found[name] for name in _FIGURES], axis=1)

        rng = np.random.default_rng(stream)
        drawn.append(bootstrap(values, predictions.patients, rng, replicates))
    return {
        name: _drop(sides[0].figures[name], sides[1].figures[name], drawn[1][:, i] - drawn[0][:, i])
        for i, name in enumerate(_FIGURES)
    }


def _drop(here: Figure, there: Figure, drawn: NDArray[np.float64]) -> Drop:
    if here.value is None or there.value is None:
        where, why = ("here", here.reason) if here.value is None else ("there", there.reason)
        return Drop(difference=None, interval=None, reason=f"{where} {why}")
    difference = there.value - here.value
    for where, figure in (("here", here), ("there", there)):
        if figure.interval is None or figure.interval.method != "patient bootstrap":
            exact = f"the rate is exactly {figure.value:g}, which no replicate can change"
            reason = f"{where} {figure.no_interval or exact}"
            return Drop(difference=difference, interval=None, reason=reason)
    interval = drawn_interval(drawn)
    if isinstance(interval, str):
        return Drop(difference=difference, interval=None, reason=interval)
    return Drop(difference=difference, interval=interval)


def external_finding(external: ExternalCohort) -> str:
    """Say in one or two sentences what became of the classifier elsewhere."""
    there, drop = external.there, external.drops[FigureName.AUC]
    text = (
        f"On {there.cohort_name} ({there.part}), {there.radiographs} radiographs of "
        f"{there.patients} patients from elsewhere, the AUC is {brief(there.figures[FigureName.AUC])}"
    )
    if drop.difference is not None:
        change = "lower" if drop.difference < 0 else "higher"
        text += f", {abs(drop.difference):.3f} {change} than on {external.here.cohort_name}"
        if drop.interval:
            limits = sorted((abs(drop.interval.lower), abs(drop.interval.upper)))
            if drop.interval.lower <= 0.0 <= drop.interval.upper:
                text += ", which chance can explain"
            else:
                text += f" (95 % interval {limits[0]:.3f} to {limits[1]:.3f})"
    likely = [cause.sentence for cause in external.causes if cause.likely]
    sentences = [f"{text}.", *likely[:1]]
    if external.like_training > ALIKE_BY_CHANCE * there.radiographs:
        sentences.append(
            f"{external.like_training} radiographs there look like ones that the classifier learned "
            "from; if they are copies, these figures are far too good."
        )
    if external.left_out:
        sentences.append(
            f"{external.left_out} radiographs there are in no figure, because the task has no place "
            "for their finding."
        )
    return " ".join(sentences)
