"""Pictures of explanations: a map on its radiograph, and sheets of feature maps and filters.

Each says what it shows, has a scale with numbers and a unit in a perceptually even colour map, and is
marked so that hilum never reads it as a radiograph.
"""

import io
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont, PngImagePlugin

from hilum.files import write_bytes
from hilum.findings import RESEARCH_USE
from hilum.imaging import DRAWN_BY_HILUM
from hilum.screening.overlays import heat_on_grid

__all__ = ["draw_map", "draw_sheet", "heated", "picture_name", "write_picture"]

_OPACITY = 0.6  # of the hottest colour; the anatomy stays visible below it
_MARGIN = 8
_LINE = 18  # pixels a line of text
_BAR = 10  # pixels of height of a scale
_NARROWEST = 620  # pixels, for the notice
_STEM = 80  # bytes of the input's name that are kept; file systems allow some 255 bytes
_CELL = 72  # pixels at least of a cell of a sheet
_COLUMNS = 8


def heated(
    picture: NDArray[np.uint8], values: NDArray[np.float32], scale: float
) -> NDArray[np.uint8]:
    """Return a radiograph with a map over it.

    Args:
        picture: Shape (rows, columns).
        values: The map on any grid, shape (h, w); what is not above 0 stays uncoloured.
        scale: The value that gets the hottest colour; 0 or less: nothing is coloured.

    Returns:
        RGB, shape (rows, columns, 3).
    """
    rows, columns = picture.shape
    heat = np.zeros((rows, columns), np.float32)
    if scale > 0:
        heat = heat_on_grid(values, (columns, rows), scale)
    opacity = (_OPACITY * heat)[..., None]
    mixed = picture[..., None] * (1 - opacity) + _colours(heat, "inferno") * opacity
    return np.asarray(np.rint(mixed), dtype=np.uint8)


def draw_map(
    picture: NDArray[np.uint8],
    values: NDArray[np.float32],
    scale: float,
    *,
    unit: str,
    caption: Sequence[str],
) -> Image.Image:
    """Draw a radiograph beside itself with a map, above a scale and a caption.

    Args:
        picture: As `hilum.screening.overlays.picture_of` made it, shape (rows, columns).
        values: The map, shape (h, w).
        scale: See `heated`.
        unit: Of the map's values.
        caption: Lines of text; the research-use notice is added.

    Returns:
        An RGB picture.
    """
    rows, columns = picture.shape
    lines = [*caption, RESEARCH_USE]
    height = rows + 3 * _MARGIN + _BAR + _LINE * (len(lines) + 2)
    canvas = Image.new("RGB", (max(2 * columns + 3 * _MARGIN, _NARROWEST), height), "black")
    canvas.paste(Image.fromarray(picture), (_MARGIN, _MARGIN))
    left = columns + 2 * _MARGIN
    canvas.paste(Image.fromarray(heated(picture, values, scale)), (left, _MARGIN))
    top = rows + 2 * _MARGIN
    # The scale may be wider than a narrow radiograph, so that its numbers have room.
    width = max(canvas.width - left - _MARGIN, columns)
    _draw_scale(canvas, (left, top, width), (0.0, max(scale, 0.0)), unit, "inferno")
    _write(canvas, top + _BAR + 2 * _LINE, lines)
    return canvas


def draw_sheet(
    cells: NDArray[np.float32], labels: Sequence[str], *, title: str, unit: str, even: bool = False
) -> Image.Image:
    """Draw maps or filters side by side on one common scale.

    Args:
        cells: Shape (n, h, w), n at least 1.
        labels: One for each.
        title: Above them.
        unit: Of the values.
        even: Make the scale as long below 0 as above it.

    Returns:
        An RGB picture.
    """
    n, rows, columns = cells.shape
    low, high = float(cells.min()), float(cells.max())
    if even:
        low, high = -max(-low, high), max(-low, high)
    zoom = max(1, -(-_CELL // max(rows, columns)))
    step_x, step_y = columns * zoom + _MARGIN, rows * zoom + _LINE
    across = min(n, max(_COLUMNS, (_NARROWEST - _MARGIN) // step_x))
    down = -(-n // across)
    width = max(_NARROWEST, _MARGIN + across * step_x)
    head = _MARGIN + _LINE
    size = (width, head + down * step_y + 2 * _MARGIN + _BAR + 3 * _LINE)
    canvas = Image.new("RGB", size, "black")
    _write(canvas, _MARGIN, [title])
    pen, font = ImageDraw.Draw(canvas), ImageFont.load_default(size=11)
    span = high - low
    for number, (cell, label) in enumerate(zip(cells, labels, strict=True)):
        x, y = _MARGIN + number % across * step_x, head + number // across * step_y
        pen.text((x, y), label, fill="white", font=font)
        shares = (cell - low) / span if span > 0 else np.zeros_like(cell)
        drawn = Image.fromarray(_colours(shares, "viridis"))
        # Enlarged by repetition, so that a place stays one colour.
        large = drawn.resize((columns * zoom, rows * zoom), Image.Resampling.NEAREST)
        canvas.paste(large, (x, y + _LINE - 4))
    top = head + down * step_y + _MARGIN
    _draw_scale(canvas, (_MARGIN, top, width - 2 * _MARGIN), (low, high), unit, "viridis")
    _write(canvas, top + _BAR + 2 * _LINE, [RESEARCH_USE])
    return canvas


def picture_name(number: int, name: str, what: str) -> str:
    """Return a file name for a picture.

    Args:
        number: Position among the inputs, from 1; it keeps equal names apart.
        name: Of the input.
        what: The method, or what else it shows.
    """
    stem = os.fsencode(Path(name).stem)[:_STEM].decode("utf-8", "ignore")
    return f"{number:03d}-{stem}-{what.replace('++', '-plus-plus')}.png"


def write_picture(path: Path, picture: Image.Image) -> None:
    """Write a PNG that `hilum.imaging.read` refuses to take for a radiograph.

    Raises:
        UsageError: If it cannot be written.
    """
    mark = PngImagePlugin.PngInfo()
    mark.add_text(DRAWN_BY_HILUM, RESEARCH_USE)
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", compress_level=3, pnginfo=mark)
    write_bytes(path, buffer.getvalue())


def _colours(values: NDArray[np.floating], name: str) -> NDArray[np.uint8]:
    from matplotlib import colormaps

    return np.asarray(colormaps[name](values, bytes=True))[..., :3]


def _draw_scale(
    canvas: Image.Image,
    place: tuple[int, int, int],
    limits: tuple[float, float],
    unit: str,
    colours: str,
) -> None:
    """Draw a bar at (left, top, width) with its ends and middle in numbers, and the unit, below it."""
    left, top, width = place
    bar = _colours(np.tile(np.linspace(0, 1, width), (_BAR, 1)), colours)
    canvas.paste(Image.fromarray(bar), (left, top))
    pen, font = ImageDraw.Draw(canvas), ImageFont.load_default(size=12)
    low, high = limits
    below = top + _BAR + 1
    for share, anchor in ((0.0, "la"), (0.5, "ma"), (1.0, "ra")):
        place_x, value = left + share * width, low + share * (high - low)
        pen.text((place_x, below), f"{value:.3g}", fill="white", font=font, anchor=anchor)
    pen.text((left + width, below + _LINE - 4), unit, fill="white", font=font, anchor="ra")


def _write(canvas: Image.Image, top: int, lines: Sequence[str]) -> None:
    pen, font = ImageDraw.Draw(canvas), ImageFont.load_default(size=13)
    for number, line in enumerate(lines):
        pen.text((_MARGIN, top + _LINE * number), line, fill="white", font=font)
