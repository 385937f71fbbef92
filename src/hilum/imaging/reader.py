"""The one road from a file to a radiograph: every room and every command reads through here.

What a file is, its content says and not its name; a name that contradicts the content is refused,
because such files have usually been mixed up.
"""

import hashlib
import os
import stat
from pathlib import Path

from hilum.errors import RadiographError
from hilum.imaging._content import MAX_FILE_BYTES, ContentError
from hilum.imaging.radiograph import Provenance, Radiograph

__all__ = ["DRAWN_BY_HILUM", "read"]

# The keyword of a text chunk in the pictures that hilum writes (PNG 11.3.3), so that a folder with
# results in it can be screened again without reading the results as radiographs.
DRAWN_BY_HILUM = "hilum heat map"
_PNG_HEAD = 512  # bytes; text chunks written by Pillow come before the pixels

_SUFFIXES = {
    ".jpg": "JPEG",
    ".jpeg": "JPEG",
    ".png": "PNG",
    ".tif": "TIFF",
    ".tiff": "TIFF",
    ".dcm": "DICOM",
}
_SUFFIX_OF = {"JPEG": ".jpg", "PNG": ".png", "TIFF": ".tif", "DICOM": ".dcm"}

# What people give by mistake, by how it begins.
_STRANGERS = (
    (b"PK\x03\x04", "a zip archive"),
    (b"PK\x05\x06", "a zip archive"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive"),
    (b"%PDF", "a PDF document"),
    (b"GIF8", "a GIF image"),
    (b"BM", "a BMP image"),
    (b"\x00\x00\x00\x0cjP  ", "a JPEG 2000 image"),
    (b"\xff\x4f\xff\x51", "a JPEG 2000 image"),
    (b"II\x2b\x00", "a BigTIFF image"),
    (b"MM\x00\x2b", "a BigTIFF image"),
    (b"\x89HDF", "an HDF5 file"),
)
_READS = "hilum reads JPEG, PNG, TIFF and DICOM"


def read(source: Path | str | bytes, *, min_side: int | None = None) -> Radiograph:
    """Read one radiograph from a JPEG, PNG, TIFF or DICOM file, in display polarity.

    Reading is safe in threads, prints nothing, and changes no state of the process.

    Args:
        source: The path of a file, or the content of one.
        min_side: The shortest side, in pixels, that the caller needs. A far larger JPEG (also
            inside DICOM) is then decoded at a half, a quarter or an eighth of its scale, never
            below four times this on its shorter side, so that a classifier reads it as it reads
            a full decode. None reads at full size.

    Returns:
        The radiograph; `provenance.source_rows` and `source_columns` are those of the full file.

    Raises:
        RadiographError: If the file is missing, damaged, cut short, too large or no radiograph;
            the message names the file, the reason and the remedy, and nobody's identity.
        ValueError: If `min_side` is below 1.
        TypeError: If `source` is neither a path nor bytes.
    """
    if min_side is not None and min_side < 1:
        raise ValueError(f"min_side is {min_side}; give 1 or more, or None for full size")
    where = "the file in these bytes"
    suffix = ""
    if not isinstance(source, bytes):
        path = Path(source)
        where, suffix = path.name or str(path), path.suffix.lower()
    try:
        data = source if isinstance(source, bytes) else _content_of(path)
        kind = _kind_of(data, suffix)
        return _read_as(kind, data, min_side)
    except ContentError as refusal:
        raise RadiographError(f"{where} {refusal}") from refusal
    except MemoryError as error:
        raise RadiographError(f"{where} needs more memory than there is; free some") from error
    except Exception as error:
        # The last guard: a codec may raise anything on hostile bytes, and a folder of a million
        # files must not stop at one of them. The cause stays attached for a report.
        raise RadiographError(
            f"{where} cannot be decoded ({type(error).__name__}); copy or export it again"
        ) from error


def _content_of(path: Path) -> bytes:
    try:
        # Not blocking, so that a named pipe cannot hold the reader up before it is recognised.
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError as error:
        raise ContentError("does not exist; check the path") from error
    except PermissionError as error:
        raise ContentError("may not be read by this user; change its permissions") from error
    except (OSError, ValueError) as error:
        raise ContentError("cannot be opened; check the path") from error
    try:
        status = os.fstat(handle)
        if stat.S_ISDIR(status.st_mode):
            raise ContentError("is a folder; give the files in it")
        if not stat.S_ISREG(status.st_mode):
            raise ContentError("is not a regular file; give a file")
        if status.st_size > MAX_FILE_BYTES:
            raise ContentError(_TOO_LARGE)
        with os.fdopen(handle, "rb", closefd=False) as file:
            return file.read(status.st_size)
    except OSError as error:
        raise ContentError("cannot be read to its end; check the disk") from error
    finally:
        os.close(handle)


_TOO_LARGE = f"is larger than {MAX_FILE_BYTES >> 20} MB; export the radiograph alone"


def _kind_of(data: bytes, suffix: str) -> str:
    """Return the format that the content shows, and refuse what is none or contradicts its name."""
    from hilum.imaging._dicom_header import looks_like_bare_dicom

    if not data:
        raise ContentError("is empty; copy or export it again")
    if len(data) > MAX_FILE_BYTES:
        raise ContentError(_TOO_LARGE)
    if data[128:132] == b"DICM":
        kind = "DICOM"
    elif data[:3] == b"\xff\xd8\xff":
        kind = "JPEG"
    elif data[:8] == b"\x89PNG\r\n\x1a\n":
        kind = "PNG"
        if DRAWN_BY_HILUM.encode() in data[:_PNG_HEAD]:
            raise ContentError("is a picture that hilum drew; give the radiograph itself")
    elif data[:4] in (b"II*\0", b"MM\0*"):
        kind = "TIFF"
    elif looks_like_bare_dicom(data):
        kind = "DICOM"
    else:
        raise ContentError(f"is {_stranger(data)}, not a radiograph; {_READS}")
    if _SUFFIXES.get(suffix, kind) != kind:
        raise ContentError(
            f"holds {kind}, not {_SUFFIXES[suffix]} as its name says; rename it to end in "
            f"{_SUFFIX_OF[kind]}"
        )
    return kind


def _stranger(data: bytes) -> str:
    for start, name in _STRANGERS:
        if data.startswith(start):
            return name
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "a WebP image"
    head = data[:512]
    letters = sum(32 <= byte < 127 for byte in head)
    if 2 * letters > len(head) and not any(byte < 9 or 13 < byte < 32 for byte in head):
        return "text"
    return "of an unknown format"


def _read_as(kind: str, data: bytes, min_side: int | None) -> Radiograph:
    sha256 = hashlib.sha256(data).hexdigest()
    if kind == "DICOM":
        from hilum.imaging.dicom import read_dicom

        return read_dicom(data, sha256=sha256, min_side=min_side)
    from hilum.imaging import raster

    if kind == "JPEG":
        grey = raster.read_jpeg(data, min_side)
    elif kind == "PNG":
        grey = raster.read_png(data)
    else:
        grey = raster.read_tiff(data)
    provenance = Provenance(
        format=kind,
        file_bytes=len(data),
        sha256=sha256,
        source_rows=grey.source_rows,
        source_columns=grey.source_columns,
        notes=grey.notes,
    )
    return Radiograph(grey.pixels, grey.bit_depth, None, provenance)
