"""DICOM files of one radiograph: what the header says, checked, and the pixels it describes.

The neighbours do the parts: `_dicom_header` finds the elements, `_dicom_codecs` decodes the stored
values, `_dicom_display` works out how they are shown.
"""

import numpy as np

from hilum.imaging._content import ContentError, check_size
from hilum.imaging._dicom_codecs import PixelModule, decode_pixels
from hilum.imaging._dicom_display import Display, display_table
from hilum.imaging._dicom_elements import DataSet
from hilum.imaging._dicom_header import PIXEL_DATA, DicomFile, open_dicom
from hilum.imaging.radiograph import Identifiers, Pixels, Provenance, Radiograph

__all__ = ["read_dicom"]

_MODALITY, _BODY_PART, _VIEW, _INTENT = 0x00080060, 0x00180015, 0x00185101, 0x00080068
_PATIENT, _STUDY, _SERIES, _INSTANCE = 0x00100020, 0x0020000D, 0x0020000E, 0x00080018
_AGE, _SEX, _MAKER, _MODEL = 0x00101010, 0x00100040, 0x00080070, 0x00081090
_SAMPLES, _PHOTOMETRIC, _PLANAR, _FRAMES = 0x00280002, 0x00280004, 0x00280006, 0x00280008
_ROWS, _COLUMNS = 0x00280010, 0x00280011
_ALLOCATED, _STORED, _HIGH_BIT, _SIGNED = 0x00280100, 0x00280101, 0x00280102, 0x00280103
_SPACING, _IMAGER_SPACING = 0x00280030, 0x00181164

_GREY = {"MONOCHROME1", "MONOCHROME2"}
_COLOUR = {"RGB", "YBR_FULL", "YBR_FULL_422", "YBR_ICT", "YBR_RCT"}


def read_dicom(data: bytes, *, sha256: str, min_side: int | None) -> Radiograph:
    """Read a DICOM file of one frame: CR, DX and whatever else has one grey or colour image.

    Args:
        data: The whole file.
        sha256: Of the file, for its provenance.
        min_side: As of `hilum.imaging.read`.

    Raises:
        ContentError: If the file holds no such image, or one that is damaged or not supported.
    """
    file = open_dicom(data)
    header = file.header
    module = _pixel_module(file)
    stored = decode_pixels(data, file, module, min_side=min_side)
    if module.samples == 1:
        display = display_table(header, module, stored)
        pixels: Pixels = display.table.take(stored)
    else:
        display = Display(np.arange(256, dtype=np.uint8), 8, None, None, ())
        pixels = np.require(stored, np.uint8, "C")
    provenance = Provenance(
        format="DICOM",
        file_bytes=len(data),
        sha256=sha256,
        source_rows=module.rows,
        source_columns=module.columns,
        transfer_syntax=file.transfer_syntax,
        modality=header.text(_MODALITY),
        view_position=header.text(_VIEW),
        body_part=header.text(_BODY_PART),
        scanner=" ".join(filter(None, (header.text(_MAKER), header.text(_MODEL)))) or None,
        photometric_interpretation=module.photometric,
        presentation_intent=header.text(_INTENT),
        window=display.window,
        window_from=display.window_from,
        notes=file.notes + display.notes,
    )
    identifiers = Identifiers(
        patient=header.text(_PATIENT),
        age=header.text(_AGE),
        sex=header.text(_SEX),
        study=header.text(_STUDY),
        series=header.text(_SERIES),
        instance=header.text(_INSTANCE),
    )
    spacing = _spacing(header)
    if spacing is not None:  # of the source; pixels of a reduced scale lie further apart
        down, across = module.rows / pixels.shape[0], module.columns / pixels.shape[1]
        spacing = spacing[0] * down, spacing[1] * across
    return Radiograph(pixels, display.bit_depth, spacing, provenance, identifiers)


def _pixel_module(file: DicomFile) -> PixelModule:
    """Check the description of the pixels and refuse by name what is not one grey image."""
    header = file.header
    if file.pixels is None:
        modality = header.text(_MODALITY)
        kind = f" ({modality})" if modality and modality.isalnum() and len(modality) <= 16 else ""
        raise ContentError(f"is a DICOM file without pixels{kind}; give the image object instead")
    if file.pixels_tag != PIXEL_DATA:
        raise ContentError(
            "is a DICOM file with floating-point pixels, such as a parametric map; give the "
            "radiograph itself"
        )
    rows, columns = header.integer(_ROWS), header.integer(_COLUMNS)
    if rows is None or columns is None:
        raise ContentError("is a DICOM file that does not say its size; copy or export it again")
    check_size(rows, columns)
    frames = header.numbers(_FRAMES)
    if frames and frames[0] != 1:
        raise ContentError(
            "is a DICOM file with several frames; export the radiograph as a single frame"
        )
    photometric = header.text(_PHOTOMETRIC)
    if photometric not in _GREY | _COLOUR:
        named = f" {photometric}" if photometric and photometric.isprintable() else ""
        raise ContentError(
            f"is a DICOM file with the photometric interpretation{named[:17] or ' missing'}, which "
            "is not supported; export it as MONOCHROME2"
        )
    samples = header.integer(_SAMPLES, 1)
    allocated = header.integer(_ALLOCATED)
    if samples != (1 if photometric in _GREY else 3):
        raise _contradictory()
    if allocated not in (8, 16) or (samples == 3 and allocated != 8):
        raise ContentError(
            f"is a DICOM file with {allocated or 'an unknown number of'} bits allocated for each "
            "sample, which is not supported; export it with 8 or 16 (colour: 8)"
        )
    stored = header.integer(_STORED, allocated) or 0
    high_bit = header.integer(_HIGH_BIT, stored - 1) or 0
    if not 1 <= stored <= high_bit + 1 <= allocated:
        raise _contradictory()
    if photometric == "YBR_FULL_422" and columns % 2 and not file.pixels.undefined:
        raise _contradictory()
    return PixelModule(
        rows=rows,
        columns=columns,
        samples=samples,
        photometric=photometric,
        bits_allocated=allocated,
        bits_stored=stored,
        high_bit=high_bit,
        signed=header.integer(_SIGNED, 0) == 1,
        planar=header.integer(_PLANAR, 0) == 1,
    )


def _spacing(header: DataSet) -> tuple[float, float] | None:
    """Return the (row, column) distance of pixel centres in mm.

    At the patient where calibrated, else at the detector (PS3.3, 10.7.1.1 and C.8.11.7).
    """
    for tag in (_SPACING, _IMAGER_SPACING):
        values = header.numbers(tag)
        if len(values) == 2 and all(value > 0 for value in values):  # NaN is not above 0
            return values[0], values[1]
    return None


def _contradictory() -> ContentError:
    return ContentError(
        "is a DICOM file whose description of its pixels contradicts itself; export it again"
    )
