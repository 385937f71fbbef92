"""The DICOM file up to its pixels: preamble, transfer syntax, and the elements of the header.

`hilum.imaging._dicom_elements` walks over the elements; this module settles where they begin and
how they are written (PS3.10, section 7), also for files that do not say it.
"""

import struct
from dataclasses import dataclass

from hilum.imaging._content import ContentError
from hilum.imaging._dicom_elements import (
    LONG_VRS,
    VRS,
    DataSet,
    Element,
    Encoding,
    Walker,
    cut_short,
)

__all__ = [
    "EXPLICIT_BIG",
    "EXPLICIT_LITTLE",
    "IMPLICIT_LITTLE",
    "PIXEL_DATA",
    "DicomFile",
    "looks_like_bare_dicom",
    "open_dicom",
]

IMPLICIT_LITTLE = "1.2.840.10008.1.2"
EXPLICIT_LITTLE = "1.2.840.10008.1.2.1"
EXPLICIT_BIG = "1.2.840.10008.1.2.2"
_DEFLATED = "1.2.840.10008.1.2.1.99"
_IMPLICIT_GE = "1.2.840.113619.5.2"  # private: implicit, with pixels in the other byte order

PIXEL_DATA = 0x7FE00010
_PIXELS = {0x7FE00008, 0x7FE00009, PIXEL_DATA}  # float, double float, and integer pixel data
_PREFIX_AT = 128  # PS3.10, section 7.1
_MAX_META_ELEMENTS = 1000  # there are some ten


@dataclass(frozen=True, slots=True)
class DicomFile:
    """A DICOM file up to its pixels."""

    header: DataSet
    transfer_syntax: str  # UID
    pixels: Element | None
    pixels_tag: int  # 0x7FE00010, or the tag of float pixel data; 0 without pixels
    notes: tuple[str, ...]


def looks_like_bare_dicom(data: bytes) -> bool:
    """Whether bytes without the DICM prefix begin like a data set of group 0002 or 0008."""
    if len(data) < 16:
        return False
    group, element = struct.unpack_from("<HH", data)
    if group == 0x0800 and data[2] == 0:  # group 0008, big endian, which is always explicit
        return data[4:6] in VRS
    if group not in (0x0002, 0x0008) or element > 0x0100:
        return False
    return data[4:6] in VRS or struct.unpack_from("<L", data, 4)[0] < 1024


def open_dicom(data: bytes) -> DicomFile:
    """Find the elements of a DICOM file, up to and with its pixel data.

    Files without preamble or file meta information are taken when they begin as a data set.

    Raises:
        ContentError: If the file is cut short or damaged, or its transfer syntax hides the header.
    """
    notes: list[str] = []
    position = 0
    if data[_PREFIX_AT : _PREFIX_AT + 4] == b"DICM":
        position = _PREFIX_AT + 4
    else:
        notes.append("the file has no DICOM preamble")
    position, syntax = _transfer_syntax(data, position)
    if syntax == _DEFLATED:
        raise ContentError(
            "is a DICOM file in the deflated transfer syntax, which can expand without bound; "
            "inflate it first with dcmconv +te"
        )
    if syntax == _IMPLICIT_GE:
        raise ContentError(
            "is a DICOM file in a private transfer syntax of GE; convert it first with dcmconv +te"
        )
    encoding = _encoding_of(data, position, syntax)
    if syntax is None:
        notes.append("the transfer syntax was inferred, as the file does not say it")
        syntax = EXPLICIT_BIG if encoding.big else EXPLICIT_LITTLE
        if encoding.implicit:
            syntax = IMPLICIT_LITTLE
    elif encoding.implicit != (syntax == IMPLICIT_LITTLE):
        notes.append("value representations are not written as the transfer syntax says")
    walker = Walker(data, len(data))
    elements: dict[int, Element] = {}
    for tag, element in walker.elements(position, len(data), encoding, 0):
        if tag in _PIXELS:
            return DicomFile(DataSet(data, encoding, elements), syntax, element, tag, tuple(notes))
        elements[tag] = element
    return DicomFile(DataSet(data, encoding, elements), syntax, None, 0, tuple(notes))


def _transfer_syntax(data: bytes, position: int) -> tuple[int, str | None]:
    """Read the file meta information, always explicit little endian (PS3.10, section 7.1)."""
    syntax = None
    for _ in range(_MAX_META_ELEMENTS):
        if data[position : position + 2] != b"\x02\x00":
            break
        if position + 12 > len(data):
            raise cut_short()
        (element,) = struct.unpack_from("<H", data, position + 2)
        if data[position + 4 : position + 6] in LONG_VRS:
            (length,) = struct.unpack_from("<L", data, position + 8)
            start = position + 12
        else:
            (length,) = struct.unpack_from("<H", data, position + 6)
            start = position + 8
        if start + length > len(data):
            raise cut_short()
        if element == 0x0010:
            syntax = data[start : start + length].decode("latin-1").strip(" \0") or None
        position = start + length
    return position, syntax


def _encoding_of(data: bytes, position: int, syntax: str | None) -> Encoding:
    """Settle how elements are written; what the first element shows outranks what is declared."""
    first = data[position : position + 6]
    explicit = first[4:6] in VRS
    big = syntax == EXPLICIT_BIG
    if syntax is None:  # groups of a data set are small, so a large one is in the other order
        big = explicit and first[:1] == b"\0" and first[1:2] != b"\0"
    if len(first) == 6 and not explicit:
        return Encoding(implicit=True, big=False)
    return Encoding(implicit=False, big=big)
