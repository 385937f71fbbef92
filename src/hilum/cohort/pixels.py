"""The pixel cache: a cohort decoded once to the training size, in one memory-mapped file.

The key is made of every radiograph's digest in order and of the preprocessing, so a changed file or
size gives another cache. Two processes that want the same one wait for each other (a lock file by
the library `filelock`); a damaged one is found by its checksums and made again.
"""

import hashlib
import json
import os
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hilum.cohort.table import Cohort
from hilum.errors import CohortError, HilumError, UsageError
from hilum.files import atomic_path, ensure_folder, write_text
from hilum.imaging import read, squash

__all__ = ["VERSION", "cache_folder", "cached_pixels"]

VERSION = 1  # of the preprocessing; raise it when `imaging` changes what pixels come out
_THREADS = 4
_BLOCK = 256  # radiographs per checksum


def cache_folder() -> Path:
    """Return the user's folder for what hilum can make again (XDG_CACHE_HOME is respected)."""
    from platformdirs import user_cache_path

    return user_cache_path("hilum")


def cached_pixels(
    cohort: Cohort,
    size: int,
    *,
    folder: Path | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> NDArray[np.uint8]:
    """Return a cohort's radiographs on the training grid, decoding them at most once.

    Args:
        cohort: Readable radiographs only.
        size: Side of the square grid in pixels.
        folder: Where caches lie; the user's cache folder when None.
        progress: Called with how many radiographs of how many are decoded.

    Returns:
        Shape (n, size, size), uint8, memory-mapped and read-only, in the cohort's order.

    Raises:
        CohortError: If a file is gone, was changed since the cohort was built, or cannot be read.
        UsageError: If the cache cannot be written.
    """
    from filelock import FileLock

    folder = ensure_folder(folder or cache_folder() / "pixels")
    key = _key(cohort, size)
    data, sums = folder / f"{key}.npy", folder / f"{key}.json"
    shape = (len(cohort), size, size)
    try:
        with FileLock(folder / f"{key}.lock"):
            pixels = _open(data, sums, shape)
            if pixels is None:
                _decode_all(cohort, size, data, sums, progress)
                pixels = _open(data, sums, shape)
    except (OSError, UsageError) as error:
        raise UsageError(
            f"the pixel cache in {folder} cannot be used ({error.__cause__ or error}); free space "
            "there, or set XDG_CACHE_HOME to another folder"
        ) from error
    if pixels is None:
        raise CohortError(
            f"the cache in {folder} is damaged as soon as it is written; check the disk"
        )
    return pixels


def _key(cohort: Cohort, size: int) -> str:
    content = [VERSION, size, cohort.table["sha256"].to_list()]
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:32]


def _checksums(pixels: NDArray[np.uint8]) -> list[int]:
    return [
        zlib.crc32(np.ascontiguousarray(pixels[start : start + _BLOCK]).data)
        for start in range(0, len(pixels), _BLOCK)
    ]


def _open(data: Path, sums: Path, shape: tuple[int, int, int]) -> NDArray[np.uint8] | None:
    """Map a cache, or return None where it is absent, incomplete or damaged."""
    try:
        pixels: Any = np.load(data, mmap_mode="r", allow_pickle=False)
        expected = json.loads(sums.read_text())
    except (OSError, ValueError, EOFError):
        return None
    if pixels.shape != shape or pixels.dtype != np.uint8 or _checksums(pixels) != expected:
        return None
    return np.asarray(pixels)


def _decode_all(
    cohort: Cohort,
    size: int,
    data: Path,
    sums: Path,
    progress: Callable[[int, int], None] | None,
) -> None:
    total = len(cohort)
    expected = cohort.table["sha256"].to_list()

    def decode(index: int) -> NDArray[np.uint8]:
        path = files[index]
        try:
            radiograph = read(path, min_side=size)
        except HilumError as error:
            raise CohortError(
                f"{error}; it was readable when the cohort was built (if the folder moved, say "
                "where to with --root)"
            ) from error
        if radiograph.provenance.sha256 != expected[index]:
            raise CohortError(f"{path} changed since the cohort was built; build the cohort again")
        return squash(radiograph, size)

    files = cohort.files()
    with atomic_path(data) as temporary:
        target = np.lib.format.open_memmap(
            temporary, mode="w+", dtype=np.uint8, shape=(total, size, size)
        )
        # A sparse file would fail only when a page is written, and then by a signal.
        with temporary.open("r+b") as file:
            os.posix_fallocate(file.fileno(), 0, temporary.stat().st_size)
        pool = ThreadPoolExecutor(_THREADS)
        try:
            for index, pixels in enumerate(pool.map(decode, range(total))):
                target[index] = pixels
                if progress:
                    progress(index + 1, total)
        finally:
            pool.shutdown(cancel_futures=True)
        target.flush()
        checksums = _checksums(target)
        del target
    # The checksums come last: without them the cache counts as absent.
    write_text(sums, json.dumps(checksums))
