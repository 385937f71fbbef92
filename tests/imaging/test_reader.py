"""What holds for `read` whatever the format: paths, bytes, threads, silence, and the square."""

import hashlib
import subprocess
import sys
import warnings
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image

from hilum.imaging import Provenance, Radiograph, read, squash
from tests.imaging.samples import chest, dicom, every_sample, jpeg_grey


@pytest.fixture(scope="module")
def samples():
    return every_sample()


@pytest.mark.parametrize("suffix", [".dcm", ".DCM", "", ".ima", ".img"])
def test_paths_and_bytes_give_the_same_radiograph(tmp_path, suffix):
    file = dicom(chest(12), BitsStored=12)
    path = tmp_path / f"1.2.840{suffix}" if suffix else tmp_path / "IM0001"
    path.write_bytes(file)
    for source in (path, str(path)):
        np.testing.assert_array_equal(read(source).pixels, read(file).pixels)
        assert read(source).provenance == read(file).provenance


def test_provenance_carries_the_digest_and_size_of_the_file(samples):
    for file in samples.values():
        provenance = read(file).provenance
        assert provenance.sha256 == hashlib.sha256(file).hexdigest()
        assert provenance.file_bytes == len(file)


def test_pixels_fit_their_depth(samples):
    for name, file in samples.items():
        radiograph = read(file)
        assert radiograph.pixels.dtype == (np.uint8 if radiograph.bit_depth == 8 else np.uint16)
        assert radiograph.pixels.max() < 1 << radiograph.bit_depth, name
        assert radiograph.pixels.flags.c_contiguous
        assert name.startswith(radiograph.provenance.format)


def test_reading_in_threads_gives_what_reading_in_turn_gives(samples):
    files = list(samples.values()) * 4
    expected = [read(file).pixels for file in files]
    with ThreadPoolExecutor(8) as threads:
        for pixels, radiograph in zip(expected, threads.map(read, files), strict=True):
            np.testing.assert_array_equal(radiograph.pixels, pixels)


def test_reading_neither_warns_nor_prints_nor_touches_the_filters(samples, capfd):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        before = list(warnings.filters)
        for file in samples.values():
            read(file)
        assert list(warnings.filters) == before
    assert not caught
    assert capfd.readouterr() == ("", "")


def test_importing_the_room_loads_no_codec():
    program = (
        "import sys, hilum.imaging;"
        "print([m for m in ('pydicom', 'PIL', 'gdcm', 'simplejpeg', 'openjpeg') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("min_side", [0, -1])
def test_a_senseless_min_side_is_our_callers_bug(min_side):
    with pytest.raises(ValueError, match="give 1 or more"):
        read(b"", min_side=min_side)


def made(pixels: np.ndarray, bit_depth: int) -> Radiograph:
    return Radiograph(pixels, bit_depth, None, Provenance("PNG", 1, "0" * 64, *pixels.shape))


@pytest.mark.parametrize("size", [1, 7, 224])
def test_the_square_has_the_size_asked_for(size):
    square = squash(made(chest(8, 300, 400), 8), size)
    assert (square.shape, square.dtype) == ((size, size), np.uint8)


def test_the_square_is_the_mean_of_the_areas():
    pixels = chest(8, 400, 600)
    means = pixels.reshape(100, 4, 100, 6).mean(axis=(1, 3))
    assert np.abs(squash(made(pixels, 8), 100) - means).max() <= 1


def test_the_square_of_deep_pixels_rounds_within_a_grey_level():
    pixels = chest(12, 400, 600)
    means = pixels.reshape(100, 4, 100, 6).mean(axis=(1, 3)) * (255 / 4095)
    assert (
        np.abs(squash(made(pixels, 12), 100) - means).max() <= 1.5
    )  # once per axis and once for depth


def test_the_square_of_a_square_of_that_size_is_itself():
    pixels = chest(8, 224, 224)
    np.testing.assert_array_equal(squash(made(pixels, 8), 224), pixels)


def test_a_square_below_one_pixel_is_our_callers_bug():
    with pytest.raises(ValueError, match="give 1 or more"):
        squash(made(chest(), 8), 0)


def test_a_reduced_read_makes_nearly_the_same_square():
    file = jpeg_grey(chest(8, 1200, 1500), quality=90)
    whole = Image.fromarray(read(file).pixels).resize((224, 224), Image.Resampling.BOX)
    difference = squash(read(file, min_side=224), 224).astype(int) - np.asarray(whole)
    assert np.abs(difference).mean() < 2
