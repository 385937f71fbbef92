"""A classifier ready to read: a `.hilum` file with its network compiled."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hilum.errors import ModelError
from hilum.findings import RESEARCH_USE
from hilum.imaging import Radiograph, read, squash
from hilum.model.calibration import probabilities_from_scores
from hilum.model.file import ModelFile, load_model_file
from hilum.model.gate import refusal
from hilum.model.network import Network
from hilum.model.schema import OperatingPoint

__all__ = ["Classifier", "Reading", "load"]

REFER = "refer"
DO_NOT_REFER = "do not refer"


@dataclass(frozen=True, slots=True)
class Reading:
    """What the classifier says of one radiograph.

    A refused radiograph has the reason in `refused` and no probability.
    """

    probability: float | None  # calibrated, of pneumonia of any kind, [0, 1]
    probabilities: dict[str, float]  # by finding, in the order of the labels; they sum to 1
    decision: str | None  # "refer" or "do not refer"
    operating_point: str  # its name
    threshold: float
    refused: str | None = None  # why it was not read, one sentence
    # Local log-odds of pneumonia, shape (h, w), float32, on the network's own coarse grid; None
    # where the network has no class activation map.
    saliency: NDArray[np.float32] | None = None
    research_use: str = RESEARCH_USE


class Classifier:
    """A verified `.hilum` file whose network is compiled.

    Args:
        file: The verified file.
        latency: Compile for one radiograph at a time instead of for many.

    Raises:
        ModelError: If the network does not do what the file's documents say.
    """

    def __init__(self, file: ModelFile, *, latency: bool = False) -> None:
        self.file = file
        self.network = Network(file.network, latency=latency)
        if self.network.size != file.preprocessing.size:
            raise ModelError(
                f"the network takes {self.network.size} pixels a side, "
                f"preprocessing.json says {file.preprocessing.size}"
            )
        needed = {"scores", "embedding", *(["maps"] if self.draws_maps else [])}
        if missing := needed - set(self.network.outputs):
            raise ModelError(f"the network lacks the outputs {', '.join(sorted(missing))}")
        labels = len(file.labels.findings)
        scores = self.network.run(np.zeros((1, self.size, self.size), np.uint8))["scores"]
        if scores.shape != (1, labels):
            raise ModelError(f"the network gives {scores.shape[-1]} scores for {labels} findings")

    @property
    def draws_maps(self) -> bool:
        """Whether readings come with a saliency map."""
        return self.file.saliency.method != "none"

    @property
    def size(self) -> int:
        """Side of the network's square input in pixels."""
        return self.file.preprocessing.size

    def pixels_of(self, radiograph: Radiograph) -> NDArray[np.uint8]:
        """Return the network's input for a radiograph, shape (size, size), uint8."""
        return squash(radiograph, self.size)

    def read(
        self, source: Path | str | bytes | Radiograph, *, operating_point: str | None = None
    ) -> Reading:
        """Read one radiograph.

        Args:
            source: A file, its bytes, or a radiograph that was read before.
            operating_point: Name of the operating point; the default one when None.

        Raises:
            RadiographError: If the file cannot be read as a radiograph.
            ModelError: If there is no operating point of that name.
        """
        radiograph = source if isinstance(source, Radiograph) else read(source, min_side=self.size)
        return self.read_batch([radiograph], operating_point)[0]

    def read_batch(
        self, radiographs: list[Radiograph], operating_point: str | None = None
    ) -> list[Reading]:
        """Read several radiographs in one run of the network, in order.

        Raises:
            ModelError: If there is no operating point of that name.
        """
        point = self.file.operating_point(operating_point)
        pixels = [self.pixels_of(radiograph) for radiograph in radiographs]
        return self.read_prepared(
            pixels,
            [
                refusal(self.file.gate, radiograph, grey)
                for radiograph, grey in zip(radiographs, pixels, strict=True)
            ],
            point,
        )

    def read_prepared(
        self, pixels: list[NDArray[np.uint8]], refusals: list[str | None], point: OperatingPoint
    ) -> list[Reading]:
        """Read inputs that are already on the network's grid, in order.

        Args:
            pixels: Each of shape (size, size), uint8.
            refusals: The gate's answer for each; a refused one is not read.
            point: The operating point.
        """
        accepted = [index for index, reason in enumerate(refusals) if reason is None]
        readings = [
            Reading(None, {}, None, point.name, point.threshold, refused=reason)
            for reason in refusals
        ]
        if not accepted:
            return readings
        outputs = self.network.run(np.stack([pixels[index] for index in accepted]))
        probabilities = self.probabilities(outputs["scores"])
        saliency = self.local_log_odds(outputs["maps"]) if self.draws_maps else None
        findings = [str(finding) for finding in self.file.labels.findings]
        for row, index in enumerate(accepted):
            pneumonia = float(1.0 - probabilities[row, 0])
            readings[index] = Reading(
                probability=pneumonia,
                probabilities=dict(zip(findings, map(float, probabilities[row]), strict=True)),
                decision=REFER if pneumonia >= point.threshold else DO_NOT_REFER,
                operating_point=point.name,
                threshold=point.threshold,
                saliency=None if saliency is None else saliency[row],
            )
        return readings

    def probabilities(self, scores: NDArray[np.float32]) -> NDArray[np.float64]:
        """Return calibrated probabilities, shape (n, labels), for raw scores of that shape."""
        return probabilities_from_scores(self.file.calibration, scores.astype(np.float64))

    def local_log_odds(self, maps: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the calibrated log-odds of pneumonia at each place.

        Args:
            maps: Local scores, shape (n, labels, h, w).

        Returns:
            Shape (n, h, w); above 0 where the place speaks for pneumonia. For two classes the mean
            over places is the log-odds of the whole radiograph.
        """
        calibration = self.file.calibration
        bias = np.asarray(calibration.bias, np.float32)[None, :, None, None]
        local = np.float32(calibration.scale) * maps + bias
        top = local[:, 1:].max(axis=1, keepdims=True)
        pneumonia = top[:, 0] + np.log(np.exp(local[:, 1:] - top).sum(axis=1))
        return np.asarray(pneumonia - local[:, 0], dtype=np.float32)


def load(path: Path | str, *, latency: bool = False) -> Classifier:
    """Load and verify a `.hilum` file and compile its network.

    Raises:
        ModelError: If the file is damaged or does not fit this version.
    """
    return Classifier(load_model_file(Path(path)), latency=latency)
