"""Two cohorts: whether their radiographs are of one kind, and what tells them apart.

Figures carry over to a second cohort only as far as it looks like the first. Three answers: how well a
model tells the cohorts apart (cross-validated over patients; 0.5 is no difference), by the embedding and by how the
radiographs were taken; the Fréchet distance of the embeddings; and the measures that differ. No
finding is asked for, so other shares of pneumonia count as a difference, too.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from hilum.audit.labels import components, out_of_fold
from hilum.audit.pictures import Pictures
from hilum.audit.shortcuts import MEASURES, SIZE, acquisition_of
from hilum.audit.table import AuditLine
from hilum.cohort.pixels import cached_pixels
from hilum.cohort.split import patient_folds
from hilum.cohort.table import Cohort
from hilum.errors import CohortError
from hilum.evaluation.figures import Figure, FigureName
from hilum.evaluation.intervals import assess
from hilum.evaluation.shortcuts import FOLDS
from hilum.evaluation.subjects import Ranking
from hilum.evaluation.telling_apart import APART, MeasureShift, measure_shifts, surely, told_apart
from hilum.evaluation.wording import brief
from hilum.findings import Part
from hilum.model.schema import Document

__all__ = ["PERMUTATIONS", "CohortShift", "compare_cohorts", "frechet", "permuted_frechet"]

PERMUTATIONS = 199  # the smallest p value is then 0.005
# The covariances of more components would rest on too few radiographs of a small cohort.
_COMPONENTS = 32


class CohortShift(Document):
    """How two cohorts differ."""

    names: tuple[str, str]
    radiographs: tuple[int, int]
    patients: tuple[int, int]
    shared_files: int  # of the second that are, to the byte, in the first as well
    embedding: Figure  # AUC of a logistic regression on the embedding
    acquisition: Figure  # AUC of trees on simple measures
    frechet: float  # squared Fréchet distance of 32 principal components of the embedding
    by_chance: float  # the median of it when patients are dealt to the cohorts at random
    p_value: float  # share of such deals that lie as far apart, with the real one counted
    permutations: int
    measures: tuple[MeasureShift, ...]  # the farthest apart first

    def lines(self) -> list[AuditLine]:
        """Return what was found as lines of an audit. None is serious: cohorts may differ."""
        one, other = self.names
        apart = surely(self.embedding, APART) or surely(self.acquisition, APART)
        drivers = ", ".join(
            f"{each.name} ({each.distance:+.1f} standard deviations)"
            for each in self.measures[:3]
            if each.distance is not None
        )
        return [
            AuditLine(
                f"{one} against {other}",
                serious=False,
                found=int(apart),
                text=f"radiographs of {one} are told from those of {other} with an AUC of "
                f"{brief(self.embedding)} by their embedding and {brief(self.acquisition)} by how they "
                f"were taken; Fréchet distance {self.frechet:.1f}, by chance {self.by_chance:.1f} "
                f"(p = {self.p_value:.3f}); farthest apart: {drivers}",
                remedy="expect figures of one not to hold for the other; measure on both",
            ),
            AuditLine(
                "files in both cohorts",
                serious=self.shared_files > 0,
                found=self.shared_files,
                text=f"{self.shared_files} files of {other} are in {one}, too",
                remedy="remove them from one before you measure on it what learned from the other",
            ),
        ]


def compare_cohorts(
    one: Pictures, other: Pictures, progress: Callable[[int, int], None] | None = None
) -> CohortShift:
    """Compare two cohorts.

    Args:
        one: From `take_in`.
        other: From `take_in`; its patients count as other people whatever their names.
        progress: Called with how many steps of how many are done.

    Raises:
        CohortError: If either has fewer than ten patients, or a file is gone.
    """
    for each in (one, other):
        if (count := len(np.unique(each.cohort.patients))) < 10:
            raise CohortError(
                f"{each.cohort.name} has {count} patients, too few to compare with; use 10 or more"
            )
    rng = np.random.default_rng(0)
    people = (
        np.char.add("1/", one.cohort.patients),
        np.char.add("2/", other.cohort.patients),
    )
    both = np.concatenate(people)
    later = np.arange(len(both)) >= len(people[0])
    x = components(np.concatenate([one.features, other.features]))
    folds = patient_folds(later.astype(np.int64), both, FOLDS, seed=0)
    scores = out_of_fold(x, later.astype(np.int64), folds)[:, 1]
    embedding = assess({"": Ranking(scores, later)}, both, rng)[""][FigureName.AUC]
    if progress:
        progress(1, 3)
    distance, chance = permuted_frechet(x[:, :_COMPONENTS], later, both, rng)
    if progress:
        progress(2, 3)
    measures = _measured(one.cohort), _measured(other.cohort)
    acquisition, _, _ = told_apart(measures, people, MEASURES, rng)
    if progress:
        progress(3, 3)
    first, second = one.cohort.table["sha256"], other.cohort.table["sha256"]
    names = one.cohort.name, other.cohort.name
    if names[0] == names[1]:
        names = names[0], f"{names[1]} (the second)"
    return CohortShift(
        names=names,
        radiographs=(len(people[0]), len(people[1])),
        patients=(len(np.unique(people[0])), len(np.unique(people[1]))),
        shared_files=int(second.is_in(first.unique().to_list()).sum()),
        embedding=embedding,
        acquisition=acquisition,
        frechet=distance,
        by_chance=float(np.median(chance)),
        p_value=float((1 + (chance >= distance).sum()) / (1 + len(chance))),
        permutations=len(chance),
        measures=measure_shifts(*measures, MEASURES),
    )


def _measured(cohort: Cohort) -> NDArray[np.float64]:
    there = set(cohort.table["part"])
    used = [cohort.part(part) for part in Part if str(part) in there]
    return np.concatenate([acquisition_of(each, cached_pixels(each, SIZE)) for each in used])


def frechet(one: NDArray[np.float64], other: NDArray[np.float64]) -> float:
    """Return the squared Fréchet distance of two normal distributions fitted to samples.

    |m - n|² + tr(A + B - 2 (A B)^½), for means m, n and covariances A, B (Dowson and Landau, Journal of
    Multivariate Analysis 1982;12:450-455).

    Args:
        one: Shape (n, k), n >= 2.
        other: Shape (m, k), m >= 2.
    """
    a, b = np.atleast_2d(np.cov(one.T)), np.atleast_2d(np.cov(other.T))
    # A product of covariances has real eigenvalues of at least 0; rounding may put them beside.
    roots = np.sqrt(np.clip(np.linalg.eigvals(a @ b).real, 0, None)).sum()
    shift = one.mean(axis=0) - other.mean(axis=0)
    return float(max(shift @ shift + np.trace(a) + np.trace(b) - 2 * roots, 0.0))


def permuted_frechet(
    x: NDArray[np.float64],
    later: NDArray[np.bool_],
    patients: NDArray[np.str_],
    rng: np.random.Generator,
    permutations: int = PERMUTATIONS,
) -> tuple[float, NDArray[np.float64]]:
    """Return the distance of two cohorts, and what it is when patients are dealt at random.

    Args:
        x: Shape (n, k).
        later: Which radiographs are of the second cohort, shape (n,).
        patients: Shape (n,); nobody is in both cohorts.
        rng: Deals the patients.
        permutations: How many deals.

    Returns:
        The distance, and those of the deals, shape (permutations,); each deal gives the second cohort as
        many patients as it has.
    """
    _, first, codes = np.unique(patients, return_index=True, return_inverse=True)
    of_patient = later[first]
    chance = np.empty(permutations)
    for deal in range(permutations):
        second = rng.permutation(of_patient)[codes]
        chance[deal] = frechet(x[~second], x[second])
    return frechet(x[~later], x[later]), chance
