"""DICOM pixel data as stored values, through the codec that each transfer syntax needs.

Every codestream's own header must agree with the data set before a codec sees it, so that no codec
allocates or works on a header that lies. Codecs are chosen for how they take hostile bytes:
libjpeg-turbo for 8-bit JPEG, OpenJPEG for JPEG 2000, CharLS for JPEG-LS, and GDCM only where
nothing else permissively licensed decodes (JPEG lossless and 12-bit JPEG).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hilum.imaging import _jpeg
from hilum.imaging._content import ContentError, check_compression
from hilum.imaging._dicom_elements import Walker
from hilum.imaging._dicom_header import EXPLICIT_BIG, EXPLICIT_LITTLE, IMPLICIT_LITTLE, DicomFile
from hilum.imaging.radiograph import Pixels

__all__ = ["PixelModule", "decode_pixels"]

_NATIVE = {IMPLICIT_LITTLE, EXPLICIT_LITTLE, EXPLICIT_BIG}
_JPEG_BASELINE, _JPEG_EXTENDED = "1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.51"
_JPEG_LOSSLESS = "1.2.840.10008.1.2.4.57"
_JPEG = {_JPEG_BASELINE, _JPEG_EXTENDED, _JPEG_LOSSLESS, "1.2.840.10008.1.2.4.70"}
_JPEG_LS = {"1.2.840.10008.1.2.4.80", "1.2.840.10008.1.2.4.81"}
_JPEG_2000 = {"1.2.840.10008.1.2.4.90", "1.2.840.10008.1.2.4.91"}
_RLE = "1.2.840.10008.1.2.5"
_RUNS_AT_ONCE = 1 << 16


@dataclass(frozen=True, slots=True)
class PixelModule:
    """How the data set describes its pixels (PS3.3, C.7.6.3)."""

    rows: int
    columns: int
    samples: int  # 1, or 3 for colour
    photometric: str  # such as "MONOCHROME2"
    bits_allocated: int  # 8 or 16
    bits_stored: int
    high_bit: int
    signed: bool
    planar: bool  # colour by plane, not by pixel


def decode_pixels(
    data: bytes, file: DicomFile, module: PixelModule, *, min_side: int | None
) -> Pixels:
    """Decode the pixel data of one frame.

    Args:
        data: The whole file.
        file: Its elements; it has integer pixel data.
        module: Its description of the pixels, already checked.
        min_side: As of `hilum.imaging.read`; only 8-bit JPEG can be reduced.

    Returns:
        One sample: the stored patterns, not yet masked nor signed, shape (rows, columns), as many
        bits wide as allocated. Colour: luminance, uint8, the same shape. Smaller where reduced.

    Raises:
        ContentError: If the transfer syntax is not supported, or the pixel data are damaged, cut
            short or do not agree with the data set.
    """
    syntax = file.transfer_syntax
    assert file.pixels is not None
    if syntax in _NATIVE:
        if file.pixels.undefined:
            raise _damaged()
        start = file.pixels.start
        return _native(memoryview(data)[start : start + file.pixels.length], file, module)
    if syntax not in {*_JPEG, *_JPEG_LS, *_JPEG_2000, _RLE}:
        named = "".join(c for c in syntax if c.isdigit() or c == ".")[:64]
        raise ContentError(
            f"is a DICOM file in transfer syntax {named}, which is not supported; convert it to "
            "explicit little endian first"
        )
    if not file.pixels.undefined:
        raise _damaged()
    stream = _codestream(data, file)
    if syntax == _RLE:
        return _rle(stream, module)
    if syntax in _JPEG_LS:
        return _jpeg_ls(stream, module)
    if syntax in _JPEG_2000:
        from hilum.imaging._jpeg2000 import decode_jpeg_2000

        return _by_sample(
            decode_jpeg_2000(stream, module.rows, module.columns, module.samples), module
        )
    return _any_jpeg(stream, module, min_side)


def _native(pixels: memoryview, file: DicomFile, module: PixelModule) -> Pixels:
    """Look at uncompressed pixels where they lie (PS3.5, section 8.1)."""
    rows, columns = module.rows, module.columns
    halved = module.photometric == "YBR_FULL_422"  # Y Y Cb Cr for every two pixels
    per_pixel = 2 if halved else module.samples
    expected = rows * columns * per_pixel * module.bits_allocated // 8
    if len(pixels) not in (expected, expected + expected % 2):
        raise ContentError(
            f"is a DICOM file that declares {expected} bytes of pixels and holds {len(pixels)}; "
            "copy or export it again"
        )
    order = file.header.order
    assert file.pixels is not None
    if module.bits_allocated == 8 and order == ">" and file.pixels.vr == b"OW":
        # Bytes lie in pairs that are swapped as a whole (PS3.5, section 8.1.2).
        pixels = memoryview(np.frombuffer(pixels, "<u2").byteswap().tobytes())
    pixels = pixels[:expected]
    if module.bits_allocated == 16:
        wide = np.frombuffer(pixels, order + "u2").reshape(rows, columns)
        return wide.astype(np.uint16, copy=False)
    flat = np.frombuffer(pixels, np.uint8)
    if module.samples == 1:
        return flat.reshape(rows, columns)
    if halved:
        return flat.reshape(-1, 4)[:, :2].reshape(rows, columns)
    if module.planar:
        return _luminance(np.moveaxis(flat.reshape(3, rows, columns), 0, 2), module)
    return _luminance(flat.reshape(rows, columns, 3), module)


def _codestream(data: bytes, file: DicomFile) -> bytes:
    """Join the fragments of the only frame; the first item is the offset table (PS3.5, A.4)."""
    assert file.pixels is not None
    walker = Walker(data, file.pixels.start + file.pixels.length)
    fragments = list(walker.items(file.pixels.start, True, file.header.encoding, 0))[1:]
    if not fragments:
        raise _damaged()
    return b"".join(data[start:end] for start, end in fragments)


def _rle(stream: bytes, module: PixelModule) -> Pixels:
    """Decode run lengths: one segment per byte of a sample, most significant first (PS3.5, G)."""
    width = module.bits_allocated // 8
    count = module.samples * width
    header = np.frombuffer(stream[:64], "<u4")
    if len(header) != 16 or header[0] != count:
        raise _damaged()
    bounds = [*(int(at) for at in header[1 : count + 1]), len(stream)]
    if bounds[0] < 64 or sorted(bounds) != bounds:
        raise _damaged()
    size = module.rows * module.columns
    planes = [_rle_segment(stream[bounds[i] : bounds[i + 1]], size) for i in range(count)]
    if module.samples == 1:
        if width == 1:
            return planes[0].reshape(module.rows, module.columns)
        high, low = planes
        wide: NDArray[np.uint16] = (high.astype(np.uint16) << np.uint16(8)) | low
        return wide.reshape(module.rows, module.columns)
    colour = np.stack(planes, axis=-1).reshape(module.rows, module.columns, 3)
    return _luminance(colour, module)


def _rle_segment(segment: bytes, size: int) -> NDArray[np.uint8]:
    """Expand one segment of run lengths to `size` bytes."""
    decoded = bytearray()
    source, left = 0, size
    try:
        while left > 0:
            runs: list[bytes] = []  # joined now and then: fast, and bounded on millions of runs
            while left > 0 and len(runs) < _RUNS_AT_ONCE:
                head = segment[source]
                if head < 128:
                    runs.append(segment[source + 1 : source + 2 + head])
                    source += head + 2
                    left -= head + 1
                elif head > 128:
                    runs.append(segment[source + 1 : source + 2] * (257 - head))
                    source += 2
                    left -= 257 - head
                else:  # 128 stands for nothing
                    source += 1
            decoded += b"".join(runs)
    except IndexError as error:
        raise _cut_short() from error
    if len(decoded) < size:
        raise _cut_short()
    return np.frombuffer(decoded, np.uint8, size)


def _jpeg_ls(stream: bytes, module: PixelModule) -> Pixels:
    from _CharLS import read_header  # type: ignore[import-not-found]
    from jpeg_ls import decode_from_buffer  # type: ignore[import-untyped]

    check_compression(module.rows, module.columns, len(stream))
    try:
        header = read_header(stream)
        precision = header["bits_per_sample"]
        _check_agreement(module, header["height"], header["width"], header["components"], precision)
        decoded = decode_from_buffer(stream)
    except RuntimeError as error:
        raise _damaged() from error
    values = np.frombuffer(decoded, np.uint8 if precision <= 8 else "<u2")
    if module.samples == 1:
        return _by_sample(values.reshape(module.rows, module.columns), module)
    if header["interleave_mode"] == 0:
        by_plane = values.reshape(3, module.rows, module.columns)
        return _by_sample(np.moveaxis(by_plane, 0, 2), module)
    return _by_sample(values.reshape(module.rows, module.columns, 3), module)


def _any_jpeg(stream: bytes, module: PixelModule, min_side: int | None) -> Pixels:
    """Decode a JPEG by what its own header says; transfer syntaxes are often mixed up."""
    if stream[:3] != b"\xff\xd8\xff":
        raise _damaged()
    header = _jpeg.read_header(stream)
    _check_agreement(module, header.rows, header.columns, header.components, header.precision)
    if header.precision == 8 and header.process != _jpeg.LOSSLESS:
        grey = _jpeg.decode_grey(stream, header, min_side=min_side, rgb=module.photometric == "RGB")
        return grey if module.bits_allocated == 8 else grey.astype(np.uint16)
    from hilum.imaging._gdcm import decode_with_gdcm

    return _by_sample(decode_with_gdcm(stream, header), module)


def _check_agreement(
    module: PixelModule, rows: int, columns: int, samples: int, precision: int
) -> None:
    if (rows, columns, samples) != (module.rows, module.columns, module.samples):
        raise ContentError(
            f"is a DICOM file that declares {module.rows} by {module.columns} pixels and holds "
            f"{rows} by {columns}; copy or export it again"
        )
    if precision > module.bits_allocated:
        raise _damaged()


def _by_sample(decoded: Pixels, module: PixelModule) -> Pixels:
    """Widen one sample to its allocated bits; turn colour to luminance."""
    if module.samples == 3:
        if decoded.dtype != np.uint8:
            raise _damaged()
        return _luminance(decoded.astype(np.uint8, copy=False), module)
    if module.bits_allocated == 8:
        if decoded.dtype != np.uint8:
            raise _damaged()
        return decoded
    return decoded.astype(np.uint16, copy=False)


def _luminance(colour: NDArray[np.uint8], module: PixelModule) -> NDArray[np.uint8]:
    """Return the luminance (ITU-R BT.601) of colour, shape (rows, columns)."""
    if module.photometric.startswith("YBR_FULL"):
        return np.ascontiguousarray(colour[:, :, 0])  # Y is it already (PS3.3, C.7.6.3.1.2)
    from PIL import Image

    return np.array(Image.fromarray(np.ascontiguousarray(colour)).convert("L"))


def _damaged() -> ContentError:
    return ContentError("is a DICOM file with damaged pixel data; copy or export it again")


def _cut_short() -> ContentError:
    return ContentError("is a DICOM file whose pixel data are cut short; copy or export it again")
