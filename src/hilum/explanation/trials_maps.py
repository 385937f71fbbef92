"""Saliency maps and scores as a trial takes them: any two callables, checked at the door.

A trial must not care how a map is made, so it asks for nothing but functions of grey levels. What they
return is checked once, here, because a map with a hole in it would make every later figure undefined.
"""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hilum.errors import EvaluationError

__all__ = ["Explain", "Maps", "Pixels", "Score", "maps_of", "scores_of", "share_within"]

Pixels = NDArray[np.uint8]  # (n, s, s), display polarity
Maps = NDArray[np.float32]  # (n, s, s); higher speaks more for pneumonia
Explain = Callable[[Pixels], Maps]
Score = Callable[[Pixels], NDArray[np.floating[Any]]]  # (n,), log-odds of pneumonia

_BLOCK = 64  # radiographs at a time, so that a method's own copies stay small


def maps_of(explain: Explain, pixels: Pixels, name: str = "the method") -> Maps:
    """Ask for the saliency maps of radiographs.

    Args:
        explain: The method.
        pixels: Shape (n, s, s), uint8.
        name: The method's, for messages.

    Returns:
        Shape (n, s, s), float32, finite.

    Raises:
        EvaluationError: If the maps have another shape than the radiographs, or are not finite.
    """
    found = np.empty(pixels.shape, np.float32)
    for start, block in _blocks(pixels):
        maps = np.asarray(explain(block), np.float32)
        if maps.shape != block.shape:
            raise EvaluationError(
                f"{name} gave maps of shape {maps.shape} for radiographs of shape {block.shape}; "
                "bring its maps to the radiographs' grid"
            )
        if not np.isfinite(maps).all():
            raise EvaluationError(
                f"{name} gave a map with values that are not finite; its maps cannot be tried"
            )
        found[start : start + len(block)] = maps
    return found


def scores_of(score: Score, pixels: Pixels) -> NDArray[np.float64]:
    """Ask for the log-odds of pneumonia of radiographs.

    Args:
        score: The classifier.
        pixels: Shape (n, s, s), uint8.

    Returns:
        Shape (n,), float64, finite.

    Raises:
        EvaluationError: If there is not one finite score for each radiograph.
    """
    found = np.empty(len(pixels))
    for start, block in _blocks(pixels):
        scores = np.asarray(score(block), np.float64)
        if scores.shape != (len(block),) or not np.isfinite(scores).all():
            raise EvaluationError(
                f"the classifier gave scores of shape {scores.shape} for {len(block)} radiographs, or "
                "some that are not finite; give one log-odds of pneumonia for each"
            )
        found[start : start + len(block)] = scores
    return found


def share_within(maps: Maps, region: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return the share of each map's positive saliency that lies in a region.

    Args:
        maps: Shape (n, s, s); what is below 0 speaks against pneumonia and does not count.
        region: Shape (n, s, s).

    Returns:
        Shape (n,), in [0, 1]; NaN where nothing in a map is above 0.
    """
    positive = np.maximum(maps, 0.0).astype(np.float64)
    whole = positive.sum(axis=(1, 2))
    within = np.where(region, positive, 0.0).sum(axis=(1, 2))
    undefined = np.full(len(maps), np.nan)
    return np.asarray(np.divide(within, whole, out=undefined, where=whole > 0), dtype=np.float64)


def _blocks(pixels: Pixels) -> Iterator[tuple[int, Pixels]]:
    for start in range(0, len(pixels), _BLOCK):
        yield start, np.asarray(pixels[start : start + _BLOCK])
