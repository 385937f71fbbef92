"""Features of the frozen part of a network: computed once, by OpenVINO, and cached on disk.

What is frozen gives the same features in every epoch, so training what comes after it needs one pass
per radiograph and augmented view instead of one per epoch. The cache's key is made of the network's
bytes, the radiographs' digests, and the augmentation; the oldest caches go when they exceed a limit.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from hilum.cohort.pixels import VERSION as PIXELS_VERSION
from hilum.cohort.pixels import cache_folder
from hilum.errors import UsageError
from hilum.files import atomic_path, ensure_folder
from hilum.model.network import BATCH, Network
from hilum.training.augment import augment
from hilum.training.augmentation import Augmentation
from hilum.training.batches import derived_seed
from hilum.training.draws import draw
from hilum.training.exchange import Styles

__all__ = ["cached_features"]

_VERSION = 1
# Bytes that feature caches may fill together; Inception V3's last maps of 5,000 radiographs are 1.4 GB.
_LIMIT = 12 << 30
_LARGEST = float(np.finfo(np.float16).max)


def cached_features(
    onnx: bytes,
    pixels: NDArray[np.uint8],
    key: str,
    *,
    augmentation: Augmentation | None,
    views: int,
    seed: int,
    folder: Path | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[NDArray[np.float16], ...]:
    """Return what the frozen part of a network makes of radiographs.

    Args:
        onnx: The frozen part as `export_prefix` gives it.
        pixels: Shape (n, size, size), uint8.
        key: Digest of the radiographs, for the cache.
        augmentation: Drawn anew for each view; None: plain radiographs.
        views: How many augmented views; 0 is the plain one.
        seed: Of the augmentation.
        folder: Where caches lie; the user's cache folder when None.
        progress: Called with how many passes of how many are done.

    Returns:
        One array per view, memory-mapped, float16, shape (n, channels) or (n, channels, h, w).

    Raises:
        UsageError: If the cache cannot be written or the disk has no room.
    """
    from filelock import FileLock

    folder = ensure_folder(folder or cache_folder() / "features")
    count = max(views, 1)
    chosen = augmentation if views else None
    base = hashlib.sha256(onnx).hexdigest()
    passes = count * len(pixels)
    found: list[NDArray[np.float16]] = []
    network = Network(onnx)
    # Everything that moves a feature: pixels, network, its arithmetic, and the batches of a view.
    made_of = [_VERSION, PIXELS_VERSION, base, key, network.precision, version("openvino"), BATCH]
    for view in range(count):
        content = [*made_of, view]
        content += [chosen.model_dump_json(), seed] if chosen else []
        name = hashlib.sha256(json.dumps(content).encode()).hexdigest()[:32]
        path = folder / f"{name}.npy"
        with FileLock(folder / f"{name}.lock"):
            features = _opened(path, len(pixels))
            if features is None:
                inputs = _inputs(pixels, chosen, derived_seed(seed, "view", view))
                _write(
                    path,
                    network,
                    inputs,
                    len(pixels),
                    lambda done, v=view: progress and progress(v * len(pixels) + done, passes),  # type: ignore[misc]
                )
                features = _opened(path, len(pixels))
            if features is None:
                raise UsageError(
                    f"the feature cache {path} is damaged as it is written; check the disk"
                )
            path.touch()
            found.append(features)
    _trim(folder)
    return tuple(found)


def _opened(path: Path, count: int) -> NDArray[np.float16] | None:
    """Map a cache, or return None where it is absent or cut short."""
    try:
        features: NDArray[np.float16] = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    return features if features.dtype == np.float16 and len(features) == count else None


def _inputs(
    pixels: NDArray[np.uint8], augmentation: Augmentation | None, seed: int
) -> Iterator[NDArray[np.uint8]]:
    styles = Styles.of(pixels) if augmentation is not None and augmentation.exchange else None
    for start in range(0, len(pixels), BATCH):
        batch = np.array(pixels[start : start + BATCH])
        if augmentation is not None:
            draws = draw(augmentation, len(batch), seed=derived_seed(seed, start))
            pictures = augment(torch.from_numpy(batch)[:, None], draws, augmentation, styles)
            batch = (pictures[:, 0] * 255).round().to(torch.uint8).numpy()
        yield batch


def _write(
    path: Path,
    network: Network,
    batches: Iterator[NDArray[np.uint8]],
    count: int,
    progress: Callable[[int], object],
) -> None:
    target: np.memmap[Any, np.dtype[np.float16]] | None = None
    start = 0
    with atomic_path(path) as temporary:
        for features in network.stream(batches, "features"):
            if target is None:
                shape = (count, *features.shape[1:])
                _check_room(path.parent, 2 * int(np.prod(shape)))
                target = np.lib.format.open_memmap(
                    temporary, mode="w+", dtype=np.float16, shape=shape
                )
                # A sparse file would fail only when a page is written, and then by a signal.
                with temporary.open("r+b") as file:
                    os.posix_fallocate(file.fileno(), 0, temporary.stat().st_size)
            target[start : start + len(features)] = np.clip(features, -_LARGEST, _LARGEST)
            start += len(features)
            progress(start)
        assert target is not None
        target.flush()
        del target


def _check_room(folder: Path, needed: int) -> None:
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise UsageError(
            f"the feature cache needs {needed / 1e9:.1f} GB in {folder}, where {free / 1e9:.1f} GB "
            'are free; free space, set XDG_CACHE_HOME to another folder, or say frozen = "plain"'
        )


def _trim(folder: Path) -> None:
    """Remove the caches that were used longest ago until the rest fits the limit."""
    caches = sorted(folder.glob("*.npy"), key=lambda path: path.stat().st_mtime, reverse=True)
    total = 0
    for path in caches:
        total += path.stat().st_size
        if total > _LIMIT:
            # Whoever has it mapped keeps its pages; the name alone goes.
            path.unlink(missing_ok=True)
