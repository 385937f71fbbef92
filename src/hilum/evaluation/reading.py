"""Running a classifier over radiographs: what its network says of them, and its predictions of a part."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from hilum.cohort.pixels import cached_pixels
from hilum.cohort.table import Cohort
from hilum.evaluation.predictions import Predictions
from hilum.model import Classifier
from hilum.model.network import BATCH

__all__ = ["directions", "embeddings_of", "outputs_of", "predict", "scores_of"]

Progress = Callable[[int, int], None]


def outputs_of(
    classifier: Classifier,
    pixels: NDArray[np.uint8],
    name: str,
    progress: Progress | None = None,
) -> NDArray[np.float32]:
    """Return an output of the network, flat: shape (n, channels).

    Args:
        classifier: The classifier.
        pixels: On its grid, shape (n, size, size), uint8, n >= 1.
        name: Of the output, such as "scores" or "embedding".
        progress: Called with how many of how many are read.
    """
    batches = (np.asarray(pixels[at : at + BATCH]) for at in range(0, len(pixels), BATCH))
    found: list[NDArray[np.float32]] = []
    done = 0
    for output in classifier.network.stream(batches, name):
        found.append(output.reshape(len(output), -1))
        done += len(output)
        if progress:
            progress(done, len(pixels))
    return np.concatenate(found)


def scores_of(
    classifier: Classifier, pixels: NDArray[np.uint8], progress: Progress | None = None
) -> NDArray[np.float32]:
    """Return the raw scores of radiographs, shape (n, labels), before calibration."""
    return outputs_of(classifier, pixels, "scores", progress)


def embeddings_of(
    classifier: Classifier, pixels: NDArray[np.uint8], progress: Progress | None = None
) -> NDArray[np.float32]:
    """Return what a classifier's last layer decides by, shape (n, channels)."""
    return outputs_of(classifier, pixels, "embedding", progress)


def directions(embeddings: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return embeddings with length 1, shape (n, channels); zeros stay zeros."""
    wide = embeddings.astype(np.float64)
    lengths = np.linalg.norm(wide, axis=1, keepdims=True)
    scaled: NDArray[np.float64] = wide / np.where(lengths > 0, lengths, 1.0)
    return scaled


def predict(
    classifier: Classifier,
    part: Cohort,
    progress: Progress | None = None,
    *,
    every_finding: bool = True,
) -> tuple[Cohort, Predictions, NDArray[np.uint8]]:
    """Read the radiographs of a part.

    The gate is not asked: figures are over every readable radiograph, and the evidence counts
    those that screening would refuse.

    Args:
        classifier: The classifier.
        part: Readable radiographs.
        progress: Called with how many of how many are read.
        every_finding: Whether each finding of the task must occur.

    Returns:
        The radiographs that the task can place; their predictions; and the pixels these were made
        from, shape (n, size, size), uint8.

    Raises:
        CohortError: If a file cannot be read any more, or a finding that must occur does not.
    """
    placed, truth = part.for_task(classifier.file.labels.task, every_finding=every_finding)
    pixels = cached_pixels(placed, classifier.size)
    scores = scores_of(classifier, pixels, progress)
    predictions = Predictions(
        labels=classifier.file.labels,
        probabilities=classifier.probabilities(scores),
        truth=truth,
        patients=placed.patients,
        ids=np.array(placed.table["id"].to_list(), dtype=np.str_),
    )
    return placed, predictions, pixels
