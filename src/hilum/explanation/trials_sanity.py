"""Sanity checks: does a map change when the classifier forgets what it learned?

A method whose maps look the same for a classifier with random weights, or for one that learned from
shuffled labels, draws the radiograph and not the reason (Adebayo et al., NeurIPS 2018). Maps are
compared by the rank correlation of their pixels and by a structural similarity.

The level is one half for both. A rank correlation of 0.5 leaves three quarters of the spread of ranks
unexplained. A lower level would be unfair to coarse maps: one of 3 x 3 places has nine free values, and
two random ones have a rank correlation of 0.29 in magnitude on average. Beside it stands how alike the
maps of different radiographs are, which is what Arun et al. (Radiol Artif Intell 2021;3:e200267) took
for a level: a method with habits, such as a bright centre, has a high one and would pass too easily.
"""

from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from hilum.errors import EvaluationError
from hilum.evaluation.figures import Figure
from hilum.evaluation.intervals import REPLICATES
from hilum.explanation.trials_maps import Explain, Maps, Pixels, maps_of
from hilum.explanation.trials_means import below, doubt, mean_figures
from hilum.model.schema import Document

__all__ = [
    "LEVEL",
    "SanityCheck",
    "Similarity",
    "check_sanity",
    "rank_correlation",
    "structural_similarity",
]

LEVEL = 0.5  # of either similarity; see above

# The window's standard deviation as a share of the side, so that a map's similarity does not depend
# on the grid it was enlarged to. On 96 pixels it is 3; Wang et al. have 1.5 on any grid.
_WINDOW = 1 / 32
# Stabilisers for a range of 1 (Wang et al., IEEE Trans Image Process 2004;13:600-612).
_C1, _C2 = 0.01**2, 0.03**2


class Similarity(Document):
    """How alike two sets of maps are, as means over radiographs."""

    name: str  # what the maps are compared with
    draws: int = Field(ge=1)  # random classifiers that were averaged over, within each radiograph
    rank: Figure  # magnitude of Spearman's correlation over pixels, [0, 1]
    structure: Figure  # structural similarity, [-1, 1]


class SanityCheck(Document):
    """Whether maps depend on what the classifier learned."""

    level: float = LEVEL
    steps: tuple[Similarity, ...] = Field(min_length=1)  # the most random last
    between_radiographs: Similarity  # maps of different patients, of the classifier itself
    result: Literal["passed", "failed", "undecided"]
    because: str


def rank_correlation(first: Maps, second: Maps) -> NDArray[np.float64]:
    """Return Spearman's correlation of the pixels of each pair of maps.

    Args:
        first: Shape (n, s, s).
        second: The same shape.

    Returns:
        Shape (n,), in [-1, 1]. NaN where the first map is flat; 0 where only the second is, since a flat
        map shares nothing with one that is not.
    """
    from scipy.stats import rankdata

    placed = [rankdata(maps.reshape(len(maps), -1), axis=1) for maps in (first, second)]
    one, other = (each - each.mean(axis=1, keepdims=True) for each in placed)
    spread = np.sqrt((one**2).sum(axis=1) * (other**2).sum(axis=1))
    none = np.where((one != 0).any(axis=1), 0.0, np.nan)
    product = (one * other).sum(axis=1)
    return np.asarray(np.divide(product, spread, out=none, where=spread > 0), dtype=np.float64)


def structural_similarity(first: Maps, second: Maps) -> NDArray[np.float64]:
    """Return the mean structural similarity of each pair of maps.

    Each map is stretched to [0, 1] first, as Adebayo et al. do: what is compared is the picture that a
    reader sees, not its unit.

    Args:
        first: Shape (n, s, s).
        second: The same shape.

    Returns:
        Shape (n,), in [-1, 1]; NaN and 0 as in `rank_correlation`.
    """
    from scipy.ndimage import gaussian_filter

    (one, flat), (other, flat_too) = _stretched(first), _stretched(second)
    sigma = max(1.0, _WINDOW * first.shape[-1])

    def local(maps: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray(gaussian_filter(maps, (0, sigma, sigma), mode="reflect"))

    mean, mean_too = local(one), local(other)
    variance, variance_too = local(one**2) - mean**2, local(other**2) - mean_too**2
    shared = local(one * other) - mean * mean_too
    each = (2 * mean * mean_too + _C1) * (2 * shared + _C2)
    each /= (mean**2 + mean_too**2 + _C1) * (variance + variance_too + _C2)
    found = each.mean(axis=(1, 2))
    return np.asarray(np.where(flat, np.nan, np.where(flat_too, 0.0, found)), dtype=np.float64)


def check_sanity(
    maps: Maps,
    randomised: Mapping[str, Sequence[Explain]],
    pixels: Pixels,
    patients: NDArray[np.str_],
    rng: np.random.Generator,
    *,
    replicates: int = REPLICATES,
) -> SanityCheck:
    """Compare maps with those of classifiers that know less.

    Args:
        maps: Of the classifier, shape (n, s, s).
        randomised: By name, such as "head" and "whole network", the most random last; the same method on
            one or more classifiers of that kind each. The last one decides.
        pixels: The radiographs, shape (n, s, s).
        patients: Whose each is, shape (n,).
        rng: Of the bootstrap, and of which radiographs are paired.
        replicates: Of the bootstrap.

    Returns:
        Passed where both similarities lie below the level with their whole intervals, failed where one
        lies above it with its whole interval, and undecided otherwise. Intervals are over patients;
        they know nothing of other random weights than the ones that were drawn.

    Raises:
        EvaluationError: If there is nothing to compare with, or a method gives no maps.
    """
    if not randomised or not all(randomised.values()):
        raise EvaluationError(
            "a sanity check needs a classifier with random weights; give one or more"
        )
    steps = []
    for name, methods in randomised.items():
        pairs = [(maps, maps_of(method, pixels, name)) for method in methods]
        steps.append(_similarity(name, pairs, patients, rng, replicates))
    partner = _partners(patients, rng)
    others = np.where((partner >= 0)[:, None, None], maps[partner], np.float32(0))
    mine = np.where((partner >= 0)[:, None, None], maps, np.float32(0))
    between = _similarity("maps of other patients", [(mine, others)], patients, rng, replicates)
    result, because = _judged(steps[-1])
    return SanityCheck(
        steps=tuple(steps), between_radiographs=between, result=result, because=because
    )


def _similarity(
    name: str,
    pairs: list[tuple[Maps, Maps]],
    patients: NDArray[np.str_],
    rng: np.random.Generator,
    replicates: int,
) -> Similarity:
    # A map turned into its negative still shows the same picture, hence the magnitude. It is taken of
    # each pair, before any mean, in which opposite signs would cancel.
    rank = np.mean([np.abs(rank_correlation(*pair)) for pair in pairs], axis=0)
    structure = np.mean([structural_similarity(*pair) for pair in pairs], axis=0)
    figures = mean_figures(
        {"rank": rank, "structure": structure},
        patients,
        rng,
        undefined="the map is flat, or there is no other patient",
        replicates=replicates,
    )
    return Similarity(
        name=name, draws=len(pairs), rank=figures["rank"], structure=figures["structure"]
    )


def _judged(last: Similarity) -> tuple[Literal["passed", "failed", "undecided"], str]:
    verdicts = {figure: below(figure, LEVEL) for figure in (last.rank, last.structure)}
    words = f"rank correlation or structural similarity with '{last.name}'"
    if False in verdicts.values():
        return "failed", f"the {words} is {LEVEL} or more: the maps outlive what was learned"
    for figure, verdict in verdicts.items():
        if verdict is None:
            return "undecided", f"of the {words}, {doubt(figure, LEVEL)}"
    return "passed", f"neither {words} reaches {LEVEL}"


def _stretched(maps: Maps) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Return maps stretched to [0, 1], and which of them are flat."""
    wide = maps.astype(np.float64)
    low, high = wide.min(axis=(1, 2), keepdims=True), wide.max(axis=(1, 2), keepdims=True)
    flat = (high == low)[:, 0, 0]
    return (wide - low) / np.where(high > low, high - low, 1.0), flat


def _partners(patients: NDArray[np.str_], rng: np.random.Generator) -> NDArray[np.int64]:
    """Return for each radiograph one of another patient, by chance; -1 where there is none."""
    partner = np.full(len(patients), -1)
    for i, patient in enumerate(patients):
        others = np.flatnonzero(patients != patient)
        if len(others):
            partner[i] = rng.choice(others)
    return partner
