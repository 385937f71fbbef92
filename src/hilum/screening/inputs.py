"""What to screen: files, folders, globs and standard input become a stream of inputs."""

import glob
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from hilum.errors import UsageError

__all__ = ["Input", "find_inputs"]

# In a folder only these suffixes (and none at all, as DICOM archives write) are taken; a file that
# is named outright is always tried.
RADIOGRAPH_SUFFIXES = frozenset(
    {"", ".jpg", ".jpeg", ".png", ".tif", ".tiff", ".dcm", ".dicom", ".ima"}
)
_STDIN = "-"
# How JPEG, PNG, TIFF and DICOM (after its preamble) begin: then standard input is a radiograph,
# else it is a list of paths.
_MAGIC = (b"\xff\xd8\xff", b"\x89PNG", b"II*\x00", b"MM\x00*")
_DICOM_MAGIC = slice(128, 132)


@dataclass(frozen=True, slots=True)
class Input:
    """One thing to read: a file, or bytes that came by standard input."""

    name: str  # as written in results
    source: Path | bytes


def find_inputs(arguments: list[str], stdin: BinaryIO | None = None) -> Iterator[Input]:
    """Expand what was asked for, in order; folders are walked as they are read.

    Args:
        arguments: Files, folders, globs, or `-` for standard input, which holds either one
            radiograph or a list of paths, one a line.
        stdin: Standard input; None where there is none.

    Raises:
        UsageError: If an argument names nothing.
    """
    for argument in arguments:
        if argument == _STDIN and stdin is not None:
            yield from _from_stdin(stdin)
        else:
            yield from _from_argument(argument)


def _from_argument(argument: str) -> Iterator[Input]:
    path = Path(argument)
    if path.is_dir():
        yield from _from_folder(path)
    elif path.exists():
        yield Input(argument, path)
    elif glob.has_magic(argument):
        # A pattern may be absolute, which Path.glob refuses.
        matches = sorted(glob.glob(argument, recursive=True))  # noqa: PTH207
        if not matches:
            raise UsageError(f"nothing matches {argument}; check the pattern")
        for match in map(Path, matches):
            yield from _from_folder(match) if match.is_dir() else [Input(str(match), match)]
    else:
        raise UsageError(f"there is no file or folder {argument}; check the path")


def _from_folder(folder: Path) -> Iterator[Input]:
    for parent, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            path = Path(parent, name)
            if not name.startswith(".") and path.suffix.lower() in RADIOGRAPH_SUFFIXES:
                yield Input(str(path), path)


def _from_stdin(stdin: BinaryIO) -> Iterator[Input]:
    peek = getattr(stdin, "peek", None)
    head = peek(_DICOM_MAGIC.stop) if peek else b""
    if head.startswith(_MAGIC) or head[_DICOM_MAGIC] == b"DICM":
        yield Input("standard input", stdin.read())
        return
    for number, line in enumerate(stdin, start=1):
        try:
            name = line.decode().rstrip("\r\n")
        except UnicodeDecodeError:
            raise UsageError(
                f"line {number} of standard input is no text; send paths, one a line, "
                "or one JPEG, PNG, TIFF or DICOM file"
            ) from None
        if name:
            # A listed path that is gone becomes a row with the reason instead of ending the run.
            yield Input(name, Path(name))
