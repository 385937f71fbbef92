"""Which calibration: the simplest that is as good as any on patients it was not fitted to.

A method with more freedom always fits the validation part at least as well; whether it is better can
only be seen on other patients. So each is fitted to four fifths of them and judged on the fifth.
"""

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from hilum.cohort.split import patient_folds
from hilum.evaluation.calibration import Method, fit_calibration
from hilum.evaluation.intervals import MINIMUM_PATIENTS
from hilum.model.calibration import probabilities_from_scores
from hilum.model.schema import Calibration, Document

__all__ = ["FOLDS", "CalibrationChoice", "MethodLoss", "choose_calibration"]

FOLDS = 5

# From the simplest on.
_FOR_ANY: tuple[Method, ...] = ("temperature", "scale-and-bias")
_FOR_TWO: tuple[Method, ...] = (*_FOR_ANY, "beta", "isotonic")  # these bend one log-odds

# Where nothing can be judged. A bias is worth its one parameter a class: training draws classes
# equally often or smooths them, so the prevalence of a network's raw scores is seldom the cohort's.
_UNJUDGED: Method = "scale-and-bias"


class MethodLoss(Document):
    """How a method did on patients it was not fitted to."""

    method: Method
    log_loss: float = Field(ge=0.0)  # mean over radiographs, in nats; lower is better
    standard_error: float = Field(ge=0.0)  # of log_loss, over patients
    # Log-loss above that of the best method, and the standard error of this difference, over patients.
    # Paired, since all methods are judged on the same radiographs: what makes these radiographs easy
    # or hard for all methods alike moves log_loss, and not this.
    behind: float = Field(ge=0.0)
    behind_standard_error: float = Field(ge=0.0)


class CalibrationChoice(Document):
    """Which calibration was chosen, and what that rests on."""

    method: Method
    reason: str  # one sentence, for people
    # From the simplest method on; empty where there were too few patients to judge.
    methods: tuple[MethodLoss, ...]
    folds: int = Field(ge=0)  # 0 where nothing was judged
    seed: int  # of the folds
    radiographs: int = Field(ge=1)
    patients: int = Field(ge=1)


def choose_calibration(
    scores: NDArray[np.float64],
    truth: NDArray[np.int64],
    patients: NDArray[np.str_],
    *,
    seed: int = 0,
) -> tuple[Calibration, CalibrationChoice]:
    """Choose a calibration by cross-validated log-loss, and fit it to all radiographs.

    Patients are kept whole. The simplest method wins whose log-loss lies within one standard error of
    the lowest (the one-standard-error rule of Breiman et al., Classification and Regression Trees,
    1984, section 3.4.3), taken over patients and of the paired difference.

    Args:
        scores: Raw, finite, of the validation part, shape (n, labels).
        truth: Label index, shape (n,); every label must occur.
        patients: Who each radiograph shows, shape (n,).
        seed: Of the folds.

    Returns:
        The calibration, and how it was chosen. Where a label has fewer than 10 patients nothing can
        be judged, and the method is scale and bias.

    Raises:
        EvaluationError: If shapes differ, a score is not finite, or a label never occurs.
    """
    raw = np.asarray(scores, dtype=np.float64)
    whole = fit_calibration(raw, truth, _UNJUDGED)  # refuses what cannot be calibrated at all
    labels, people = raw.shape[1], len(np.unique(patients))
    rarest = min(len(np.unique(patients[truth == label])) for label in range(labels))
    sizes = {"seed": seed, "radiographs": len(raw), "patients": people}
    if rarest < MINIMUM_PATIENTS:
        return whole, CalibrationChoice(
            method=_UNJUDGED,
            reason=f"A label has only {rarest} {'patient' if rarest == 1 else 'patients'}; fewer "
            f"than {MINIMUM_PATIENTS} cannot judge between methods, so it is scale and bias.",
            methods=(),
            folds=0,
            **sizes,
        )
    names = _FOR_TWO if labels == 2 else _FOR_ANY
    losses = _losses_elsewhere(names, raw, truth, patient_folds(truth, patients, FOLDS, seed))
    methods = _compare(names, losses, patients)
    chosen = next(each for each in methods if each.behind <= each.behind_standard_error)
    best = min(methods, key=lambda each: each.behind)
    if chosen is best:
        reason = (
            f"No method has a lower log-loss than {chosen.method}, and no simpler one is as good."
        )
    else:
        reason = (
            f"Its log-loss lies within one standard error of the lowest, that of {best.method}, "
            "and no simpler one does."
        )
    calibration = (
        whole if chosen.method == whole.method else fit_calibration(raw, truth, chosen.method)
    )
    return calibration, CalibrationChoice(
        method=chosen.method, reason=reason, methods=methods, folds=FOLDS, **sizes
    )


def _losses_elsewhere(
    names: tuple[Method, ...],
    scores: NDArray[np.float64],
    truth: NDArray[np.int64],
    folds: NDArray[np.int32],
) -> NDArray[np.float64]:
    """Return -log(probability of the true label) by methods fitted to the other folds.

    Returns:
        Shape (methods, n), in nats.
    """
    losses = np.empty((len(names), len(scores)))
    for fold in range(FOLDS):
        here = folds == fold
        for row, name in enumerate(names):
            fitted = fit_calibration(scores[~here], truth[~here], name)
            probabilities = probabilities_from_scores(fitted, scores[here])
            given = probabilities[np.arange(len(probabilities)), truth[here]]
            losses[row, here] = -np.log(np.maximum(given, np.finfo(np.float64).tiny))
    return losses


def _compare(
    names: tuple[Method, ...], losses: NDArray[np.float64], patients: NDArray[np.str_]
) -> tuple[MethodLoss, ...]:
    best = losses[np.argmin(losses.mean(axis=1))]
    return tuple(
        MethodLoss(
            method=name,
            log_loss=float(mine.mean()),
            standard_error=_standard_error(mine, patients),
            behind=float(mine.mean() - best.mean()),
            behind_standard_error=_standard_error(mine - best, patients),
        )
        for name, mine in zip(names, losses, strict=True)
    )


def _standard_error(values: NDArray[np.float64], patients: NDArray[np.str_]) -> float:
    """Return the standard error of a mean over radiographs, with patients as the independent units.

    The linearised variance of a ratio of two sums over clusters (Cochran, Sampling Techniques, 1977,
    section 6.4); with one radiograph for each patient it is the usual one.

    Args:
        values: Shape (n,).
        patients: Who each radiograph shows, shape (n,), of at least two.
    """
    whose = np.unique(patients, return_inverse=True)[1]
    of_patient = np.bincount(whose, weights=values - values.mean())
    people = len(of_patient)
    return float(np.sqrt(people / (people - 1) * np.square(of_patient).sum()) / len(values))
