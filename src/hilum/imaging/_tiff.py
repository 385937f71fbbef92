"""TIFF files: their directory, read by hand, and their pixels, decoded by Pillow.

The directory is checked entry by entry (TIFF 6.0) and written anew with only the fields that make
the picture. Pillow and libtiff then meet nothing that could make them warn, loop or allocate
beyond the picture, and photometric interpretation and orientation are left to us.
"""

import struct
from dataclasses import dataclass
from io import BytesIO
from typing import TYPE_CHECKING

from hilum.imaging._content import ContentError, check_size

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["Tiff", "open_tiff"]

_WIDTH, _LENGTH, _BITS, _COMPRESSION, _PHOTOMETRIC = 256, 257, 258, 259, 262
_STRIP_OFFSETS, _ORIENTATION, _SAMPLES, _ROWS_PER_STRIP, _STRIP_COUNTS = 273, 274, 277, 278, 279
_PLANAR, _PREDICTOR, _COLOUR_MAP, _EXTRA = 284, 317, 320, 338
_TILE_WIDTH, _TILE_LENGTH, _TILE_OFFSETS, _TILE_COUNTS = 322, 323, 324, 325
_SAMPLE_FORMAT, _JPEG_TABLES, _SUBSAMPLING = 339, 347, 530
# What Pillow gets; orientation is ours, and photometric interpretation 0 is rewritten as 1.
_COPIED = {
    *(_WIDTH, _LENGTH, _BITS, _COMPRESSION, _PHOTOMETRIC, _STRIP_OFFSETS, _SAMPLES),
    *(_ROWS_PER_STRIP, _STRIP_COUNTS, _PLANAR, _PREDICTOR, _COLOUR_MAP, _EXTRA, _TILE_WIDTH),
    *(_TILE_LENGTH, _TILE_OFFSETS, _TILE_COUNTS, _SAMPLE_FORMAT, _JPEG_TABLES, _SUBSAMPLING),
}
_TYPE_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8}
_INTEGERS = {1: "B", 3: "H", 4: "L"}
_SINGLE = {_WIDTH, _LENGTH, _COMPRESSION, _PHOTOMETRIC, _SAMPLES, _ROWS_PER_STRIP, _PLANAR}

_COMPRESSIONS = {1: "none", 5: "LZW", 7: "JPEG", 8: "deflate", 32773: "PackBits", 32946: "deflate"}
_MAX_ENTRIES = 1000  # a directory has a few dozen
_MAX_FIELD_BYTES = 1 << 20  # the longest are the lists of strips, of some thousand numbers
_MAX_RATIO = 1032  # the most that deflate can expand; LZW and PackBits stay below, JPEG far below


@dataclass(frozen=True, slots=True)
class Tiff:
    """A TIFF whose pixels are decoded: the picture, and what Pillow was not told."""

    image: "Image"
    bit_depth: int  # of a sample in the file
    white_is_zero: bool
    orientation: int  # 1 to 8


@dataclass(frozen=True, slots=True)
class _Field:
    kind: int
    count: int
    value: bytes  # as stored, in the file's byte order
    order: str

    def integers(self) -> tuple[int, ...]:
        if self.kind not in _INTEGERS:
            raise _damaged()
        return struct.unpack(f"{self.order}{self.count}{_INTEGERS[self.kind]}", self.value)


def open_tiff(data: bytes) -> Tiff:
    """Check and decode a TIFF of one page.

    Raises:
        ContentError: If it is damaged, cut short, too large, of several pages or of an
            unsupported kind.
    """
    from PIL import TiffImagePlugin

    order = "<" if data[:2] == b"II" else ">"
    fields = _read_directory(data, order)
    rows, columns = _integer(fields, _LENGTH), _integer(fields, _WIDTH)
    check_size(rows, columns)
    bit_depth = _check_kind(fields)
    _check_pieces(data, fields, rows, columns)
    photometric = _integer(fields, _PHOTOMETRIC)
    if photometric == 0:
        fields[_PHOTOMETRIC] = _Field(3, 1, struct.pack(order + "H", 1), order)
    try:
        image = TiffImagePlugin.TiffImageFile(BytesIO(_with_directory(data, order, fields)))
        image.load()
    except (OSError, SyntaxError, ValueError, TypeError, KeyError, EOFError) as error:
        if "pixel mode" in str(error) or "data organization" in str(error):
            raise ContentError(
                "is a TIFF of an unsupported kind of pixel; export it as 8 or 16-bit greyscale"
            ) from error
        raise _damaged() from error
    orientation = _integer(fields, _ORIENTATION, 1)
    if orientation not in range(1, 9):
        orientation = 1
    return Tiff(image, bit_depth, photometric == 0, orientation)


def _read_directory(data: bytes, order: str) -> dict[int, _Field]:
    if len(data) < 8:
        raise _cut_short()
    (start,) = struct.unpack_from(order + "L", data, 4)
    if start + 2 > len(data):
        raise _cut_short()
    (entries,) = struct.unpack_from(order + "H", data, start)
    end = start + 2 + 12 * entries
    if not 0 < entries <= _MAX_ENTRIES:
        raise _damaged()
    if end + 4 > len(data):
        raise _cut_short()
    fields: dict[int, _Field] = {}
    for position in range(start + 2, end, 12):
        tag, kind, count = struct.unpack_from(order + "HHL", data, position)
        if tag not in _COPIED and tag != _ORIENTATION:
            continue
        size = _TYPE_SIZES.get(kind, 0) * count
        if not 0 < size <= _MAX_FIELD_BYTES:
            raise _damaged()
        at = position + 8
        if size > 4:
            (at,) = struct.unpack_from(order + "L", data, at)
        if at + size > len(data):
            raise _cut_short()
        fields[tag] = _Field(kind, count, data[at : at + size], order)
    (following,) = struct.unpack_from(order + "L", data, end)
    if following:
        raise ContentError("is a TIFF of several pages; export the radiograph's page alone")
    return fields


def _integer(fields: dict[int, _Field], tag: int, default: int | None = None) -> int:
    if tag not in fields:
        if default is None:
            raise _damaged()
        return default
    values = fields[tag].integers()
    if tag in _SINGLE and len(values) != 1:
        raise _damaged()
    return values[0]


def _check_kind(fields: dict[int, _Field]) -> int:
    """Refuse kinds of TIFF by name, and return the bits of a sample."""
    compression = _integer(fields, _COMPRESSION, 1)
    if compression not in _COMPRESSIONS:
        raise ContentError(
            f"is a TIFF with compression {compression}, which is not supported; export it "
            "uncompressed or with LZW or deflate"
        )
    if _integer(fields, _PHOTOMETRIC) not in (0, 1, 2, 3, 6):
        raise ContentError(
            "is a TIFF in a colour space that is not supported; export it as greyscale"
        )
    samples = _integer(fields, _SAMPLES, 1)
    depths = fields[_BITS].integers() if _BITS in fields else (1,)
    if not 1 <= samples <= 4 or len(set(depths)) != 1:
        raise ContentError(
            "is a TIFF of an unsupported kind of pixel; export it as 8 or 16-bit greyscale"
        )
    return depths[0]


def _check_pieces(data: bytes, fields: dict[int, _Field], rows: int, columns: int) -> None:
    """Check that the strips or tiles lie inside the file and can hold the picture."""
    tiled = _TILE_OFFSETS in fields
    wanted = (_TILE_OFFSETS, _TILE_COUNTS) if tiled else (_STRIP_OFFSETS, _STRIP_COUNTS)
    if not all(tag in fields for tag in wanted):
        raise _damaged()
    offsets, counts = (fields[tag].integers() for tag in wanted)
    samples, bits = _integer(fields, _SAMPLES, 1), _integer(fields, _BITS, 1)
    planes = samples if _integer(fields, _PLANAR, 1) == 2 else 1
    if tiled:
        width, length = _integer(fields, _TILE_WIDTH), _integer(fields, _TILE_LENGTH)
        # Sides are multiples of 16 (TIFF 6.0, section 15); a tile larger than the picture is waste.
        if width % 16 or length % 16 or not 0 < width < columns + 16 or not 0 < length < rows + 16:
            raise _damaged()
        pieces = -(-columns // width) * -(-rows // length) * planes
    else:
        length = min(_integer(fields, _ROWS_PER_STRIP, rows), rows)
        if length < 1:
            raise _damaged()
        pieces = -(-rows // length) * planes
    if len(offsets) != pieces or len(counts) != pieces:
        raise _damaged()
    if any(at + size > len(data) for at, size in zip(offsets, counts, strict=True)):
        raise _cut_short()
    least = rows * ((columns * bits * samples + 7) // 8)
    compressed = _integer(fields, _COMPRESSION, 1) != 1
    if sum(counts) * (_MAX_RATIO if compressed else 1) < least:
        raise _cut_short()


def _with_directory(data: bytes, order: str, fields: dict[int, _Field]) -> bytes:
    """Return the file with a new directory at its end; the pixels stay where they are."""
    start = len(data) + len(data) % 2  # directories begin on a word boundary
    copied = [(tag, fields[tag]) for tag in sorted(fields) if tag in _COPIED]
    values_at = start + 2 + 12 * len(copied) + 4
    directory, values = [struct.pack(order + "H", len(copied))], b""
    for tag, field in copied:
        directory.append(struct.pack(order + "HHL", tag, field.kind, field.count))
        if len(field.value) <= 4:
            directory.append(field.value.ljust(4, b"\0"))
        else:
            directory.append(struct.pack(order + "L", values_at + len(values)))
            values += field.value + b"\0" * (len(field.value) % 2)
    directory.append(bytes(4))  # no page follows
    head = data[:4] + struct.pack(order + "L", start)
    return b"".join([head, data[8:], bytes(len(data) % 2), *directory, values])


def _damaged() -> ContentError:
    return ContentError("is a damaged TIFF; copy or export it again")


def _cut_short() -> ContentError:
    return ContentError("is a TIFF that is cut short; copy or export it again")
