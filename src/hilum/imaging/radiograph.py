"""The radiograph: pixels as a person sees them, and where they came from."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

__all__ = ["Identifiers", "Pixels", "Provenance", "Radiograph"]

Pixels = NDArray[np.uint8] | NDArray[np.uint16]


@dataclass(frozen=True, slots=True)
class Provenance:
    """Where the pixels came from; nothing in it identifies a patient, so it may be exported.

    The DICOM fields are None for other formats and where the header does not say.
    """

    format: str  # "JPEG", "PNG", "TIFF" or "DICOM"
    file_bytes: int
    sha256: str  # of the whole file, 64 hexadecimal digits
    source_rows: int  # of the file, before any reduced-scale decoding and after EXIF orientation
    source_columns: int
    transfer_syntax: str | None = None  # UID
    modality: str | None = None  # such as "CR", "DX"
    view_position: str | None = None  # such as "PA", "AP", "LL"
    body_part: str | None = None  # BodyPartExamined, such as "CHEST"
    photometric_interpretation: str | None = None
    scanner: str | None = None  # Manufacturer and ManufacturerModelName
    presentation_intent: str | None = None  # "FOR PRESENTATION" or "FOR PROCESSING"
    window: tuple[float, float] | None = None  # (centre, width) in modality units, as applied
    window_from: str | None = None  # "header", "voi lut", "percentiles" or None (full range)
    notes: tuple[str, ...] = ()  # what the reader had to decide, in words


@dataclass(frozen=True, slots=True)
class Identifiers:
    """Who the radiograph belongs to. Never exported, logged or shown in a representation."""

    patient: str | None = field(default=None, repr=False)
    age: str | None = field(default=None, repr=False)  # PatientAge, such as "061Y" (PS3.5, 6.2, AS)
    sex: str | None = field(default=None, repr=False)  # PatientSex
    study: str | None = field(default=None, repr=False)  # StudyInstanceUID
    series: str | None = field(default=None, repr=False)
    instance: str | None = field(default=None, repr=False)  # SOPInstanceUID


@dataclass(frozen=True, slots=True)
class Radiograph:
    """One radiograph in display polarity: bone bright, air dark.

    Attributes:
        pixels: Shape (rows, columns), uint8 where `bit_depth` is 8, else uint16; values in
            [0, 2 ** bit_depth - 1]. Smaller than the source where a reduced scale was asked for.
        bit_depth: Meaningful bits of a pixel, 8 to 16.
        spacing: (row, column) distance of the centres of neighbouring pixels of `pixels` in mm,
            or None where unknown.
        provenance: Where the pixels came from.
        identifiers: Who they belong to; kept apart from what is exported.
    """

    pixels: Pixels = field(repr=False)
    bit_depth: int
    spacing: tuple[float, float] | None
    provenance: Provenance
    identifiers: Identifiers = field(default_factory=Identifiers, repr=False)

    @property
    def rows(self) -> int:
        """Number of pixel rows."""
        return int(self.pixels.shape[0])

    @property
    def columns(self) -> int:
        """Number of pixel columns."""
        return int(self.pixels.shape[1])

    def to_uint8(self) -> NDArray[np.uint8]:
        """Return the pixels on the 8-bit grey scale, shape (rows, columns), [0, 255]."""
        if self.bit_depth == 8:
            return self.pixels.astype(np.uint8, copy=False)
        top = (1 << self.bit_depth) - 1
        table: NDArray[np.uint8] = np.rint(np.arange(top + 1) * (255 / top)).astype(np.uint8)
        return table.take(self.pixels)  # far faster than indexing, which widens to 64 bits first
