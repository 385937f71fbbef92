"""The training radiographs nearest to others, by what the classifier makes of them.

A mistake is easier to judge beside what it was likened to: the same film under another name, the same
border, a wrong label. Distance is one minus the cosine of the embeddings, the numbers that the last
layer decides by. The embeddings of the train part are computed once and kept in the user's cache.
"""

import hashlib
import io
import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from hilum.cohort.pixels import VERSION, cache_folder, cached_pixels
from hilum.cohort.table import Cohort
from hilum.errors import EvaluationError
from hilum.evaluation.gallery import GalleryItem, Neighbour, embedded
from hilum.evaluation.reading import directions, embeddings_of
from hilum.files import ensure_folder, write_bytes
from hilum.findings import Part
from hilum.model import Classifier

__all__ = [
    "cached_embeddings",
    "learned_from",
    "nearest",
    "with_neighbours",
]

Progress = Callable[[int, int], None]

_SEAL = hashlib.sha256().digest_size  # bytes before the array: its SHA-256
_CHUNK = 512  # queries at a time, so that memory stays flat


def nearest(
    queries: NDArray[np.float32], others: NDArray[np.float32], k: int
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return the nearest of others to each query, by cosine distance.

    Args:
        queries: Embeddings, shape (q, channels), q >= 0.
        others: Embeddings, shape (n, channels).
        k: How many, from 1 to n.

    Returns:
        Rows of `others`, shape (q, k), the nearest first and of equally near ones the earlier; and
        their distances, the same shape, in [0, 2]. An embedding of zeros has the distance 1 to all.

    Raises:
        EvaluationError: If there are not `k` others.
    """
    if not 1 <= k <= len(others):
        raise EvaluationError(
            f"{k} neighbours cannot be found among {len(others)} radiographs; ask for fewer"
        )
    there = directions(others)
    indices = np.empty((len(queries), k), np.int64)
    distances = np.empty((len(queries), k), np.float64)
    for start in range(0, len(queries), _CHUNK):
        rows = slice(start, start + _CHUNK)
        apart = np.clip(1.0 - directions(queries[rows]) @ there.T, 0.0, 2.0)
        indices[rows] = np.argsort(apart, axis=1, kind="stable")[:, :k]
        distances[rows] = np.take_along_axis(apart, indices[rows], axis=1)
    return indices, distances


def cached_embeddings(
    classifier: Classifier,
    part: Cohort,
    *,
    folder: Path | None = None,
    progress: Progress | None = None,
) -> NDArray[np.float32]:
    """Return the embeddings of radiographs, computed at most once.

    The key is made of the network, its arithmetic and every radiograph's digest in order; a damaged
    cache is found by its SHA-256 and made again.

    Args:
        classifier: The classifier.
        part: Readable radiographs.
        folder: Where caches lie; the user's cache folder when None.
        progress: Called with how many of how many are read.

    Returns:
        Shape (n, channels), float32, in the part's order.

    Raises:
        CohortError: If a file is gone or was changed.
        UsageError: If the cache cannot be written.
    """
    folder = ensure_folder(folder or cache_folder() / "embeddings")
    path = folder / f"{_key(classifier, part)}.npy.sealed"
    kept = _opened(path, len(part))
    if kept is not None:
        return kept
    found = embeddings_of(classifier, cached_pixels(part, classifier.size), progress)
    buffer = io.BytesIO()
    np.save(buffer, found, allow_pickle=False)
    content = buffer.getvalue()
    write_bytes(path, hashlib.sha256(content).digest() + content)
    return found


def _key(classifier: Classifier, part: Cohort) -> str:
    content = [
        VERSION,
        classifier.network.precision,
        hashlib.sha256(classifier.file.network).hexdigest(),
        part.table["sha256"].to_list(),
    ]
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:32]


def _opened(path: Path, count: int) -> NDArray[np.float32] | None:
    """Read a cache, or return None where it is absent or damaged."""
    try:
        content = path.read_bytes()
    except OSError:
        return None
    if hashlib.sha256(content[_SEAL:]).digest() != content[:_SEAL]:
        return None
    found: NDArray[np.float32] = np.load(io.BytesIO(content[_SEAL:]), allow_pickle=False)
    return found if found.dtype == np.float32 and len(found) == count else None


def learned_from(classifier: Classifier, cohort: Cohort) -> Cohort:
    """Return the radiographs of a cohort's train part that a classifier learned from.

    They are told by their perceptual hashes, which the `.hilum` file lists.

    Raises:
        EvaluationError: If there are none.
        CohortError: If the cohort has no train part.
    """
    hashes = sorted(set(classifier.file.training_radiographs.perceptual_hashes))
    known = cohort.part(Part.TRAIN).where(pl.col("phash").is_in(hashes))
    if not len(known):
        raise EvaluationError(
            f"the cohort {cohort.name} holds no radiograph that the classifier learned from, so it "
            "cannot be said which are nearest; give the cohort it was trained on, or do not ask for "
            "neighbours"
        )
    return known


def with_neighbours(
    items: Sequence[GalleryItem],
    classifier: Classifier,
    cohort: Cohort,
    ids: NDArray[np.str_],
    pixels: NDArray[np.uint8],
    *,
    k: int = 3,
    progress: Progress | None = None,
) -> list[GalleryItem]:
    """Give each item of a gallery its nearest training radiographs, with their pictures.

    Args:
        items: Of the gallery.
        classifier: Whose embeddings.
        cohort: That holds the train part.
        ids: Of the radiographs that `items` are of, shape (n,).
        pixels: Of the same, on the classifier's grid, shape (n, size, size), uint8.
        k: How many neighbours at most.
        progress: Called with how many of how many training radiographs are read.

    Raises:
        CohortError: If the cohort has no train part, or its files changed.
        EvaluationError: If the classifier learned from none of it.
        UsageError: If the cache cannot be written.
    """
    if not items:
        return []
    learned = learned_from(classifier, cohort)
    training = cached_embeddings(classifier, learned, progress=progress)
    names, findings = learned.table["id"].to_list(), learned.findings
    digests = learned.table["sha256"].to_list()
    own = dict(cohort.table.select("id", "sha256").iter_rows())
    rows = {str(name): row for row, name in enumerate(ids)}
    queries = np.stack([pixels[rows[item.id]] for item in items])
    # One more than wanted, because a radiograph that was learned from is nearest to itself.
    found = nearest(embeddings_of(classifier, queries), training, min(k + 1, len(training)))
    grid = cached_pixels(learned, classifier.size)
    return [
        replace(
            item,
            neighbours=tuple(
                Neighbour(names[row], findings[row], float(apart), embedded(grid[row]))
                for row, apart in zip(indices, distances, strict=True)
                if digests[row] != own.get(item.id)
            )[:k],
        )
        for item, indices, distances in zip(items, *found, strict=True)
    ]
