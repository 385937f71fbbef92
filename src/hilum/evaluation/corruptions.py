"""Corruptions: graded changes of radiographs that leave the disease where it is.

A classifier that is right for the right reason keeps its order of radiographs when they are turned a
little, exposed otherwise or packed harder; one that lives on borders or sharpness does not (after
Hendrycks and Dietterich, ICLR 2019, who graded such changes for photographs). Everything happens on
the grid that the network sees. The grades are ours: how common each is in practice was not measured.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

__all__ = ["CORRUPTIONS", "Corruption", "Grade", "Strength", "shifted"]

Pixels = NDArray[np.uint8]  # (n, s, s)

_BLOCK = 64  # radiographs at a time, so that their float32 copies stay small
_WHITE = 255.0
_GRID = 224  # the grid whose pixels the width of a blur is told in


class Strength(StrEnum):
    """How far a grade goes."""

    MILD = "mild"  # a reader would hardly notice
    PLAUSIBLE = "plausible"  # seen, and seen in practice
    SEVERE = "severe"  # beyond what a department would let pass; shows where the curve goes


@dataclass(frozen=True, slots=True)
class Grade:
    """One amount of a corruption, in its unit."""

    amount: float
    strength: Strength


@dataclass(frozen=True, slots=True)
class Corruption:
    """A change of radiographs, and what it stands for."""

    name: str
    unit: str  # of its amounts, for people
    stands_for: str  # what does this in the real world, one sentence
    neutral: float | None  # the amount that changes nothing; None where there is none
    grades: tuple[Grade, ...]  # by rising amount
    change: Callable[[Pixels, float, np.random.Generator], NDArray[np.generic]]
    form: str = "{:g}"  # how an amount is written
    factor: float = 1.0  # by which it is multiplied for that, such as 100 for per cent

    def label(self, amount: float) -> str:
        """Write an amount for people, such as "+5°"."""
        return self.form.format(amount * self.factor)

    def __call__(self, pixels: Pixels, amount: float, seed: int = 0) -> Pixels:
        """Change radiographs.

        Args:
            pixels: On the network's grid, shape (n, s, s), uint8; stays as it is.
            amount: In the unit of this corruption.
            seed: Of what is random. All amounts draw alike, so that a curve over them is smooth.

        Returns:
            The same shape, uint8.
        """
        rng = np.random.default_rng(seed)
        changed = np.empty_like(pixels)
        for start in range(0, len(pixels), _BLOCK):
            block = np.asarray(pixels[start : start + _BLOCK])
            grey = self.change(block, amount, rng)
            if grey.dtype != np.uint8:
                grey = np.clip(np.rint(grey), 0.0, _WHITE)
            changed[start : start + len(block)] = grey
        return changed


def shifted(pixels: Pixels, right: float, down: float) -> Pixels:
    """Move radiographs by whole pixels, so that nothing is interpolated; the edge is repeated.

    Args:
        pixels: Shape (n, s, s), uint8.
        right: Share of the side, negative to the left; at least one pixel unless 0.
        down: Share of the side, negative upwards; at least one pixel unless 0.
    """
    side = pixels.shape[-1]
    rows, columns = (_whole(share, side) for share in (down, right))
    from_row = np.clip(np.arange(side) - rows, 0, side - 1)
    from_column = np.clip(np.arange(side) - columns, 0, side - 1)
    return np.asarray(pixels[:, from_row[:, None], from_column], dtype=np.uint8)


def _whole(share: float, side: int) -> int:
    """Return a share of the side in whole pixels, away from 0 where it is not 0."""
    return int(np.sign(share)) * max(1, round(abs(share) * side))


def _shift(pixels: Pixels, amount: float, _: np.random.Generator) -> Pixels:
    return shifted(pixels, amount, amount)


def _mirror(pixels: Pixels, amount: float, _: np.random.Generator) -> Pixels:
    return pixels[:, :, ::-1] if amount else pixels


def _invert(pixels: Pixels, amount: float, _: np.random.Generator) -> Pixels:
    return ~pixels if amount else pixels


def _rotate(pixels: Pixels, amount: float, _: np.random.Generator) -> NDArray[np.float32]:
    turn = np.deg2rad(amount)
    cos, sin = np.cos(turn), np.sin(turn)
    # Rows run down, so this takes each place of an anticlockwise turn back to where it came from.
    return _sampled(pixels, np.array([[cos, sin], [-sin, cos]]))


def _crop(pixels: Pixels, amount: float, _: np.random.Generator) -> NDArray[np.float32]:
    return _sampled(pixels, np.eye(2) * (1.0 - 2.0 * amount))


def _sampled(pixels: Pixels, matrix: NDArray[np.float64]) -> NDArray[np.float32]:
    """Take every pixel from `matrix` times its place, from the centre, linearly interpolated.

    The edge is repeated: black corners would be a second change, and one that is measured apart.
    """
    from scipy import ndimage

    centre = (pixels.shape[-1] - 1) / 2
    offset = centre - matrix @ np.full(2, centre)
    changed = np.empty(pixels.shape, np.float32)
    for picture, target in zip(pixels, changed, strict=True):
        ndimage.affine_transform(picture, matrix, offset, output=target, order=1, mode="nearest")
    return changed


def _contrast(pixels: Pixels, amount: float, _: np.random.Generator) -> NDArray[np.float32]:
    mean = pixels.mean(axis=(1, 2), keepdims=True, dtype=np.float32)
    return np.asarray((pixels - mean) * np.float32(amount) + mean, dtype=np.float32)


def _gamma(pixels: Pixels, amount: float, _: np.random.Generator) -> NDArray[np.float64]:
    levels = _WHITE * (np.arange(256) / _WHITE) ** amount
    return np.asarray(levels[pixels])


def _brighten(pixels: Pixels, amount: float, _: np.random.Generator) -> NDArray[np.float32]:
    return np.asarray(pixels + np.float32(amount), dtype=np.float32)


def _blur(pixels: Pixels, amount: float, _: np.random.Generator) -> NDArray[np.float32]:
    from scipy import ndimage

    sigma = amount * pixels.shape[-1] / _GRID
    grey: NDArray[np.float32] = ndimage.gaussian_filter(
        pixels.astype(np.float32), (0, sigma, sigma), mode="nearest"
    )
    return grey


def _noise(pixels: Pixels, amount: float, rng: np.random.Generator) -> NDArray[np.float32]:
    noise = rng.standard_normal(pixels.shape, dtype=np.float32)
    return np.asarray(pixels + np.float32(amount) * noise, dtype=np.float32)


def _compress(pixels: Pixels, amount: float, _: np.random.Generator) -> Pixels:
    import simplejpeg

    changed = np.empty_like(pixels)
    for picture, target in zip(pixels, changed, strict=True):
        grey = np.ascontiguousarray(picture)[..., None]
        file = simplejpeg.encode_jpeg(grey, round(amount), "GRAY", "Gray")
        target[:] = simplejpeg.decode_jpeg(file, "GRAY")[..., 0]
    return changed


def _coarsen(pixels: Pixels, amount: float, _: np.random.Generator) -> Pixels:
    from PIL import Image

    side = pixels.shape[-1]
    small = max(1, round(amount * side))
    changed = np.empty_like(pixels)
    for picture, target in zip(pixels, changed, strict=True):
        coarse = Image.fromarray(picture).resize((small, small), Image.Resampling.BOX)
        target[:] = coarse.resize((side, side), Image.Resampling.BILINEAR)
    return changed


def _inside(side: int, share: float) -> NDArray[np.bool_]:
    """Return where a picture is not covered by a frame of a share of its side, shape (s, s)."""
    inside = np.ones((side, side), bool)
    if share:
        width = _whole(share, side)
        inside[:] = False
        inside[width : side - width, width : side - width] = True
    return inside


def _black_frame(pixels: Pixels, amount: float, _: np.random.Generator) -> Pixels:
    return np.where(_inside(pixels.shape[-1], amount), pixels, np.uint8(0))


def _mean_frame(pixels: Pixels, amount: float, _: np.random.Generator) -> NDArray[np.float64]:
    inside = _inside(pixels.shape[-1], amount)
    mean = pixels[:, inside].mean(axis=1)[:, None, None]
    return np.where(inside, pixels, mean)


def _grades(severe: str = "", plausible: str = "", mild: str = "") -> tuple[Grade, ...]:
    amounts = {Strength.SEVERE: severe, Strength.PLAUSIBLE: plausible, Strength.MILD: mild}
    grades = [
        Grade(float(amount), strength)
        for strength, listed in amounts.items()
        for amount in listed.split()
    ]
    return tuple(sorted(grades, key=lambda grade: grade.amount))


# Mirror and inversion have no degrees; all others have three to five.
CORRUPTIONS: tuple[Corruption, ...] = (
    Corruption(
        "rotation", "degrees, anticlockwise positive",
        "A patient who leans, or a film laid askew on the scanner.",
        0.0, _grades("20", "-10 10", "-5 5"), _rotate, "{:+g}°",
    ),
    Corruption(
        "shift", "share of the side, right and down",
        "A patient or a detector off the centre.",
        0.0, _grades("0.1", "0.05", "0.02"), _shift, "{:g} %", 100.0,
    ),
    Corruption(
        "crop", "share cut away at each side",
        "Tighter collimation, or an export that trims the picture.",
        0.0, _grades("0.15", "0.05 0.1", "0.02"), _crop, "{:g} %", 100.0,
    ),
    Corruption(
        "contrast", "factor, about the mean grey level",
        "Another tube voltage, more scatter, or another display window.",
        1.0, _grades("0.4", "0.7 1.5", "0.85 1.2"), _contrast,
    ),
    Corruption(
        "gamma", "exponent; above 1 is darker",
        "Another look-up table of the maker, or another film.",
        1.0, _grades("0.5", "0.7 1.5", "0.85 1.2"), _gamma,
    ),
    Corruption(
        "brightness", "grey levels added",
        "Over- or underexposure that the processing does not make good.",
        0.0, _grades("-50", "-25 25", "-10 10"), _brighten, "{:+g}",
    ),
    Corruption(
        "blur", "standard deviation in pixels of a 224 grid",
        "Breath or movement, a large focal spot, or a soft reconstruction.",
        0.0, _grades("6", "2 3", "1"), _blur,
    ),
    Corruption(
        "noise", "standard deviation in grey levels",
        "A low dose, an old detector, or a grainy film.",
        0.0, _grades("20", "5 10", "2"), _noise,
    ),
    # Its blocks of 8 x 8 are larger on this grid than they were in a whole file: harsher than life.
    Corruption(
        "JPEG compression", "quality",
        "Pictures sent by messenger or packed hard for a data set.",
        None, _grades("10", "30 60", "90"), _compress,
    ),
    Corruption(
        "downsampling", "share of the side that is kept",
        "Thumbnails and screenshots in place of the original.",
        1.0, _grades("0.25", "0.33 0.5", "0.75"), _coarsen, "{:g} %", 100.0,
    ),
    # Severe because hilum's own reader settles the polarity before any network sees it.
    Corruption(
        "inversion", "polarity",
        "Polarity that a viewer or an export got wrong.",
        0.0, _grades("1"), _invert, "inverted",
    ),
    Corruption(
        "black frame", "share of the side, on all four sides",
        "Collimation, and the black margin of a scan.",
        0.0, _grades("0.1", "0.05", "0.02"), _black_frame, "{:g} %", 100.0,
    ),
    Corruption(
        "grey frame", "share of the side, in the mean grey of the rest",
        "Nothing in a clinic: it takes away what the border tells, and adds no edge to black.",
        0.0, _grades("0.1", "0.05", "0.02"), _mean_frame, "{:g} %", 100.0,
    ),
    Corruption(
        "mirror", "left and right",
        "A film laid face down, or a file without its orientation.",
        0.0, _grades("", "1"), _mirror, "exchanged",
    ),
)  # fmt: skip
