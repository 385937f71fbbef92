"""A trial of one method with one classifier, on a cohort's radiographs or on phantoms."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hilum.cohort.build import BuildOptions, build_cohort
from hilum.cohort.pixels import cached_pixels
from hilum.cohort.table import Cohort, load_cohort
from hilum.errors import UsageError
from hilum.explanation.exact import ExactNetwork
from hilum.explanation.methods import METHODS, Explainer, Options, explainer
from hilum.explanation.target import target_of
from hilum.explanation.trials import ExplanationTrial, try_explanation
from hilum.explanation.trials_randomised import cascade
from hilum.findings import Part
from hilum.imaging import read, squash
from hilum.model import Classifier

__all__ = ["attempt", "drawn_from"]


def drawn_from(source: Path, part: Part, number: int, seed: int) -> Cohort:
    """Draw radiographs by chance from a part of a cohort, or from a folder of phantoms.

    Phantoms bring the place of their opacities; draw them with another seed than the classifier
    learned from (`hilum cohort phantom`).

    Args:
        source: A cohort's file, or a folder of phantoms.
        part: Of the cohort; of a folder, all are used.
        number: How many at most.
        seed: Of the draw.

    Raises:
        UsageError: If a folder holds no phantoms.
        CohortError: If the part is empty or the file is no cohort.
    """
    if source.is_dir():
        cohort = build_cohort(source, BuildOptions())[0].readable
        if not cohort.phantom:
            raise UsageError(
                f"{source} holds no phantoms; build a cohort of it (hilum cohort build) and give that"
            )
    else:
        cohort = load_cohort(source).part(part)
    rows = np.random.default_rng(seed).permutation(len(cohort))[:number]
    return replace(cohort, table=cohort.table[np.sort(rows).tolist()])


def attempt(
    name: str,
    classifier: Classifier,
    chosen: Cohort,
    *,
    finding: str = "pneumonia",
    layer: str | None = None,
    options: Options | None = None,
    shuffled: Sequence[Classifier] = (),
    draws: int = 2,
    steps: int = 16,
    seed: int = 0,
    progress: Callable[[str], None] | None = None,
) -> ExplanationTrial:
    """Put one method on trial.

    Args:
        name: Of the method.
        classifier: What it explains.
        chosen: Radiographs, readable.
        finding: What is explained.
        layer: That the methods of a layer look at; the last block when None.
        options: Of the methods.
        shuffled: Classifiers that learned from shuffled labels, for that sanity check.
        draws: How many random weights are drawn for the other; 0 leaves it out.
        steps: Of deletion and insertion.
        seed: Of everything that is drawn.
        progress: Called with the name of each part as it begins.

    Raises:
        ModelError: If the method cannot explain the classifier.
        CohortError: If a file is gone or was changed.
        UsageError: If there is no such finding, method or layer.
    """
    target = target_of(classifier.file.labels, classifier.file.calibration, finding)
    tried = _explainer(classifier, name, finding, layer, options)  # refuses before any work
    pixels = np.array(cached_pixels(chosen, classifier.size))
    network = ExactNetwork(classifier)

    def of_others(others: Sequence[Classifier]) -> list[Explainer]:
        return [_explainer(other, name, finding, layer, options) for other in others]

    weights = cascade(classifier.file, draws=draws, seed=seed) if draws else {}
    return try_explanation(
        name,
        tried,
        pixels,
        chosen.patients,
        score=lambda some: network.log_odds([some], target),
        masks=_masks(chosen, classifier.size),
        randomised={step: of_others(others) for step, others in weights.items()} or None,
        shuffled_labels=of_others(shuffled) or None,
        steps=steps,
        seed=seed,
        progress=progress,
    )


def _explainer(
    classifier: Classifier, name: str, finding: str, layer: str | None, options: Options | None
) -> Explainer:
    looked_at = layer if METHODS[name].layered else None
    return explainer(classifier, name, finding=finding, layer=looked_at, options=options)


def _masks(cohort: Cohort, side: int) -> NDArray[np.bool_] | None:
    """Return where the opacities of phantoms lie, shape (n, side, side); None without masks."""
    paths = [cohort.root / "masks" / path for path in cohort.table["path"]]
    if not cohort.phantom or not all(path.is_file() for path in paths):
        return None
    return np.stack([squash(read(path), side) >= 128 for path in paths])
