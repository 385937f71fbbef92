"""What a run found of one radiograph becomes pictures, cards for the page, and a row of the document."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hilum.explanation.documents import (
    ExplainedMap,
    ExplainedRadiograph,
    MethodUsed,
    Peak,
    ScaleFrom,
)
from hilum.explanation.drawing import draw_map, heated, picture_name, write_picture
from hilum.explanation.methods import Explainer
from hilum.explanation.page import Card
from hilum.imaging import Provenance
from hilum.model import Classifier, Reading

__all__ = ["Explained", "Found", "method_used", "write_explained"]


@dataclass(frozen=True, slots=True)
class Found:
    """What one method found on one radiograph."""

    values: NDArray[np.float32]  # the method's own map, (h, w)
    seconds: float
    sums: tuple[float, float] | None  # what it should add up to, and what it does


@dataclass(frozen=True, slots=True)
class Explained:
    """A radiograph with its reading and what each method found."""

    file: str  # as written in results
    number: int  # position among the inputs, from 1
    provenance: Provenance
    picture: NDArray[np.uint8]  # small, (rows, columns)
    reading: Reading
    log_odds: float  # of the finding that is explained
    found: tuple[Found, ...]  # in the order of the methods
    feature_maps: str | None  # the sheet's file


def method_used(
    classifier: Classifier, explain: Explainer, maps: list[NDArray[np.float32]]
) -> MethodUsed:
    """Return how a method was used, with the scale of its colours for the whole run.

    Args:
        classifier: The explained one.
        explain: The method.
        maps: All that it gave.
    """
    # Only the class activation map has a scale that was fixed when the classifier was trained.
    origin: ScaleFrom = "highest of the run"
    scale = max((float(values.max()) for values in maps), default=0.0)
    if explain.method.name == "class-activation-map":
        origin, scale = "fixed in the classifier", classifier.file.saliency.scale
    elif explain.method.speckled and maps:
        origin = "99.5th percentile of the run"
        scale = float(np.percentile(np.stack(maps), 99.5))
    return MethodUsed(
        name=explain.method.name,
        about=explain.method.about,
        unit=explain.method.unit,
        layer=explain.layer,
        parameters=explain.parameters,
        asks_finding=explain.method.asks_finding,
        scale=max(scale, 0.0),
        scale_from=origin,
    )


def write_explained(
    row: Explained, used: list[MethodUsed], finding: str, folder: Path
) -> tuple[ExplainedRadiograph, list[Card]]:
    """Draw and write the pictures of a radiograph.

    Args:
        row: What was found.
        used: The methods, in the same order.
        finding: What is explained.
        folder: Where to.

    Returns:
        The radiograph's row of the document, and its cards for the page.

    Raises:
        UsageError: If a picture cannot be written.
    """
    maps, cards = [], []
    for method, found in zip(used, row.found, strict=True):
        file = picture_name(row.number, row.file, method.name)
        drawn = draw_map(
            row.picture,
            found.values,
            method.scale,
            unit=method.unit,
            caption=_caption(row, method, float(found.values.max()), finding),
        )
        write_picture(folder / file, drawn)
        shown = heated(row.picture, found.values, method.scale)
        cards.append(Card(row.number, file, method, shown, float(found.values.max())))
        maps.append(
            ExplainedMap(
                method=method.name,
                picture=file,
                grid=(found.values.shape[0], found.values.shape[1]),
                highest=float(found.values.max()),
                lowest=float(found.values.min()),
                peak=_peak(found.values, row.provenance),
                seconds=found.seconds,
                should_add_up_to=found.sums[0] if found.sums else None,
                adds_up_to=found.sums[1] if found.sums else None,
            )
        )
    reading = row.reading
    explained = ExplainedRadiograph(
        file=row.file,
        status="explained",
        format=row.provenance.format,
        sha256=row.provenance.sha256,
        probability=reading.probability,
        probabilities=reading.probabilities,
        log_odds=row.log_odds,
        decision=reading.decision,
        operating_point=reading.operating_point,
        threshold=reading.threshold,
        maps=tuple(maps),
        feature_maps=row.feature_maps,
    )
    return explained, cards


def _caption(row: Explained, method: MethodUsed, highest: float, finding: str) -> list[str]:
    where = f", layer {method.layer}" if method.layer else ""
    what = f"for {finding}" if method.asks_finding else "of no finding"
    probability = row.reading.probability
    assert probability is not None  # what the gate refuses is not explained
    return [
        f"{method.name}{where}: {what}, log-odds {row.log_odds:+.2f}",
        f"Probability of pneumonia {probability:.3f}: {row.reading.decision} "
        f"(threshold {row.reading.threshold:.3f}, {row.reading.operating_point})",
        f"Hottest colour: {method.scale:.3g} {method.unit} ({method.scale_from}); highest here: {highest:.3g}",
    ]


def _peak(values: NDArray[np.float32], origin: Provenance) -> Peak | None:
    """Return the middle of the highest place, or None where no place is above 0."""
    if not values.max() > 0:
        return None
    row, column = np.unravel_index(int(values.argmax()), values.shape)
    down, across = (row + 0.5) / values.shape[0], (column + 0.5) / values.shape[1]
    return Peak(
        down=float(down),
        across=float(across),
        source_row=int(down * origin.source_rows),
        source_column=int(across * origin.source_columns),
    )
