"""Nuisances: what a radiograph's exposure, processing and framing look like, whatever the lungs show.

Where they differ between findings a classifier can live on them instead of on disease: they are
shortcuts. They are measured on the grid that a network sees, so that files of any size compare.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

__all__ = ["NUISANCES", "nuisances"]

_BORDER = 0.05  # share of the side
_BLACK = 8  # grey levels below which nothing was exposed
_BLOCK = 64  # radiographs at a time, so that their float32 copies stay small

# What is measured, in this order; grey levels in [0, 255] where nothing else is said.
NUISANCES = (
    "brightness",  # mean
    "contrast",  # standard deviation
    "dark",  # 5th percentile
    "bright",  # 95th percentile
    "fine detail",  # log2 of the deviation of the band below 1 pixel
    "coarse detail",  # log2 of the deviation of the band from 1 to 2 pixels
    "left border",  # mean of the outer 5 %
    "right border",
    "top border",
    "bottom border",
    "black border",  # share of all four borders that was not exposed
    "asymmetry",  # mean absolute difference from the mirror image
)


def nuisances(
    pixels: NDArray[np.uint8], progress: Callable[[int, int], None] | None = None
) -> NDArray[np.float64]:
    """Measure the nuisances of radiographs.

    Args:
        pixels: Shape (n, s, s), uint8. Detail is of the scale of pixels, so only radiographs on
            grids of the same side compare.
        progress: Called with how many radiographs of how many are measured.

    Returns:
        Shape (n, len(NUISANCES)), float64, finite.
    """
    measured = np.empty((len(pixels), len(NUISANCES)))
    for start in range(0, len(pixels), _BLOCK):
        block = np.asarray(pixels[start : start + _BLOCK], np.float32)
        measured[start : start + len(block)] = _measured(block)
        if progress:
            progress(start + len(block), len(pixels))
    return measured


def _measured(grey: NDArray[np.float32]) -> NDArray[np.float64]:
    dark, bright = np.percentile(grey, (5, 95), axis=(1, 2))
    soft = ndimage.gaussian_filter(grey, (0, 1, 1))
    softer = ndimage.gaussian_filter(grey, (0, 2, 2))
    width = max(round(_BORDER * grey.shape[-1]), 1)
    left, right = grey[:, :, :width], grey[:, :, -width:]
    top, bottom = grey[:, :width], grey[:, -width:]
    borders = (left, right, top, bottom)
    black = np.mean([(border < _BLACK).mean((1, 2)) for border in borders], axis=0)
    columns = [
        grey.mean((1, 2)),
        grey.std((1, 2)),
        dark,
        bright,
        _log_deviation(grey - soft),
        _log_deviation(soft - softer),
        *(border.mean((1, 2)) for border in borders),
        black,
        np.abs(grey - grey[:, :, ::-1]).mean((1, 2)),
    ]
    return np.stack(columns, axis=1).astype(np.float64)


def _log_deviation(band: NDArray[np.float32]) -> NDArray[np.float32]:
    # An eighth of a grey level is no detail any more; it keeps flat pictures finite.
    deviation: NDArray[np.float32] = np.log2(band.std((1, 2)) + 0.125)
    return deviation
