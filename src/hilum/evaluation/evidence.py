"""Evidence: one closed document with everything that is known about a classifier on one part.

The report is drawn from this document alone, so that what people read and what programs read
cannot differ.
"""

from dataclasses import dataclass
from typing import Final, Literal

from pydantic import Field

from hilum.evaluation.calibration import CalibrationTable
from hilum.evaluation.calibration_choice import CalibrationChoice
from hilum.evaluation.calibration_quality import CalibrationQuality
from hilum.evaluation.curves import Curves
from hilum.evaluation.external import ExternalCohort
from hilum.evaluation.figures import LEVEL, Figure, FigureName, Interval
from hilum.evaluation.prevalence import NetBenefit, PrevalenceFigures
from hilum.evaluation.robustness_figures import Robustness
from hilum.evaluation.subgroups import SubgroupAxis
from hilum.evaluation.uncertainty import Abstention, ConformalSets
from hilum.findings import RESEARCH_USE, Finding, Part
from hilum.model.schema import Counts, Document, Labels, OperatingPoint

__all__ = [
    "SCHEMA_VERSION",
    "ClassFigures",
    "ClassSize",
    "ConfusionMatrix",
    "Context",
    "Evidence",
    "Figures",
    "PointFigures",
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
    calibration_choice: CalibrationChoice | None = None  # how the classifier's was chosen


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
    figures: Figures  # that need no threshold of the classifier's: AUC, Brier score and others
    auc_by_delong: Interval | None = None  # of the AUC, beside the bootstrap's; draws nothing
    confusion: ConfusionMatrix
    per_class: tuple[ClassFigures, ...]  # empty for two classes, where it would say the same twice
    overall: Figures  # macro AUC, accuracy, balanced accuracy over classes; empty for two classes
    calibration: CalibrationTable
    calibration_quality: CalibrationQuality | None = None
    calibration_choice: CalibrationChoice | None = None  # on the part that it was fitted to
    # At the operating point; sensitivity and specificity carried over.
    at_prevalence: tuple[PrevalenceFigures, ...] = ()
    decision_curve: tuple[NetBenefit, ...] = ()  # at the prevalence of this part
    conformal: ConformalSets | None = None  # None where a finding has too few patients
    abstention: tuple[Abstention, ...] = ()
    curves: Curves
    subgroups: tuple[SubgroupAxis, ...] = ()
    external: tuple[ExternalCohort, ...] = ()  # the same classifier on other cohorts
    robustness: Robustness | None = None  # None where it was not asked for
