"""Pixels: JPEG, PNG, TIFF and DICOM files become one `Radiograph` in display polarity."""

from hilum.imaging._squash import squash
from hilum.imaging.radiograph import Identifiers, Provenance, Radiograph
from hilum.imaging.reader import read

__all__ = ["Identifiers", "Provenance", "Radiograph", "read", "squash"]
