"""The selection score: validation that asks whether a network lives on shortcuts.

Ordinary validation comes from the same machines as training, with the same shortcuts, so it cannot tell
a network that reads lungs from one that reads sharpness. Here each radiograph is also read in other
clothes (blurred, sharpened, darker, flatter, cropped), and normal radiographs in one are ranked
against pneumonia in another: acquisition must not matter. Added to these are the pairs that nuisances
cannot order or order wrongly. The score is the middle between the mean of all areas and the worst.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

from hilum.evaluation.shortcuts import ShortcutPairs
from hilum.training.augment import augment
from hilum.training.augmentation import Augmentation
from hilum.training.draws import Draws
from hilum.training.figures import pneumonia_scores

__all__ = ["CLOTHES", "Selection", "dressed"]

# What acquisition and processing may change within what radiologists accept, one value each.
CLOTHES: dict[str, dict[str, float]] = {
    "as it is": {},
    "soft": {"blur": 1.0},  # pixels at a side of 224
    "sharp": {"sharpness": 1.0},
    "dark": {"gamma": 1.5},
    "pale": {"gamma": 0.67, "contrast": 0.75},
    "close": {"scale": 1.15},  # the borders are gone
}
# Radiographs of each label that are dressed: enough for a standard error of 0.01 at an area of 0.97.
MOST = 200
_LIMITS = Augmentation(scale=1.15, gamma=0.6, contrast=0.4, sharpness=1.0, blur=1.0)


def dressed(pixels: NDArray[np.uint8], clothes: str) -> NDArray[np.uint8]:
    """Return radiographs in other clothes.

    Args:
        pixels: Shape (n, s, s), uint8.
        clothes: One of CLOTHES.
    """
    changes = CLOTHES[clothes]
    if not changes or not len(pixels):
        return pixels
    draws = Draws.neutral(len(pixels))
    draws = replace(
        draws, **{name: torch.full((len(pixels),), value) for name, value in changes.items()}
    )
    # Only what is worn is on, for the others would cost time.
    on = {name: getattr(_LIMITS, name) for name in changes}
    grey = augment(torch.from_numpy(np.array(pixels))[:, None], draws, Augmentation(**on))
    levels: NDArray[np.uint8] = (grey[:, 0] * 255).round().to(torch.uint8).numpy()
    return levels


@dataclass(frozen=True)
class Selection:
    """The validation part prepared for the selection score.

    Attributes:
        rows: Which validation radiographs are dressed, shape (m,).
        views: They in each of CLOTHES but the first, shape (len(CLOTHES) - 1, m, s, s), uint8.
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
        """Dress the validation part and sort its pairs.

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
        views = np.stack([dressed(chosen, name) for name in list(CLOTHES)[1:]])
        return cls(rows, views, positive, ShortcutPairs.of(log_odds, positive))

    @property
    def extra(self) -> NDArray[np.uint8]:
        """The pixels to read besides the validation part, one after another."""
        return self.views.reshape(-1, *self.views.shape[2:])

    def names(self, sha256: Sequence[str]) -> list[str]:
        """Return what tells each of `extra` from other pixels, for caches."""
        return [
            f"{sha256[row]} {name} {CLOTHES[name]}"
            for name in list(CLOTHES)[1:]
            for row in self.rows
        ]

    def figures(self, scores: NDArray[np.float64]) -> dict[str, float]:
        """Return the selection score and what it is made of.

        Args:
            scores: Raw, of the validation part and then of `extra`, shape (n + ..., labels).
        """
        pneumonia = pneumonia_scores(scores)
        plain, extra = pneumonia[: len(self.positive)], pneumonia[len(self.positive) :]
        worn = [plain[self.rows], *extra.reshape(len(self.views), -1)]
        positive = self.positive[self.rows]
        across = [
            roc_auc_score(positive, np.where(positive, ours, theirs))
            for ours in worn
            for theirs in worn
        ]
        kinds = self.pairs.areas(plain)
        areas = np.array([*across, *kinds.values()])
        return {
            "selection": float((areas.mean() + areas.min()) / 2),
            "across": float(np.mean(across)),
            "worst": float(areas.min()),
            **kinds,
        }
