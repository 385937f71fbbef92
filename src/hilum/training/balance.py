"""How much each radiograph counts: by its label, and by what nuisances say of it."""

import numpy as np
from numpy.typing import NDArray

from hilum.cohort.nuisance import nuisances
from hilum.errors import CohortError
from hilum.evaluation.shortcuts import FOLDS, matched_chance, out_of_fold_log_odds

__all__ = ["class_weights", "drawing_chance"]


def class_weights(truth: NDArray[np.int64], labels: int) -> tuple[float, ...]:
    """Return weights that make every label count alike; their mean over radiographs is 1."""
    counts = np.bincount(truth, minlength=labels)
    return tuple(float(len(truth) / (labels * count)) for count in counts)


def drawing_chance(
    balance: str,
    pixels: NDArray[np.uint8],
    truth: NDArray[np.int64],
    patients: NDArray[np.str_],
    labels: int,
) -> NDArray[np.float64] | None:
    """Return how likely each radiograph of the train part is drawn, or None where all are alike.

    Args:
        balance: What the recipe's loss says.
        pixels: Shape (n, s, s), uint8.
        truth: Label indices, shape (n,).
        patients: Whose each is, shape (n,).
        labels: Number of labels.

    Raises:
        CohortError: If matching has too few patients to learn from.
    """
    if balance == "sampler":
        chance: NDArray[np.float64] = 1.0 / np.bincount(truth, minlength=labels)[truth]
        return chance
    if balance == "matched":
        try:
            log_odds = out_of_fold_log_odds(nuisances(pixels), truth > 0, patients)
        except CohortError as error:
            raise CohortError(
                f'loss.balance = "matched" needs {FOLDS} normal patients and {FOLDS} with pneumonia '
                'in the train part; add some, or use "sampler"'
            ) from error
        return matched_chance(log_odds, truth)
    return None
