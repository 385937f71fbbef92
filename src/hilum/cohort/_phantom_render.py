"""The picture of a phantom: attenuation of each tissue along the beam, then film, noise and frame.

Deterministic: the same anatomy, exposure and opacity give the same pixels. Shapes are formulas on a
coarse grid, enlarged afterwards, which keeps a phantom of 512 x 512 near 20 ms; noise, frame and
marker are made at full size. `hilum.cohort._phantom_parameters` explains the units.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hilum.cohort._phantom_parameters import Anatomy, Exposure, Opacity
from hilum.cohort._phantom_tissue import GRID, Field, Scene

__all__ = ["Drawing", "render"]

_MASK_LEVEL = 0.3  # an opacity's mask ends where its region has this fraction of its greatest value


@dataclass(frozen=True, slots=True)
class Drawing:
    """One rendered phantom.

    Attributes:
        pixels: Display polarity, bone bright, uint8, shape (rows, columns).
        mask: True where the opacity lies, shape (rows, columns).
        lungs: True in the visible lung fields, outside heart, mediastinum and diaphragm, same shape.
    """

    pixels: NDArray[np.uint8]
    mask: NDArray[np.bool_]
    lungs: NDArray[np.bool_]


def render(
    anatomy: Anatomy, exposure: Exposure, opacity: Opacity | None, *, rows: int, columns: int
) -> Drawing:
    """Draw one radiograph from its parameters.

    Args:
        anatomy: The patient.
        exposure: The way the radiograph was taken.
        opacity: What pneumonia adds, or None.
        rows: Height in pixels.
        columns: Width in pixels.

    Returns:
        The pixels, the mask of the opacity and the mask of the lungs.
    """
    scene = Scene(anatomy, exposure)
    attenuation = scene.attenuation()
    depth = _enlarge(scene.lung_depth, rows, columns)
    lungs = depth > 0
    mask = np.zeros((rows, columns), dtype=np.bool_)
    smooth = _blurred(attenuation, exposure.blur)
    # Noise follows the attenuation of the body alone. That of the opacity is left out, or the noise
    # would tell the finding without a look at the lungs.
    quantum = _enlarge(_noise_level(smooth, exposure), rows, columns)
    if opacity is not None:
        density, region = scene.opacity(opacity)
        smooth = smooth + opacity.contrast * _blurred(density, exposure.blur)
        mask = (_enlarge(region, rows, columns) > _MASK_LEVEL) & lungs
    grey = _enlarge(_film(smooth, exposure), rows, columns)
    grey += quantum * _grain(exposure.noise_seed, rows, columns)
    _frame(grey, exposure)
    return Drawing(
        pixels=np.rint(np.clip(grey, 0.0, 1.0) * 255).astype(np.uint8), mask=mask, lungs=lungs
    )


def _blurred(field: Field, blur: float) -> Field:
    from scipy import ndimage

    result: Field = ndimage.gaussian_filter(field, blur * GRID / 2, truncate=3.0)
    return result


def _enlarge(field: Field, rows: int, columns: int) -> Field:
    from PIL import Image

    picture = Image.fromarray(np.ascontiguousarray(field, dtype=np.float32))
    return np.array(picture.resize((columns, rows), Image.Resampling.BILINEAR))


def _film(attenuation: Field, exposure: Exposure) -> Field:
    """Return the grey of each attenuation, 0 to 1: veil, gain, and a curve that never quite burns out."""
    lifted = exposure.veil * 0.45 + (1 - 0.45 * exposure.veil) * attenuation
    linear = np.clip(lifted * exposure.gain + exposure.offset, 0, None)
    # The veil is scatter from the body, so the air beside it stays dark.
    air = np.clip(attenuation / 0.12, 0, 1)
    return np.asarray(air * (1 - np.exp(-1.25 * linear**1.35)) ** exposure.gamma, dtype=np.float32)


def _noise_level(attenuation: Field, exposure: Exposure) -> Field:
    """Return the standard deviation of quantum noise: fewer photons pass a denser body."""
    return np.asarray(exposure.noise * (0.5 + 0.8 * np.clip(attenuation, 0, 1.5)), dtype=np.float32)


def _grain(seed: int, rows: int, columns: int) -> Field:
    """Return noise of unit strength with a little correlation, as a detector's blur leaves it."""
    grain = np.random.default_rng(seed).standard_normal((rows + 1, columns + 1), dtype=np.float32)
    return np.asarray(0.8 * grain[:-1, :-1] + 0.42 * grain[1:, 1:] + 0.42 * grain[:-1, 1:])


def _frame(grey: Field, exposure: Exposure) -> None:
    """Draw the marker and the collimator's shadow into the picture, in place."""
    rows, columns = grey.shape
    left, right, top, bottom = exposure.borders
    if exposure.marker:
        _stamp(grey, exposure)
    sides = [
        grey[:, : round(left * columns)],
        grey[:, columns - round(right * columns) :],
        grey[: round(top * rows)],
        grey[rows - round(bottom * rows) :],
    ]
    for side in sides:
        side[...] = exposure.border_grey


def _stamp(grey: Field, exposure: Exposure) -> None:
    """Draw the letter of a side marker with strokes, so that no font is needed."""
    from PIL import Image, ImageDraw

    rows, columns = grey.shape
    size = max(6, rows // 20)
    width = max(1, size // 7)
    tile = Image.new("L", (size, size))
    draw = ImageDraw.Draw(tile)
    w, h = round(size * 0.7), size - 1
    if exposure.marker == "R":
        draw.line([(1, 0), (1, h)], fill=255, width=width)
        draw.arc([-w + 2, 0, w, h // 2 + 1], -90, 90, fill=255, width=width)
        draw.line([(w // 4, h // 2), (w, h)], fill=255, width=width)
    else:
        draw.line([(1, 0), (1, h), (w, h)], fill=255, width=width)
    # "R" lies on the patient's right, which is the viewer's left.
    centre = 0.07 if exposure.marker == "R" else 0.90
    row = round((exposure.marker_height + 1) / 2 * (rows - size))
    column = round(centre * (columns - size))
    target = grey[row : row + size, column : column + size]
    np.maximum(target, np.asarray(tile, dtype=np.float32) / 255 * 0.95, out=target)
