"""Evidence: one closed document with everything that is known about a classifier on one part.

The report is drawn from this document alone, so that what people read and what programs read
cannot differ.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from hilum._version import __version__
from hilum.errors import EvaluationError
from hilum.evaluation.calibration import CalibrationTable, calibration_table
from hilum.evaluation.curves import Curves, curves
from hilum.evaluation.figures import LEVEL, Figure, FigureName
from hilum.evaluation.intervals import REPLICATES, assess
from hilum.evaluation.operating_points import counts_at
from hilum.evaluation.predictions import Predictions
from hilum.evaluation.prevalence import (
    PREVALENCES,
    AtPrevalence,
    NetBenefit,
    PrevalenceFigures,
    decision_curve,
    exact_where_certain,
)
from hilum.evaluation.subjects import (
    Agreement,
    Decision,
    MacroRanking,
    ProbabilityError,
    Ranking,
    Subject,
)
from hilum.evaluation.uncertainty import (
    Abstention,
    ConformalSets,
    abstention_curve,
    measure_conformal_sets,
)
from hilum.findings import RESEARCH_USE, Finding, Part
from hilum.model.schema import Counts, Document, Labels, OperatingPoint

__all__ = [
    "SCHEMA_VERSION",
    "ClassFigures",
    "ClassSize",
    "ConfusionMatrix",
    "Context",
    "Evidence",
    "PointFigures",
    "build_evidence",
]

SCHEMA_VERSION: Final = 1

Figures = dict[FigureName, Figure]


@dataclass(frozen=True, slots=True)
class Context:
    """Where predictions come from, for provenance."""

    command: str  # that made the evidence
    classifier_name: str
    cohort_name: str
    part: Part
    phantom: bool  # True where the radiographs are drawn
    classifier_sha256: str | None = None  # None where the classifier is not a file yet
    cohort_sha256: str | None = None
    created: str = ""  # ISO 8601, UTC; empty for now
    left_out: int = 0  # radiographs of the part whose finding the task cannot place
    unreadable: int = 0  # files of the part that cannot be read
    gate_refuses: int = 0  # radiographs measured here that screening would refuse by their picture
    like_training: int = 0  # radiographs that look like one the classifier learned from
    test_openings: int | None = None  # how often this test part was opened on this machine


class ClassSize(Document):
    """How many radiographs and patients have a finding."""

    finding: Finding
    radiographs: int = Field(ge=0)
    patients: int = Field(ge=0)  # a patient with two findings counts in both


class PointFigures(Document):
    """An operating point, and what it gives here."""

    point: OperatingPoint
    counts: Counts  # on the radiographs of this evidence
    figures: Figures


class ConfusionMatrix(Document):
    """Radiographs by true and by called finding."""

    findings: tuple[Finding, ...]
    rule: str  # how a finding was called, for people
    counts: tuple[tuple[int, ...], ...]  # rows: true finding; columns: called finding


class ClassFigures(Document):
    """One finding against all others, called where it is the most probable one."""

    finding: Finding
    figures: Figures


class Evidence(Document):
    """What a classifier is worth on the radiographs of one part of a cohort."""

    schema_version: Literal[1] = SCHEMA_VERSION
    research_use: str = RESEARCH_USE
    hilum_version: str
    created: str  # ISO 8601, UTC
    command: str
    classifier_name: str
    classifier_sha256: str | None
    cohort_name: str
    cohort_sha256: str | None
    part: Part
    phantom: bool
    labels: Labels
    radiographs: int = Field(ge=1)
    patients: int = Field(ge=1)
    left_out: int = Field(default=0, ge=0)  # whose finding the task cannot place; not in any figure
    unreadable: int = Field(default=0, ge=0)  # files of the part; not in any figure
    gate_refuses: int = Field(default=0, ge=0)  # in the figures, though screening would refuse them
    like_training: int = Field(default=0, ge=0)  # by perceptual hash; some are alike by chance
    test_openings: int | None = None  # how often, on this machine; null for other parts
    sizes: tuple[ClassSize, ...]  # in the order of the labels
    prevalence: float = Field(ge=0.0, le=1.0)  # of pneumonia, over radiographs
    seed: int
    replicates: int = Field(ge=1)  # of the bootstrap over patients
    level: float = LEVEL
    operating_point: PointFigures
    other_operating_points: tuple[PointFigures, ...]
    figures: Figures  # that need no threshold: AUC, average precision, Brier score
    confusion: ConfusionMatrix
    per_class: tuple[ClassFigures, ...]  # empty for two classes, where it would say the same twice
    overall: Figures  # macro AUC, accuracy, balanced accuracy over classes; empty for two classes
    calibration: CalibrationTable
    # At the operating point; sensitivity and specificity carried over.
    at_prevalence: tuple[PrevalenceFigures, ...] = ()
    decision_curve: tuple[NetBenefit, ...] = ()  # at the prevalence of this part
    conformal: ConformalSets | None = None  # None where a finding has too few patients
    abstention: tuple[Abstention, ...] = ()
    curves: Curves


def build_evidence(
    predictions: Predictions,
    operating_point: OperatingPoint,
    *,
    context: Context,
    seed: int,
    other_points: Sequence[OperatingPoint] = (),
    replicates: int = REPLICATES,
) -> Evidence:
    """Measure a classifier's predictions of one part.

    Args:
        predictions: Of the part, with truth and patients.
        operating_point: The one that the report speaks of.
        context: Where the predictions come from.
        seed: Of the bootstrap; the same seed and predictions give the same evidence.
        other_points: The classifier's further operating points; one of the same name is left out.
        replicates: How many bootstrap replicates.

    Returns:
        The evidence. Figures that a missing class leaves undefined are null with a reason.

    Raises:
        EvaluationError: If `replicates` is below 1.
    """
    if replicates < 1:
        raise EvaluationError(f"{replicates} bootstrap replicates cannot be drawn; ask for 2000")
    rng = np.random.default_rng(seed)
    findings = predictions.labels.findings
    truth, pneumonia = predictions.is_pneumonia, predictions.pneumonia
    others = [point for point in other_points if point.name != operating_point.name]
    points = [operating_point, *others]
    ranking = Ranking(pneumonia, truth)
    decision = Decision(truth, pneumonia >= operating_point.threshold)
    # Keys are only read back below; a prefix keeps the operating points' own names apart.
    subjects: dict[str, Subject] = {
        "ranking": ranking,
        "error": ProbabilityError(pneumonia, truth),
        **{f"point {p.name}": Decision(truth, pneumonia >= p.threshold) for p in points},
        **{f"prevalence {p}": AtPrevalence(decision, p) for p in PREVALENCES},
        **_class_subjects(predictions),
    }
    measured = assess(subjects, predictions.patients, rng, replicates)
    at_points = [
        PointFigures(
            point=point,
            counts=counts_at(point.threshold, pneumonia, truth),
            figures=measured[f"point {point.name}"],
        )
        for point in points
    ]
    several = len(findings) > 2
    return Evidence(
        hilum_version=__version__,
        created=context.created or datetime.now(UTC).isoformat(timespec="seconds"),
        command=context.command,
        classifier_name=context.classifier_name,
        classifier_sha256=context.classifier_sha256,
        cohort_name=context.cohort_name,
        cohort_sha256=context.cohort_sha256,
        part=context.part,
        phantom=context.phantom,
        labels=predictions.labels,
        radiographs=len(predictions),
        patients=predictions.patient_count,
        left_out=context.left_out,
        unreadable=context.unreadable,
        gate_refuses=context.gate_refuses,
        like_training=context.like_training,
        test_openings=context.test_openings,
        sizes=_sizes(predictions),
        prevalence=float(truth.mean()),
        seed=seed,
        replicates=replicates,
        operating_point=at_points[0],
        other_operating_points=tuple(at_points[1:]),
        figures={**measured["ranking"], **measured["error"]},
        confusion=_confusion(predictions, operating_point),
        per_class=tuple(
            ClassFigures(
                finding=finding,
                figures={**measured[f"decision {finding}"], **measured[f"ranking {finding}"]},
            )
            for finding in (findings if several else ())
        ),
        overall={**measured["macro"], **measured["agreement"]} if several else {},
        at_prevalence=tuple(
            _at_prevalence(p, measured[f"prevalence {p}"], at_points[0].figures)
            for p in PREVALENCES
        ),
        decision_curve=decision_curve(pneumonia, truth),
        # A seed of its own, so that the other figures stay what they were.
        conformal=measure_conformal_sets(predictions, np.random.default_rng(seed), replicates),
        abstention=abstention_curve(pneumonia, truth, operating_point.threshold),
        calibration=calibration_table(pneumonia, truth, predictions.patients),
        curves=curves(ranking, predictions.patients, rng, replicates),
    )


def _at_prevalence(prevalence: float, found: Figures, here: Figures) -> PrevalenceFigures:
    rates = here[FigureName.SENSITIVITY], here[FigureName.SPECIFICITY]
    ppv, npv = (
        exact_where_certain(name, found[name], *rates, prevalence)
        for name in (FigureName.PPV, FigureName.NPV)
    )
    return PrevalenceFigures(prevalence=prevalence, ppv=ppv, npv=npv)


def _most_probable(predictions: Predictions) -> NDArray[np.int64]:
    return np.asarray(np.argmax(predictions.probabilities, axis=1), dtype=np.int64)


def _class_subjects(predictions: Predictions) -> dict[str, Subject]:
    findings = predictions.labels.findings
    if len(findings) == 2:
        return {}
    called = _most_probable(predictions)
    subjects: dict[str, Subject] = {}
    rankings: list[Ranking] = []
    for index, finding in enumerate(findings):
        truth, other = predictions.truth == index, f"not {finding}"
        ranking = Ranking(predictions.probabilities[:, index], truth, str(finding), other)
        rankings.append(ranking)
        subjects[f"ranking {finding}"] = ranking
        subjects[f"decision {finding}"] = Decision(truth, called == index, str(finding), other)
    subjects["macro"] = MacroRanking(tuple(rankings))
    subjects["agreement"] = Agreement(predictions.truth, called, tuple(map(str, findings)))
    return subjects


def _sizes(predictions: Predictions) -> tuple[ClassSize, ...]:
    masks = [predictions.truth == i for i in range(len(predictions.labels.findings))]
    return tuple(
        ClassSize(
            finding=finding,
            radiographs=int(mask.sum()),
            patients=len(np.unique(predictions.patients[mask])),
        )
        for finding, mask in zip(predictions.labels.findings, masks, strict=True)
    )


def _confusion(predictions: Predictions, point: OperatingPoint) -> ConfusionMatrix:
    findings = predictions.labels.findings
    if len(findings) == 2:
        # At the operating point, so that the matrix and the counts beside it are the same.
        called = (predictions.pneumonia >= point.threshold).astype(np.int64)
        rule = f"pneumonia where its probability is at least {point.threshold:.3g}"
    else:
        called = _most_probable(predictions)
        rule = "the most probable finding; the operating point plays no part"
    matrix = np.zeros((len(findings), len(findings)), dtype=np.int64)
    np.add.at(matrix, (predictions.truth, called), 1)
    return ConfusionMatrix(
        findings=findings, rule=rule, counts=tuple(tuple(map(int, row)) for row in matrix)
    )
