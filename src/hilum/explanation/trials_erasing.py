"""Deletion and insertion: does the score hang on the places that a map calls salient?

Pixels are taken away, or given back, in the order of saliency, and the score is read after each step
(Petsiuk et al., BMVC 2018). A good map makes the score fall early and rise early. How early is early
depends on the classifier, so the same is done in a random order of blocks and from the centre outwards,
on the same radiographs: only the difference counts. Scores are log-odds, because a probability near 1
hides most of what happens.

What is taken away is replaced by what lies around it and not by black, which on a radiograph is air. The
weakness of any replacement is that no such radiograph exists. Classifiers are known to call a wholly
blurred radiograph pneumonia; then there is no way for the score to fall, and the trial says so instead of
giving a verdict.
"""

from collections.abc import Callable
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from hilum.errors import EvaluationError
from hilum.evaluation.figures import Figure
from hilum.evaluation.intervals import REPLICATES
from hilum.explanation.trials_maps import Maps, Pixels, Score, scores_of
from hilum.explanation.trials_means import above, doubt, mean_figures
from hilum.model.schema import Document

__all__ = ["Curve", "Erasing", "Kind", "Replacement", "centre_maps", "erase", "ranks", "replaced"]

Replacement = Literal["blur", "local mean"]
Kind = Literal["deletion", "insertion"]
Result = Literal["passed", "failed", "undecided"]
Order = Literal["saliency", "random blocks", "from the centre"]

# As shares of the side: wide enough that a lobe's opacity is gone, not only its texture.
_BLUR = 1 / 6  # standard deviation
_MEAN = 1 / 2  # side of the window
_BLOCKS = 12  # blocks of the random order along a side; an opacity is some of them
_RANDOM_ORDERS = 3  # averaged, so that the baseline adds little noise of its own


class Curve(Document):
    """The score while pixels are taken in one order."""

    order: Order
    scores: tuple[float, ...]  # mean log-odds after each step, before the first included
    area: Figure  # mean log-odds over the curve


class Erasing(Document):
    """How early the score falls (deletion) or rises (insertion)."""

    kind: Kind
    replacement: Replacement
    steps: int = Field(ge=1)  # of equal shares of the pixels
    curves: tuple[Curve, ...]
    room: Figure  # log-odds of the radiograph less those of its replacement: how far it can fall or rise
    # How much better than the baseline, in log-odds of area: above 0 where the score falls (deletion) or
    # rises (insertion) earlier. Paired within radiographs.
    over_random: Figure
    over_centre: Figure
    result: Result  # against the random order
    because: str


def ranks(maps: NDArray[np.floating[Any]], rng: np.random.Generator) -> NDArray[np.int64]:
    """Return the place of each pixel when the most salient comes first.

    Equal ones are taken in a random order of blocks: raster order would favour the top of the picture.

    Args:
        maps: Shape (n, s, s).
        rng: Of the ties.

    Returns:
        Shape (n, s, s), each a permutation of 0 to s * s - 1.
    """
    noise = _block_noise(maps.shape, rng)
    places = np.empty(maps.shape, np.int64)
    for place, each, ties in zip(places, maps, noise, strict=True):
        place.ravel()[np.lexsort((ties.ravel(), -each.ravel()))] = np.arange(each.size)
    return places


def centre_maps(shape: tuple[int, ...]) -> NDArray[np.float32]:
    """Return what a method would draw that looks at nothing: 1 at the centre, falling outwards.

    A Gaussian with a standard deviation of a quarter of the side, shape `shape`, which is (n, s, s).
    """
    axis = (np.arange(shape[-1]) + 0.5) / shape[-1] - 0.5
    bell = np.exp(-0.5 * (axis / 0.25) ** 2)
    return np.broadcast_to(np.outer(bell, bell).astype(np.float32), shape)


def replaced(pixels: Pixels, by: Replacement) -> Pixels:
    """Return radiographs with every pixel replaced by what lies around it.

    Args:
        pixels: Shape (n, s, s), uint8.
        by: A Gaussian blur, or the mean of a square window.

    Returns:
        The same shape, uint8.
    """
    from scipy.ndimage import gaussian_filter, uniform_filter

    side = pixels.shape[-1]
    grey = pixels.astype(np.float32)
    if by == "blur":
        sigma = _BLUR * side
        soft = gaussian_filter(grey, (0, sigma, sigma), mode="nearest")
    else:
        window = max(3, round(_MEAN * side))
        soft = uniform_filter(grey, (1, window, window), mode="nearest")
    return np.asarray(np.rint(soft), dtype=np.uint8)


def erase(
    kind: Kind,
    maps: Maps,
    score: Score,
    pixels: Pixels,
    patients: NDArray[np.str_],
    rng: np.random.Generator,
    *,
    steps: int = 16,
    replacement: Replacement = "blur",
    replicates: int = REPLICATES,
    progress: Callable[[int, int], None] | None = None,
) -> Erasing:
    """Take pixels away, or give them back, in the order of saliency, and read the score.

    Args:
        kind: "deletion" takes away from the radiograph, "insertion" gives to its replacement.
        maps: Shape (n, s, s), n >= 1.
        score: The classifier, which is read (steps + 1) times for each of five orders.
        pixels: Shape (n, s, s), uint8.
        patients: Whose each is, shape (n,).
        rng: Of the random orders, of ties and of the bootstrap.
        steps: Of equal shares of the pixels, 1 to s * s.
        replacement: What is put in place of a pixel.
        replicates: Of the bootstrap.
        progress: Called with how many orders of how many are done.

    Returns:
        Passed where the score falls or rises earlier than in the random order with the whole interval.

    Raises:
        EvaluationError: If the steps do not fit the pixels, or the classifier gives no scores.
    """
    if not 1 <= steps <= pixels[0].size:
        raise EvaluationError(
            f"{steps} steps do not fit {pixels[0].size} pixels; give 1 to {pixels[0].size}"
        )
    soft = replaced(pixels, replacement)
    before, after = (pixels, soft) if kind == "deletion" else (soft, pixels)
    orders: list[NDArray[np.floating[Any]]] = [maps, centre_maps(maps.shape)]
    orders += [_block_noise(maps.shape, rng) for _ in range(_RANDOM_ORDERS)]
    curves = []
    for number, order in enumerate(orders):
        curves.append(_curves(ranks(order, rng), before, after, score, steps))
        if progress:
            progress(number + 1, len(orders))
    by_order: dict[Order, NDArray[np.float64]] = {
        "saliency": curves[0],
        "random blocks": np.mean(curves[2:], axis=0),
        "from the centre": curves[1],
    }
    # Trapezoids over equal steps: the first and the last reading count half.
    area: dict[str, NDArray[np.float64]] = {
        name: ((c[:, :-1] + c[:, 1:]) / 2).mean(axis=1) for name, c in by_order.items()
    }
    sign = -1.0 if kind == "deletion" else 1.0
    gains = {
        "over random": sign * (area["saliency"] - area["random blocks"]),
        "over centre": sign * (area["saliency"] - area["from the centre"]),
    }
    first, last = curves[0][:, 0], curves[0][:, -1]
    room = first - last if kind == "deletion" else last - first
    figures = mean_figures(
        {**area, **gains, "room": room},
        patients,
        rng,
        undefined="there is no score",
        replicates=replicates,
    )
    result, because = _judged(kind, figures["room"], figures["over random"])
    return Erasing(
        kind=kind,
        replacement=replacement,
        steps=steps,
        curves=tuple(
            Curve(order=name, scores=tuple(c.mean(axis=0).tolist()), area=figures[name])
            for name, c in by_order.items()
        ),
        room=figures["room"],
        over_random=figures["over random"],
        over_centre=figures["over centre"],
        result=result,
        because=because,
    )


def _curves(
    places: NDArray[np.int64], before: Pixels, after: Pixels, score: Score, steps: int
) -> NDArray[np.float64]:
    """Return the scores while pixels go from before to after, shape (n, steps + 1)."""
    size = places[0].size
    limits = [round(step * size / steps) for step in range(steps + 1)]
    read = [scores_of(score, np.where(places < limit, after, before)) for limit in limits]
    return np.stack(read, axis=1)


def _judged(kind: Kind, room: Figure, gain: Figure) -> tuple[Result, str]:
    moves = "falls" if kind == "deletion" else "rises"
    roomy, better = above(room, 0.0), above(gain, 0.0)
    if roomy is False:
        return "undecided", (
            "the classifier gives radiographs with every pixel replaced no lower score, so that pixels "
            "taken away cannot show what it relied on"
        )
    if roomy is None or better is None:
        return "undecided", f"of the difference, {doubt(gain if roomy else room, 0.0)}"
    if better:
        return "passed", f"the score {moves} earlier than in a random order"
    return "failed", f"the score {moves} no earlier than in a random order"


def _block_noise(shape: tuple[int, ...], rng: np.random.Generator) -> NDArray[np.float64]:
    """Return noise that is even within square blocks, shape `shape`, which is (n, s, s)."""
    count, side, _ = shape
    block = max(1, round(side / _BLOCKS))
    number = -(-side // block)
    noise = rng.random((count, number, number))
    return noise.repeat(block, axis=1).repeat(block, axis=2)[:, :side, :side]
