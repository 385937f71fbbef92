"""Comparing classifiers on the same radiographs: is one better, or was it chance?

Areas are compared by a clustered DeLong test, decisions at each classifier's own operating point by an
exact sign-flip test over patients, which with one radiograph each is McNemar's, and all by paired
bootstrap over patients. Several comparisons are made at once, so
their p values are corrected (Holm, Scandinavian Journal of Statistics 1979;6:65-70).
"""

from itertools import combinations
from math import sqrt

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from hilum._version import __version__
from hilum.errors import EvaluationError
from hilum.evaluation.delong import areas_and_covariance
from hilum.evaluation.figures import Figure, FigureName, Interval
from hilum.evaluation.intervals import REPLICATES, assess, bootstrap, drawn_interval, too_few
from hilum.evaluation.subjects import Decision, Ranking, Subject
from hilum.findings import RESEARCH_USE, Part
from hilum.model.schema import Document

__all__ = ["Comparison", "Contender", "Difference", "Reading", "compare", "holm", "sign_flip"]

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
    interval: Interval | None  # paired bootstrap over patients
    test: str
    p: float | None
    reason: str | None = None  # why there is no interval or no p
    p_corrected: float | None  # by Holm, over all comparisons of this figure
    only_first: int | None = None  # radiographs that only the first called rightly
    only_second: int | None = None


class Comparison(Document):
    """Classifiers on the same radiographs."""

    research_use: str = RESEARCH_USE
    hilum_version: str = __version__
    command: str
    cohort_name: str
    cohort_sha256: str
    part: Part
    phantom: bool
    radiographs: int = Field(ge=1)
    patients: int = Field(ge=1)
    unreadable: int = 0  # files of the part; in no figure
    test_openings: int | None = None  # how often, on this machine; None for other parts
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
    unreadable: int = 0,
    test_openings: int | None = None,
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
        unreadable: Files of the part that could not be read.
        test_openings: How often this test part was opened.
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
        unreadable=unreadable,
        test_openings=test_openings,
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
        columns = [found[f"{_kind(figure)} {name}"][figure] for figure in figures for name in names]
        return np.stack(columns, axis=1).reshape(len(weights), len(figures), len(names))

    estimates = values(np.ones((1, len(truth))))[0]
    drawn = bootstrap(values, patients, np.random.default_rng(seed), replicates)
    differences: list[Difference] = []
    for row, figure in enumerate(figures):
        of_figure = []
        for i, j in combinations(range(len(names)), 2):
            gap = drawn[:, row, j] - drawn[:, row, i]
            value = estimates[row, j] - estimates[row, i]
            measure = subjects[f"{_kind(figure)} {names[i]}"].measures[figure]
            why = "a class is missing" if np.isnan(value) else too_few(measure, patients)
            interval = why or drawn_interval(gap)
            counts: dict[str, int] = {}
            if figure is FigureName.AUC:
                test = "DeLong over patients"
                p = None if why else _delong(scores[[i, j]], truth, patients)
            else:
                test = "sign flip over patients, exact"
                rows = truth if figure is FigureName.SENSITIVITY else ~truth
                right = called[:, rows] == truth[rows]
                p = None if why else sign_flip(right[i], right[j], patients[rows])
                counts = {
                    "only_first": int((right[i] & ~right[j]).sum()),
                    "only_second": int((right[j] & ~right[i]).sum()),
                }
            of_figure.append(
                Difference(
                    first=names[i],
                    second=names[j],
                    figure=figure,
                    difference=None if np.isnan(value) else float(value),
                    interval=None if isinstance(interval, str) else interval,
                    test=test,
                    p=p,
                    p_corrected=None,
                    reason=interval if isinstance(interval, str) else None,
                    **counts,
                )
            )
        corrected = holm([each.p for each in of_figure])
        differences += [
            each.model_copy(update={"p_corrected": p})
            for each, p in zip(of_figure, corrected, strict=True)
        ]
    return differences


def _kind(figure: FigureName) -> str:
    return "ranking" if figure is FigureName.AUC else "decision"


def _delong(
    scores: NDArray[np.float64], truth: NDArray[np.bool_], patients: NDArray[np.str_]
) -> float | None:
    """Return the two-sided p value of equal areas; None where their difference has no variance."""
    areas, covariance = areas_and_covariance(scores, truth, patients)
    variance = covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1]
    if variance <= 0:
        return 1.0 if areas[0] == areas[1] else None
    from scipy.stats import norm

    return float(2 * norm.sf(abs(areas[1] - areas[0]) / sqrt(variance)))


def sign_flip(
    first: NDArray[np.bool_], second: NDArray[np.bool_], patients: NDArray[np.str_]
) -> float:
    """Return the exact two-sided p value that which of two is right oftener is a patient's chance.

    If the classifiers are alike, the surplus of one over the other in each patient is as likely to
    be the other's. All ways to flip patients are counted, by convolution. With one radiograph for each
    patient this is McNemar's exact test; with several, McNemar's would call chance a finding, since a
    patient's radiographs are alike (Durkalski et al., Statistics in Medicine 2003;22:2417-2428).

    Args:
        first: Where the first is right, shape (n,).
        second: Where the second is, shape (n,).
        patients: Whose each radiograph is, shape (n,).
    """
    whose = np.unique(patients, return_inverse=True)[1]
    surplus = np.bincount(whose, second.astype(float) - first.astype(float)).astype(np.int64)
    chance = np.ones(1)  # of each total from the lowest to the highest
    for size in np.abs(surplus[surplus != 0]):
        step = np.zeros(2 * size + 1)
        step[[0, -1]] = 0.5
        chance = np.convolve(chance, step)
    total = np.arange(len(chance)) - len(chance) // 2
    return float(min(1.0, chance[np.abs(total) >= abs(int(surplus.sum()))].sum()))
