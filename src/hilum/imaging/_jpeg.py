"""JPEG streams: their header, read by hand, and their grey pixels, decoded by libjpeg-turbo.

The header is read first (ITU-T T.81, annex B) so that size, process and amount of data are settled
before a codec allocates or works. JPEG files and the JPEG frames inside DICOM both come here.
"""

import math
import re
import struct
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hilum.imaging._content import ContentError, check_size

__all__ = ["LOSSLESS", "JpegHeader", "decode_grey", "read_header"]

LOSSLESS = 3  # the process number of SOF3
_PROCESSES = {0: "baseline", 1: "extended", 2: "progressive", LOSSLESS: "lossless"}

_SOI, _EOI, _SOS, _APP0, _APP1, _APP14 = 0xD8, 0xD9, 0xDA, 0xE0, 0xE1, 0xEE
_STANDALONE = {0x01, *range(0xD0, 0xD8)}  # TEM and restart markers carry no length
_START_OF_FRAME = set(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}  # less DHT, JPG and DAC

# A profile takes up to 255 segments; a loop over millions of empty ones would take minutes.
_MAX_SEGMENTS = 10_000
_MAX_FILL = 1000
_MARKER = re.compile(rb"\xff{1,%d}[^\xff]" % _MAX_FILL)

# Each scan costs a pass over all blocks, so a small file with many scans can keep a decoder busy
# for minutes (the libjpeg-turbo project's own advice). Encoders write about ten.
_MAX_SCANS = 100
_MAX_SCAN_PIXELS = 500_000_000

# Reduced scale is chosen so that the shorter side keeps four times what the caller needs. Grey
# levels alone would allow less, but a classifier sees the loss of sharpness: over the 80 full-size
# radiographs of Kermany et al. read at 224 pixels, 1.5 and 2 moved a probability by up to 0.18 and
# changed three decisions, 3 still moved one of another classifier by 0.22; 4 moved none by 0.002
# (benchmarks/agreement.py).
_OVERSAMPLING = 4

# Bytes left between the last pixel and the end marker are harmless padding; libjpeg names it so.
_HARMLESS = "extraneous bytes before marker 0xd9"


@dataclass(frozen=True, slots=True)
class JpegHeader:
    """What a JPEG stream says of itself before its first scan."""

    process: int  # 0 baseline, 1 extended, 2 progressive, 3 lossless
    precision: int  # bits of a sample
    rows: int
    columns: int
    component_ids: tuple[int, ...]
    adobe_transform: int | None  # of the Adobe segment; None without one
    jfif: bool
    exif: bytes  # the TIFF structure of an EXIF segment, or nothing
    coded_at: int  # where the first scan's header ends

    @property
    def components(self) -> int:
        """Samples per pixel: 1 grey, 3 colour, 4 CMYK."""
        return len(self.component_ids)


def read_header(data: bytes) -> JpegHeader:
    """Read the header of a JPEG stream and refuse what cannot be a radiograph.

    Args:
        data: The whole stream, from its start marker.

    Raises:
        ContentError: If the stream is damaged or cut short, too large, of an unsupported process,
            has an absurd number of scans, or fewer bytes than its pixels need at the least.
    """
    frame: tuple[int, bytes] | None = None
    adobe: int | None = None
    jfif = False
    exif = b""
    position = 2
    for _ in range(_MAX_SEGMENTS):
        # Any number of 0xFF may fill the space before a marker (T.81, B.1.1.2).
        marker_at = _MARKER.match(data, position)
        if marker_at is None:
            raise _damaged() if len(data) - position > _MAX_FILL else _cut_short()
        position = marker_at.end()
        marker = data[position - 1]
        if marker in _STANDALONE:
            continue
        if marker in (_SOI, _EOI, 0x00):
            raise _damaged()
        if position + 2 > len(data):
            raise _cut_short()
        (length,) = struct.unpack_from(">H", data, position)
        segment = data[position + 2 : position + length]
        if length < 2:
            raise _damaged()
        if position + length > len(data):
            raise _cut_short()
        if marker == _SOS:
            break
        if marker in _START_OF_FRAME:
            if frame is not None:
                raise _damaged()
            frame = marker - 0xC0, segment
        elif marker == _APP0 and segment.startswith(b"JFIF\0"):
            jfif = True
        elif marker == _APP1 and segment.startswith(b"Exif\0\0") and not exif:
            exif = segment[6:]
        elif marker == _APP14 and segment.startswith(b"Adobe") and len(segment) >= 12:
            adobe = segment[11]
        position += length
    else:
        raise _damaged()
    if frame is None:
        raise _damaged()
    header = _header_of_frame(*frame, adobe, jfif, exif, position + length)
    _check_work(header, data)
    return header


def _header_of_frame(
    process: int, segment: bytes, adobe: int | None, jfif: bool, exif: bytes, coded_at: int
) -> JpegHeader:
    if process not in _PROCESSES:
        kind = "arithmetic coding" if process >= 9 else "hierarchical coding"
        raise ContentError(f"is a JPEG with {kind}, which is not supported; export it again")
    if len(segment) < 6:
        raise _damaged()
    precision, rows, columns, components = struct.unpack_from(">BHHB", segment)
    if components not in (1, 3, 4) or len(segment) != 6 + 3 * components:
        raise _damaged()
    check_size(rows, columns)
    ids = tuple(segment[6::3])
    return JpegHeader(process, precision, rows, columns, ids, adobe, jfif, exif, coded_at)


def _check_work(header: JpegHeader, data: bytes) -> None:
    """Refuse streams that ask for far more work, or promise far more pixels, than their bytes can hold."""
    # Coded data escapes every 0xFF, so this counts scans; a thumbnail may add a few. A sequential
    # grey stream ends after its first scan, and is spared the search.
    one_scan = header.process in (0, 1) and header.components == 1
    scans = 1 if one_scan else data.count(b"\xff\xda")
    if scans > _MAX_SCANS or scans * header.rows * header.columns > _MAX_SCAN_PIXELS:
        raise ContentError(f"is a JPEG with {scans} scans, too many to be real; export it again")
    if header.process == LOSSLESS:
        least_bits = header.rows * header.columns * header.components  # a code is one bit or more
    else:
        # Every 8 x 8 block takes a code of one bit or more, two where its AC part is in the scan.
        # The first of several components may be subsampled by up to 4 x 4.
        blocks = math.ceil(header.rows / 8) * math.ceil(header.columns / 8)
        least_bits = blocks * (1 if header.process == 2 else 2)
        if header.components > 1:
            least_bits //= 16
    if (len(data) - header.coded_at) * 8 < least_bits:
        raise _cut_short()


def decode_grey(
    data: bytes, header: JpegHeader, *, min_side: int | None, rgb: bool = False
) -> NDArray[np.uint8]:
    """Decode an 8-bit JPEG stream to luminance.

    Args:
        data: The whole stream.
        header: Of this stream.
        min_side: The shortest side that the caller needs; the result may be an exact half, quarter
            or eighth of the source as long as its shorter side keeps four times this. None decodes
            at full size.
        rgb: Whether three components without any colour marker are red, green and blue, as
            DICOM's photometric interpretation can say (PS3.5, section 8.2.1).

    Returns:
        As stored, before EXIF orientation; shape (rows, columns) of the chosen scale, [0, 255].

    Raises:
        ContentError: If the stream is not 8-bit, is damaged or cut short.
    """
    if header.precision != 8 or header.process == LOSSLESS:
        raise ContentError(
            f"is a {header.precision}-bit {_PROCESSES[header.process]} JPEG, which is only read "
            "inside DICOM; export it as PNG or DICOM"
        )
    if rgb and header.components == 3 and header.adobe_transform is None and not header.jfif:
        data = _with_rgb_marker(data)
    factor = 1
    if min_side is not None:
        shorter = min(header.rows, header.columns)
        while factor < 8 and shorter >= 2 * factor * min_side * _OVERSAMPLING:
            factor *= 2
    decoded = _decode(data, "CMYK" if header.components == 4 else "GRAY", header, factor)
    if header.components == 4:
        return _grey_of_cmyk(decoded)
    return decoded[:, :, 0]


def _decode(data: bytes, colours: str, header: JpegHeader, factor: int) -> NDArray[np.uint8]:
    import simplejpeg

    # The codec picks the smallest scale that reaches these; powers of two have fast transforms.
    height, width = math.ceil(header.rows / factor), math.ceil(header.columns / factor)
    strict = True
    while True:
        try:
            decoded: NDArray[np.uint8] = simplejpeg.decode_jpeg(
                data, colours, min_height=height, min_width=width, min_factor=1, strict=strict
            )
        except ValueError as error:
            if strict and _HARMLESS in str(error):
                strict = False
                continue
            if "premature" in str(error).lower():
                raise _cut_short() from error
            raise _damaged() from error
        return decoded


def _with_rgb_marker(data: bytes) -> bytes:
    """Insert an Adobe segment with transform 0, which tells libjpeg not to assume YCbCr."""
    return data[:2] + b"\xff\xee\x00\x0eAdobe\x00\x64\x00\x00\x00\x00\x00" + data[2:]


def _grey_of_cmyk(inks: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return the luminance of CMYK, shape (rows, columns).

    Every encoder stores 255 minus the ink, as Adobe began to, and Pillow and browsers rely on it.
    """
    grey = np.empty(inks.shape[:2], np.uint8)
    for start in range(0, len(inks), 64):  # a band at a time, so that memory stays flat
        band = inks[start : start + 64].astype(np.uint32)
        colour = 299 * band[:, :, 0] + 587 * band[:, :, 1] + 114 * band[:, :, 2]  # ITU-R BT.601
        grey[start : start + 64] = (colour * band[:, :, 3] + 127_500) // 255_000
    return grey


def _damaged() -> ContentError:
    return ContentError("is a damaged JPEG; copy or export it again")


def _cut_short() -> ContentError:
    return ContentError("is a JPEG that is cut short; copy or export it again")
