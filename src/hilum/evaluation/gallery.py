"""The gallery: the radiographs that a classifier was most surely wrong about."""

from dataclasses import dataclass

import numpy as np

from hilum.errors import EvaluationError
from hilum.evaluation.predictions import Predictions
from hilum.findings import Finding
from hilum.model.schema import OperatingPoint

__all__ = ["GalleryItem", "confident_mistakes"]

_PNG = "data:image/png;base64,"


@dataclass(frozen=True, slots=True)
class GalleryItem:
    """One mistake.

    Args:
        id: Of the radiograph.
        truth: What the reference standard says.
        probability: Of pneumonia, in [0, 1].
        thumbnail: A PNG as a data URI, or None.

    Raises:
        EvaluationError: If the thumbnail is anything but an embedded PNG; the report loads nothing.
    """

    id: str
    truth: Finding
    probability: float
    thumbnail: str | None = None

    def __post_init__(self) -> None:
        if self.thumbnail is not None and not self.thumbnail.startswith(_PNG):
            raise EvaluationError(
                f"a thumbnail of the gallery is no embedded PNG; start it with {_PNG}"
            )

    @property
    def kind(self) -> str:
        """The mistake in words."""
        return "missed pneumonia" if self.truth.is_pneumonia else "false alarm"


def confident_mistakes(
    predictions: Predictions, operating_point: OperatingPoint, count: int = 12
) -> list[GalleryItem]:
    """List the wrong decisions that lie farthest from the threshold.

    Args:
        predictions: Of the part.
        operating_point: What decides.
        count: How many at most of missed pneumonias, and again of false alarms.

    Returns:
        Missed pneumonias by rising probability, then false alarms by falling probability.
    """
    called = predictions.pneumonia >= operating_point.threshold
    findings = predictions.labels.findings
    items: list[GalleryItem] = []
    for mask, key in (
        (predictions.is_pneumonia & ~called, predictions.pneumonia),
        (~predictions.is_pneumonia & called, -predictions.pneumonia),
    ):
        rows = np.flatnonzero(mask)
        items += [
            GalleryItem(
                id=str(predictions.ids[row]),
                truth=findings[int(predictions.truth[row])],
                probability=float(predictions.pneumonia[row]),
            )
            for row in rows[np.argsort(key[rows], kind="stable")][:count]
        ]
    return items
