"""Comparing classifiers on the same radiographs: is one better, or was it chance?

Areas are compared by a clustered DeLong test, decisions at each classifier's own operating point by
McNemar's test, and all by paired bootstrap over patients. Several comparisons are made at once, so
their p values are corrected (Holm, Scandinavian Journal of Statistics 1979;6:65-70).
"""

from itertools import combinations
from math import sqrt

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from scipy.stats import binomtest, norm

from hilum._version import __version__
from hilum.errors import EvaluationError
from hilum.evaluation.delong import areas_and_covariance
from hilum.evaluation.figures import Figure, FigureName
from hilum.evaluation.intervals import REPLICATES, assess, bootstrap, percentiles
from hilum.evaluation.subjects import Decision, Ranking, Subject
from hilum.findings import Part
from hilum.model.schema import Document

__all__ = ["Comparison", "Contender", "Difference", "Reading", "compare", "holm"]

_FIGURES = (FigureName.SENSITIVITY, FigureName.SPECIFICITY)


class Reading(Document):
    """What one classifier says of the radiographs, in their order."""

    name: str
    sha256: str
    operating_point: str
    threshold: float
    pneumonia: tuple[float, ...]  # calibrated probability


class Contender(Document):
    """One classifier's figures."""

    name: str
    sha256: str
    operating_point: str
    threshold: float
    figures: dict[FigureName, Figure]  # AUC, sensitivity, specificity


class Difference(Document):
    """The second classifier less the first in one figure."""

    first: str
    second: str
    figure: FigureName
    difference: float | None  # None where the figure is undefined
    lower: float | None  # 95 %, paired bootstrap over patients
    upper: float | None
    test: str
    p: float | None
    p_corrected: float | None  # by Holm, over all comparisons of this figure
    only_first: int | None = None  # radiographs that only the first called rightly
    only_second: int | None = None


class Comparison(Document):
    """Classifiers on the same radiographs."""

    hilum_version: str = __version__
    command: str
    cohort_name: str
    cohort_sha256: str
    part: Part
    phantom: bool
    radiographs: int = Field(ge=1)
    patients: int = Field(ge=1)
    seed: int
    replicates: int
    contenders: tuple[Contender, ...]
    differences: tuple[Difference, ...]


def holm(p: list[float | None]) -> list[float | None]:
    """Correct p values for being many; None stays None and does not count.

    Holm's step-down: the smallest is multiplied by their number, the next by one less, and none may
    fall below one before it.
    """
    order = sorted((value, i) for i, value in enumerate(p) if value is not None)
    corrected: list[float | None] = [None] * len(p)
    highest = 0.0
    for rank, (value, i) in enumerate(order):
        highest = max(highest, min(1.0, value * (len(order) - rank)))
        corrected[i] = highest
    return corrected


def compare(
    readings: list[Reading],
    truth: NDArray[np.bool_],
    patients: NDArray[np.str_],
    *,
    cohort_name: str,
    cohort_sha256: str,
    part: Part,
    phantom: bool,
    command: str = "",
    seed: int = 0,
    replicates: int = REPLICATES,
) -> Comparison:
    """Compare every pair of classifiers.

    Args:
        readings: Two or more, of the same radiographs.
        truth: True where a radiograph has pneumonia, shape (n,).
        patients: Whose each is, shape (n,).
        cohort_name: For people.
        cohort_sha256: For provenance.
        part: Which part.
        phantom: Whether the radiographs are drawn.
        command: As typed.
        seed: Of the bootstrap.
        replicates: How many bootstrap replicates.

    Raises:
        EvaluationError: If there are fewer than two classifiers or two have one name.
    """
    names = [reading.name for reading in readings]
    if len(names) < 2 or len(set(names)) != len(names):
        raise EvaluationError(
            "a comparison needs two classifiers or more, each with a name of its own"
        )
    scores = np.array([reading.pneumonia for reading in readings])
    called = scores >= np.array([[reading.threshold] for reading in readings])
    subjects: dict[str, Subject] = {}
    for reading, score, call in zip(readings, scores, called, strict=True):
        subjects[f"ranking {reading.name}"] = Ranking(score, truth)
        subjects[f"decision {reading.name}"] = Decision(truth, call)
    # One seed for figures and differences, so that both are of the same draws.
    measured = assess(subjects, patients, np.random.default_rng(seed), replicates)
    contenders = [
        Contender(
            name=reading.name,
            sha256=reading.sha256,
            operating_point=reading.operating_point,
            threshold=reading.threshold,
            figures={
                FigureName.AUC: measured[f"ranking {reading.name}"][FigureName.AUC],
                **{name: measured[f"decision {reading.name}"][name] for name in _FIGURES},
            },
        )
        for reading in readings
    ]
    return Comparison(
        command=command,
        cohort_name=cohort_name,
        cohort_sha256=cohort_sha256,
        part=part,
        phantom=phantom,
        radiographs=len(truth),
        patients=len(np.unique(patients)),
        seed=seed,
        replicates=replicates,
        contenders=tuple(contenders),
        differences=tuple(
            _differences(names, subjects, scores, called, truth, patients, seed, replicates)
        ),
    )


def _differences(
    names: list[str],
    subjects: dict[str, Subject],
    scores: NDArray[np.float64],
    called: NDArray[np.bool_],
    truth: NDArray[np.bool_],
    patients: NDArray[np.str_],
    seed: int,
    replicates: int,
) -> list[Difference]:
    figures = (FigureName.AUC, *_FIGURES)

    def values(weights: NDArray[np.float64]) -> NDArray[np.float64]:
        found = {key: subject.values(weights) for key, subject in subjects.items()}
        columns = [
            found[f"{'ranking' if figure is FigureName.AUC else 'decision'} {name}"][figure]
            for figure in figures
            for name in names
        ]
        return np.stack(columns, axis=1).reshape(len(weights), len(figures), len(names))

    estimates = values(np.ones((1, len(truth))))[0]
    drawn = bootstrap(values, patients, np.random.default_rng(seed), replicates)
    differences: list[Difference] = []
    for row, figure in enumerate(figures):
        of_figure = []
        for i, j in combinations(range(len(names)), 2):
            gap = drawn[:, row, j] - drawn[:, row, i]
            value = estimates[row, j] - estimates[row, i]
            defined = bool(np.isfinite(value)) and bool(np.isfinite(gap).any())
            low, high = percentiles(gap).tolist() if defined else (None, None)
            counts: dict[str, int] = {}
            if figure is FigureName.AUC:
                test, p = "DeLong over patients", _delong(scores[[i, j]], truth, patients)
            else:
                rows = truth if figure is FigureName.SENSITIVITY else ~truth
                right = called[:, rows] == truth[rows]
                test, (p, counts) = "McNemar, exact", _mcnemar(right[i], right[j])
            of_figure.append(
                Difference(
                    first=names[i],
                    second=names[j],
                    figure=figure,
                    difference=float(value) if defined else None,
                    lower=low,
                    upper=high,
                    test=test,
                    p=p,
                    p_corrected=None,
                    **counts,
                )
            )
        corrected = holm([each.p for each in of_figure])
        differences += [
            each.model_copy(update={"p_corrected": p})
            for each, p in zip(of_figure, corrected, strict=True)
        ]
    return differences


def _delong(
    scores: NDArray[np.float64], truth: NDArray[np.bool_], patients: NDArray[np.str_]
) -> float | None:
    """Return the two-sided p value of equal areas; None where the sample cannot carry it."""
    try:
        areas, covariance = areas_and_covariance(scores, truth, patients)
    except EvaluationError:
        return None
    variance = covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1]
    if variance <= 0:
        return 1.0 if areas[0] == areas[1] else None
    return float(2 * norm.sf(abs(areas[1] - areas[0]) / sqrt(variance)))


def _mcnemar(
    first: NDArray[np.bool_], second: NDArray[np.bool_]
) -> tuple[float | None, dict[str, int]]:
    """Return the exact two-sided p value that either is right alone equally often (McNemar 1947).

    It takes radiographs for independent; the bootstrap interval beside it does not.
    """
    only_first, only_second = int((first & ~second).sum()), int((second & ~first).sum())
    counts = {"only_first": only_first, "only_second": only_second}
    if not len(first):
        return None, counts
    discordant = only_first + only_second
    p = float(binomtest(only_first, discordant).pvalue) if discordant else 1.0
    return p, counts
