"""Softer targets where labels are noisy: bacterial against viral pneumonia.

In the Guangzhou set whether a pneumonia is bacterial or viral was read from the radiograph, and the
train part less carefully than the test part. A label that other patients' radiographs contradict is
therefore believed less, as in bootstrapping (Reed et al., ICLR Workshops 2015), but with predictions
that never saw the patient. Normal against pneumonia is left alone: there the predictions of a frozen
network live on shortcuts, and softening by them would teach these.
"""

import numpy as np
from numpy.typing import NDArray

from hilum.errors import CohortError
from hilum.training.frozen import fit_head
from hilum.training.recipe import HeadSearch

__all__ = ["soft_targets"]

# Features are many and the labels noisy, so strong shrinkage is tried first.
_SEARCH = HeadSearch(c=(1e-5, 1e-4, 1e-3, 1e-2, 1e-1))


def soft_targets(
    truth: NDArray[np.int64],
    features: NDArray[np.float32],
    patients: NDArray[np.str_],
    share: float,
    labels: int,
    seed: int,
) -> NDArray[np.float32]:
    """Return targets that give way, among the kinds of pneumonia, to out-of-fold predictions.

    Args:
        truth: 0 is normal, above it are the kinds, shape (n,).
        features: Pooled, of a network that never saw these labels, shape (n, channels).
        patients: Whose each is, shape (n,).
        share: Of the prediction in the target, in [0, 1]; the label has the rest.
        labels: Number of labels.
        seed: Of the folds.

    Returns:
        Shape (n, labels), rows sum to 1; one where a radiograph is normal.

    Raises:
        CohortError: If a kind has fewer patients than there are folds.
    """
    targets = np.eye(labels, dtype=np.float32)[truth]
    ill = truth > 0
    try:
        head = fit_head(features[ill], truth[ill], patients[ill], _SEARCH, seed)
    except CohortError as error:
        raise CohortError(
            f"loss.soft_kinds needs {_SEARCH.folds} patients with each kind of pneumonia in the "
            "train part; add some, or set it to 0"
        ) from error
    targets[ill, 1:] = (1 - share) * targets[ill, 1:] + share * head.out_of_fold
    return targets
