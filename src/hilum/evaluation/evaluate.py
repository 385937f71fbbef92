"""Evaluating a classifier: its predictions of one part of a cohort, and the evidence from them."""

from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from hilum.cohort.hashes import near_hashes
from hilum.cohort.table import Cohort
from hilum.errors import EvaluationError
from hilum.evaluation.build import build_evidence
from hilum.evaluation.calibration_choice import CalibrationChoice
from hilum.evaluation.evidence import Context, Evidence
from hilum.evaluation.external import ReadPart, external_evidence
from hilum.evaluation.gallery import confident_mistakes, least_certain, pictured
from hilum.evaluation.neighbours import learned_from, with_neighbours
from hilum.evaluation.openings import record_opening
from hilum.evaluation.predictions import Predictions
from hilum.evaluation.reading import predict
from hilum.evaluation.report import write_evidence
from hilum.evaluation.robustness import measure_robustness
from hilum.evaluation.robustness_plots import robustness_plots
from hilum.evaluation.subgroups import subgroup_evidence
from hilum.files import atomic_path, ensure_folder
from hilum.findings import Part
from hilum.model import Classifier
from hilum.model.gate import refusal_by_picture

__all__ = ["External", "evaluate_classifier", "like_training", "unreadable"]

External = tuple[Cohort, Part]  # another hospital's radiographs
# Given the name of a step, returns a context that is told how many of how many are done.
Stage = Callable[[str], AbstractContextManager[Callable[[int, int], None]]]


def evaluate_classifier(
    classifier: Classifier,
    cohort: Cohort,
    part: Part,
    folder: Path,
    *,
    operating_point: str | None = None,
    prevalences: Sequence[float] = (),
    external: Sequence[External] = (),
    robustness: bool = False,
    neighbours: bool = False,
    command: str = "",
    seed: int = 0,
    stage: Stage | None = None,
) -> Evidence:
    """Measure a classifier on one part and write `metrics.json`, `report.html`, `predictions.csv`.

    Opening a test part, an external one too, is recorded in the ledger of this machine.

    Args:
        classifier: The classifier.
        cohort: The cohort.
        part: Which part.
        folder: Where to write; made when it is not there.
        operating_point: Name of the one that the report speaks of; the default one when None.
        prevalences: Elsewhere, in (0, 1), to say what a call would mean there.
        external: Parts of other cohorts to hold it against, at the same operating point.
        robustness: Read a sample again under graded changes, which takes most of the time.
        neighbours: Show the nearest training radiographs beside those of the galleries; the cohort
            must hold what the classifier learned from.
        command: As typed, for provenance.
        seed: Of the bootstrap.
        stage: Shows progress.

    Raises:
        CohortError: If a part is empty or its files changed.
        EvaluationError: If an external part is not another one, or no training radiograph is there.
        ModelError: If there is no operating point of that name.
        UsageError: If the folder cannot be written.
    """
    if neighbours:
        learned_from(classifier, cohort)  # refuses before any work
    stage = stage or (lambda _: nullcontext(lambda _done, _total: None))
    file = classifier.file
    point = file.operating_point(operating_point)
    chosen = cohort.part(part)
    ensure_folder(folder)  # known to work before the work starts
    alike = [_check_elsewhere(classifier, cohort, *each) for each in external]
    if len({(other.digest(), each) for other, each in external}) < len(external):
        raise EvaluationError("the same external part is named twice; name it once")
    with stage("reading") as progress:
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
            calibration_choice=_calibration_choice(classifier),
        ),
        seed=seed,
        other_points=file.operating_points,
        prevalences=prevalences,
    )
    read = ReadPart(cohort.name, part, placed, predictions, pixels)
    elsewhere = []
    for (other, other_part), like_ours in zip(external, alike, strict=True):
        with stage(f"reading {other.name}") as progress:
            opened = record_opening(other, file.sha256) if other_part is Part.TEST else None
            elsewhere.append(
                external_evidence(
                    classifier,
                    read,
                    other,
                    other_part,
                    point,
                    seed=seed,
                    test_openings=opened,
                    like_training=like_ours,
                    progress=progress,
                )
            )
    robust = None
    if robustness:
        with stage("changing and reading again") as progress:
            robust = measure_robustness(
                classifier,
                pixels,
                predictions.is_pneumonia,
                predictions.patients,
                point,
                seed=seed,
                progress=progress,
            )
    evidence = evidence.model_copy(
        update={
            "subgroups": subgroup_evidence(predictions, placed, point, seed=seed),
            "external": tuple(elsewhere),
            "robustness": robust,
        }
    )
    galleries = [
        pictured(items, predictions.ids, pixels)
        for items in (confident_mistakes(predictions, point), least_certain(predictions, point))
    ]
    if neighbours:
        with stage("reading what it learned from") as progress:
            galleries = [
                with_neighbours(
                    items, classifier, cohort, predictions.ids, pixels, progress=progress
                )
                for items in galleries
            ]
    mistakes, unsure = galleries
    write_evidence(
        evidence,
        folder,
        mistakes,
        unsure,
        robustness_plots=robustness_plots(robust) if robust else (),
    )
    _write_predictions(folder / "predictions.csv", predictions)
    return evidence


def _check_elsewhere(classifier: Classifier, cohort: Cohort, other: Cohort, part: Part) -> int:
    """Refuse as external what the classifier or the cohort knows already.

    Returns:
        How many radiographs there look like one that was learned from.

    Raises:
        CohortError: If the part is empty.
        EvaluationError: If they share files, or the part looks like what was learned from.
    """
    chosen = other.part(part)
    if shared := set(cohort.table["sha256"]) & set(chosen.table["sha256"]):
        raise EvaluationError(
            f"{len(shared)} radiographs of {other.name} ({part}) are in {cohort.name}, too; external "
            "evidence needs a cohort from elsewhere"
        )
    alike = like_training(classifier, chosen)
    if alike > len(chosen) / 2:
        raise EvaluationError(
            f"{alike} of the {len(chosen)} radiographs of {other.name} ({part}) look like ones that the "
            "classifier learned from; external evidence needs a cohort from elsewhere"
        )
    return alike


def _calibration_choice(classifier: Classifier) -> CalibrationChoice | None:
    """Return how the calibration was chosen, which the evidence in the file tells."""
    told = classifier.file.evidence.get("calibration_choice")
    try:
        return CalibrationChoice.model_validate(told) if told else None
    except ValidationError:
        return None  # another hilum's words; the figures do not hang on them


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
