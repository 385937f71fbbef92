"""Training: a recipe and a cohort become a classifier in one `.hilum` file, with its evidence.

The train part is learned from; the validation part calibrates, chooses the operating points and
gives the evidence inside the file. The test part is not touched.
"""

import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hilum._version import __version__
from hilum.cohort.pixels import cached_pixels
from hilum.cohort.split import check_parts_apart
from hilum.cohort.table import Cohort
from hilum.evaluation import (
    Context,
    Predictions,
    build_evidence,
    choose_operating_point,
    fit_calibration,
    openings_of,
    parse_aim,
)
from hilum.files import ensure_folder, write_text
from hilum.findings import Part
from hilum.model import Classifier, ModelFile, load_model_file, save_model_file
from hilum.model.network import BATCH
from hilum.model.schema import (
    Calibration,
    Gate,
    Labels,
    Preprocessing,
    Provenance,
    Saliency,
    TrainingRadiographs,
)
from hilum.networks import FROZEN_BASES, join_linear_head
from hilum.training.card import write_card
from hilum.training.frozen import embed, fit_head
from hilum.training.recipe import Recipe

__all__ = ["Stage", "TrainingResult", "train"]

# Shows a named stage while it runs and takes (done, total).
Stage = Callable[[str], AbstractContextManager[Callable[[int, int], None]]]
# The share of the validation radiographs' positive local log-odds below the hottest colour.
_SALIENCY_QUANTILE = 0.99


@dataclass(frozen=True, slots=True)
class TrainingResult:
    """What a training left behind."""

    path: Path  # the .hilum file
    sha256: str
    model: ModelFile
    seconds: dict[str, float]  # wall time of each stage


def _silent(_: str) -> AbstractContextManager[Callable[[int, int], None]]:
    return nullcontext(lambda _done, _total: None)


def train(
    recipe: Recipe, cohort: Cohort, out: Path, *, command: str, stage: Stage = _silent
) -> TrainingResult:
    """Train a classifier and write `model.hilum` and `recipe.json` into a folder.

    Args:
        recipe: What to train and how.
        cohort: With a train and a validation part that share no patient.
        out: The folder; made when it is not there.
        command: As typed, for provenance.
        stage: Shows progress.

    Raises:
        CohortError: If a part is missing, patients are shared, or a finding is too rare.
        UsageError: If the folder cannot be written.
    """
    ensure_folder(out)
    check_parts_apart(cohort)
    base = FROZEN_BASES[recipe.network]
    parts = {part: cohort.part(part) for part in (Part.TRAIN, Part.VALIDATION)}
    learning, learning_truth = parts[Part.TRAIN].for_task(recipe.task)
    validation, truth = parts[Part.VALIDATION].for_task(recipe.task)
    left_out = {
        str(part): len(parts[part]) - len(used)
        for part, used in ((Part.TRAIN, learning), (Part.VALIDATION, validation))
    }
    seconds: dict[str, float] = {}

    def timed(name: str, work: Callable[[Callable[[int, int], None]], Any]) -> Any:
        start = time.perf_counter()
        with stage(name) as progress:
            result = work(progress)
        seconds[name] = round(time.perf_counter() - start, 2)
        return result

    pixels, held_out = timed(
        "decode",
        lambda p: [cached_pixels(used, base.size, progress=p) for used in (learning, validation)],
    )
    features = timed("embed", lambda p: embed(base, pixels, p))
    head = timed(
        "fit",
        lambda p: fit_head(
            features, learning_truth, learning.patients, recipe.head, recipe.seed, p
        ),
    )
    labels = Labels(task=recipe.task, findings=recipe.task.labels)
    draft = ModelFile(
        network=join_linear_head(base.path.read_bytes(), head.weights, head.bias),
        labels=labels,
        preprocessing=Preprocessing(size=base.size),
        calibration=Calibration(bias=(0.0,) * len(labels.findings)),
        operating_points=(),
        saliency=Saliency(scale=1.0),
        gate=Gate(),
        provenance=Provenance(
            hilum_version=__version__,
            created=datetime.now(UTC).isoformat(timespec="seconds"),
            command=command,
            recipe={
                **recipe.model_dump(mode="json"),
                "chosen": {
                    "c": head.c,
                    "log_loss": {str(c): v for c, v in head.log_losses.items()},
                },
            },
            seed=recipe.seed,
            cohort_sha256=cohort.digest(),
            cohort_name=cohort.name,
            radiographs={"train": len(learning), "validation": len(validation)},
            patients={
                "train": len(np.unique(learning.patients)),
                "validation": len(np.unique(validation.patients)),
            },
            left_out=left_out,
            phantom=cohort.phantom,
            network=base.name,
            network_weights=base.weights,
            test_openings=openings_of(cohort),
        ),
        training_radiographs=TrainingRadiographs(perceptual_hashes=tuple(learning.table["phash"])),
        evidence={},
        card="",
    )
    model = timed(
        "validate", lambda p: _prove(draft, recipe, validation, truth, held_out, command, p)
    )
    path = out / "model.hilum"
    save_model_file(model, path)
    write_text(out / "recipe.json", recipe.model_dump_json(indent=2))
    written = load_model_file(path)
    return TrainingResult(path, written.sha256, written, seconds)


def _prove(
    draft: ModelFile,
    recipe: Recipe,
    validation: Cohort,
    truth: NDArray[np.int64],
    pixels: NDArray[np.uint8],
    command: str,
    progress: Callable[[int, int], None],
) -> ModelFile:
    """Calibrate on the validation part, choose operating points there, and add the evidence."""
    classifier = Classifier(draft)
    scores, maps = [], []
    for start in range(0, len(pixels), BATCH):
        outputs = classifier.network.run(np.asarray(pixels[start : start + BATCH]))
        scores.append(outputs["scores"])
        maps.append(outputs["maps"])
        progress(min(start + BATCH, len(pixels)), len(pixels))
    calibration = fit_calibration(np.concatenate(scores).astype(np.float64), truth)
    calibrated = Classifier(replace(draft, calibration=calibration))
    probabilities = calibrated.probabilities(np.concatenate(scores))
    predictions = Predictions(
        labels=draft.labels,
        probabilities=probabilities,
        truth=truth,
        patients=validation.patients,
        ids=np.array(validation.table["id"].to_list(), dtype=np.str_),
    )
    points = tuple(
        choose_operating_point(
            parse_aim(aim),
            predictions.pneumonia,
            predictions.is_pneumonia,
            chosen_on=str(Part.VALIDATION),
        )
        for aim in recipe.operating_point.aims
    )
    local = calibrated.local_log_odds(np.concatenate(maps))
    positive = local[local > 0]
    scale = float(np.quantile(positive, _SALIENCY_QUANTILE)) if positive.size else 1.0
    evidence = build_evidence(
        predictions,
        points[0],
        context=Context(
            command=command,
            classifier_name=recipe.name,
            cohort_name=draft.provenance.cohort_name,
            cohort_sha256=draft.provenance.cohort_sha256,
            part=Part.VALIDATION,
            phantom=draft.provenance.phantom,
            left_out=draft.provenance.left_out[str(Part.VALIDATION)],
        ),
        seed=recipe.seed,
        other_points=points,
    )
    proven = replace(
        draft,
        calibration=calibration,
        operating_points=points,
        saliency=Saliency(scale=scale),
        evidence=evidence.model_dump(mode="json"),
    )
    return replace(proven, card=write_card(proven))
