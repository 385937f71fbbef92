"""The gallery: the radiographs that a classifier was most surely wrong about, and those it barely decided."""

import base64
import io
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from hilum.errors import EvaluationError
from hilum.evaluation.predictions import Predictions
from hilum.findings import Finding
from hilum.model.schema import OperatingPoint

__all__ = [
    "GalleryItem",
    "Neighbour",
    "confident_mistakes",
    "embedded",
    "least_certain",
    "pictured",
]

_PNG = "data:image/png;base64,"
_SIDE = 112  # pixels a side; the report stays small, and a page shows them hardly larger


def _check_embedded(thumbnail: str | None) -> None:
    if thumbnail is not None and not thumbnail.startswith(_PNG):
        raise EvaluationError(
            f"a thumbnail of the gallery is no embedded PNG; start it with {_PNG}"
        )


@dataclass(frozen=True, slots=True)
class Neighbour:
    """A training radiograph that the classifier sees alike.

    Args:
        id: Of the radiograph.
        finding: What the reference standard says.
        distance: Cosine distance of the embeddings, in [0, 2].
        thumbnail: A PNG as a data URI, or None.

    Raises:
        EvaluationError: If the thumbnail is anything but an embedded PNG; the report loads nothing.
    """

    id: str
    finding: Finding
    distance: float
    thumbnail: str | None = None

    def __post_init__(self) -> None:
        _check_embedded(self.thumbnail)


@dataclass(frozen=True, slots=True)
class GalleryItem:
    """One radiograph with what was said of it.

    Args:
        id: Of the radiograph.
        truth: What the reference standard says.
        probability: Of pneumonia, in [0, 1].
        thumbnail: A PNG as a data URI, or None.
        right: Whether the decision was right.
        neighbours: The nearest training radiographs, the nearest first; empty where nobody looked.

    Raises:
        EvaluationError: If the thumbnail is anything but an embedded PNG; the report loads nothing.
    """

    id: str
    truth: Finding
    probability: float
    thumbnail: str | None = None
    right: bool = False
    neighbours: tuple[Neighbour, ...] = ()

    def __post_init__(self) -> None:
        _check_embedded(self.thumbnail)

    @property
    def kind(self) -> str:
        """The decision in words."""
        if self.right:
            return "found pneumonia" if self.truth.is_pneumonia else "cleared normal"
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
    items: list[GalleryItem] = []
    for mask, key in (
        (predictions.is_pneumonia & ~called, predictions.pneumonia),
        (~predictions.is_pneumonia & called, -predictions.pneumonia),
    ):
        rows = np.flatnonzero(mask)
        items += [
            _item(predictions, row, right=False)
            for row in rows[np.argsort(key[rows], kind="stable")][:count]
        ]
    return items


def least_certain(
    predictions: Predictions, operating_point: OperatingPoint, count: int = 12
) -> list[GalleryItem]:
    """List the radiographs nearest the threshold, the nearest first, right or wrong.

    Nearness is in log-odds, as where the least certain are referred
    (`hilum.evaluation.uncertainty.abstention_curve`).

    Args:
        predictions: Of the part.
        operating_point: What decides.
        count: How many at most.
    """
    threshold = operating_point.threshold
    inside = np.clip([*predictions.pneumonia, threshold], 1e-12, 1 - 1e-12)
    odds = np.log(inside / (1 - inside))
    right = (predictions.pneumonia >= threshold) == predictions.is_pneumonia
    nearest = np.argsort(np.abs(odds[:-1] - odds[-1]), kind="stable")[:count]
    return [_item(predictions, row, right=bool(right[row])) for row in nearest]


def _item(predictions: Predictions, row: int, *, right: bool) -> GalleryItem:
    return GalleryItem(
        id=str(predictions.ids[row]),
        truth=predictions.labels.findings[int(predictions.truth[row])],
        probability=float(predictions.pneumonia[row]),
        right=right,
    )


def pictured(
    items: list[GalleryItem], ids: NDArray[np.str_], pixels: NDArray[np.uint8]
) -> list[GalleryItem]:
    """Give each item its picture.

    Args:
        items: From the functions above.
        ids: Of the radiographs, shape (n,).
        pixels: Of the same, shape (n, size, size), uint8.
    """
    rows = {str(name): row for row, name in enumerate(ids)}
    return [replace(item, thumbnail=embedded(pixels[rows[item.id]])) for item in items]


def embedded(pixels: NDArray[np.uint8], side: int = _SIDE) -> str:
    """Return a small PNG of a picture as a data URI, so that a page needs no other file."""
    from PIL import Image

    picture = Image.fromarray(np.asarray(pixels)).resize((side, side), Image.Resampling.BOX)
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    return _PNG + base64.b64encode(buffer.getvalue()).decode()
