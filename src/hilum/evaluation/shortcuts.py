"""Discrimination where shortcuts do not help: pairs of radiographs that nuisances cannot order.

The area under the ROC curve is the share of pairs (one normal, one with pneumonia) that the scores
order rightly. Where exposure, sharpness or framing differ between findings, they order most pairs
too, and a classifier that lives on them looks good. Two kinds of pairs tell it apart: those that are
equal in nuisances, and those that nuisances order wrongly.
"""

from contextlib import AbstractContextManager
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.model_selection import PredefinedSplit, cross_val_predict
from threadpoolctl import threadpool_limits

from hilum.cohort.split import patient_folds

__all__ = ["FOLDS", "ShortcutPairs", "matched_chance", "out_of_fold_log_odds", "shortcut_log_odds"]

# Pairs whose log-odds by nuisances differ by less count as equal: the odds ratio is below 1.65.
CALIPER = 0.5
# Below so many pairs, or radiographs on either side of them, an area is chance; it is left out.
FEWEST_PAIRS = 200
FEWEST_RADIOGRAPHS = 10
FOLDS = 5  # of patients, for predictions without the own patient


def _shortcut_model() -> HistGradientBoostingClassifier:
    # Trees, because a shortcut need not be linear; shallow and slow, because parts can be small.
    return HistGradientBoostingClassifier(
        learning_rate=0.05, max_iter=150, max_leaf_nodes=8, min_samples_leaf=20, random_state=0
    )


def _one_thread() -> AbstractContextManager[object]:
    # Trees on a few thousand rows gain nothing from threads that wait for one another: on two busy cores
    # five folds of 150 rows took 10 to 19 s with them, and 0.5 s without.
    limits: AbstractContextManager[object] = threadpool_limits(1, "openmp")
    return limits


def _log_odds(probability: NDArray[np.float64]) -> NDArray[np.float64]:
    inside = np.clip(probability, 1e-4, 1 - 1e-4)
    return np.log(inside / (1 - inside))


def shortcut_log_odds(
    learned: NDArray[np.float64], positive: NDArray[np.bool_], judged: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return the log-odds of pneumonia that nuisances alone suggest.

    Args:
        learned: Nuisances of the train part, shape (n, k).
        positive: Which of them have pneumonia, shape (n,).
        judged: Nuisances of other radiographs, shape (m, k).

    Returns:
        Shape (m,), float64, in [-9.3, 9.3].
    """
    with _one_thread():
        model = _shortcut_model().fit(learned, positive)
        return _log_odds(model.predict_proba(judged)[:, 1])


def out_of_fold_log_odds(
    learned: NDArray[np.float64], positive: NDArray[np.bool_], patients: NDArray[np.str_]
) -> NDArray[np.float64]:
    """Return the same for the radiographs that are learned from, each by a model without its patient.

    Args:
        learned: Nuisances, shape (n, k).
        positive: Which have pneumonia, shape (n,).
        patients: Whose each is, shape (n,).

    Raises:
        CohortError: If either side has fewer patients than there are folds.
    """
    folds = PredefinedSplit(patient_folds(positive.astype(np.int64), patients, FOLDS, seed=0))
    with _one_thread():
        probabilities = cross_val_predict(
            _shortcut_model(), learned, positive, cv=folds, method="predict_proba"
        )
    return _log_odds(probabilities[:, 1])


def matched_chance(log_odds: NDArray[np.float64], truth: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return how likely to draw each radiograph so that nuisances differ less between labels.

    Each gets the odds of the other side given its nuisances, which are overlap weights (Li, Morgan and
    Zaslavsky, Journal of the American Statistical Association 2018): they make the two sides alike
    in what the odds were fitted to. Half of the chance stays equal, so that no radiograph is lost.

    Args:
        log_odds: Of pneumonia by nuisances alone, shape (n,).
        truth: Label indices, shape (n,); 0 is normal.

    Returns:
        Shape (n,), with sum 1; labels share it equally.
    """
    probability = 1 / (1 + np.exp(-log_odds))
    overlap = np.where(truth > 0, 1 - probability, probability)
    chance = np.zeros(len(truth))
    for label in np.unique(truth):
        rows = truth == label
        chance[rows] = 0.5 * overlap[rows] / overlap[rows].sum() + 0.5 / rows.sum()
    share: NDArray[np.float64] = chance / chance.sum()
    return share


@dataclass(frozen=True, slots=True)
class ShortcutPairs:
    """The pairs of one normal radiograph and one with pneumonia, told apart by their nuisances.

    Attributes:
        positive: Which radiographs have pneumonia, shape (n,).
        equal: Pairs alike in nuisances, bool, shape (normal, pneumonia).
        opposed: Pairs that nuisances order wrongly, likewise.
    """

    positive: NDArray[np.bool_]
    equal: NDArray[np.bool_]
    opposed: NDArray[np.bool_]

    @classmethod
    def of(cls, log_odds: NDArray[np.float64], positive: NDArray[np.bool_]) -> "ShortcutPairs":
        """Sort all pairs by what nuisances say of them.

        Args:
            log_odds: Of pneumonia by nuisances alone, shape (n,).
            positive: Which radiographs have pneumonia, shape (n,).
        """
        lead = log_odds[positive][None, :] - log_odds[~positive][:, None]
        return cls(positive, np.abs(lead) < CALIPER, lead <= -CALIPER)

    def areas(self, scores: NDArray[np.float64]) -> dict[str, float]:
        """Return the share of rightly ordered pairs, by kind; kinds with few pairs are left out.

        Args:
            scores: Of pneumonia, any monotone scale, shape (n,).
        """
        normal, pneumonia = scores[~self.positive][:, None], scores[self.positive][None, :]
        right = (pneumonia > normal) + 0.5 * (pneumonia == normal)
        kinds = {"equal": self.equal, "opposed": self.opposed}
        return {
            name: float(right[pairs].mean())
            for name, pairs in kinds.items()
            if pairs.sum() >= FEWEST_PAIRS
            and min(pairs.any(axis=0).sum(), pairs.any(axis=1).sum()) >= FEWEST_RADIOGRAPHS
        }
