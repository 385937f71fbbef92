"""Why a classifier may do otherwise elsewhere: each likely cause measured, and said in one sentence.

A fall alone tells nobody what to do. A threshold that no longer fits can be chosen anew; radiographs
that look different can be prepared otherwise; a ranking that is lost needs another classifier. The
causes are not exclusive, and none is proven by what is measured here: they are where to look first.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from hilum.cohort.split import patient_folds
from hilum.cohort.table import Cohort
from hilum.errors import CohortError
from hilum.evaluation.figures import Figure, FigureName
from hilum.evaluation.intervals import assess
from hilum.evaluation.operating_points import Aim, AimKind, choose_operating_point
from hilum.evaluation.predictions import Predictions
from hilum.evaluation.reading import directions, embeddings_of
from hilum.evaluation.subjects import Decision
from hilum.evaluation.wording import brief, percent
from hilum.findings import Part
from hilum.model import Classifier
from hilum.model.schema import Document, OperatingPoint

__all__ = ["Cause", "ReadPart", "beyond", "likely_causes"]

# Shares, rates and prevalences that differ by less change little in practice.
_NOTABLE = 0.05
# Share of the reference part's own radiographs that lie beyond the distance, by its definition.
_OWN_BEYOND = 0.05
_FOLDS = 5  # of patients, for a threshold chosen without the own patient
# Below, a 95th percentile is one or two patients.
_ENOUGH_PATIENTS = 40
_CHUNK = 512  # radiographs whose distances to all others are held at once

CauseName = Literal["ranking", "threshold", "prevalence", "looks", "embedding"]


@dataclass(frozen=True, slots=True, eq=False)
class ReadPart:
    """A part of a cohort as a classifier read it; `predict` gives the last three.

    Attributes:
        cohort_name: For people.
        part: Which part.
        placed: The radiographs that were read.
        predictions: Of these, in their order.
        pixels: What was read, shape (n, size, size), uint8.
    """

    cohort_name: str
    part: Part
    placed: Cohort
    predictions: Predictions
    pixels: NDArray[np.uint8]

    @property
    def name(self) -> str:
        """For people, such as "kermany224 (validation)"."""
        return f"{self.cohort_name} ({self.part})"


class Cause(Document):
    """Something that may explain why figures differ."""

    name: CauseName
    likely: bool | None  # None where it could not be measured
    sentence: str
    figure: Figure | None = None  # what the sentence rests on, where that is one figure


def likely_causes(
    classifier: Classifier,
    here: ReadPart,
    there: ReadPart,
    point: OperatingPoint,
    figures_here: dict[FigureName, Figure],
    figures_there: dict[FigureName, Figure],
    rng: np.random.Generator,
    replicates: int,
) -> tuple[Cause, ...]:
    """Measure every cause, the gravest first.

    Args:
        classifier: That read both.
        here: The reference part.
        there: The external part.
        point: At which both were decided.
        figures_here: AUC, sensitivity, specificity and the like.
        figures_there: The same of the external part.
        rng: Of the bootstraps.
        replicates: How many bootstrap replicates.
    """
    return (
        _ranking(figures_here[FigureName.AUC], figures_there[FigureName.AUC]),
        _threshold(there, point),
        _prevalence(here, there, figures_here, figures_there[FigureName.PPV]),
        _looks(here, there, rng, replicates),
        _embedding(classifier, here, there, rng, replicates),
    )


def _ranking(here: Figure, there: Figure) -> Cause:
    if there.value is None or there.interval is None:
        why = there.reason or there.no_interval
        text = f"Whether the ranking holds there cannot be told: {why}."
        return Cause(name="ranking", likely=None, sentence=text, figure=there)
    lost = there.interval.lower <= 0.5
    # Intervals that do not even touch are a stricter test than their difference.
    worse = here.interval is not None and there.interval.upper < here.interval.lower
    if lost:
        text = (
            f"The ranking itself is lost: the AUC of {brief(there)} may be 0.5, which is guessing, "
            "and no threshold mends that."
        )
    elif worse:
        text = (
            f"The ranking itself is worse: an AUC of {brief(there)} after {brief(here)} lies above "
            "guessing, but no threshold mends the fall."
        )
    else:
        text = f"The ranking holds: an AUC of {brief(there)} after {brief(here)}."
    return Cause(name="ranking", likely=lost or worse, sentence=text, figure=there)


def _threshold(there: ReadPart, point: OperatingPoint) -> Cause:
    predictions = there.predictions
    truth, score = predictions.is_pneumonia, predictions.pneumonia
    try:
        folds = patient_folds(truth.astype(np.int64), predictions.patients, _FOLDS, seed=0)
    except CohortError:
        folds = np.zeros(0, np.int32)
    if not len(folds) or truth.all() or not truth.any():
        text = "Whether the threshold fits cannot be told: there are too few patients of a class."
        return Cause(name="threshold", likely=None, sentence=text)

    def chosen(rows: NDArray[np.bool_]) -> float:
        aim = Aim(AimKind.YOUDEN)
        return choose_operating_point(aim, score[rows], truth[rows], str(there.part)).threshold

    best = chosen(np.ones_like(truth))
    without_own = np.array([chosen(folds != fold) for fold in range(_FOLDS)])[folds]
    now, then, fair = (
        _rates_of(score >= each, truth) for each in (point.threshold, best, without_own)
    )
    gains = sum(fair) / 2 - sum(now) / 2 >= _NOTABLE
    text = (
        f"At the threshold of {point.threshold:.3g} sensitivity is {now[0]:.3f} and specificity "
        f"{now[1]:.3f}; at {best:.3g}, the best there by Youden's index, they would be {then[0]:.3f} "
        f"and {then[1]:.3f}, which is optimistic, since it was chosen on these same radiographs. "
        f"Chosen without the patients it is measured on, they are {fair[0]:.3f} and {fair[1]:.3f}: "
        + ("the threshold no longer fits." if gains else "another threshold gains little.")
    )
    return Cause(name="threshold", likely=gains, sentence=text)


def _rates_of(called: NDArray[np.bool_], truth: NDArray[np.bool_]) -> tuple[float, float]:
    found = Decision(truth, called).values(np.ones((1, len(truth))))
    return float(found[FigureName.SENSITIVITY][0]), float(found[FigureName.SPECIFICITY][0])


def _prevalence(
    here: ReadPart, there: ReadPart, found: dict[FigureName, Figure], ppv: Figure
) -> Cause:
    before, after = (float(each.predictions.is_pneumonia.mean()) for each in (here, there))
    text = (
        f"Pneumonia is in {percent(after)} of the radiographs there and in {percent(before)} of the "
        "reference part's"
    )
    sensitivity, specificity = (
        found[name].value for name in (FigureName.SENSITIVITY, FigureName.SPECIFICITY)
    )
    differs, explains = abs(after - before) >= _NOTABLE, False
    was = found[FigureName.PPV].value
    if differs and 0 < after < 1 and sensitivity is not None and specificity is not None:
        called = sensitivity * after + (1 - specificity) * (1 - after)
        if called > 0:
            expected = sensitivity * after / called
            measured = "undefined" if ppv.value is None else f"{ppv.value:.3f}"
            explains = was is not None and abs(expected - was) >= _NOTABLE
            text += (
                f", which with unchanged sensitivity and specificity gives a PPV of {expected:.3f} "
                f"(it is {measured}); it moves PPV, NPV and average precision, not the AUC"
            )
    return Cause(name="prevalence", likely=explains, sentence=f"{text}.")


def _looks(here: ReadPart, there: ReadPart, rng: np.random.Generator, replicates: int) -> Cause:
    # Not above: these need scikit-learn, and evidence without external cohorts does not.
    from hilum.cohort.nuisance import NUISANCES, nuisances
    from hilum.evaluation.telling_apart import APART, surely, told_apart

    # On the network's own grid, so that the size of a file, which it never sees, tells nothing.
    measures = nuisances(here.pixels), nuisances(there.pixels)
    try:
        area, driver, distance = told_apart(
            measures, _people(here, there), NUISANCES, rng, replicates
        )
    except CohortError as error:
        text = f"Whether the radiographs look different cannot be told: {error}."
        return Cause(name="looks", likely=None, sentence=text)
    apart = surely(area, APART)
    text = (
        f"The radiographs look {'different' if apart else 'alike'}: exposure, sharpness and borders "
        f"tell the two apart with an AUC of {brief(area)}, and {driver} lies farthest apart, by "
        f"{distance:.2f} standard deviations."
    )
    return Cause(name="looks", likely=apart, sentence=text, figure=area)


def _people(here: ReadPart, there: ReadPart) -> tuple[NDArray[np.str_], NDArray[np.str_]]:
    """Return patients by names of their own: patient 7 of another hospital is another person."""
    one, other = (
        np.array([f"{side} {patient}" for patient in each.predictions.patients], dtype=np.str_)
        for side, each in (("here", here), ("there", there))
    )
    return one, other


def _embedding(
    classifier: Classifier,
    here: ReadPart,
    there: ReadPart,
    rng: np.random.Generator,
    replicates: int,
) -> Cause:
    people, others = here.predictions.patients, there.predictions.patients
    if (count := len(np.unique(people))) < _ENOUGH_PATIENTS:
        text = (
            "Whether the classifier knows such radiographs cannot be told: the reference part has "
            f"{count} patients, and {_ENOUGH_PATIENTS} are needed."
        )
        return Cause(name="embedding", likely=None, sentence=text)
    own, new = (embeddings_of(classifier, each.pixels) for each in (here, there))
    far = beyond(own, people, new)
    # A share is the sensitivity of saying "far" of radiographs that are all from there.
    subject = Decision(np.ones(len(far), dtype=np.bool_), far, finding="radiographs there")
    figure = assess({"": subject}, others, rng, replicates)[""][FigureName.SENSITIVITY]
    assert figure.value is not None
    strange = strange_share(figure)
    text = (
        f"To the classifier {brief(figure)} of the radiographs there lie farther from the reference "
        f"part than {percent(1 - _OWN_BEYOND)} of its own radiographs do from those of other patients"
        + (
            "; it has hardly seen their like."
            if strange
            else "; by this measure they are no strangers."
        )
    )
    return Cause(name="embedding", likely=strange, sentence=text, figure=figure)


def strange_share(figure: Figure) -> bool:
    """Say whether more radiographs lie far off than chance explains.

    Twice as many as of the reference's own are asked for, because the limit is an estimate from few of
    the reference's patients, too.
    """
    least = figure.interval.lower if figure.interval else figure.value
    return least is not None and least > 2 * _OWN_BEYOND


def beyond(
    reference: NDArray[np.float32], patients: NDArray[np.str_], others: NDArray[np.float32]
) -> NDArray[np.bool_]:
    """Tell which radiographs lie farther from a reference than nearly all of its own do.

    Far is beyond the 95th percentile of the reference's own distances to the nearest radiograph of
    another patient, since a patient's own radiographs are nearer than any stranger's. Embeddings are
    scaled to length 1 first: what a network does not know makes it quiet, and quiet is near to all
    (Sun et al., ICML 2022, who take the k-th neighbour).

    Args:
        reference: Embeddings, shape (n, channels).
        patients: Whose each is, shape (n,), two at least.
        others: Embeddings of other patients' radiographs, shape (m, channels).

    Returns:
        Shape (m,), bool.
    """
    whose = np.unique(patients, return_inverse=True)[1]
    own = _nearest(reference, reference, whose)
    limit = np.quantile(own, 1 - _OWN_BEYOND)
    return np.asarray(_nearest(others, reference, None) > limit)


def _nearest(
    queries: NDArray[np.float32], reference: NDArray[np.float32], whose: NDArray[np.intp] | None
) -> NDArray[np.float64]:
    """Return one less the cosine of the nearest, shape (m,); of another patient if `whose`."""
    known, asked = directions(reference), directions(queries)
    found = []
    for start in range(0, len(asked), _CHUNK):
        likeness = asked[start : start + _CHUNK] @ known.T
        if whose is not None:
            likeness[whose[start : start + _CHUNK, None] == whose] = -np.inf
        found.append(1.0 - likeness.max(axis=1))
    return np.concatenate(found)
