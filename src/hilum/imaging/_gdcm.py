"""JPEG lossless and 12-bit JPEG inside DICOM, decoded by GDCM.

No other permissively licensed codec on the package index decodes them. GDCM is written in C++ from
a trusting time, so `hilum.imaging._jpeg` has checked the stream's header and amount of data before
it comes here.
"""

import numpy as np

from hilum.imaging._content import ContentError
from hilum.imaging._jpeg import LOSSLESS, JpegHeader
from hilum.imaging.radiograph import Pixels

__all__ = ["decode_with_gdcm"]

_JPEG_EXTENDED = "1.2.840.10008.1.2.4.51"
_JPEG_LOSSLESS = "1.2.840.10008.1.2.4.57"


def decode_with_gdcm(stream: bytes, header: JpegHeader) -> Pixels:
    """Decode a JPEG stream that libjpeg-turbo's 8-bit interface does not take.

    Returns:
        Patterns 8 bits wide up to a precision of 8, else 16; shape (rows, columns), or
        (rows, columns, 3).

    Raises:
        ContentError: If the stream is damaged.
    """
    import gdcm

    lossless = header.process == LOSSLESS
    if not 2 <= header.precision <= 16:  # T.81, table B.2
        raise _damaged()
    if not lossless:
        # Old encoders leave the spectral selection of a sequential scan at zero; GDCM grumbles to
        # the error stream and decodes all the same, so it is given what T.81, table B.3 asks for.
        stream = stream[: header.coded_at - 3] + b"\x00\x3f\x00" + stream[header.coded_at :]
    width = 8 if header.precision <= 8 else 16
    # GDCM picks its codec by the allocated bits: 12 finds the one for 12-bit JPEG at once.
    allocated = width if lossless else header.precision
    fragment = gdcm.Fragment()
    fragment.SetByteStringValue(stream)
    fragments = gdcm.SequenceOfFragments.New()
    fragments.AddFragment(fragment)
    element = gdcm.DataElement(gdcm.Tag(0x7FE0, 0x0010))
    element.SetValue(fragments.__ref__())
    image = gdcm.Image()
    image.SetNumberOfDimensions(2)
    image.SetDimensions((header.columns, header.rows, 1))
    image.SetDataElement(element)
    photometric = "MONOCHROME2" if header.components == 1 else "RGB"
    kind = gdcm.PhotometricInterpretation.GetPIType(photometric)
    image.SetPhotometricInterpretation(gdcm.PhotometricInterpretation(kind))
    image.SetTransferSyntax(
        gdcm.TransferSyntax(
            gdcm.TransferSyntax.GetTSType(_JPEG_LOSSLESS if lossless else _JPEG_EXTENDED)
        )
    )
    image.SetPixelFormat(
        gdcm.PixelFormat(header.components, allocated, header.precision, header.precision - 1, 0)
    )
    buffer = image.GetBuffer()
    if buffer is None:
        raise _damaged()
    decoded = buffer.encode("utf-8", "surrogateescape")  # how SWIG hands over bytes
    shape: tuple[int, ...] = (header.rows, header.columns)
    if header.components == 3:
        shape = (*shape, 3)
    values = np.frombuffer(decoded, np.uint8 if width == 8 else "<u2")
    if values.size != np.prod(shape):
        raise _damaged()
    return values.reshape(shape)


def _damaged() -> ContentError:
    return ContentError("is a DICOM file with damaged JPEG data; copy or export it again")
