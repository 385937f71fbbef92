"""JPEG, PNG and TIFF files as grey pixels in display polarity.

What each format hides (palettes, transparency, CMYK, inverted greys, orientation, the real depth
of 16-bit samples) is settled here, once, for every user of the package.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from hilum.imaging._content import ContentError
from hilum.imaging._orientation import exif_orientation, is_transposed, orient
from hilum.imaging.radiograph import Pixels

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["GreyImage", "read_jpeg", "read_png", "read_tiff"]

_BAND = 256  # rows laid over black at a time, so that memory stays flat


@dataclass(frozen=True, slots=True)
class GreyImage:
    """Pixels of one raster file, upright, bright where the file is bright."""

    pixels: Pixels  # (rows, columns), [0, 2 ** bit_depth - 1]
    bit_depth: int
    source_rows: int  # of the file at full scale, after orientation
    source_columns: int
    notes: tuple[str, ...] = ()


def read_jpeg(data: bytes, min_side: int | None) -> GreyImage:
    """Read a JPEG file: grey, YCbCr, RGB, CMYK or YCCK, with its EXIF orientation applied.

    Args:
        data: The whole file.
        min_side: As of `hilum.imaging.read`.

    Raises:
        ContentError: If the file cannot be read as one grey image.
    """
    from hilum.imaging import _jpeg

    header = _jpeg.read_header(data)
    orientation = exif_orientation(header.exif)
    pixels = orient(_jpeg.decode_grey(data, header, min_side=min_side), orientation)
    rows, columns = header.rows, header.columns
    if is_transposed(orientation):
        rows, columns = columns, rows
    notes: tuple[str, ...] = ()
    if orientation != 1:
        notes = (f"turned upright as EXIF orientation {orientation} asks",)
    return GreyImage(pixels, 8, rows, columns, notes)


def read_png(data: bytes) -> GreyImage:
    """Read a PNG file of any colour type; transparency is laid over black.

    Raises:
        ContentError: If the file cannot be read as one grey image.
    """
    from hilum.imaging import _png

    png = _png.open_png(data)
    return _grey(png.image, png.bit_depth, png.orientation, white_is_zero=False)


def read_tiff(data: bytes) -> GreyImage:
    """Read a TIFF file of one page: 1 to 16 bits, palette, colour, or finite float.

    Raises:
        ContentError: If the file cannot be read as one grey image.
    """
    from hilum.imaging import _tiff

    tiff = _tiff.open_tiff(data)
    return _grey(tiff.image, tiff.bit_depth, tiff.orientation, white_is_zero=tiff.white_is_zero)


def _grey(image: "Image", file_depth: int, orientation: int, *, white_is_zero: bool) -> GreyImage:
    notes: list[str] = []
    pixels: Pixels
    if image.mode in ("I;16", "I;16B", "I;16L", "I"):
        pixels, depth = _of_16_bit(image, file_depth, notes)
    elif image.mode == "F":
        pixels, depth = _of_float(image, notes)
    elif image.mode in ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "YCbCr"):
        pixels, depth = _of_8_bit(image), 8
        if file_depth == 16:
            notes.append("16-bit colour was reduced to 8 bits")
    else:
        raise ContentError(f"has pixels of an unsupported kind ({image.mode}); export it as grey")
    if white_is_zero:
        pixels = (1 << depth) - 1 - pixels
        notes.append("inverted, as the file stores white as zero")
    if orientation != 1:
        notes.append(f"turned upright as EXIF orientation {orientation} asks")
    upright = orient(pixels, orientation)
    return GreyImage(upright, depth, upright.shape[0], upright.shape[1], tuple(notes))


def _of_8_bit(image: "Image") -> NDArray[np.uint8]:
    """Return the luminance (ITU-R BT.601) over black, shape (rows, columns), [0, 255]."""
    transparent = "transparency" in image.info or image.mode in ("LA", "PA", "RGBA")
    if not transparent:
        return np.array(image.convert("L"))
    pixels = np.empty((image.height, image.width), np.uint8)
    for top in range(0, image.height, _BAND):
        bottom = min(top + _BAND, image.height)
        layers = image.crop((0, top, image.width, bottom)).convert("RGBA")
        alpha = np.asarray(layers.getchannel("A"), np.uint16)
        grey = np.asarray(layers.convert("RGB").convert("L"), np.uint16)
        pixels[top:bottom] = (grey * alpha + 127) // 255
    return pixels


def _of_16_bit(image: "Image", file_depth: int, notes: list[str]) -> tuple[Pixels, int]:
    stored = np.asarray(image)
    if stored.dtype.kind == "i" and stored.size:
        lowest = int(stored.min())
        if lowest < 0:
            stored = stored - lowest
            notes.append(f"signed values were raised by {-lowest}")
        if int(stored.max()) > 0xFFFF:
            raise ContentError("has pixels of more than 16 bits; export it as 16-bit greyscale")
    pixels = np.ascontiguousarray(stored, dtype="<u2").astype(np.uint16, copy=False)
    key = image.info.get("transparency")
    if isinstance(key, int):  # a grey level that PNG declares transparent
        pixels = np.where(pixels == key, np.uint16(0), pixels)
    if file_depth != 16:
        return pixels, file_depth  # such as 12: the file says it, so nothing is guessed
    # An 8-bit image widened as PNG recommends (each byte twice) is given back as it was.
    high_and_low = pixels.view(np.uint8).reshape(*pixels.shape, 2)
    if np.array_equal(high_and_low[:, :, 0], high_and_low[:, :, 1]):
        return high_and_low[:, :, 0].copy(), 8
    top = int(pixels.max())
    if top < 256:
        notes.append("16-bit samples hold 8-bit values")
        return pixels.astype(np.uint8), 8
    if top < 0xFFFF:
        notes.append(f"16-bit samples up to {top} were spread over the grey scale")
        table = np.rint(np.arange(top + 1) * (0xFFFF / top)).astype(np.uint16)
        pixels = table[pixels]
    return pixels, 16


def _of_float(image: "Image", notes: list[str]) -> tuple[NDArray[np.uint16], int]:
    """Spread finite values over 16 bits: [0, 1] as it is, any other range from end to end."""
    stored = np.asarray(image, np.float32)
    low, high = float(stored.min()), float(stored.max())  # NaN spreads through both
    if not np.isfinite(low) or not np.isfinite(high):
        raise ContentError("holds pixels that are not finite numbers; export it as 16-bit integers")
    if low >= 0 and high <= 1:
        low, high = 0.0, 1.0
    else:
        notes.append(f"float values from {low:g} to {high:g} were spread over the grey scale")
    scale = 65535 / (high - low) if high > low else 0.0
    pixels = np.empty(stored.shape, np.uint16)
    for row, values in enumerate(stored):  # row by row, so that float64 stays small
        pixels[row] = np.rint((values.astype(np.float64) - low) * scale)
    return pixels, 16
