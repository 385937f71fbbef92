"""Does an explanation hold? One method on trial, by everything that its inputs allow.

A heat map persuades whether or not it is true. So each method is asked four things: does it change when
the classifier forgets, does the score hang on what it marks, does it mark the opacity where the opacity is
known, and does it stay within the thorax. What cannot be asked is null, with the reason.

Maps of what speaks for pneumonia are tried where the classifier said pneumonia (log-odds above 0): elsewhere
there is nothing to explain. The sanity checks, which compare maps and not claims, use all radiographs.
"""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from hilum._version import __version__
from hilum.errors import EvaluationError
from hilum.evaluation.intervals import REPLICATES
from hilum.explanation.trials_erasing import Erasing, Kind, Replacement, erase
from hilum.explanation.trials_maps import Explain, Pixels, Score, maps_of, scores_of
from hilum.explanation.trials_outside import Outside, measure_outside
from hilum.explanation.trials_place import Placement, place
from hilum.explanation.trials_sanity import SanityCheck, check_sanity
from hilum.findings import RESEARCH_USE
from hilum.model.schema import Document

__all__ = ["TRIALS", "ExplanationTrial", "try_explanation"]

# Fields of a trial that may be null.
TRIALS = ("random_weights", "random_labels", "deletion", "insertion", "placement", "outside")
_ERASING = ("deletion", "insertion")


class ExplanationTrial(Document):
    """What was found about one method on one classifier."""

    research_use: str = RESEARCH_USE
    hilum_version: str = __version__
    method: str
    radiographs: int = Field(ge=1)
    patients: int = Field(ge=1)
    called: int | None  # radiographs with log-odds above 0; None without a score
    side: int  # of the grid, pixels
    seed: int
    replicates: int
    random_weights: SanityCheck | None
    random_labels: SanityCheck | None
    deletion: Erasing | None
    insertion: Erasing | None
    placement: Placement | None
    outside: Outside | None
    missing: dict[str, str]  # field -> why it is null

    @model_validator(mode="after")
    def _says_why(self) -> "ExplanationTrial":
        if {name for name in TRIALS if getattr(self, name) is None} != set(self.missing):
            raise ValueError(
                "each part of a trial that is null needs a reason, and no other has one"
            )
        return self


def try_explanation(
    method: str,
    explain: Explain,
    pixels: Pixels,
    patients: NDArray[np.str_],
    *,
    score: Score | None = None,
    masks: NDArray[np.bool_] | None = None,
    randomised: Mapping[str, Sequence[Explain]] | None = None,
    shuffled_labels: Sequence[Explain] | None = None,
    frontal: bool = True,
    steps: int = 16,
    replacement: Replacement = "blur",
    seed: int = 0,
    replicates: int = REPLICATES,
    progress: Callable[[str], None] | None = None,
) -> ExplanationTrial:
    """Put a method on trial, as far as the inputs allow.

    Args:
        method: Its name.
        explain: From grey levels (n, s, s), uint8, to maps (n, s, s), float32; higher speaks more for
            pneumonia, and above 0 for it.
        pixels: Radiographs on the classifier's grid, shape (n, s, s), n >= 1.
        patients: Whose each is, shape (n,).
        score: From grey levels to log-odds of pneumonia, shape (n,), of the classifier explained.
        masks: True where an opacity is known to lie, shape (n, s, s); empty for a radiograph without one.
        randomised: The method on classifiers with random weights, by name, the most random last; see
            `hilum.explanation.trials_randomised.cascade`.
        shuffled_labels: The method on classifiers that learned from shuffled labels.
        frontal: Whether all are upright frontal radiographs; without that no thorax is looked for.
        steps: Of deletion and insertion.
        replacement: Of pixels in deletion; insertion always starts from the blur.
        seed: Of everything that is drawn.
        replicates: Of each bootstrap.
        progress: Called with the name of each part as it begins.

    Returns:
        What was found; what could not be tried is null, with the reason in `missing`.

    Raises:
        EvaluationError: If there are no radiographs, shapes do not fit, or a map is not finite.
    """
    _check(pixels, patients, masks)
    maps = maps_of(explain, pixels, method)
    log_odds = scores_of(score, pixels) if score else None
    called = np.ones(len(pixels), np.bool_) if log_odds is None else log_odds > 0
    missing = _missing(score, masks, randomised, shuffled_labels, frontal, called)
    some, their_maps, whose = pixels[called], maps[called], patients[called]

    def begin(name: str) -> np.random.Generator:
        if progress:
            progress(name)
        # Each part has a stream of its own, so that what else is tried never changes it.
        return np.random.default_rng([seed, TRIALS.index(name)])

    def forget(name: str, others: Mapping[str, Sequence[Explain]] | None) -> SanityCheck | None:
        if not others or name in missing:
            return None
        return check_sanity(maps, others, pixels, patients, begin(name), replicates=replicates)

    def alter(kind: Kind, by: Replacement) -> Erasing | None:
        if score is None or kind in missing:
            return None
        rng = begin(kind)
        return erase(
            kind, their_maps, score, some, whose, rng,
            steps=steps, replacement=by, replicates=replicates,
        )  # fmt: skip

    def locate() -> Placement | None:
        if masks is None or "placement" in missing:
            return None
        return place(their_maps, masks[called], whose, begin("placement"), replicates=replicates)

    def bound() -> Outside | None:
        if "outside" in missing:
            return None
        return measure_outside(their_maps, some, whose, begin("outside"), replicates=replicates)

    return ExplanationTrial(
        method=method,
        radiographs=len(pixels),
        patients=len(np.unique(patients)),
        called=None if log_odds is None else int(called.sum()),
        side=pixels.shape[-1],
        seed=seed,
        replicates=replicates,
        random_weights=forget("random_weights", randomised),
        random_labels=forget("random_labels", {"shuffled labels": shuffled_labels or ()}),
        deletion=alter("deletion", replacement),
        insertion=alter("insertion", "blur"),
        placement=locate(),
        outside=bound(),
        missing=missing,
    )


def _missing(
    score: Score | None,
    masks: NDArray[np.bool_] | None,
    randomised: Mapping[str, Sequence[Explain]] | None,
    shuffled_labels: Sequence[Explain] | None,
    frontal: bool,
    called: NDArray[np.bool_],
) -> dict[str, str]:
    """Say what cannot be tried, and why."""
    found = {}
    if not randomised:
        found["random_weights"] = "no classifiers with random weights were given"
    if not shuffled_labels:
        found["random_labels"] = "no classifier that learned from shuffled labels was given"
    if score is None:
        found |= dict.fromkeys(_ERASING, "no classifier was given to read altered radiographs")
    if masks is None:
        found["placement"] = "the opacities' places are not known"
    elif not masks[called].any():
        found["placement"] = "no radiograph that was called pneumonia has an opacity of known place"
    if not frontal:
        found["outside"] = "not all radiographs are frontal, so no thorax was looked for"
    if not called.any():
        nothing = "the classifier called no radiograph pneumonia"
        found = dict.fromkeys((*_ERASING, "placement", "outside"), nothing) | found
    return found


def _check(pixels: Pixels, patients: NDArray[np.str_], masks: NDArray[np.bool_] | None) -> None:
    if pixels.ndim != 3 or not len(pixels) or pixels.shape[1] != pixels.shape[2]:
        raise EvaluationError(
            f"radiographs of shape {pixels.shape} cannot be tried; give one or more squares, (n, s, s)"
        )
    if pixels.dtype != np.uint8:
        raise EvaluationError(f"radiographs of type {pixels.dtype} cannot be tried; give uint8")
    if patients.shape != (len(pixels),):
        raise EvaluationError(
            f"{len(patients)} patients do not fit {len(pixels)} radiographs; name one for each"
        )
    if masks is not None and masks.shape != pixels.shape:
        raise EvaluationError(
            f"masks of shape {masks.shape} do not fit radiographs of shape {pixels.shape}; "
            "bring them to the same grid"
        )
