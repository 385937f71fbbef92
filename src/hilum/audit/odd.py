"""Pictures that do not belong: turned, inverted, blank or tiny radiographs, and no radiographs at all.

No outside data is needed. What a turned or inverted radiograph looks like is learned from copies of
the cohort's own, cross-fitted over patients; what is no chest radiograph lies far from everything
else in the embedding. The first fails where most of a cohort is turned, the second where a cohort
holds several of the same strange thing, which are then neighbours.
"""

from collections.abc import Mapping
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from hilum.cohort.split import patient_folds

__all__ = ["FAR", "FEWEST_POSED", "SURE", "Pose", "pose_probabilities", "posed", "strangeness"]

# Fewer radiographs than this do not teach what upright is.
FEWEST_POSED = 40
# Probability from which a radiograph counts as turned or inverted; see docs/cohorts.md for what it found.
SURE = 0.8
# Robust deviations from which a picture is far from all others. Of 5,216 radiographs of kermany224 the
# farthest has 5.6; of 97 CT, MR and ultrasound images, photographs and legs beside them the nearest has
# 7.5; an adult's chest radiograph has 3.2.
FAR = 6.5
_NEAREST = 5  # neighbours, of other patients
_COMPONENTS = 64  # of the embedding; more learned nothing from a few hundred radiographs
_FOLDS = 5
_ROWS = 1024  # of the matrix of distances, so that it stays small


class Pose(StrEnum):
    """How a radiograph lies."""

    UPRIGHT = "upright"
    QUARTER = "turned by 90 degrees"  # either way; chests are too symmetrical to tell which
    HALF = "turned by 180 degrees"
    INVERTED = "inverted"


def posed(pixels: NDArray[np.uint8]) -> dict[Pose, NDArray[np.uint8]]:
    """Turn and invert radiographs.

    Args:
        pixels: Shape (n, s, s), uint8. Every other one is turned left by 90 degrees, the rest right.
    """
    quarter = np.rot90(pixels, 1, (1, 2)).copy()
    quarter[1::2] = np.rot90(pixels[1::2], 3, (1, 2))
    return {
        Pose.QUARTER: quarter,
        Pose.HALF: np.rot90(pixels, 2, (1, 2)).copy(),
        Pose.INVERTED: 255 - pixels,
    }


def pose_probabilities(
    features: NDArray[np.float32],
    patients: NDArray[np.str_],
    rows: NDArray[np.int64],
    copies: Mapping[Pose, NDArray[np.float32]],
) -> tuple[NDArray[np.float64], dict[Pose, NDArray[np.float64]]]:
    """Say how each radiograph lies, by models that never saw its patient.

    Args:
        features: Embedding of all radiographs, shape (n, k).
        patients: Shape (n,).
        rows: Those that were turned and inverted, one of a patient, shape (m,).
        copies: Embeddings of the turned and inverted copies, each (m, k).

    Returns:
        Probabilities by pose in the order of `Pose`, shape (n, 4); and the same for the copies.

    Raises:
        CohortError: If there are fewer rows than folds.
    """
    from sklearn.decomposition import PCA
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    learned = {Pose.UPRIGHT: features[rows], **copies}
    fold_of = patient_folds(np.zeros(len(rows), np.int64), patients[rows], _FOLDS, seed=0)
    held_out = dict(zip(patients[rows].tolist(), fold_of.tolist(), strict=True))
    own = np.array([held_out.get(patient, -1) for patient in patients.tolist()])
    judged = np.zeros((len(features), len(Pose)))
    of_copies = {pose: np.empty((len(rows), len(Pose))) for pose in copies}
    for fold in range(_FOLDS):
        seen = fold_of != fold
        x = np.concatenate([learned[pose][seen] for pose in Pose])
        y = np.repeat(np.arange(len(Pose)), seen.sum())
        model = make_pipeline(
            StandardScaler(),
            PCA(min(_COMPONENTS, *x.shape), svd_solver="randomized", random_state=0),
            LogisticRegression(C=0.01, solver="newton-cholesky"),
        ).fit(x, y)
        judged[own == fold] = (
            model.predict_proba(features[own == fold]) if (own == fold).any() else 0
        )
        if (own < 0).any():
            judged[own < 0] += model.predict_proba(features[own < 0]) / _FOLDS
        for pose, embedded in copies.items():
            of_copies[pose][~seen] = model.predict_proba(embedded[~seen])
    return judged, of_copies


def strangeness(features: NDArray[np.float32], patients: NDArray[np.str_]) -> NDArray[np.float64]:
    """Say how far each radiograph lies from its nearest of other patients, against the others.

    Args:
        features: Embedding, shape (n, k).
        patients: Shape (n,).

    Returns:
        Shape (n,), float64: the logarithm of the mean distance to the five nearest, less its median,
        in median absolute deviations scaled to a normal's deviation. All zero where there are fewer
        than six patients.
    """
    codes = np.unique(patients, return_inverse=True)[1]
    if codes.max(initial=-1) < _NEAREST:
        return np.zeros(len(features))
    deviation = features.std(axis=0)
    standard = (features - features.mean(axis=0)) / np.where(deviation > 0, deviation, 1.0)
    squares = (standard**2).sum(axis=1)
    distance = np.empty(len(features))
    for start in range(0, len(features), _ROWS):
        rows = slice(start, start + _ROWS)
        apart = squares[rows, None] + squares[None] - 2 * standard[rows] @ standard.T
        apart[codes[rows, None] == codes[None]] = np.inf
        nearest = np.partition(apart, _NEAREST - 1, axis=1)[:, :_NEAREST]
        # Copies under two names lie at a distance of rounding; the floor keeps the logarithm finite.
        distance[rows] = np.log(np.sqrt(np.maximum(nearest, 1e-6)).mean(axis=1))
    middle = np.median(distance)
    spread = 1.4826 * np.median(np.abs(distance - middle))
    return (distance - middle) / spread if spread > 0 else np.zeros(len(features))
