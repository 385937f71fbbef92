"""The selection score: validation on radiographs that are badly worn.

Ordinary validation comes from the same machines as training, with the same shortcuts, so it cannot tell
a network that reads lungs from one that reads sharpness. Here some radiographs of the validation part are
read turned, cropped, blurred, noisy, inverted, coarse or framed, each far beyond what a department lets
pass, and the score is how well they are ranked on average. It was found by looking at a test part, where
it alone of several ranked classifiers rightly; docs/generalisation.md says what that is worth. Beside it stand the pairs
that nuisances cannot order or order wrongly.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

from hilum.evaluation.corruptions import CORRUPTIONS, Strength
from hilum.evaluation.shortcuts import ShortcutPairs
from hilum.training.figures import pneumonia_scores

__all__ = ["HARD", "Selection"]

# The worst grade of every change that has one.
HARD = tuple(
    (change, grade.amount)
    for change in CORRUPTIONS
    for grade in change.grades
    if grade.strength is Strength.SEVERE
)
# Radiographs of each label that are worn: 13 changes of 200 cost what 2,600 more radiographs cost, and
# the mean area has a standard error of about 0.005.
MOST = 100


@dataclass(frozen=True)
class Selection:
    """The validation part prepared for the selection score.

    Attributes:
        rows: Which validation radiographs are worn, shape (m,).
        views: They under each of HARD, shape (len(HARD), m, s, s), uint8.
        positive: Which validation radiographs have pneumonia, shape (n,).
        pairs: Of the whole validation part.
    """

    rows: NDArray[np.int64]
    views: NDArray[np.uint8]
    positive: NDArray[np.bool_]
    pairs: ShortcutPairs

    @classmethod
    def of(
        cls,
        pixels: NDArray[np.uint8],
        positive: NDArray[np.bool_],
        log_odds: NDArray[np.float64],
    ) -> "Selection":
        """Wear out some of the validation part and sort its pairs.

        Args:
            pixels: Of the validation part, shape (n, s, s).
            positive: Which radiographs have pneumonia, shape (n,).
            log_odds: Of pneumonia by nuisances alone, learned on the train part, shape (n,).
        """
        rng = np.random.default_rng(0)  # the same radiographs for every recipe and seed
        rows = np.concatenate(
            [
                np.sort(rng.permutation(np.flatnonzero(positive == side))[:MOST])
                for side in (False, True)
            ]
        )
        chosen = np.asarray(pixels[rows])
        views = np.stack([change(chosen, amount) for change, amount in HARD])
        return cls(rows, views, positive, ShortcutPairs.of(log_odds, positive))

    @property
    def extra(self) -> NDArray[np.uint8]:
        """The pixels to read besides the validation part, one after another."""
        return self.views.reshape(-1, *self.views.shape[2:])

    def names(self, sha256: Sequence[str]) -> list[str]:
        """Return what tells each of `extra` from other pixels, for caches."""
        return [
            f"{sha256[row]} {change.name} {amount}" for change, amount in HARD for row in self.rows
        ]

    def figures(self, scores: NDArray[np.float64]) -> dict[str, float]:
        """Return the selection score, the hardest change, and the areas of the pairs.

        Args:
            scores: Raw, of the validation part and then of `extra`, shape (n + ..., labels).
        """
        pneumonia = pneumonia_scores(scores)
        plain, extra = pneumonia[: len(self.positive)], pneumonia[len(self.positive) :]
        positive = self.positive[self.rows]
        areas = [roc_auc_score(positive, worn) for worn in extra.reshape(len(self.views), -1)]
        return {
            "selection": float(np.mean(areas)),
            "hardest": float(np.min(areas)),
            **self.pairs.areas(plain),
        }
