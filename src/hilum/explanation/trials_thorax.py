"""Where the thorax is on a frontal radiograph, found without a trained network.

A drawn pattern is held against the radiograph in some thousand sizes and places: two dark lungs, a
bright middle, a bright wall beside and a bright belly below. The heart's side and all that lies farther
out say nothing. The best fit is the one with the highest weighted correlation of grey levels, less a
penalty for unusual shapes, so that a consolidated lung, which is not dark, does not pull the outline
aside. The outline is generous: its errors should excuse a map rather than accuse it.

The correlation is the confidence. Where it is low, a central ellipse stands in. The pattern fits upright
frontal radiographs alone; on one that is upside down it may still find something.
"""

from dataclasses import dataclass
from functools import cache
from itertools import product

import numpy as np
from numpy.typing import NDArray

from hilum.explanation.trials_maps import Pixels

__all__ = ["CONFIDENT", "Thorax", "find_thorax"]

# Measured with this pattern: 300 pictures of pure noise reach 0.22 at most, 200 validation radiographs of the
# Guangzhou set 0.41 at least. Clouds of grey may by chance reach as much as a radiograph does.
CONFIDENT = 0.4

_GRID = 32  # points per side; a finer one moves the outline by less than the steps below
# All in shares of the side: apex, base, half width, and the column of the midline.
_APEX = np.arange(0.0, 0.33, 0.045)
_BASE = np.arange(0.58, 1.03, 0.06)
_HALF_WIDTH = np.arange(0.24, 0.51, 0.035)
_MIDLINE = np.arange(0.38, 0.63, 0.035)
# The usual shape on squashed frontal radiographs, and how far one may differ before it costs `_PENALTY`.
_USUAL = {"height": (0.62, 0.10), "half width": (0.36, 0.07), "midline": (0.5, 0.06), "base": (0.78, 0.10)}  # fmt: skip
_PENALTY = 0.03
# Pleura and ribs lie outside the dark field, and the lungs go down behind the domes of the diaphragm.
_MARGIN, _MARGIN_BELOW = 0.04, 0.08
# Rows and columns of the ellipse that stands in: centre and half axes.
_ELLIPSE = ((0.47, 0.40), (0.5, 0.38))


@dataclass(frozen=True, slots=True)
class Thorax:
    """Where the thorax was found on several radiographs.

    Attributes:
        region: True inside, shape (n, s, s).
        confidence: Correlation with the pattern, shape (n,), in [-1, 1].
        found: False where the ellipse stands in, shape (n,).
    """

    region: NDArray[np.bool_]
    confidence: NDArray[np.float64]
    found: NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class _Patterns:
    shapes: NDArray[np.float64]  # (k, 4): apex, base, half width, midline
    values: NDArray[np.float32]  # (k, grid * grid): -1 in the lungs, 1 where it is bright
    weights: NDArray[np.float32]  # (k, grid * grid): each row sums to 1; 0 says nothing
    penalty: NDArray[np.float64]  # (k,)


def find_thorax(pixels: Pixels) -> Thorax:
    """Find the thorax on frontal radiographs.

    Args:
        pixels: Shape (n, s, s), uint8, display polarity: air is dark.

    Returns:
        The regions on the same grid, with a confidence each.
    """
    patterns = _patterns()
    grey = _reduced(pixels)
    deviation = grey.std(axis=1, keepdims=True)
    grey = (grey - grey.mean(axis=1, keepdims=True)) / np.where(deviation > 0, deviation, 1.0)
    fit = _correlations(grey, patterns)
    best = (fit - patterns.penalty).argmax(axis=1)
    confidence = fit[np.arange(len(fit)), best]
    found = confidence >= CONFIDENT
    side = pixels.shape[-1]
    region = np.empty(pixels.shape, np.bool_)
    for inside, shape, sure in zip(region, patterns.shapes[best], found, strict=True):
        inside[...] = _region(shape, side) if sure else _ellipse(side)
    return Thorax(region=region, confidence=confidence, found=found)


def _reduced(pixels: Pixels) -> NDArray[np.float32]:
    """Return radiographs on the coarse grid, shape (n, grid * grid)."""
    from PIL import Image

    small = [
        np.asarray(Image.fromarray(each).resize((_GRID, _GRID), Image.Resampling.BOX))
        for each in pixels
    ]
    return np.stack(small).reshape(len(pixels), -1).astype(np.float32)


def _correlations(grey: NDArray[np.float32], patterns: _Patterns) -> NDArray[np.float64]:
    """Return the weighted correlation of each radiograph with each pattern, shape (n, k)."""
    weights, values = patterns.weights, patterns.values
    mean, square, both = grey @ weights.T, (grey**2) @ weights.T, grey @ (weights * values).T
    mean_value = (weights * values).sum(axis=1)
    spread = (square - mean**2) * ((weights * values**2).sum(axis=1) - mean_value**2)
    shared = both - mean * mean_value
    flat = np.zeros_like(spread)
    # Below this, what varies is rounding.
    result = np.divide(shared, np.sqrt(np.maximum(spread, 0.0)), out=flat, where=spread > 1e-6)
    return np.asarray(result, dtype=np.float64)


@cache
def _patterns() -> _Patterns:
    axis = (np.arange(_GRID) + 0.5) / _GRID
    across, down = axis[None, :], axis[:, None]
    shapes, values, weights = [], [], []
    for shape in product(_APEX, _BASE, _HALF_WIDTH, _MIDLINE):
        apex, base, half_width, midline = shape
        u, v = (across - midline) / half_width, (down - apex) / (base - apex)
        wall, x = _wall(v), np.abs(u)
        # Inside lungs are dark, apart from a rim where a coarse grid mixes them with the wall.
        lungs = (x > 0.26 + 0.06 * np.clip(v, 0, 1)) & (x < wall - 0.06) & (v > 0.05) & (v < 0.93)
        # The heart reaches into the lung at the viewer's right, how far is the patient's.
        lungs &= ~((v > 0.45) & (u > 0) & (u < 0.62))
        beside = (x > wall) & (x < wall + 0.16) & (v > 0.1) & (v < 1)
        below = (v > 1.04) & (v < 1.22) & (x < 0.8)
        middle = (x < 0.16) & (v > -0.05) & (v < 1)
        bright = beside | below | middle
        # Dark and bright weigh the same, whatever their areas.
        weight = lungs / max(lungs.sum(), 1) + bright / max(bright.sum(), 1)
        shapes.append(shape)
        values.append(np.where(lungs, -1.0, 1.0).ravel())
        weights.append((weight / weight.sum()).ravel())
    table = np.array(shapes)
    measured = {
        "height": table[:, 1] - table[:, 0],
        "half width": table[:, 2],
        "midline": table[:, 3],
        "base": table[:, 1],
    }
    unusual = [((measured[name] - usual) / spread) ** 2 for name, (usual, spread) in _USUAL.items()]
    return _Patterns(
        shapes=table,
        values=np.array(values, np.float32),
        weights=np.array(weights, np.float32),
        penalty=_PENALTY * np.sum(unusual, axis=0),
    )


def _wall(v: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the half width of the ribs' inner face from apex (v = 0) to base (1): a bell."""
    down = np.clip(v, 0, 1)
    shoulder = np.minimum(1.0, down / 0.05)
    return np.asarray(0.25 * shoulder + 0.75 * np.sqrt(1 - (1 - down) ** 2.2), dtype=np.float64)


def _region(shape: NDArray[np.float64], side: int) -> NDArray[np.bool_]:
    apex, base, half_width, midline = shape
    apex, base, half_width = apex - _MARGIN, base + _MARGIN_BELOW, half_width + _MARGIN
    axis = (np.arange(side) + 0.5) / side
    v = (axis[:, None] - apex) / (base - apex)
    x = np.abs(axis[None, :] - midline) / half_width
    return np.asarray((v >= 0) & (v <= 1) & (x <= _wall(v)), dtype=np.bool_)


def _ellipse(side: int) -> NDArray[np.bool_]:
    (row, height), (column, width) = _ELLIPSE
    axis = (np.arange(side) + 0.5) / side
    down, across = (axis[:, None] - row) / height, (axis[None, :] - column) / width
    return np.asarray(down**2 + across**2 <= 1, dtype=np.bool_)
