"""What to screen: files, folders, globs and standard input become a stream of inputs."""

import glob
import io
import itertools
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from hilum.errors import UsageError
from hilum.files import printable

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
    """Expand what was asked for, in order.

    Every argument is checked at once, so that a mistyped one is known before any work; folders
    are walked as they are read.

    Args:
        arguments: Files, folders, globs, or `-` for standard input, which holds either one
            radiograph or a list of paths, one a line.
        stdin: Standard input; None where there is none.

    Raises:
        UsageError: If an argument names nothing.
    """
    sources = [
        _from_stdin(stdin) if argument == _STDIN else _from_argument(argument)
        for argument in arguments
    ]
    return itertools.chain.from_iterable(sources)


def _from_argument(argument: str) -> Iterable[Input]:
    path = Path(argument)
    if path.is_dir():
        return _from_folder(path)
    if path.exists():
        return [Input(printable(argument), path)]
    if glob.has_magic(argument):
        # A pattern may be absolute, which Path.glob refuses.
        matches = sorted(glob.glob(argument, recursive=True))  # noqa: PTH207
        if not matches:
            raise UsageError(f"nothing matches {argument}; check the pattern")
        # A match may be a dangling link or be gone when its turn comes: then it is a row.
        return itertools.chain.from_iterable(
            _from_folder(match) if match.is_dir() else [Input(printable(str(match)), match)]
            for match in map(Path, matches)
        )
    raise UsageError(f"there is no file or folder {argument}; check the path")


def _from_folder(folder: Path) -> Iterator[Input]:
    shut: list[Path] = []
    visited = set()
    for parent, folders, names in os.walk(
        folder, onerror=lambda error: shut.append(Path(str(error.filename))), followlinks=True
    ):
        real = os.path.realpath(parent)
        if real in visited:  # a link back up, which would never end
            folders.clear()
            continue
        visited.add(real)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            path = Path(parent, name)
            if not name.startswith(".") and path.suffix.lower() in RADIOGRAPH_SUFFIXES:
                yield Input(printable(str(path)), path)
    # A folder that may not be opened becomes a row with the reason, like any other bad input.
    yield from (Input(printable(str(path)), path) for path in shut)


def _from_stdin(stdin: BinaryIO | None) -> Iterator[Input]:
    if stdin is None:
        raise UsageError("standard input is closed; give files or folders instead of -")
    head = b""
    # A pipe gives what it has: read until the first line or enough to know a radiograph by.
    while len(head) < _DICOM_MAGIC.stop and not (b"\n" in head and b"\0" not in head):
        more = stdin.read(1)
        if not more:
            break
        head += more
    if head.startswith(_MAGIC) or head[_DICOM_MAGIC] == b"DICM":
        yield Input("standard input", head + stdin.read())
        return
    first = io.BytesIO(head if head.endswith(b"\n") else head + stdin.readline())
    for line in itertools.chain(first, stdin):
        name = os.fsdecode(line.rstrip(b"\r\n"))
        if "\0" in name:
            raise UsageError(
                "standard input holds neither paths, one a line, nor one JPEG, PNG, TIFF or DICOM "
                "file; check what is sent"
            )
        if name:
            # A listed path that is gone becomes a row with the reason instead of ending the run.
            yield Input(printable(name), Path(name))
