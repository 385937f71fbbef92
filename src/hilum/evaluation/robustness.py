"""Robustness: what becomes of a classifier's figures when radiographs are changed a little or a lot.

Every change of `hilum.evaluation.corruptions` is made to the same radiographs, so that differences are
paired. Areas and their changes have intervals by DeLong over patients, rates by bootstrap over
patients. The worst of many changes looks worse than it is: each interval stands for one change alone.
"""

from collections.abc import Callable
from functools import partial

import numpy as np
from numpy.typing import NDArray

from hilum.errors import EvaluationError
from hilum.evaluation.area_changes import area_changes
from hilum.evaluation.corruptions import CORRUPTIONS, Corruption, Grade, shifted
from hilum.evaluation.figures import FigureName
from hilum.evaluation.intervals import MINIMUM_PATIENTS, assess
from hilum.evaluation.reading import scores_of
from hilum.evaluation.robustness_figures import (
    SMALL_SHIFT,
    Change,
    CorruptionCurve,
    Robustness,
    Stays,
)
from hilum.evaluation.subjects import Decision, Subject
from hilum.model import Classifier
from hilum.model.schema import OperatingPoint

__all__ = [
    "balanced_sample",
    "measure_robustness",
]

LIMIT = 400  # radiographs; each is read some fifty times
REPLICATES = 500  # of the bootstrap for rates, of which there are many; areas need none

_UNTOUCHED = "untouched"
_DIRECTIONS = {"left": (-1, 0), "right": (1, 0), "up": (0, -1), "down": (0, 1)}


def measure_robustness(
    classifier: Classifier,
    pixels: NDArray[np.uint8],
    truth_is_pneumonia: NDArray[np.bool_],
    patients: NDArray[np.str_],
    point: OperatingPoint,
    *,
    seed: int,
    limit: int = LIMIT,
    replicates: int = REPLICATES,
    progress: Callable[[int, int], None] | None = None,
) -> Robustness:
    """Read radiographs as they are and under every grade of every corruption.

    Args:
        classifier: The classifier.
        pixels: On its grid, shape (n, size, size), uint8.
        truth_is_pneumonia: True where a radiograph has pneumonia of any kind, shape (n,).
        patients: Whose each is, shape (n,).
        point: Where it decides.
        seed: Of the sample, of the noise and of the bootstrap; the same gives the same answer.
        limit: Most radiographs that are used.
        replicates: Of the bootstrap over patients, for rates.
        progress: Called with how many readings of how many are done.

    Returns:
        What was found; only the reason where the sample has fewer than ten patients with or
        without pneumonia.

    Raises:
        EvaluationError: If shapes do not fit, or `limit` or `replicates` is too small.
    """
    _check(classifier.size, pixels, truth_is_pneumonia, patients, limit, replicates)
    rows = balanced_sample(truth_is_pneumonia, patients, limit, np.random.default_rng(seed))
    truth, whose = truth_is_pneumonia[rows], patients[rows]
    bare = Robustness(
        refused=_too_few(truth, whose),
        seed=seed,
        replicates=replicates,
        radiographs=len(rows),
        with_pneumonia=int(truth.sum()),
        patients=len(np.unique(whose)),
        out_of=len(pixels),
        operating_point=point.name,
        threshold=point.threshold,
    )
    if bare.refused:
        return bare
    pneumonia = _read(classifier, np.asarray(pixels[rows]), seed, progress)
    called = {key: each >= point.threshold for key, each in pneumonia.items()}
    flips = {key: each != called[_UNTOUCHED] for key, each in called.items()}
    small = _small()
    everyone = np.ones(len(rows), bool)
    subjects: dict[str, Subject] = {}
    for key in called:
        subjects[f"decision {key}"] = Decision(truth, called[key])
        subjects[f"flipped {key}"] = Decision(everyone, flips[key], "any finding")
    for words, keys in small.items():
        stays = ~np.any([flips[key] for key in keys], axis=0)
        subjects[f"stays {words}"] = Decision(everyone, stays, "any finding")
    measured = assess(subjects, whose, np.random.default_rng(seed), replicates)
    found = area_changes(np.array(list(pneumonia.values())), truth, whose)
    areas = dict(zip(pneumonia, found, strict=True))

    def change(corruption: Corruption, grade: Grade) -> Change:
        key = _key(corruption, grade)
        rates, moved = measured[f"decision {key}"], pneumonia[key] - pneumonia[_UNTOUCHED]
        return Change(
            amount=grade.amount,
            label=corruption.label(grade.amount),
            strength=grade.strength,
            auc=areas[key][0],
            auc_change=areas[key][1],
            sensitivity=rates[FigureName.SENSITIVITY],
            specificity=rates[FigureName.SPECIFICITY],
            probability_moved=float(np.abs(moved).mean()),
            flipped=measured[f"flipped {key}"][FigureName.SENSITIVITY],
            to_pneumonia=int((flips[key] & called[key]).sum()),
            to_normal=int((flips[key] & ~called[key]).sum()),
        )

    rates = measured[f"decision {_UNTOUCHED}"]
    return bare.model_copy(
        update={
            "readings": len(rows) * len(pneumonia),
            "auc": areas[_UNTOUCHED][0],
            "sensitivity": rates[FigureName.SENSITIVITY],
            "specificity": rates[FigureName.SPECIFICITY],
            "curves": tuple(
                CorruptionCurve(
                    corruption=each.name,
                    unit=each.unit,
                    stands_for=each.stands_for,
                    neutral=each.neutral,
                    changes=tuple(change(each, grade) for grade in each.grades),
                )
                for each in CORRUPTIONS
            ),
            "agreement": tuple(
                Stays(under=words, share=measured[f"stays {words}"][FigureName.SENSITIVITY])
                for words in small
            ),
        }
    )


def balanced_sample(
    truth: NDArray[np.bool_], patients: NDArray[np.str_], limit: int, rng: np.random.Generator
) -> NDArray[np.intp]:
    """Draw radiographs so that both classes are alike in size and as many patients show as can.

    A second radiograph of a patient comes only when everybody of that class has one. Where a class
    has fewer than half of the limit, the other fills the rest.

    Args:
        truth: True where a radiograph has the finding, shape (n,).
        patients: Whose each is, shape (n,).
        limit: Most radiographs to draw, >= 2.
        rng: The source of randomness.

    Returns:
        Rows by rising number, at most `limit`.
    """
    queues = []
    for side in (True, False):
        rows = rng.permutation(np.flatnonzero(truth == side))
        seen: dict[str, int] = {}
        turns = []
        for patient in patients[rows].tolist():
            turns.append(seen.get(patient, 0))
            seen[patient] = turns[-1] + 1
        queues.append(rows[np.argsort(turns, kind="stable")])
    ill, well = queues
    half = limit // 2
    of_ill = min(len(ill), max(half, limit - len(well)))
    return np.sort(np.concatenate([ill[:of_ill], well[: limit - of_ill]]))


def _check(
    size: int,
    pixels: NDArray[np.uint8],
    truth: NDArray[np.bool_],
    patients: NDArray[np.str_],
    limit: int,
    replicates: int,
) -> None:
    if pixels.shape[1:] != (size, size) or pixels.dtype != np.uint8:
        raise EvaluationError(
            f"robustness needs radiographs of {size} x {size} grey levels, one byte each; these are "
            f"{pixels.shape[1:]} of {pixels.dtype}"
        )
    if not len(pixels) == len(truth) == len(patients):
        raise EvaluationError(
            f"robustness needs one finding and one patient for each radiograph; here are "
            f"{len(pixels)} radiographs, {len(truth)} findings and {len(patients)} patients"
        )
    if truth.dtype != np.bool_:
        raise EvaluationError("robustness needs findings as true or false, not as label numbers")
    least = 2 * MINIMUM_PATIENTS
    if limit < least:
        raise EvaluationError(
            f"{limit} radiographs cannot carry an interval; ask for {least} or more"
        )
    if replicates < 1:
        raise EvaluationError(f"{replicates} bootstrap replicates cannot be drawn; ask for 500")


def _too_few(truth: NDArray[np.bool_], patients: NDArray[np.str_]) -> str | None:
    for side, group in ((True, "with pneumonia"), (False, "that are normal")):
        if (people := len(np.unique(patients[truth == side]))) < MINIMUM_PATIENTS:
            return f"only {people} patients {group}; {MINIMUM_PATIENTS} are needed"
    return None


def _key(corruption: Corruption, grade: Grade) -> str:
    return f"{corruption.name} {grade.amount}"


def _small() -> dict[str, list[str]]:
    """Return what should never matter, in words, with its keys among the readings."""
    mirrors = [_key(c, g) for c in CORRUPTIONS if c.name == "mirror" for g in c.grades]
    shifts = {
        f"moved {to} by {100 * SMALL_SHIFT:g} % of the side": [f"moved {to}"] for to in _DIRECTIONS
    }
    single = {"left and right exchanged": mirrors, **shifts}
    return {**single, "all of these": [key for keys in single.values() for key in keys]}


def _read(
    classifier: Classifier,
    pixels: NDArray[np.uint8],
    seed: int,
    progress: Callable[[int, int], None] | None,
) -> dict[str, NDArray[np.float64]]:
    """Return the probability of pneumonia, shape (n,), under each change; the untouched first."""
    made: dict[str, Callable[[], NDArray[np.uint8]]] = {_UNTOUCHED: lambda: pixels}
    for each in CORRUPTIONS:
        for grade in each.grades:
            made[_key(each, grade)] = partial(each, pixels, grade.amount, seed)
    for to, (right, down) in _DIRECTIONS.items():
        made[f"moved {to}"] = partial(shifted, pixels, right * SMALL_SHIFT, down * SMALL_SHIFT)
    found: dict[str, NDArray[np.float64]] = {}
    for number, (key, changed) in enumerate(made.items(), 1):
        scores = scores_of(classifier, changed())
        found[key] = np.clip(1.0 - classifier.probabilities(scores)[:, 0], 0.0, 1.0)
        if progress:
            progress(number * len(pixels), len(made) * len(pixels))
    return found
