"""Files that are whole or absent: write beside the target, then rename; digests of what was read.

Rename is atomic within one file system (POSIX rename), so a reader or a crash never meets half a file.
"""

import hashlib
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hilum.errors import UsageError

__all__ = [
    "atomic_path",
    "check_new",
    "ensure_folder",
    "printable",
    "sha256_of_file",
    "write_bytes",
    "write_text",
]

_CHUNK = 1 << 20  # bytes per read while hashing; keeps memory flat on large files


@contextmanager
def atomic_path(target: Path) -> Iterator[Path]:
    """Give a temporary path beside `target` that becomes `target` when the block ends well.

    When the block raises, the temporary file is removed and `target` stays as it was.

    Raises:
        UsageError: If the folder cannot be made or written.
    """
    ensure_folder(target.parent)
    try:
        handle, name = tempfile.mkstemp(
            dir=target.parent, prefix=f".{target.name}.", suffix=f".part{target.suffix}"
        )
    except OSError as error:
        raise UsageError(
            f"{target.parent} cannot be written ({error.strerror}); choose another folder"
        ) from error
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        with temporary.open("rb") as written:
            os.fsync(written.fileno())
        # mkstemp makes the file private; results get the permissions that the user's umask asks for.
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o666 & ~umask)
        temporary.replace(target)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise UsageError(
            f"{target} cannot be written ({error.strerror}); choose another"
        ) from error
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def check_new(target: Path, *, force: bool) -> None:
    """Refuse to replace what is there, unless asked to.

    Raises:
        UsageError: If the target is there and `force` is not set, or it is a folder.
    """
    if target.is_dir():
        raise UsageError(f"{target} is a folder; name a file")
    if target.exists() and not force:
        raise UsageError(f"{target} is there already; choose another name or add --force")


def printable(name: str) -> str:
    """Return a file's name as text that any table can hold.

    POSIX names are bytes; what is no UTF-8 in them is shown as backslash escapes.
    """
    return os.fsencode(name).decode("utf-8", "backslashreplace")


def ensure_folder(folder: Path) -> Path:
    """Make a folder and its parents.

    Raises:
        UsageError: If it cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(
            f"the folder {folder} cannot be made ({error.strerror}); choose another"
        ) from error
    return folder


def write_bytes(target: Path, data: bytes) -> None:
    """Write a whole file or none."""
    with atomic_path(target) as temporary:
        temporary.write_bytes(data)


def write_text(target: Path, text: str) -> None:
    """Write a whole UTF-8 text file or none."""
    write_bytes(target, text.encode("utf-8"))


def sha256_of_file(path: Path) -> str:
    """Return the SHA-256 of a file as 64 hexadecimal digits, in constant memory."""
    digest = hashlib.sha256()
    with path.open("rb") as source:
        while chunk := source.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()
