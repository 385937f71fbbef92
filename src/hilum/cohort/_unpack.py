"""What was downloaded becomes a folder of radiographs: zip archives and MedMNIST's NumPy archives.

An archive from the web is not trusted: it may name files outside its folder, hold links, or swell to
fill the disk. Everything is written into a temporary folder beside the target, which gets its name at
the end, so a folder that exists is whole.
"""

import shutil
import stat
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

import numpy as np

from hilum.cohort._transfer import Progress, check_space
from hilum.errors import DownloadError
from hilum.files import ensure_folder
from hilum.findings import Part

__all__ = ["LARGEST_TOTAL", "new_folder", "unpack_medmnist", "unzip"]

LARGEST_TOTAL = 64 << 30  # bytes; sixteen times the largest data set here
_CHUNK = 1 << 20
_LITTER = {".DS_Store", "Thumbs.db", "__MACOSX"}  # what desktops leave in archives

# What MedMNIST calls its parts and classes (`info.py` of the package `medmnist` 3.0.2).
_MEDMNIST_PARTS = {"train": Part.TRAIN, "val": Part.VALIDATION, "test": Part.TEST}
_MEDMNIST_CLASSES = ("NORMAL", "PNEUMONIA")


@contextmanager
def new_folder(target: Path) -> Iterator[Path]:
    """Give a temporary folder beside `target` that becomes `target` when the block ends well.

    Raises:
        DownloadError: If it cannot be written, or `target` exists.
    """
    ensure_folder(target.parent)
    try:
        temporary = Path(tempfile.mkdtemp(dir=target.parent, prefix=f".{target.name}."))
        try:
            yield temporary
            temporary.chmod(0o755)  # mkdtemp keeps others out, which a data set need not
            temporary.rename(target)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
    except OSError as error:
        raise DownloadError(
            f"{target} cannot be written ({error.strerror or error}); free space, or choose an empty folder"
        ) from error


def unzip(
    archive: Path,
    target: Path,
    *,
    largest_total: int = LARGEST_TOTAL,
    progress: Progress | None = None,
) -> int:
    """Unpack a zip archive into a new folder.

    Args:
        archive: The archive.
        target: The folder to be; it must not exist.
        largest_total: Bytes that the unpacked files may have together.
        progress: Called with the bytes unpacked and their total.

    Returns:
        The number of files.

    Raises:
        DownloadError: If the archive is damaged or encrypted, names a file outside the folder, a link
            or one file twice, is larger than allowed or than it says, or the disk is too small.
    """
    try:
        with zipfile.ZipFile(archive) as opened:
            members = _members(opened, archive)
            total = sum(info.file_size for info in members.values())
            if total > largest_total:
                raise DownloadError(
                    f"{archive} would unpack to {total} bytes, more than the {largest_total} that are "
                    "allowed; it was not unpacked"
                )
            with new_folder(target) as folder:
                check_space(folder, total, f"unpacking {archive.name}")
                done = 0
                for path, info in members.items():
                    done += _extract(opened, info, folder / path, archive)
                    if progress:
                        progress(done, total)
    except (zipfile.BadZipFile, EOFError, NotImplementedError, RuntimeError) as error:
        # RuntimeError and NotImplementedError are how zipfile refuses encryption and odd methods.
        raise DownloadError(
            f"{archive} is damaged or not a plain zip archive ({error}); delete it and fetch it again"
        ) from error
    return len(members)


def _members(opened: zipfile.ZipFile, archive: Path) -> dict[PurePosixPath, zipfile.ZipInfo]:
    """Return the files to unpack by their relative path, after looking at every name."""
    members: dict[PurePosixPath, zipfile.ZipInfo] = {}
    for info in opened.infolist():
        path = PurePosixPath(info.filename)
        # zipfile would bend such names to something harmless; an archive that holds one is refused
        # as a whole, because somebody made it so on purpose.
        if (
            path.is_absolute()
            or ".." in path.parts
            or "\\" in info.filename
            or ":" in info.filename
        ):
            raise DownloadError(
                f"{archive} names a file outside its folder; it was not unpacked, do not trust it"
            )
        kind = stat.S_IFMT(info.external_attr >> 16)
        if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
            raise DownloadError(
                f"{archive} holds a link or a device; it was not unpacked, do not trust it"
            )
        litter = _LITTER.intersection(path.parts) or path.name.startswith("._")
        if info.is_dir() or litter or not path.parts:
            continue
        if path in members:
            raise DownloadError(f"{archive} holds one file twice; delete it and fetch it again")
        members[path] = info
    if not members:
        raise DownloadError(f"{archive} holds no files; delete it and fetch it again")
    return members


def _extract(opened: zipfile.ZipFile, info: zipfile.ZipInfo, path: Path, archive: Path) -> int:
    path.parent.mkdir(parents=True, exist_ok=True)
    written = 0
    with opened.open(info) as source, path.open("xb") as sink:
        while chunk := source.read(_CHUNK):
            written += len(chunk)
            if written > info.file_size:
                raise DownloadError(
                    f"{archive} holds a file that is larger than it says; do not trust the archive"
                )
            sink.write(chunk)
    return written


def unpack_medmnist(
    archive: Path, target: Path, *, size: int | None = None, progress: Progress | None = None
) -> int:
    """Write the radiographs of PneumoniaMNIST as PNG files in class folders of three parts.

    Args:
        archive: The `.npz`, with `train_images` uint8 of shape (n, side, side), `train_labels` of
            shape (n, 1), 0 normal and 1 pneumonia, and the same for `val` and `test`.
        target: The folder to be; it must not exist.
        size: The side to expect, or None for any.
        progress: Called with the radiographs written and their number.

    Returns:
        The number of radiographs.

    Raises:
        DownloadError: If the archive is damaged or does not hold what it should.
    """
    from PIL import Image

    try:
        # No pickle: an array of objects could run code while it is loaded.
        with np.load(archive, allow_pickle=False) as arrays:
            parts = {
                part: (arrays[f"{name}_images"], arrays[f"{name}_labels"])
                for name, part in _MEDMNIST_PARTS.items()
            }
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise DownloadError(
            f"{archive} is damaged or not PneumoniaMNIST ({error}); delete it and fetch it again"
        ) from error
    for images, labels in parts.values():
        side = images.shape[-1]
        if (
            images.dtype != np.uint8
            or images.ndim != 3
            or images.shape[1] != side
            or (size is not None and side != size)
            or labels.size != len(images)
            or not np.isin(labels, (0, 1)).all()
        ):
            raise DownloadError(
                f"{archive} does not hold square radiographs with labels 0 and 1 as PneumoniaMNIST "
                "does; delete it and fetch it again"
            )
    total = sum(len(images) for images, _ in parts.values())
    done = 0
    with new_folder(target) as folder:
        for part, (images, labels) in parts.items():
            for name in _MEDMNIST_CLASSES:
                (folder / part / name).mkdir(parents=True)
            for number, (image, label) in enumerate(zip(images, labels.ravel(), strict=True)):
                name = f"pneumoniamnist-{part}-{number:05d}.png"
                Image.fromarray(image).save(folder / part / _MEDMNIST_CLASSES[int(label)] / name)
                done += 1
                if progress:
                    progress(done, total)
    return total
