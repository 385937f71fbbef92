"""Areas under correlated ROC curves, with a covariance that keeps patients whole.

DeLong, DeLong and Clarke-Pearson (Biometrics 1988;44:837-845) for independent radiographs; where a
patient has several, their placement values are summed first (Obuchowski, Biometrics 1997;53:567-578).
With one radiograph for each patient the two are the same.
"""

from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from hilum.errors import EvaluationError
from hilum.evaluation.figures import LEVEL, Interval

__all__ = ["NO_VARIANCE", "Z", "area_interval", "areas_and_covariance"]

NO_VARIANCE = 1e-15  # below it a variance is rounding
Z = NormalDist().inv_cdf((1 + LEVEL) / 2)


def areas_and_covariance(
    scores: NDArray[np.float64], truth: NDArray[np.bool_], patients: NDArray[np.str_]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the AUC of each classifier on the same radiographs, and their covariance.

    Args:
        scores: Of the finding, shape (classifiers, n); only their order matters.
        truth: True where a radiograph has the finding, shape (n,).
        patients: Whose each is, shape (n,).

    Returns:
        Areas, shape (classifiers,), and covariance, shape (classifiers, classifiers).

    Raises:
        EvaluationError: If fewer than two patients have the finding, or lack it.
    """
    from scipy.stats import rankdata

    whose = np.unique(patients, return_inverse=True)[1]
    count = int(whose.max()) + 1 if len(whose) else 0
    sides = []
    for mask in (truth, ~truth):
        people = len(np.unique(whose[mask]))
        if people < 2:
            side = "with" if mask is truth else "without"
            raise EvaluationError(
                f"an AUC needs two patients {side} the finding to have a variance; here are {people}"
            )
        sides.append((mask, people))
    ill, well = scores[:, truth], scores[:, ~truth]
    m, n = ill.shape[1], well.shape[1]
    # Placement values by mid-ranks (Sun and Xu, IEEE Signal Process Lett 2014): of each radiograph
    # with the finding, the share of the others that it beats, and the reverse.
    overall = rankdata(np.concatenate([ill, well], axis=1), axis=1)
    beats = (overall[:, :m] - rankdata(ill, axis=1)) / n
    beaten = 1.0 - (overall[:, m:] - rankdata(well, axis=1)) / m
    areas = beats.mean(axis=1)
    sums = []
    for (mask, _), values in zip(sides, (beats, beaten), strict=True):
        of_patient = np.zeros((len(scores), count))
        np.add.at(of_patient.T, whose[mask], (values - areas[:, None]).T)
        sums.append(of_patient)
    (_, with_finding), (_, without) = sides
    one = with_finding / ((with_finding - 1) * m) * sums[0] @ sums[0].T
    other = without / ((without - 1) * n) * sums[1] @ sums[1].T
    between = count / (count - 1) * sums[0] @ sums[1].T
    return areas, one / m + other / n + (between + between.T) / (m * n)


def area_interval(area: float, variance: float) -> Interval | None:
    """Return the 95 % interval of an AUC from its variance; None where that is zero.

    On the scale of log-odds, where an AUC near 1 is nearer to normal and the interval stays within
    (0, 1) (Qin & Hotilovac, Stat Methods Med Res 2008;17:207-221).
    """
    if variance <= NO_VARIANCE or not 0.0 < area < 1.0:
        return None
    odds, reach = np.log(area / (1 - area)), Z * np.sqrt(variance) / (area * (1 - area))
    lower, upper = (float(1 / (1 + np.exp(-end))) for end in (odds - reach, odds + reach))
    return Interval(lower=lower, upper=upper, method="DeLong over patients")
