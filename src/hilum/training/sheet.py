"""A sheet of augmented radiographs, so that a person judges an augmentation before it trains a network.

A row shows one radiograph: as it is, then at both extremes of each augmentation that is on, then as
training may draw it. Lesions that can no longer be seen in a column are a limit set too far.
"""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont, PngImagePlugin

from hilum.files import atomic_path
from hilum.findings import RESEARCH_USE
from hilum.imaging import DRAWN_BY_HILUM
from hilum.training.augment import augment
from hilum.training.augmentation import Augmentation
from hilum.training.draws import BEST_JPEG, Draws, draw
from hilum.training.exchange import Styles

__all__ = ["RANDOM_COLUMNS", "draw_sheet"]

RANDOM_COLUMNS = 4
_SMALLEST_CELL = 112  # pixels; smaller radiographs are magnified, so that labels fit above them
_GAP = 4  # pixels
_TITLE, _LABEL, _NOTICE = 30, 18, 22  # pixels of height
_FEWEST_PIXELS = 640  # of width, for the title and the notice
_MIDDLE_GREY = 0.5


def draw_sheet(
    pixels: NDArray[np.uint8],
    augmentation: Augmentation,
    path: Path,
    *,
    name: str,
    seed: int,
    phantom: bool,
) -> tuple[str, ...]:
    """Draw a sheet and write it as a PNG that `hilum.imaging.read` refuses to take for a radiograph.

    Args:
        pixels: The radiographs, shape (n, s, s), n at least 1.
        augmentation: The limits to show.
        path: The PNG.
        name: Of the recipe, for the title.
        seed: Of the random columns.
        phantom: Whether the radiographs are drawn phantoms, which the title then says.

    Returns:
        The labels of the columns, from left to right.

    Raises:
        UsageError: If the file cannot be written.
        ValueError: If there are no radiographs, or they are no squares.
    """
    if pixels.ndim != 3 or 0 in pixels.shape or pixels.shape[1] != pixels.shape[2]:
        raise ValueError(f"the radiographs have shape {pixels.shape}, not (n, s, s)")
    batch = torch.from_numpy(np.array(pixels))[:, None]
    columns = [("original", pixels)]
    styles = Styles.of(pixels)
    for label, draws in _columns(augmentation, len(pixels), seed):
        grey = augment(batch, draws, augmentation, styles)[:, 0]
        columns.append((label, grey.mul(255).round().to(torch.uint8).numpy()))
    kind = "drawn phantoms, no patients" if phantom else "radiographs"
    sheet = _laid_out(columns, f"Augmentation of the recipe {name}: {kind}, seed {seed}")
    mark = PngImagePlugin.PngInfo()
    mark.add_text(DRAWN_BY_HILUM, RESEARCH_USE)
    with atomic_path(path) as temporary:
        sheet.save(temporary, "PNG", pnginfo=mark)
    return tuple(label for label, _ in columns)


def _columns(augmentation: Augmentation, n: int, seed: int) -> Iterator[tuple[str, Draws]]:
    """Yield each column's label and draws."""
    neutral = Draws.neutral(n)
    for name in augmentation.on:
        yield from _extremes(name, getattr(augmentation, name), neutral)
    for number in range(1, RANDOM_COLUMNS + 1):
        # Rows of one longer batch, so that the columns differ as batches of training do.
        share = slice((number - 1) * n, number * n)
        yield f"random {number}", draw(augmentation, RANDOM_COLUMNS * n, seed=seed).rows(share)


def _extremes(name: str, limit: float, neutral: Draws) -> Iterator[tuple[str, Draws]]:
    """Yield the strongest changes that one augmentation makes, all others off.

    One that goes both ways is shown at both ends. One that has only a strength is shown at half and
    at full strength, and one that has two forms in both.
    """

    def all_of(*values: float) -> torch.Tensor:
        """Return the same values for each radiograph, shape (n,) or (n, number of values)."""
        return torch.tensor([values] * len(neutral)).squeeze(1)

    match name:
        case "rotate":
            for angle in (-limit, limit):
                yield f"rotate {angle:+g}°", replace(neutral, rotate=all_of(angle))
        case "shift":
            for share in (-limit, limit):
                yield f"shift {share:+.0%}", replace(neutral, shift=all_of(share, share))
        case "scale" | "aspect":
            for factor in (1 / limit, limit):
                yield f"{name} {factor:.2f}", replace(neutral, **{name: all_of(factor)})
        case "flip":
            yield "flip", replace(neutral, flip=torch.ones_like(neutral.flip))
        case "gamma":
            for exponent in (-limit, limit):
                power = float(np.exp(exponent))
                yield f"gamma {power:.2f}", replace(neutral, gamma=all_of(power))
        case "contrast":
            for factor in (1 - limit, 1 + limit):
                yield f"contrast {factor:.2f}", replace(neutral, contrast=all_of(factor))
        case "brightness" | "sharpness":
            for step in (-limit, limit):
                yield f"{name} {step:+g}", replace(neutral, **{name: all_of(step)})
        case "blur" | "noise":
            for strength in (limit / 2, limit):
                yield f"{name} {strength:g}", replace(neutral, **{name: all_of(strength)})
        case "border":
            covered = replace(neutral, border=all_of(*[limit] * 4))
            for label, keeps, grey in (("grey", 0.0, _MIDDLE_GREY), ("darkened", 0.4, 0.0)):
                drawn = replace(covered, border_keeps=all_of(keeps), border_grey=all_of(grey))
                yield f"border {label}", drawn
        case "erase":
            side = limit**0.5
            for label, place in (("upper left", 0.2), ("lower right", 0.8)):
                drawn = replace(neutral, erase=all_of(place, place, side, side))
                yield f"erase {label}", replace(drawn, erase_grey=all_of(_MIDDLE_GREY))
        case "jpeg":
            for quality in (BEST_JPEG, limit):
                yield f"jpeg {quality}", replace(neutral, jpeg=all_of(quality).long())
        case "exchange":
            # With the next radiograph of the sheet.
            count = len(neutral)
            following = (torch.arange(count) + 1) % count / count + 0.5 / count
            other, whole = replace(neutral, exchange_with=following), torch.ones(count)
            yield "exchange tone", replace(other, exchange_tone=whole)
            yield "exchange detail", replace(other, exchange_detail=whole)
        case _:
            raise AssertionError(f"the sheet does not know how to show {name}")


def _laid_out(columns: list[tuple[str, NDArray[np.uint8]]], title: str) -> Image.Image:
    """Paste the radiographs, each column of shape (n, s, s), under their labels."""
    n, side, _ = columns[0][1].shape
    zoom = -(-_SMALLEST_CELL // side)
    step = side * zoom + _GAP
    size = (
        max(_GAP + len(columns) * step, _FEWEST_PIXELS),
        _TITLE + _LABEL + n * step + _NOTICE,
    )
    sheet = Image.new("L", size, "black")
    pen = ImageDraw.Draw(sheet)
    large, small = ImageFont.load_default(size=16), ImageFont.load_default(size=12)
    pen.text((_GAP, _GAP), title, fill="white", font=large)
    for place, (label, pictures) in enumerate(columns):
        left = _GAP + place * step
        pen.text((left, _TITLE), label, fill="white", font=small)
        for row, picture in enumerate(pictures):
            cell = Image.fromarray(picture).resize(
                (side * zoom, side * zoom), Image.Resampling.NEAREST
            )
            sheet.paste(cell, (left, _TITLE + _LABEL + row * step))
    pen.text((_GAP, size[1] - _NOTICE + _GAP), RESEARCH_USE, fill="white", font=small)
    return sheet
