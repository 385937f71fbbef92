"""Pixels: JPEG, PNG, TIFF and DICOM files become one `Radiograph` in display polarity."""

from hilum.imaging._squash import squash
from hilum.imaging.radiograph import Identifiers, Provenance, Radiograph
from hilum.imaging.reader import DRAWN_BY_HILUM, read

__all__ = ["DRAWN_BY_HILUM", "Identifiers", "Provenance", "Radiograph", "read", "squash"]
