"""DICOM elements: found in bytes without decoding their values (PS3.5, section 7).

This walker is ours because reading must be safe in threads and on hostile bytes: pydicom reports
through the process-wide state of `warnings`, takes values that are cut short, and inflates deflated
files without bound. It finds elements and leaves values as bytes until they are asked for; the
tests hold it against pydicom on pydicom's own collection of odd files.
"""

import math
import struct
from collections.abc import Iterator
from typing import NamedTuple

from hilum.imaging._content import ContentError

__all__ = ["LONG_VRS", "VRS", "DataSet", "Element", "Encoding", "Walker", "cut_short"]

_UNDEFINED = 0xFFFFFFFF
_ITEM, _ITEM_END, _SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD

LONG_VRS = {  # a length of 32 bits follows two reserved bytes (PS3.5, table 7.1-1)
    *(b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV"),
}
VRS = LONG_VRS | {
    *(b"AE", b"AS", b"AT", b"CS", b"DA", b"DS", b"DT", b"FL", b"FD", b"IS", b"LO", b"LT", b"PN"),
    *(b"SH", b"SL", b"SS", b"ST", b"TM", b"UI", b"UL", b"US"),
}

# Hostile files can nest and repeat without end; a radiograph's header has some hundred elements.
_MAX_DEPTH = 32
_MAX_ELEMENTS = 200_000
_MAX_VALUE = 4096  # bytes of a text or number that are looked at; names and windows need far fewer

# Python's codecs for the specific character sets (PS3.3, C.12.1.1.2); the first value decides.
_CHARSETS = {
    "ISO_IR 192": "utf-8", "GB18030": "gb18030", "GBK": "gbk", "ISO_IR 101": "iso8859-2",
    "ISO_IR 109": "iso8859-3", "ISO_IR 110": "iso8859-4", "ISO_IR 144": "iso8859-5",
    "ISO_IR 127": "iso8859-6", "ISO_IR 126": "iso8859-7", "ISO_IR 138": "iso8859-8",
    "ISO_IR 148": "iso8859-9", "ISO_IR 13": "shift_jis", "ISO_IR 166": "iso8859-11",
    "ISO_IR 203": "iso8859-15",
}  # fmt: skip


class Element(NamedTuple):
    """Where an element's value lies in the file."""

    vr: bytes  # b"" where the encoding does not say
    start: int
    length: int  # bytes; of an undefined length, up to and with its delimiter
    undefined: bool


class Encoding(NamedTuple):
    """How elements are written."""

    implicit: bool
    big: bool


class DataSet:
    """The elements of a data set or sequence item, by tag; values are decoded when asked for."""

    __slots__ = ("_data", "elements", "encoding")

    def __init__(self, data: bytes, encoding: Encoding, elements: dict[int, Element]) -> None:
        self._data = data
        self.encoding = encoding
        self.elements = elements

    @property
    def order(self) -> str:
        """Byte order of binary values, as `struct` and numpy write it."""
        return ">" if self.encoding.big else "<"

    def __contains__(self, tag: int) -> bool:
        return tag in self.elements

    def raw(self, tag: int, at_most: int = _MAX_VALUE) -> bytes:
        """Return the start of an element's value as bytes, empty where it is absent."""
        element = self.elements.get(tag)
        if element is None:
            return b""
        return self._data[element.start : element.start + min(element.length, at_most)]

    def text(self, tag: int) -> str | None:
        """Return the first value of a text element, or None where it is absent or empty."""
        codec = _CHARSETS.get(self.raw(0x00080005).decode("latin-1").split("\\")[0].strip(" \0"))
        value = self.raw(tag).decode(codec or "latin-1", "replace").split("\\")[0].strip(" \0")
        return value or None

    def numbers(self, tag: int) -> tuple[float, ...]:
        """Return the values of a decimal or integer string; NaN for what is not a number."""
        text = self.raw(tag).decode("latin-1").strip(" \0")
        return tuple(_number(part) for part in text.split("\\")) if text else ()

    def integers(self, tag: int, *, signed: bool = False) -> tuple[int, ...]:
        """Return the values of a 16-bit binary element (US or SS)."""
        raw = self.raw(tag)
        count = len(raw) // 2
        return struct.unpack_from(f"{self.order}{count}{'h' if signed else 'H'}", raw)

    def integer(self, tag: int, default: int | None = None) -> int | None:
        """Return the first value of an unsigned 16-bit element."""
        values = self.integers(tag)
        return values[0] if values else default

    def first_item(self, tag: int) -> "DataSet | None":
        """Return the first item of a sequence, or None where it is absent or empty.

        Raises:
            ContentError: If the item is damaged.
        """
        element = self.elements.get(tag)
        if element is None or element.length == 0:
            return None
        walker = Walker(self._data, element.start + element.length)
        encoding = self.encoding
        if element.vr == b"UN":  # always implicit little endian inside (PS3.5, section 6.2.2)
            encoding = Encoding(implicit=True, big=False)
        for start, end in walker.items(element.start, element.undefined, encoding, 0):
            return DataSet(self._data, encoding, dict(walker.elements(start, end, encoding, 0)))
        return None


class Walker:
    """Walks over elements and items with a common budget against endless files."""

    def __init__(self, data: bytes, limit: int) -> None:
        self._data = data
        self._limit = limit
        self._budget = _MAX_ELEMENTS

    def elements(
        self, position: int, end: int, encoding: Encoding, depth: int
    ) -> Iterator[tuple[int, Element]]:
        """Yield (tag, element) up to `end`, an item's end marker, or pixel data at the top."""
        while position < end:
            tag, element = self._element(position, end, encoding, depth)
            if tag == _ITEM_END:
                return
            yield tag, element
            position = element.start + element.length

    def items(
        self, position: int, undefined: bool, encoding: Encoding, depth: int
    ) -> Iterator[tuple[int, int]]:
        """Yield (start, end) of the items of a sequence, or of the fragments of pixel data.

        The end of an item of undefined length is found by walking over it; the walk ends at the
        sequence's delimiter where its length is undefined, else at the walker's limit.
        """
        for start, end, _ in self._items(position, undefined, encoding, depth):
            yield start, end

    def _items(
        self, position: int, undefined: bool, encoding: Encoding, depth: int
    ) -> Iterator[tuple[int, int, int]]:
        """Yield (start, end, position after) of each item."""
        while undefined or position < self._limit:
            self._spend()
            if position + 8 > self._limit:
                raise cut_short()
            group, number, length = struct.unpack_from(
                (">" if encoding.big else "<") + "HHL", self._data, position
            )
            tag = group << 16 | number
            position += 8
            if tag == _SEQUENCE_END:
                return
            if tag != _ITEM:
                raise _damaged()
            if length == _UNDEFINED:
                end, after = self._end_of_item(position, encoding, depth)
            else:
                end = after = position + length
            if end > self._limit:
                raise cut_short()
            yield position, end, after
            position = after

    def _element(
        self, position: int, end: int, encoding: Encoding, depth: int
    ) -> tuple[int, Element]:
        """Read the head of one element; an undefined length is resolved by walking over it."""
        self._spend()
        if position + 8 > end:
            raise cut_short()
        order = ">" if encoding.big else "<"
        group, number = struct.unpack_from(order + "HH", self._data, position)
        tag = group << 16 | number
        vr = self._data[position + 4 : position + 6]
        start = position + 8
        if tag in (_ITEM, _ITEM_END, _SEQUENCE_END) or encoding.implicit or not vr.isalpha():
            # Some writers switch to implicit inside sequences; delimiters never carry a VR.
            vr = b""
            (length,) = struct.unpack_from(order + "L", self._data, position + 4)
        elif vr in LONG_VRS:
            if position + 12 > end:
                raise cut_short()
            (length,) = struct.unpack_from(order + "L", self._data, position + 8)
            start = position + 12
        else:
            (length,) = struct.unpack_from(order + "H", self._data, position + 6)
        if tag == _ITEM_END:
            return tag, Element(vr, start, 0, False)
        if tag in (_ITEM, _SEQUENCE_END):
            raise _damaged()
        if length != _UNDEFINED:
            if start + length > end:
                raise cut_short()
            return tag, Element(vr, start, length, False)
        inner = Encoding(implicit=True, big=False) if vr == b"UN" else encoding
        after = self._end_of_sequence(start, inner, depth + 1)
        if after > end:
            raise cut_short()
        return tag, Element(vr, start, after - start, True)

    def _end_of_sequence(self, position: int, encoding: Encoding, depth: int) -> int:
        """Return the position after the delimiter of a sequence of undefined length."""
        if depth > _MAX_DEPTH:
            raise _damaged()
        after = position
        for _, _, after_item in self._items(position, True, encoding, depth):
            after = after_item
        return after + 8

    def _end_of_item(self, position: int, encoding: Encoding, depth: int) -> tuple[int, int]:
        """Return the end of an item of undefined length, before and after its delimiter."""
        while position < self._limit:
            tag, element = self._element(position, self._limit, encoding, depth)
            if tag == _ITEM_END:
                return position, position + 8
            position = element.start + element.length
        raise cut_short()

    def _spend(self) -> None:
        self._budget -= 1
        if self._budget < 0:
            raise ContentError("is a DICOM file with a header too long to be real; export it again")


def _number(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        return math.nan
    return value if math.isfinite(value) else math.nan


def _damaged() -> ContentError:
    return ContentError("is a DICOM file with a damaged header; copy or export it again")


def cut_short() -> ContentError:
    """The refusal of a file that ends too early."""
    return ContentError("is a DICOM file that is cut short; copy or export it again")
