"""Explanations by hiding: what happens to the log-odds when a part of the radiograph cannot be seen.

They need nothing but the classifier's answers. What stands in for the hidden part matters: black is air
and white is bone, so that either would be a finding of its own. Here it is the radiograph itself, smeared
until no structure is left, or its mean grey level.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Literal

import numpy as np
from numpy.typing import NDArray

__all__ = ["Cover", "Score", "covered", "occlusion", "rise"]

Cover = Literal["blur", "mean"]
# Batches of pictures, each (n, s, s), to the log-odds of all of them, (total,).
Score = Callable[[Iterable[NDArray[np.uint8]]], NDArray[np.float64]]

_BATCH = 64


def covered(pixels: NDArray[np.uint8], cover: Cover) -> NDArray[np.uint8]:
    """Return what stands in for hidden parts of radiographs.

    Args:
        pixels: Shape (n, s, s).
        cover: "blur", two means over squares of half the side, so that a patch gets the grey of its
            surroundings; or "mean", each radiograph's mean grey level.

    Returns:
        Shape (n, s, s).
    """
    if cover == "mean":
        mean = pixels.mean(axis=(1, 2), keepdims=True)
        return np.broadcast_to(mean, pixels.shape).round().astype(np.uint8)
    from scipy.ndimage import uniform_filter

    grey = pixels.astype(np.float64)
    window = (1, pixels.shape[1] // 2, pixels.shape[2] // 2)
    for _ in range(2):
        grey = uniform_filter(grey, window, mode="nearest")
    return np.asarray(grey.round().clip(0, 255), dtype=np.uint8)


def occlusion(
    score: Score, pixels: NDArray[np.uint8], cover: Cover, *, patch: int, stride: int
) -> NDArray[np.float32]:
    """Slide a patch over one radiograph and say how far the log-odds fall (Zeiler & Fergus, ECCV 2014).

    Args:
        score: Gives log-odds.
        pixels: Shape (s, s).
        cover: What the patch shows.
        patch: Its side, pixels, from 1 to s.
        stride: Pixels between neighbouring positions, from 1 to `patch`.

    Returns:
        Shape (s, s): the mean fall over all positions of the patch that hide the pixel, log-odds;
        above 0 where the pixel spoke for the finding.

    Raises:
        ValueError: If the patch does not fit, or would leave pixels out.
    """
    side = pixels.shape[0]
    if not 1 <= stride <= patch <= side:
        raise ValueError(f"a patch of {patch} by steps of {stride} does not cover {side} pixels")
    # The last patch lies against the border, so that no pixel is left out.
    starts = sorted({*range(0, side - patch, stride), side - patch})
    places = [(slice(y, y + patch), slice(x, x + patch)) for y in starts for x in starts]
    hidden = covered(pixels[None], cover)[0]

    def pictures() -> Iterator[NDArray[np.uint8]]:
        yield pixels[None]
        for first in range(0, len(places), _BATCH):
            chosen = places[first : first + _BATCH]
            batch = np.repeat(pixels[None], len(chosen), axis=0)
            for picture, place in zip(batch, chosen, strict=True):
                picture[place] = hidden[place]
            yield batch

    whole, *without = score(pictures())
    total, count = np.zeros((side, side)), np.zeros((side, side))
    for place, log_odds in zip(places, without, strict=True):
        total[place] += whole - log_odds
        count[place] += 1
    return np.asarray(total / count, dtype=np.float32)


def rise(
    score: Score,
    pixels: NDArray[np.uint8],
    cover: Cover,
    *,
    masks: int,
    cells: int,
    kept: float,
    seed: int,
) -> NDArray[np.float32]:
    """Show random parts of one radiograph and say which go with high log-odds (RISE).

    Petsiuk, Das & Saenko, BMVC 2018: each mask is a coarse random grid, enlarged and shifted. The
    paper's map is the mean score weighted by the masks; here each pixel's is divided by how often
    that pixel was shown, and the mean of all scores is taken off, so that 0 means that the pixel
    makes no difference. Both take out noise that the masks bring in and the radiograph has no part in.

    Args:
        score: Gives log-odds.
        pixels: Shape (s, s).
        cover: What is shown instead of the rest; the paper has black.
        masks: How many.
        cells: Of the coarse grid, along each side.
        kept: Share of the grid that is shown.
        seed: Of the masks; each radiograph gets the same ones.

    Returns:
        Shape (s, s): mean log-odds while the pixel is shown, less the mean log-odds.

    Raises:
        ValueError: If there is no mask, or `cells` or `kept` is out of range.
    """
    side = pixels.shape[0]
    if masks < 1 or not 1 <= cells <= side or not 0.0 < kept < 1.0:
        raise ValueError(f"{masks} masks of {cells} cells, {kept} kept, cannot be drawn")
    grey = pixels.astype(np.float32)
    hidden = covered(pixels[None], cover)[0].astype(np.float32)

    def pictures() -> Iterator[NDArray[np.uint8]]:
        for batch in _masks(side, masks, cells, kept, seed):
            mixed = hidden + batch * (grey - hidden)
            yield np.rint(mixed).astype(np.uint8)

    log_odds = score(pictures())
    weighted, shown = np.zeros((side, side)), np.zeros((side, side))
    first = 0
    # Drawn again instead of kept: a thousand masks of 224 x 224 would take 200 MB.
    for batch in _masks(side, masks, cells, kept, seed):
        weighted += np.tensordot(log_odds[first : first + len(batch)], batch, axes=1)
        shown += batch.sum(axis=0)
        first += len(batch)
    mean = float(log_odds.mean())
    found = np.divide(weighted, shown, out=np.full_like(shown, mean), where=shown > 0)
    return np.asarray(found - mean, dtype=np.float32)


def _masks(
    side: int, count: int, cells: int, kept: float, seed: int
) -> Iterator[NDArray[np.float32]]:
    """Yield batches of masks, each (n, side, side), [0, 1]; 1 shows the pixel."""
    from PIL import Image

    rng = np.random.default_rng(seed)
    cell = -(-side // cells)
    large = (cells + 1) * cell
    for first in range(0, count, _BATCH):
        n = min(_BATCH, count - first)
        grids = (rng.random((n, cells + 1, cells + 1)) < kept).astype(np.float32)
        shifts = rng.integers(0, cell, (n, 2))
        batch = np.empty((n, side, side), np.float32)
        for mask, grid, (y, x) in zip(batch, grids, shifts, strict=True):
            smooth = Image.fromarray(grid).resize((large, large), Image.Resampling.BILINEAR)
            mask[:] = np.asarray(smooth)[y : y + side, x : x + side]
        yield batch
