"""From a network to a classifier: calibrate, choose operating points, and add the evidence.

All of it is measured on the validation part, which no weight learned from.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from hilum.cohort.table import Cohort
from hilum.evaluation import (
    Context,
    Predictions,
    build_evidence,
    choose_operating_point,
    parse_aim,
)
from hilum.evaluation.calibration_choice import choose_calibration
from hilum.evaluation.evaluate import like_training
from hilum.findings import Part
from hilum.model import Classifier, ModelFile
from hilum.model.network import BATCH
from hilum.model.schema import Saliency
from hilum.training.card import write_card
from hilum.training.recipe import Recipe

__all__ = ["Validation", "prove"]

# The share of the validation radiographs' positive local log-odds below the hottest colour.
_SALIENCY_QUANTILE = 0.99


@dataclass(frozen=True)
class Validation:
    """The validation part, decoded."""

    cohort: Cohort
    truth: NDArray[np.int64]  # label index of each
    pixels: NDArray[np.uint8]  # (n, size, size)


def prove(
    draft: ModelFile,
    recipe: Recipe,
    validation: Validation,
    command: str,
    progress: Callable[[int, int], None],
) -> ModelFile:
    """Calibrate on the validation part, choose operating points there, and add the evidence.

    Args:
        draft: The network with its documents; calibration, points and evidence still empty.
        recipe: Whose aims the operating points meet.
        validation: The part.
        command: As typed, for provenance.
        progress: Called with how many radiographs of how many are read.
    """
    classifier = Classifier(draft)
    pixels, truth = validation.pixels, validation.truth
    scores, maps = [], []
    for start in range(0, len(pixels), BATCH):
        outputs = classifier.network.run(np.asarray(pixels[start : start + BATCH]))
        scores.append(outputs["scores"])
        if classifier.draws_maps:
            maps.append(outputs["maps"])
        progress(min(start + BATCH, len(pixels)), len(pixels))
    calibration, choice = choose_calibration(
        np.concatenate(scores).astype(np.float64),
        truth,
        validation.cohort.patients,
        seed=recipe.seed,
    )
    calibrated = Classifier(replace(draft, calibration=calibration))
    probabilities = calibrated.probabilities(np.concatenate(scores))
    predictions = Predictions(
        labels=draft.labels,
        probabilities=probabilities,
        truth=truth,
        patients=validation.cohort.patients,
        ids=np.array(validation.cohort.table["id"].to_list(), dtype=np.str_),
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
    saliency = draft.saliency
    if maps:
        local = calibrated.local_log_odds(np.concatenate(maps))
        positive = local[local > 0]
        scale = float(np.quantile(positive, _SALIENCY_QUANTILE)) if positive.size else 1.0
        saliency = Saliency(scale=scale)
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
            like_training=like_training(classifier, validation.cohort),
            calibration_choice=choice,
        ),
        seed=recipe.seed,
        other_points=points,
    )
    proven = replace(
        draft,
        calibration=calibration,
        operating_points=points,
        saliency=saliency,
        evidence=evidence.model_dump(mode="json"),
    )
    return replace(proven, card=write_card(proven))
