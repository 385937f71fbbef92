"""Evaluating a classifier: its predictions of one part of a cohort, and the evidence from them."""

import base64
import io
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hilum.cohort.audit import near_hashes
from hilum.cohort.pixels import cached_pixels
from hilum.cohort.table import Cohort
from hilum.evaluation.evidence import Context, Evidence, build_evidence
from hilum.evaluation.gallery import confident_mistakes
from hilum.evaluation.openings import record_opening
from hilum.evaluation.predictions import Predictions
from hilum.evaluation.report import write_evidence
from hilum.files import atomic_path, ensure_folder
from hilum.findings import Part
from hilum.model import Classifier
from hilum.model.gate import refusal_by_picture
from hilum.model.network import BATCH

__all__ = [
    "evaluate_classifier",
    "like_training",
    "predict",
    "scores_of",
    "thumbnail",
    "unreadable",
]

_THUMBNAIL = 112  # pixels a side in the gallery of the report


def predict(
    classifier: Classifier,
    part: Cohort,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[Cohort, Predictions, NDArray[np.uint8]]:
    """Read the radiographs of a part.

    The gate is not asked: figures are over every readable radiograph, and the evidence counts
    those that screening would refuse.

    Args:
        classifier: The classifier.
        part: Readable radiographs.
        progress: Called with how many of how many are read.

    Returns:
        The radiographs that the task can place; their predictions; and the pixels these were made
        from, shape (n, size, size), uint8.

    Raises:
        CohortError: If a file cannot be read any more, or a finding of the task never occurs.
    """
    placed, truth = part.for_task(classifier.file.labels.task)
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


def scores_of(
    classifier: Classifier,
    pixels: NDArray[np.uint8],
    progress: Callable[[int, int], None] | None = None,
) -> NDArray[np.float32]:
    """Return the raw scores of radiographs, shape (n, labels), before calibration.

    Args:
        classifier: The classifier.
        pixels: On its grid, shape (n, size, size), n >= 1.
        progress: Called with how many of how many are read.
    """
    batches = (pixels[start : start + BATCH] for start in range(0, len(pixels), BATCH))
    scores: list[NDArray[np.float32]] = []
    done = 0
    for output in classifier.network.stream(batches, "scores"):
        scores.append(output)
        done += len(output)
        if progress:
            progress(done, len(pixels))
    return np.concatenate(scores)


def evaluate_classifier(
    classifier: Classifier,
    cohort: Cohort,
    part: Part,
    folder: Path,
    *,
    operating_point: str | None = None,
    command: str = "",
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> Evidence:
    """Measure a classifier on one part and write `metrics.json`, `report.html`, `predictions.csv`.

    Opening a test part is recorded in the ledger of this machine.

    Args:
        classifier: The classifier.
        cohort: The cohort.
        part: Which part.
        folder: Where to write; made when it is not there.
        operating_point: Name of the one that the report speaks of; the default one when None.
        command: As typed, for provenance.
        seed: Of the bootstrap.
        progress: Called with how many of how many radiographs are read.

    Raises:
        CohortError: If the part is empty or its files changed.
        ModelError: If there is no operating point of that name.
        UsageError: If the folder cannot be written.
    """
    file = classifier.file
    point = file.operating_point(operating_point)
    chosen = cohort.part(part)
    ensure_folder(folder)  # known to work before the work starts
    placed, predictions, pixels = predict(classifier, chosen, progress)
    openings = record_opening(cohort, file.sha256) if part is Part.TEST else None
    evidence = build_evidence(
        predictions,
        point,
        context=Context(
            command=command,
            classifier_name=str(file.provenance.recipe.get("name", file.provenance.network)),
            classifier_sha256=file.sha256,
            cohort_name=cohort.name,
            cohort_sha256=cohort.digest(),
            part=part,
            phantom=cohort.phantom or file.provenance.phantom,
            left_out=len(chosen) - len(placed),
            unreadable=unreadable(cohort, part),
            gate_refuses=_refused_by_gate(classifier, placed, pixels),
            like_training=like_training(classifier, placed),
            test_openings=openings,
        ),
        seed=seed,
        other_points=file.operating_points,
    )
    rows = {str(name): row for row, name in enumerate(predictions.ids)}
    gallery = [
        replace(item, thumbnail=thumbnail(pixels[rows[item.id]]))
        for item in confident_mistakes(predictions, point)
    ]
    write_evidence(evidence, folder, gallery)
    _write_predictions(folder / "predictions.csv", predictions)
    return evidence


def unreadable(cohort: Cohort, part: Part) -> int:
    """Return how many files of a part cannot be read."""
    lost = cohort.table.filter(cohort.table["unreadable"].is_not_null())
    return int((lost["part"] == str(part)).sum())


def _refused_by_gate(classifier: Classifier, part: Cohort, pixels: NDArray[np.uint8]) -> int:
    gate, sizes = classifier.file.gate, part.table.select("rows", "columns").iter_rows()
    return sum(
        refusal_by_picture(gate, rows, columns, grey) is not None
        for (rows, columns), grey in zip(sizes, pixels, strict=True)
    )


def like_training(classifier: Classifier, part: Cohort) -> int:
    """Return how many radiographs of a part look like one that the classifier learned from."""

    def hashes(texts: Iterable[str]) -> NDArray[np.uint64]:
        return np.array([int(text, 16) for text in texts], dtype=np.uint64)

    learned = hashes(classifier.file.training_radiographs.perceptual_hashes)
    return int(near_hashes(hashes(part.table["phash"]), learned).sum())


def _write_predictions(path: Path, predictions: Predictions) -> None:
    """Write what every figure was computed from, so that others can compute it again.

    Patients are numbered within the file: that keeps radiographs of one patient together, as the
    intervals need, and tells nobody who they are.
    """
    import polars as pl

    findings = [str(finding) for finding in predictions.labels.findings]
    table = pl.DataFrame(
        {
            "id": predictions.ids.tolist(),
            "patient": np.unique(predictions.patients, return_inverse=True)[1],
            "finding": [findings[index] for index in predictions.truth],
            **{f"probability {f}": predictions.probabilities[:, i] for i, f in enumerate(findings)},
        }
    )
    with atomic_path(path) as temporary:
        table.write_csv(temporary)


def thumbnail(pixels: NDArray[np.uint8], side: int = _THUMBNAIL) -> str:
    """Return a small PNG of a picture as a data URI, so that the report needs no other file."""
    from PIL import Image

    picture = Image.fromarray(np.asarray(pixels)).resize((side, side), Image.Resampling.BOX)
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()
