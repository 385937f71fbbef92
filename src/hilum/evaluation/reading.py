"""Running a classifier's network over radiographs that are already decoded."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from hilum.model import Classifier
from hilum.model.network import BATCH

__all__ = ["embeddings_of", "outputs_of", "scores_of"]

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
