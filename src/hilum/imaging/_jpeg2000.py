"""JPEG 2000 codestreams inside DICOM: checked by hand, decoded by OpenJPEG.

OpenJPEG returns a picture, silently grey or black in parts, for a codestream that is cut short, and
allocates what a header asks for; so size, components, tiles and the length of every tile part
(ITU-T T.800, annex A) are checked here first.
"""

import struct

import numpy as np

from hilum.imaging._content import ContentError, check_compression
from hilum.imaging.radiograph import Pixels

__all__ = ["decode_jpeg_2000"]

_START = b"\xff\x4f\xff\x51"  # SOC, then SIZ
_SOT, _COD = 0xFF90, 0xFF52
# OpenJPEG keeps some 6 KB for each tile; 50 megapixels in tiles of 64 x 64 stay below this.
_MAX_TILES = 16_384
_MAX_TILE_PARTS = 100_000
_MAX_LAYERS = 1000  # writers use one to some twenty
_MAX_MARKERS = 10_000  # in the main header; a loop over millions would take minutes


def decode_jpeg_2000(stream: bytes, rows: int, columns: int, samples: int) -> Pixels:
    """Decode a codestream that must have the size that the data set declares.

    Args:
        stream: The codestream; boxes of a JP2 file before it are passed over.
        rows: Declared number of pixel rows.
        columns: Declared number of pixel columns.
        samples: Declared samples per pixel, 1 or 3.

    Returns:
        Unsigned patterns, 8 bits wide up to a precision of 8, else 16; shape (rows, columns), or
        (rows, columns, 3) as RGB where the codestream transforms colour.

    Raises:
        ContentError: If the codestream is damaged, cut short or of another size.
    """
    from openjpeg.utils import decode

    start = stream.find(_START)
    if start < 0:
        raise _damaged()
    stream = stream[start:]
    precision = _check_size_marker(stream, rows, columns, samples)
    _check_tile_parts(stream)
    check_compression(rows, columns, len(stream))
    try:
        flat = decode(stream, 0, reshape=False)
    except RuntimeError as error:
        raise _damaged() from error
    values = flat.view(np.uint8 if precision <= 8 else "<u2")
    shape = (rows, columns) if samples == 1 else (rows, columns, samples)
    return values.reshape(shape)


def _check_size_marker(stream: bytes, rows: int, columns: int, samples: int) -> int:
    """Check the SIZ segment against the data set, and return the precision in bits."""
    if len(stream) < 42:
        raise _cut_short()
    (right, bottom, left, top, tile_width, tile_height, tile_left, tile_top, components) = (
        struct.unpack_from(">8LH", stream, 8)
    )
    if (bottom - top, right - left, components) != (rows, columns, samples):
        raise ContentError(
            f"is a DICOM file that declares {rows} by {columns} pixels and holds "
            f"{bottom - top} by {right - left}; copy or export it again"
        )
    if tile_width < 1 or tile_height < 1 or tile_left > left or tile_top > top:
        raise _damaged()
    tiles = -(-(right - tile_left) // tile_width) * -(-(bottom - tile_top) // tile_height)
    if tiles > _MAX_TILES or len(stream) < 42 + 3 * components:
        raise _damaged()
    kinds = {tuple(stream[42 + 3 * i : 45 + 3 * i]) for i in range(components)}
    depth, across, down = kinds.pop()
    precision = (depth & 0x7F) + 1
    if kinds or (across, down) != (1, 1) or precision > 16:
        raise _damaged()
    return precision


def _check_tile_parts(stream: bytes) -> None:
    """Check that every tile part lies inside the codestream, as its header says."""
    position = 2
    for _ in range(_MAX_MARKERS):
        if position + 4 > len(stream):
            raise _cut_short()
        marker, length = struct.unpack_from(">HH", stream, position)
        if marker == _SOT:
            break
        if marker < 0xFF00 or length < 2:
            raise _damaged()
        if marker == _COD and position + 8 <= len(stream):
            (layers,) = struct.unpack_from(">H", stream, position + 6)
            if layers > _MAX_LAYERS:
                raise _damaged()
        position += 2 + length
    else:
        raise _damaged()
    parts = 0
    while stream[position : position + 2] == b"\xff\x90":
        if parts == _MAX_TILE_PARTS:
            raise _damaged()
        if position + 12 > len(stream):
            raise _cut_short()
        (length,) = struct.unpack_from(">L", stream, position + 6)
        if length == 0:  # until the end of the codestream
            if stream.rfind(b"\xff\xd9") < position:
                raise _cut_short()
            return
        if length < 14:
            raise _damaged()
        position += length
        parts += 1
    if position > len(stream) or not parts:
        raise _cut_short()


def _damaged() -> ContentError:
    return ContentError("is a DICOM file with damaged JPEG 2000 data; copy or export it again")


def _cut_short() -> ContentError:
    return ContentError(
        "is a DICOM file whose JPEG 2000 data are cut short; copy or export it again"
    )
