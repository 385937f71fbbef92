"""The EXIF orientation: how stored rows and columns are turned into the picture people see."""

import struct

from hilum.imaging.radiograph import Pixels

__all__ = ["exif_orientation", "is_transposed", "orient"]

_ORIENTATION_TAG = 0x0112  # TIFF 6.0, section 8; EXIF 2.3, section 4.6.4
_SHORT = 3
_MAX_ENTRIES = 1000  # a camera writes a few dozen


def exif_orientation(block: bytes) -> int:
    """Find the orientation in an EXIF block.

    Args:
        block: The TIFF structure that EXIF consists of, without the "Exif" signature before it.

    Returns:
        1 to 8; 1 (as stored) where the block does not say or is malformed, as every viewer does.
    """
    order = {b"II": "<", b"MM": ">"}.get(block[:2])
    if order is None or len(block) < 8:
        return 1
    (directory,) = struct.unpack_from(order + "L", block, 4)
    if directory + 2 > len(block):
        return 1
    (entries,) = struct.unpack_from(order + "H", block, directory)
    for index in range(min(entries, _MAX_ENTRIES)):
        start = directory + 2 + 12 * index
        if start + 12 > len(block):
            return 1
        tag, kind, _, value = struct.unpack_from(order + "HHLH", block, start)
        if tag == _ORIENTATION_TAG:
            return value if kind == _SHORT and 1 <= value <= 8 else 1
    return 1


def is_transposed(orientation: int) -> bool:
    """Whether an orientation exchanges rows and columns."""
    return orientation >= 5


def orient(pixels: Pixels, orientation: int) -> Pixels:
    """Turn stored pixels upright.

    Args:
        pixels: As stored, shape (rows, columns).
        orientation: EXIF orientation, 1 to 8.

    Returns:
        The picture, contiguous; shape (columns, rows) for orientations 5 to 8.
    """
    if orientation == 1:
        return pixels
    if is_transposed(orientation):
        pixels = pixels.T
    # Rows run upwards and columns leftwards in these; for 5 to 8 as seen after transposing.
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    return pixels.copy(order="C")
