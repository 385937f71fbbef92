"""Traces of acquisition beyond `hilum.cohort.nuisance`: noise, JPEG quality, extremes and burnt-in letters.

A marker that one ward uses, or another export, can stand for the finding. These measures are for the
audit alone; what training selects by stays as `NUISANCES` has it.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "THUMBNAIL",
    "TRACES",
    "coarse",
    "corners",
    "frame",
    "jpeg_quality",
    "traces",
]

THUMBNAIL = 16  # side of the thumbnails whose frame and corners are put on trial

TRACES = (
    "noise",  # deviation of the noise in grey levels, from the Laplacian
    "darkest",  # 1st percentile of the grey levels
    "median grey",
    "brightest",  # 99th percentile
    "letters",  # small bright pieces in the corners
    "JPEG quality",  # 1 to 100 as libjpeg counts it; missing for other formats
)
_BLOCK = 64  # radiographs at a time, so that their float32 copies stay small

# Immerkaer, Computer Vision and Image Understanding 1996;64:300-302: blind to constant and linear changes.
_MASK = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], np.float32)
# A letter: this much brighter than what lies around it (white top-hat over 15 pixels), on a grid of
# 224, and neither a speck nor a bone.
_CORNER = 0.25  # share of the side
_BRIGHTER = 60
_SMALLEST, _LARGEST = 6, 150  # pixels
# The luminance table of ITU-T T.81, annex K.1, in rows: quality 50 of libjpeg.
_ANNEX_K = (
    16, 11, 10, 16, 24, 40, 51, 61, 12, 12, 14, 19, 26, 58, 60, 55,
    14, 13, 16, 24, 40, 57, 69, 56, 14, 17, 22, 29, 51, 87, 80, 62,
    18, 22, 37, 56, 68, 109, 103, 77, 24, 35, 55, 64, 81, 104, 113, 92,
    49, 64, 78, 87, 103, 121, 120, 101, 72, 92, 95, 98, 112, 100, 103, 99,
)  # fmt: skip


def traces(pixels: NDArray[np.uint8], files: Sequence[Path]) -> NDArray[np.float64]:
    """Measure the traces of acquisition.

    Args:
        pixels: Shape (n, s, s), uint8; noise and letters are of the scale of pixels.
        files: Of these radiographs, n.

    Returns:
        Shape (n, len(TRACES)), float64; NaN where JPEG quality is missing.
    """
    measured = np.empty((len(pixels), len(TRACES)))
    for start in range(0, len(pixels), _BLOCK):
        block = np.asarray(pixels[start : start + _BLOCK])
        dark, median, bright = np.percentile(block, (1, 50, 99), axis=(1, 2))
        measured[start : start + len(block), :-1] = np.stack(
            [_noise(block), dark, median, bright, [_letters(each) for each in block]], axis=1
        )
    measured[:, -1] = [jpeg_quality(file) for file in files]
    return measured


def _noise(block: NDArray[np.uint8]) -> NDArray[np.float64]:
    from scipy import ndimage

    edges = ndimage.convolve(block.astype(np.float32), _MASK[None])[:, 1:-1, 1:-1]
    noise: NDArray[np.float64] = np.sqrt(np.pi / 2) / 6 * np.abs(edges).mean(axis=(1, 2))
    return noise


def _letters(grey: NDArray[np.uint8]) -> int:
    """Count bright pieces of the size of a letter in the four corners."""
    from scipy import ndimage

    side = round(_CORNER * len(grey))
    scale = (len(grey) / 224) ** 2
    found = 0
    for corner in (grey[:side, :side], grey[:side, -side:], grey[-side:, :side], grey[-side:, -side:]):  # fmt: skip
        if int(corner.max()) - int(corner.min()) < _BRIGHTER:
            continue  # most corners are even; this spares them the rest
        around = ndimage.grey_opening(corner, size=(15, 15))
        pieces, count = ndimage.label(corner.astype(np.int16) - around >= _BRIGHTER)
        if count:
            sizes = np.bincount(pieces.ravel())[1:]
            found += int(((sizes >= _SMALLEST * scale) & (sizes <= _LARGEST * scale)).sum())
    return found


def jpeg_quality(file: Path) -> float:
    """Estimate the quality that a JPEG was saved at from its luminance quantisation table.

    libjpeg scales annex K's table by 200 - 2 q per cent from q = 50 on, and by 5000 / q below.

    Returns:
        In [1, 100]; NaN for another format or a file that cannot be opened.
    """
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(file) as picture:
            table = getattr(picture, "quantization", {}).get(0)
    except (OSError, UnidentifiedImageError, ValueError, SyntaxError, Image.DecompressionBombError):
        return float("nan")
    if not table or len(table) != len(_ANNEX_K):
        return float("nan")
    # The sum does not depend on the order in which a table is stored.
    return float(1 + np.abs(_sums_by_quality() - sum(table)).argmin())


def _sums_by_quality() -> NDArray[np.int64]:
    quality = np.arange(1, 101)[:, None]
    scale = np.where(quality < 50, 5000 // quality, 200 - 2 * quality)
    tables = np.clip((np.array(_ANNEX_K) * scale + 50) // 100, 1, 255)
    sums: NDArray[np.int64] = tables.sum(axis=1)
    return sums


def coarse(pixels: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Return thumbnails by block means, shape (n, 16, 16), of radiographs (n, s, s), s a multiple of 16."""
    side = pixels.shape[1] // THUMBNAIL
    blocks = np.asarray(pixels).reshape(len(pixels), THUMBNAIL, side, THUMBNAIL, side)
    means: NDArray[np.float64] = blocks.mean(axis=(2, 4))
    return means


def frame(thumbnails: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the outermost ring of thumbnails (n, 16, 16), shape (n, 60)."""
    inside = np.zeros((THUMBNAIL, THUMBNAIL), bool)
    inside[1:-1, 1:-1] = True
    return thumbnails[:, ~inside]


def corners(thumbnails: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the four corners of 3 x 3 of thumbnails (n, 16, 16), shape (n, 36)."""
    ends = [0, 1, 2, THUMBNAIL - 3, THUMBNAIL - 2, THUMBNAIL - 1]
    return thumbnails[:, ends][:, :, ends].reshape(len(thumbnails), -1)
