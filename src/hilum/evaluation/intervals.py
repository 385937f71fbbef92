"""Intervals that know that radiographs of one patient are alike.

Patients, not radiographs, are drawn with replacement, because two radiographs of one patient carry
less than twice the information of one (Field & Welsh, J R Stat Soc B 2007;69:369-390). A patient who
was drawn twice gives each of his radiographs the weight two, so a replicate is a row of whole
numbers, and figures are computed on many rows at once.
"""

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from hilum.evaluation.figures import LEVEL, Figure, FigureName, Interval
from hilum.evaluation.subjects import Measure, Subject

__all__ = [
    "MINIMUM_PATIENTS",
    "REPLICATES",
    "assess",
    "bootstrap",
    "clopper_pearson",
    "drawn_interval",
    "patient_weights",
    "percentiles",
    "too_few",
    "wilson",
]

# 2,000 replicates put the Monte Carlo error of a 95 % limit near a tenth of the interval's width
# (Efron & Tibshirani, An Introduction to the Bootstrap, 1993, section 19.3).
REPLICATES = 2000

# With fewer patients in a class the percentile interval's coverage falls apart; then hilum gives
# the figure without one and says so.
MINIMUM_PATIENTS = 10

# Where a figure is undefined in more replicates than this, the rest are no fair sample.
_MOST_DROPPED = 0.05

# Weights held at once: 8 MiB, so 10,000 radiographs need no more memory than 100.
_CHUNK = 1 << 20


def patient_weights(
    patients: NDArray[np.str_], rng: np.random.Generator, replicates: int = REPLICATES
) -> Iterator[NDArray[np.float64]]:
    """Draw patients with replacement and give the weight of each radiograph.

    Args:
        patients: Who each radiograph shows, shape (n,).
        rng: The source of randomness.
        replicates: How many draws.

    Yields:
        Chunks of shape (b, n), whole numbers >= 0; the b add up to `replicates`.
    """
    codes = np.unique(patients, return_inverse=True)[1]
    count = int(codes.max()) + 1
    step = max(1, _CHUNK // len(codes))
    for start in range(0, replicates, step):
        rows = min(step, replicates - start)
        drawn = rng.integers(0, count, size=(rows, count))
        flat = (drawn + count * np.arange(rows)[:, None]).ravel()
        times = np.bincount(flat, minlength=rows * count).reshape(rows, count)
        yield times[:, codes].astype(np.float64)


def bootstrap(
    statistic: Callable[[NDArray[np.float64]], NDArray[np.float64]],
    patients: NDArray[np.str_],
    rng: np.random.Generator,
    replicates: int = REPLICATES,
) -> NDArray[np.float64]:
    """Compute a statistic on resampled patients.

    Args:
        statistic: From weights (b, n) to values (b, ...); NaN where undefined.
        patients: Shape (n,).
        rng: The source of randomness.
        replicates: How many.

    Returns:
        Values, shape (replicates, ...).
    """
    return np.concatenate(
        [statistic(weights) for weights in patient_weights(patients, rng, replicates)]
    )


def percentiles(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the lower and upper 95 % limits of replicates (b, ...), shape (2, ...), without NaN."""
    tail = 50.0 * (1.0 - LEVEL)
    return np.asarray(np.nanpercentile(values, [tail, 100.0 - tail], axis=0), dtype=np.float64)


def clopper_pearson(successes: int, trials: int) -> Interval:
    """Return the exact binomial interval (Clopper & Pearson, Biometrika 1934;26:404-413).

    With all or no successes its far limit is near 3.7 / trials from the end: the two-sided form of
    the rule of three (Hanley & Lippman-Hand, JAMA 1983;249:1743-1745).

    Args:
        successes: In [0, trials].
        trials: Independent ones, >= 1; count patients, not radiographs.
    """
    from scipy.special import betaincinv  # scipy.stats has it, too, but takes a second to import

    tail, failures = (1.0 - LEVEL) / 2.0, trials - successes
    lower = float(betaincinv(successes, failures + 1, tail)) if successes else 0.0
    upper = float(betaincinv(successes + 1, failures, 1.0 - tail)) if failures else 1.0
    return Interval(lower=lower, upper=upper, method="Clopper-Pearson over patients")


def wilson(rate: float, trials: int) -> Interval:
    """Return Wilson's score interval of a fraction (J Am Stat Assoc 1927;22:209-212).

    Args:
        rate: Observed fraction, in [0, 1].
        trials: Independent ones, >= 1; count patients, not radiographs.
    """
    z = NormalDist().inv_cdf((1.0 + LEVEL) / 2.0)
    centre = (rate + z * z / (2 * trials)) / (1 + z * z / trials)
    spread = rate * (1 - rate) / trials + z * z / (4 * trials * trials)
    half = z * float(np.sqrt(spread)) / (1 + z * z / trials)
    # At 0 and 1 a limit is the end itself; rounding must not put it beside.
    lower = 0.0 if rate == 0.0 else max(0.0, centre - half)
    upper = 1.0 if rate == 1.0 else min(1.0, centre + half)
    return Interval(lower=lower, upper=upper, method="Wilson over patients")


def assess(
    subjects: Mapping[str, Subject],
    patients: NDArray[np.str_],
    rng: np.random.Generator,
    replicates: int = REPLICATES,
) -> dict[str, dict[FigureName, Figure]]:
    """Measure subjects on the same radiographs, with intervals from one bootstrap over patients.

    Args:
        subjects: What to measure, by any name; all on the same n radiographs.
        patients: Who each radiograph shows, shape (n,).
        rng: The source of randomness; one state gives one answer.
        replicates: How many bootstrap replicates.

    Returns:
        For each subject its figures. Percentile intervals; replicates in which a figure is
        undefined are dropped and counted.
    """
    names = [(key, figure) for key, subject in subjects.items() for figure in subject.measures]

    def measured(weights: NDArray[np.float64]) -> NDArray[np.float64]:
        values = {key: subject.values(weights) for key, subject in subjects.items()}
        return np.stack([values[key][figure] for key, figure in names], axis=1)

    estimates = measured(np.ones((1, len(patients))))[0]
    drawn = bootstrap(measured, patients, rng, replicates)
    result: dict[str, dict[FigureName, Figure]] = {key: {} for key in subjects}
    for column, (key, name) in enumerate(names):
        measure = subjects[key].measures[name]
        result[key][name] = _figure(estimates[column], drawn[:, column], measure, patients)
    return result


def _figure(
    estimate: float, drawn: NDArray[np.float64], measure: Measure, patients: NDArray[np.str_]
) -> Figure:
    people = len(np.unique(patients[measure.among]))
    figure = partial(Figure, radiographs=int(measure.among.sum()), patients=people)
    if np.isnan(estimate):
        return figure(value=None, reason=measure.undefined, no_interval="the figure is undefined")
    value = float(estimate)
    if why := too_few(measure, patients):
        return figure(value=value, no_interval=why)
    if measure.proportion and value in (0.0, 1.0):
        # Every replicate repeats the estimate, so the bootstrap would claim certainty.
        exact = clopper_pearson(people if value == 1.0 else 0, people)
        return figure(value=value, interval=exact)
    interval = drawn_interval(drawn)
    if isinstance(interval, str) and measure.rate and value in (0.0, 1.0):
        return figure(value=value, interval=clopper_pearson(people if value else 0, people))
    if isinstance(interval, str):
        return figure(value=value, no_interval=interval)
    return figure(value=value, interval=interval)


def too_few(measure: Measure, patients: NDArray[np.str_]) -> str | None:
    """Say which group of a measure has too few patients for an interval, if any has."""
    for group, mask in measure.groups.items():
        if (found := len(np.unique(patients[mask]))) < MINIMUM_PATIENTS:
            people_words = "1 patient" if found == 1 else f"{found} patients"
            return f"only {people_words} {group}; an interval needs {MINIMUM_PATIENTS}"
    return None


def drawn_interval(drawn: NDArray[np.float64]) -> Interval | str:
    """Return the percentile interval of replicates, or why there is none.

    Args:
        drawn: Shape (replicates,); NaN where undefined.
    """
    kept = drawn[~np.isnan(drawn)]
    dropped = len(drawn) - len(kept)
    if dropped > _MOST_DROPPED * len(drawn):
        return f"the figure is undefined in {dropped} of {len(drawn)} bootstrap replicates"
    lower, upper = percentiles(kept)
    if lower == upper:
        return "the bootstrap has no width here, since every replicate gives the same value"
    return Interval(
        lower=float(lower),
        upper=float(upper),
        method="patient bootstrap",
        replicates=len(kept),
        dropped=dropped,
    )
