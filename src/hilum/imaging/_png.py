"""PNG files: their chunks, checked by hand, and their pixels, decoded by Pillow.

Only the chunks that make the picture reach Pillow (PNG specification, third edition, section 11),
so that no text, profile or animation can surprise it, and each of them must match its CRC.
"""

import struct
import zlib
from dataclasses import dataclass
from io import BytesIO
from typing import TYPE_CHECKING

from hilum.imaging._content import ContentError, check_size
from hilum.imaging._orientation import exif_orientation

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["SIGNATURE", "Png", "open_png"]

SIGNATURE = b"\x89PNG\r\n\x1a\n"
_NEEDED = {b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND"}
_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # by colour type
_DEPTHS = {0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}
_MAX_CHUNKS = 65_536  # the largest file here, in the usual chunks of 8 KiB, has half as many
_MAX_DEFLATE_RATIO = 1032  # a deflate stream cannot expand further (zlib technical notes)


@dataclass(frozen=True, slots=True)
class Png:
    """A PNG whose pixels are decoded: the picture, and what Pillow no longer tells."""

    image: "Image"
    bit_depth: int  # of a sample in the file
    orientation: int  # EXIF, 1 to 8


def open_png(data: bytes) -> Png:
    """Check and decode a PNG.

    Raises:
        ContentError: If it is damaged, cut short, animated or too large.
    """
    from PIL import PngImagePlugin

    kept, orientation = _checked_chunks(data)
    header = kept[0][8:-4]
    columns, rows, depth, kind = struct.unpack_from(">LLBB", header)
    if depth not in _DEPTHS.get(kind, ()):
        raise _damaged()
    check_size(rows, columns)
    coded = sum(len(chunk) - 12 for chunk in kept if bytes(chunk[4:8]) == b"IDAT")
    if rows * ((columns * depth * _CHANNELS[kind] + 7) // 8) > coded * _MAX_DEFLATE_RATIO:
        raise ContentError("is a PNG that is cut short; copy or export it again")
    try:
        image = PngImagePlugin.PngImageFile(BytesIO(SIGNATURE + b"".join(kept)))
        image.load()
    except (OSError, SyntaxError, ValueError, EOFError) as error:
        raise _damaged() from error
    return Png(image, depth, orientation)


def _checked_chunks(data: bytes) -> tuple[list[memoryview], int]:
    """Return the chunks that make the picture, whole, header first; and the EXIF orientation."""
    view = memoryview(data)
    kept: list[memoryview] = []
    orientation = 1
    position = len(SIGNATURE)
    for _ in range(_MAX_CHUNKS):
        if position + 12 > len(data):
            raise ContentError("is a PNG that is cut short; copy or export it again")
        (length,) = struct.unpack_from(">L", data, position)
        kind = data[position + 4 : position + 8]
        end = position + 12 + length
        if end > len(data):
            raise ContentError("is a PNG that is cut short; copy or export it again")
        if kind == b"acTL":
            raise ContentError("is an animated PNG; export one frame of it")
        if (kind == b"IHDR") != (not kept) or (kind == b"IHDR" and length != 13):
            raise _damaged()
        if kind in _NEEDED:
            (crc,) = struct.unpack_from(">L", data, end - 4)
            if zlib.crc32(view[position + 4 : end - 4]) != crc:
                raise _damaged()
            kept.append(view[position:end])
        elif kind == b"eXIf":
            orientation = exif_orientation(data[position + 8 : end - 4])
        if kind == b"IEND":
            return kept, orientation
        position = end
    raise _damaged()


def _damaged() -> ContentError:
    return ContentError("is a damaged PNG; copy or export it again")
