"""When a classifier should not decide alone: conformal sets, and what referring the unsure ones buys.

A conformal set holds every finding that cannot be ruled out at a stated level. Class by class, so that
the promise holds for the ill and for the well (Vovk, Asian Conference on Machine Learning 2012;
Angelopoulos and Bates, Foundations and Trends in Machine Learning 2023). What is measured here was
never used to set it: patients are dealt to two halves, each sets the limits of the other. The promise
holds for radiographs that are exchangeable; where patients have several it is approximate.
"""

import math

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from hilum.cohort.split import patient_folds
from hilum.errors import CohortError
from hilum.evaluation.figures import Figure, FigureName
from hilum.evaluation.intervals import assess
from hilum.evaluation.predictions import Predictions
from hilum.evaluation.subjects import Decision
from hilum.findings import Finding
from hilum.model.schema import Document

__all__ = [
    "Abstention",
    "ConformalSets",
    "Coverage",
    "abstention_curve",
    "conformal_limits",
    "measure_conformal_sets",
]

LEVEL = 0.9  # of coverage that is asked for
_REFERRED = np.round(np.arange(0.0, 0.55, 0.05), 2)


class Coverage(Document):
    """How often the set of a radiograph with a finding holds that finding."""

    finding: Finding
    coverage: Figure


class ConformalSets(Document):
    """How conformal sets did on radiographs that did not set them."""

    level: float  # of coverage that was asked for, in every finding
    coverage: tuple[Coverage, ...]
    one_finding: float  # share of sets with one finding, which decide
    several: float  # share of sets that cannot decide
    none: float  # share of empty sets: surer of no finding than nine in ten of its own; undecided, too


class Abstention(Document):
    """What remains when the least certain radiographs are referred to a person."""

    referred: float = Field(ge=0.0, lt=1.0)  # share
    accuracy: float  # on the rest
    sensitivity: float | None  # None where the rest has no pneumonia
    specificity: float | None


def conformal_limits(
    probabilities: NDArray[np.float64], truth: NDArray[np.int64], level: float
) -> NDArray[np.float64]:
    """Return the least probability with which each label stays in a set.

    Args:
        probabilities: Of radiographs that set the limits, shape (n, labels).
        truth: Label indices, shape (n,).
        level: Of coverage within each label, in (0, 1).

    Returns:
        Shape (labels,); 0 where a label has too few radiographs to rule anything out.
    """
    limits = np.zeros(probabilities.shape[1])
    for label in range(len(limits)):
        own = np.sort(probabilities[truth == label, label])[::-1]
        rank = math.ceil((len(own) + 1) * level)  # one more for the radiograph that is yet to come
        if rank <= len(own):
            limits[label] = own[rank - 1]
    return limits


def measure_conformal_sets(
    predictions: Predictions, rng: np.random.Generator, replicates: int, level: float = LEVEL
) -> ConformalSets | None:
    """Set limits on one half of the patients and measure them on the other, both ways.

    Args:
        predictions: Of one part.
        rng: Of the bootstrap.
        replicates: Of the bootstrap.
        level: Of coverage that is asked for.

    Returns:
        None where a finding has fewer than two patients.
    """
    probabilities, truth, patients = (
        predictions.probabilities, predictions.truth, predictions.patients,
    )  # fmt: skip
    findings = predictions.labels.findings
    if len(np.unique(truth)) < len(findings):
        return None
    try:
        half = patient_folds(truth, patients, 2, seed=0)
    except CohortError:
        return None
    sets = np.zeros(probabilities.shape, bool)
    for side in (0, 1):
        limits = conformal_limits(probabilities[half != side], truth[half != side], level)
        sets[half == side] = probabilities[half == side] >= limits
    covered = sets[np.arange(len(truth)), truth]
    subjects = {
        str(finding): Decision(truth == label, covered, str(finding), "otherwise")
        for label, finding in enumerate(findings)
    }
    measured = assess(subjects, patients, rng, replicates)
    sizes = sets.sum(axis=1)
    return ConformalSets(
        level=level,
        coverage=tuple(
            Coverage(finding=f, coverage=measured[str(f)][FigureName.SENSITIVITY]) for f in findings
        ),
        one_finding=float((sizes == 1).mean()),
        several=float((sizes > 1).mean()),
        none=float((sizes == 0).mean()),
    )


def abstention_curve(
    pneumonia: NDArray[np.float64], truth: NDArray[np.bool_], threshold: float
) -> tuple[Abstention, ...]:
    """Return what is right among the rest when the radiographs nearest the threshold are referred.

    Nearness is in log-odds, so that 0.01 against 0.001 counts as it should. Of equally near ones the
    earlier is referred.

    Args:
        pneumonia: Calibrated probability of pneumonia, shape (n,), n >= 1.
        truth: True where there is pneumonia, shape (n,).
        threshold: At and above it pneumonia is called.
    """
    inside = np.clip([*pneumonia, threshold], 1e-12, 1 - 1e-12)
    odds = np.log(inside / (1 - inside))
    order = np.argsort(np.abs(odds[:-1] - odds[-1]), kind="stable")
    right = (pneumonia >= threshold) == truth
    points = []
    for share in _REFERRED:
        kept = order[int(share * len(order)) :]
        ill, well = kept[truth[kept]], kept[~truth[kept]]
        points.append(
            Abstention(
                referred=float(share),
                accuracy=float(right[kept].mean()),
                sensitivity=float(right[ill].mean()) if len(ill) else None,
                specificity=float(right[well].mean()) if len(well) else None,
            )
        )
    return tuple(points)
