"""What reduced-scale JPEG decoding costs a classifier, and what it gains in speed.

    python benchmarks/agreement.py MODEL DIR

Every JPEG below DIR is read by MODEL from a full decode and from reduced ones that keep 1.5, 2, 3 and 4
times the needed side. Printed for each: the largest change of a probability, how many decisions
changed at the default operating point, and files decoded to the network's input per second.
"""

import argparse
import time
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hilum.imaging import Radiograph, _jpeg, read
from hilum.model import Classifier, load

FACTORS = (1.5, 2, 3, 4)


def probabilities(classifier: Classifier, radiographs: list[Radiograph]) -> NDArray[np.float64]:
    """Return the probability of pneumonia of each, shape (n,), whatever the gate says."""
    pixels = [classifier.pixels_of(radiograph) for radiograph in radiographs]
    scores = [classifier.network.run(grey[None])["scores"] for grey in pixels]
    return 1.0 - classifier.probabilities(np.concatenate(scores))[:, 0]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("data", type=Path)
    options = parser.parse_args()
    classifier = load(options.model)
    threshold = classifier.file.operating_point().threshold
    files = sorted(options.data.rglob("*.jp*g"))
    full = probabilities(classifier, [read(path) for path in files])
    print(f"{len(files)} files; keeps   largest change   decisions changed   files/s")
    kept = _jpeg._OVERSAMPLING
    for factor in FACTORS:
        _jpeg._OVERSAMPLING = factor
        start = time.perf_counter()
        radiographs = [read(path, min_side=classifier.size) for path in files]
        for radiograph in radiographs:
            classifier.pixels_of(radiograph)
        seconds = time.perf_counter() - start
        reduced = probabilities(classifier, radiographs)
        change = float(np.abs(reduced - full).max())
        flips = int(((reduced >= threshold) != (full >= threshold)).sum())
        print(f"{factor:14} x {change:16.3f} {flips:19d} {len(files) / seconds:9.0f}")
    _jpeg._OVERSAMPLING = kept


if __name__ == "__main__":
    main()
