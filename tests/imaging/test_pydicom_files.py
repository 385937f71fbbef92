"""Real and odd DICOM files of others: what pydicom makes of them is what we make of them.

The files come with the packages `pydicom` (its own tests) and `pydicom-data`; nothing is fetched.
"""

import warnings
from importlib.resources import files
from pathlib import Path

import numpy as np
import pydicom
import pytest
from PIL import Image
from pydicom.pixels.processing import apply_modality_lut, apply_voi_lut

from hilum.errors import RadiographError
from hilum.imaging import Radiograph, read, squash

FOLDERS = [files("pydicom") / "data" / "test_files", files("data_store") / "data"]
FILES = sorted(
    Path(str(entry)) for folder in FOLDERS for entry in folder.iterdir() if entry.suffix == ".dcm"
)
REAL = Path(str(FOLDERS[1]))


def pydicoms(path: Path) -> np.ndarray | None:
    """The picture as pydicom shows it, or None where pydicom cannot decode it here."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ds = pydicom.dcmread(path, force=True)
        try:
            stored = ds.pixel_array
        except (RuntimeError, NotImplementedError, AttributeError, ValueError):
            return None
        if stored.ndim == 3:
            return np.asarray(Image.fromarray(stored).convert("L")).astype(float)
        values = apply_modality_lut(stored, ds).astype(float)
        voi = apply_voi_lut(values if "VOILUTSequence" not in ds else stored, ds).astype(float)
        if "VOILUTSequence" in ds:
            return voi / (2 ** ds.VOILUTSequence[0].LUTDescriptor[2] - 1)
        if "WindowCenter" in ds:
            slope = float(ds.get("RescaleSlope", 1))
            low = -(2 ** (ds.BitsStored - 1)) if ds.PixelRepresentation else 0
            low = low * slope + float(ds.get("RescaleIntercept", 0))
            return (voi - low) / ((2**ds.BitsStored - 1) * slope)
        return values


def attempt(path: Path) -> tuple[Radiograph | None, str]:
    """The radiograph, or why there is none."""
    try:
        return read(path), ""
    except RadiographError as error:
        return None, str(error)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_file_is_refused_by_name_or_shown_as_pydicom_shows_it(path):
    radiograph, message = attempt(path)
    if radiograph is None:
        assert message.startswith(f"{path.name} ")
        assert "cannot be decoded" not in message, "refused by the last guard only"
        return
    theirs = pydicoms(path)
    if theirs is None:
        assert radiograph.provenance.transfer_syntax == pydicom.uid.JPEGExtended12Bit
        return
    ours = radiograph.pixels / (2**radiograph.bit_depth - 1)
    provenance = radiograph.provenance
    if not (provenance.photometric_interpretation or "").startswith("MONOCHROME"):
        assert np.abs(ours * 255 - theirs).mean() < 2  # colour conversions round differently
        return
    if provenance.photometric_interpretation == "MONOCHROME1":
        ours = 1 - ours
    if provenance.window_from == "percentiles":
        centre, width = provenance.window
        theirs = (theirs - centre) / width + 0.5
    elif provenance.window_from is None:
        theirs = theirs / (2**radiograph.bit_depth - 1)
    assert np.abs(ours - np.clip(theirs, 0, 1)).max() < 2 / 255


def test_most_files_are_read():
    """The comparison above would be empty if everything were refused."""
    assert sum(attempt(path)[0] is not None for path in FILES) >= 70


@pytest.mark.parametrize(
    ("plain", "wavelet"),
    [("RG1_UNCR", "RG1_J2KR"), ("RG3_UNCR", "RG3_J2KR"), ("RG1_UNCI", "RG1_J2KI")],
)
def test_real_radiographs_agree_between_transfer_syntaxes(plain, wavelet):
    ours, theirs = (read(REAL / f"{name}.dcm") for name in (plain, wavelet))
    if wavelet.endswith("R"):  # reversible, so the same pixels
        np.testing.assert_array_equal(ours.pixels, theirs.pixels)
    else:
        difference = squash(ours, 224).astype(int) - squash(theirs, 224)
        assert np.abs(difference).mean() < 1
    assert ours.spacing == theirs.spacing


def test_a_real_chest_radiograph_shows_bone_bright_and_air_dark():
    """A CR of a chest, MONOCHROME1, 15 bits, with the useless spacing 0\\0."""
    radiograph = read(REAL / "RG1_UNCR.dcm")
    assert radiograph.provenance.photometric_interpretation == "MONOCHROME1"
    assert (radiograph.rows, radiograph.columns, radiograph.bit_depth) == (1955, 1841, 15)
    assert radiograph.spacing is None
    square = squash(radiograph, 224).astype(float)
    lungs = square[70:120, 50:75].mean(), square[70:120, 150:175].mean()
    middle = square[120:190, 100:125].mean()
    assert max(lungs) < middle
