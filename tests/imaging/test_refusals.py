"""Bad input: one clear sentence, no matter how bad, within a second and little memory."""

import io
import json
import os
import struct
import subprocess
import sys
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pydicom import uid
from pydicom.dataset import Dataset

from hilum.errors import RadiographError
from hilum.imaging import read
from tests.imaging.samples import (
    chest,
    compressed,
    dataset,
    dicom,
    encoded,
    every_sample,
    jpeg_2000,
    jpeg_grey,
    part10,
    with_codestream,
)

ROOT = Path(__file__).resolve().parents[2]
SAMPLES = every_sample()


def refusal(source) -> str:
    """The sentence with which a source is refused, which must be one and name nobody."""
    with pytest.raises(RadiographError) as caught:
        read(source)
    message = str(caught.value)
    assert "\n" not in message
    for private in ("Secret", "SECRET", "1.2.3.4"):
        assert private not in message
    assert "cannot be decoded" not in message, "refused by the last guard only"
    return message


def png_of(rows: int, columns: int, data: bytes = b"", kind: int = 0) -> bytes:
    def chunk(name: bytes, body: bytes) -> bytes:
        return (
            struct.pack(">L", len(body)) + name + body + struct.pack(">L", zlib.crc32(name + body))
        )

    header = struct.pack(">LLBBBBB", columns, rows, 8, kind, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")
    )


def jpeg_of(rows: int, columns: int) -> bytes:
    file = bytearray(jpeg_grey(chest()))
    at = file.index(b"\xff\xc0")
    file[at + 5 : at + 9] = struct.pack(">HH", rows, columns)
    return bytes(file)


def tiff_of(rows: int, columns: int) -> bytes:
    fields = [(256, columns), (257, rows), (258, 8), (259, 1), (262, 1), (273, 8), (277, 1)]
    fields += [(278, rows), (279, 100)]
    directory = struct.pack("<H", len(fields))
    directory += b"".join(struct.pack("<HHLL", tag, 4, 1, value) for tag, value in fields)
    return b"II*\0" + struct.pack("<L", 108) + bytes(100) + directory + bytes(4)


def jpeg_2000_of(rows: int, columns: int) -> bytes:
    """A DICOM file whose data set and codestream both claim a size that is not there."""
    file = bytearray(jpeg_2000(dataset(chest(12), BitsStored=12), chest(12)))
    at = file.index(b"\xff\x4f\xff\x51")
    struct.pack_into(">LL", file, at + 8, columns, rows)
    struct.pack_into(">LL", file, at + 24, columns, rows)
    for tag, value in ((b"\x28\0\x10\0US\x02\0", rows), (b"\x28\0\x11\0US\x02\0", columns)):
        struct.pack_into("<H", file, file.index(tag) + 8, value)
    return bytes(file)


def endless_scans() -> bytes:
    file = encoded(Image.fromarray(chest(8, 400, 400)), "JPEG", progressive=True)
    start = file.rindex(b"\xff\xda")
    return file[:-2] + file[start:-2] * 5000 + file[-2:]


def zipped() -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("chest.dcm", dicom(chest()))
    return out.getvalue()


def multi_page() -> bytes:
    pages = [Image.fromarray(chest())] * 2
    return encoded(pages[0], "TIFF", save_all=True, append_images=pages[1:])


def animated() -> bytes:
    frames = [Image.fromarray(chest()), Image.fromarray(255 - chest())]
    return encoded(frames[0], "PNG", save_all=True, append_images=frames[1:])


def without_pixels() -> bytes:
    ds = dataset(chest(), Modality="SR")
    del ds.PixelData
    return part10(ds)


def float_pixels() -> bytes:
    ds = dataset(chest())
    del ds.PixelData
    ds.BitsAllocated = 32
    ds.FloatPixelData = chest().astype("<f4").tobytes()
    return part10(ds)


def palette_dicom() -> bytes:
    return dicom(chest(), PhotometricInterpretation="PALETTE COLOR")


def deflated() -> bytes:
    plain = dicom(chest())
    (length,) = struct.unpack_from("<L", plain, 140)
    ds = dataset(chest())
    ds.file_meta.TransferSyntaxUID = uid.DeflatedExplicitVRLittleEndian
    assert length
    return part10(ds)


def deeply_nested() -> bytes:
    item = Dataset()
    for _ in range(200):
        outer = Dataset()
        outer.ContentSequence = [item]
        outer["ContentSequence"].is_undefined_length = True
        item.is_undefined_length_sequence_item = True
        item = outer
    file = dicom(chest())
    out = io.BytesIO()
    from pydicom.filebase import DicomIO
    from pydicom.filewriter import write_dataset

    fp = DicomIO(out)
    fp.is_little_endian, fp.is_implicit_VR = True, False
    write_dataset(fp, item)
    at = file.index(b"\x28\0\x02\0US")
    return file[:at] + out.getvalue() + file[at:]


def endless_header() -> bytes:
    file = dicom(chest())
    at = file.index(b"\x28\0\x02\0US")
    return file[:at] + b"\x09\0\x10\0LO\0\0" * 2_000_000 + file[at:]


def nan_tiff() -> bytes:
    values = chest().astype(np.float32)
    values[3, 3] = np.nan
    return encoded(Image.fromarray(values), "TIFF")


def lying_jpeg_ls() -> bytes:
    flat = np.zeros((3000, 3000), np.uint8)
    return compressed(dataset(flat), uid.JPEGLSLossless)


# What each bad file is, and a part of what is said of it. Made when needed: some are large.
BAD = {
    "empty": (lambda: b"", "is empty"),
    "text": (lambda: b"patient,label\n1,normal\n", "is text, not a radiograph"),
    "zip": (zipped, "is a zip archive, not a radiograph"),
    "pdf": (lambda: b"%PDF-1.7\n\0\0", "is a PDF document, not a radiograph"),
    "gif": (lambda: encoded(Image.fromarray(chest()), "GIF"), "is a GIF image"),
    "noise": (lambda: bytes(range(1, 200)), "is of an unknown format"),
    "one byte": (lambda: b"\xff", "is of an unknown format"),
    "vast JPEG": (lambda: jpeg_of(50_000, 50_000), "above the limit of 50 megapixels"),
    "vast PNG": (lambda: png_of(50_000, 50_000), "above the limit of 50 megapixels"),
    "vast TIFF": (lambda: tiff_of(50_000, 50_000), "above the limit of 50 megapixels"),
    "vast DICOM": (lambda: dicom(chest(), Rows=50_000, Columns=50_000), "limit of 50 megapixels"),
    "vast JPEG 2000": (lambda: jpeg_2000_of(50_000, 50_000), "limit of 50 megapixels"),
    "large JPEG": (lambda: jpeg_of(7000, 7000), "cut short"),
    "large PNG": (lambda: png_of(7000, 7000, zlib.compress(bytes(9))), "cut short"),
    "large TIFF": (lambda: tiff_of(7000, 7000), "cut short"),
    "large JPEG 2000": (lambda: jpeg_2000_of(7000, 7000), "too few for a radiograph"),
    "large JPEG-LS": (lying_jpeg_ls, "too few for a radiograph"),
    "flat JPEG": (lambda: jpeg_of(0, 50), "which is empty"),
    "flat PNG": (lambda: png_of(50, 0), "which is empty"),
    "flat TIFF": (lambda: tiff_of(0, 50), "which is empty"),
    "flat DICOM": (lambda: dicom(chest(), Rows=0), "which is empty"),
    "endless scans": (endless_scans, "scans, too many to be real"),
    "animated PNG": (animated, "is an animated PNG"),
    "pages": (multi_page, "is a TIFF of several pages"),
    "NaN": (nan_tiff, "not finite numbers"),
    "no pixels": (without_pixels, r"without pixels \(SR\)"),
    "float pixels": (float_pixels, "floating-point pixels"),
    "palette": (palette_dicom, "photometric interpretation PALETTE COLOR"),
    "no polarity": (
        lambda: dicom(chest(), PhotometricInterpretation=None), "photometric interpretation missing"
    ),
    "frames": (lambda: dicom(chest(), NumberOfFrames=2), "with several frames"),
    "deflated": (deflated, r"inflate it first with dcmconv \+te"),
    "32 bits": (lambda: dicom(chest(), BitsAllocated=32, BitsStored=32), "32 bits allocated"),
    "stored above allocated": (lambda: dicom(chest(), BitsStored=12), "contradicts itself"),
    "two samples": (lambda: dicom(chest(), SamplesPerPixel=3), "contradicts itself"),
    "too few pixels": (lambda: dicom(chest(), Rows=41), "declares 2296 bytes of pixels and holds 2240"),
    "too many pixels": (lambda: dicom(chest(), Rows=39), "declares 2184 bytes of pixels and holds 2240"),
    "other size inside": (
        lambda: with_codestream(dataset(chest()), uid.JPEGBaseline8Bit, jpeg_grey(chest(8, 40, 57))),
        "declares 40 by 56 pixels and holds 40 by 57",
    ),
    "unknown syntax": (
        lambda: with_codestream(dataset(chest()), uid.MPEG2MPML, b"\0\0"), "which is not supported"
    ),
    "nesting": (deeply_nested, "damaged header"),
    "endless fill": (lambda: b"\xff\xd8" + b"\xff" * 20_000_000, "damaged JPEG"),
    "endless segments": (lambda: b"\xff\xd8" + b"\xff\xe5\0\2" * 2_000_000, "damaged JPEG"),
    "endless chunks": (
        lambda: png_of(40, 56)[:33] + (bytes(4) + b"abcd" + bytes(4)) * 1_000_000, "damaged PNG"
    ),
    "endless meta": (
        lambda: bytes(128) + b"DICM" + b"\2\0\1\0US\0\0" * 2_000_000, "header too long to be real"
    ),
    "endless header": (endless_header, "header too long to be real"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_bad_content_is_refused_in_one_clear_sentence(name):
    make, expected = BAD[name]
    with pytest.raises(RadiographError, match=expected):
        read(make())
    refusal(make())


def test_every_refusal_is_quick_and_small():
    """All of the above in a process of its own, where the peak of memory can be seen."""
    program = """
import json, resource, sys, time
from hilum.errors import RadiographError
from hilum.imaging import read
from tests.imaging.test_refusals import BAD
files = {name: make() for name, (make, _) in BAD.items()}
with open("/proc/self/clear_refs", "w") as reset:
    reset.write("5")  # the peak so far is that of making the files
before = int(next(l for l in open("/proc/self/status") if l.startswith("VmHWM")).split()[1])
seconds = {}
for name, file in files.items():
    begin = time.perf_counter()
    try:
        read(file)
    except RadiographError:
        pass
    seconds[name] = time.perf_counter() - begin
peak = int(next(l for l in open("/proc/self/status") if l.startswith("VmHWM")).split()[1])
print(json.dumps({"seconds": seconds, "mb": (peak - before) / 1024}))
"""
    environment = dict(os.environ, PYTHONPATH=str(ROOT))
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, env=environment, check=True
    )
    measured = json.loads(done.stdout)
    # No race against the clock: a refusal takes milliseconds (benchmarks/fuzz_read.py measures it),
    # and one that follows what a forged header claims would take minutes.
    assert max(measured["seconds"].values()) < 20, measured["seconds"]
    assert measured["mb"] < 500


@pytest.mark.parametrize("name", SAMPLES)
def test_a_file_that_is_cut_short_is_refused(name):
    file = SAMPLES[name]
    lengths = {int(len(file) * part) for part in (0.02, 0.1, 0.3, 0.5, 0.7, 0.9, 0.97)}
    for length in sorted(lengths | {len(file) - cut for cut in (1, 2, 3, 8, 12, 40)}):
        refusal(file[:length])


@pytest.mark.parametrize("name", ["PNG 8", "JPEG grey", "JPEG progressive"])
def test_damaged_pixels_are_refused_and_not_guessed(name):
    file = bytearray(SAMPLES[name])
    for at in range(len(file) // 2, len(file) // 2 + 12):
        file[at] = 0xFF  # an illegal marker for JPEG, a wrong checksum for PNG
    assert "damaged" in refusal(bytes(file)) or "cut short" in refusal(bytes(file))


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        (
            "chest.png",
            "JPEG grey",
            "holds JPEG, not PNG as its name says; rename it to end in .jpg",
        ),
        ("chest.jpg", "PNG 8", "rename it to end in .png"),
        ("chest.JPEG", "TIFF 8", "rename it to end in .tif"),
        ("chest.tiff", "DICOM RLE", "rename it to end in .dcm"),
        ("chest.dcm", "JPEG grey", "holds JPEG, not DICOM"),
    ],
)
def test_a_name_that_contradicts_the_content_is_refused(tmp_path, name, content, told):
    path = tmp_path / name
    path.write_bytes(SAMPLES[content])
    message = refusal(path)
    assert message.startswith(f"{name} ")
    assert told in message
    assert str(tmp_path) not in message


def test_a_missing_file_is_named(tmp_path):
    assert refusal(tmp_path / "gone.dcm").startswith("gone.dcm does not exist")


def test_a_folder_is_named(tmp_path):
    (tmp_path / "study").mkdir()
    assert refusal(tmp_path / "study").startswith("study is a folder")


def test_a_named_pipe_does_not_hold_the_reader_up(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    assert "is not a regular file" in refusal(tmp_path / "pipe")


def test_a_name_with_a_null_is_refused():
    assert "cannot be opened" in refusal("a\0b.dcm")


def test_a_file_that_may_not_be_read_is_named(tmp_path, monkeypatch):
    def locked(*_: object) -> int:  # chmod would not stop a test that runs as root
        raise PermissionError

    monkeypatch.setattr(os, "open", locked)
    assert refusal(tmp_path / "locked.dcm").startswith("locked.dcm may not be read by this user")


def test_a_sparse_file_of_a_terabyte_is_refused_unread(tmp_path):
    path = tmp_path / "huge.dcm"
    with path.open("wb") as file:
        file.truncate(1 << 40)
    assert "is larger than 256 MB" in refusal(path)


def test_bytes_are_called_bytes():
    assert refusal(b"").startswith("the file in these bytes is empty")
