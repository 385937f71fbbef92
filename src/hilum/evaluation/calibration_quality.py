"""How good calibrated probabilities are: errors by bins, the parts of the Brier score, slope and intercept.

`hilum.evaluation.calibration` has the reliability table that people read; here are the figures by which
classifiers are compared. Those from bins have no interval: resampling adds noise to every bin, and so
moves them one way. Slope and intercept need no bins.
"""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from hilum.evaluation.calibration import mass_bins
from hilum.evaluation.figures import Figure, FigureName
from hilum.evaluation.intervals import REPLICATES, assess
from hilum.evaluation.subjects import Mask, Measure, Replicates, Weights
from hilum.model.schema import Document

__all__ = ["BrierParts", "CalibrationQuality", "Recalibration", "calibration_quality"]

_WIDTHS = 10  # bins of equal width, as in Naeini et al. (AAAI 2015)

# Probabilities of exactly 0 and 1 have no log-odds; they count as this far from 0 and from 1.
_NEAREST = 1e-12

# Newton's method doubles its right digits: after a step below this the error is near its square.
_SMALL_STEP = 1e-3
_LARGEST_STEP = 1.0  # a longer one is shortened, or few radiographs may throw it beyond return
_STEPS = 50
_SINGULAR = 1e-12  # determinant over product of the diagonal


class BrierParts(Document):
    """The Brier score in parts that add up to it, over the bins of equal mass.

    brier = reliability - resolution + uncertainty + within_bin_variance - within_bin_covariance.
    The first three are Murphy's (J Appl Meteorol 1973;12:595-600), which add up only where all
    probabilities of a bin are equal; the last two are what they leave over (Stephenson, Coelho &
    Jolliffe, Weather Forecast 2008;23:752-757).
    """

    brier: float = Field(ge=0.0, le=1.0)
    reliability: float = Field(ge=0.0)  # probabilities against what came true; 0 is best
    resolution: float = Field(ge=0.0)  # how far bins differ in what came true; more is better
    uncertainty: float = Field(ge=0.0, le=0.25)  # of the part itself; no classifier changes it
    within_bin_variance: float = Field(ge=0.0)
    within_bin_covariance: float  # twice the covariance of probability and truth within bins


class CalibrationQuality(Document):
    """How far probabilities of pneumonia can be taken at their word."""

    # Mean distance between probability and observed fraction over bins, by their size.
    expected_calibration_error: float = Field(ge=0.0, le=1.0)  # bins of equal mass, "adaptive"
    equal_width_error: float = Field(ge=0.0, le=1.0)  # ten bins of equal width
    mass_bins: int = Field(ge=1)
    width_bins: int = Field(ge=1)  # of ten, that hold any radiograph
    brier: BrierParts
    slope: Figure  # 1 is best; below 1, probabilities are too extreme
    intercept: Figure  # 0 is best; above 0, pneumonia is commoner than the probabilities say


@dataclass(frozen=True, slots=True, eq=False)
class Recalibration:
    """Slope and intercept of the truth over the log-odds (Cox, Biometrika 1958;45:562-565).

    The slope is that of a logistic regression of the truth on the log-odds of pneumonia. The
    intercept is that of another, whose slope is held at 1: calibration in the large, which says
    whether probabilities are too low or too high as a whole (Van Calster et al., BMC Med 2019;17:230).

    Args:
        probabilities: Calibrated, of pneumonia, shape (n,), in [0, 1].
        truth: True where the reference standard is pneumonia, shape (n,).
    """

    probabilities: NDArray[np.float64]
    truth: Mask
    _log_odds: NDArray[np.float64] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        held = np.clip(self.probabilities, _NEAREST, 1.0 - _NEAREST)
        object.__setattr__(self, "_log_odds", np.log(held) - np.log1p(-held))

    @property
    def measures(self) -> dict[FigureName, Measure]:
        """What each figure rests on."""
        groups = {"with pneumonia": self.truth, "that are normal": ~self.truth}
        everyone = np.ones_like(self.truth)
        missing = "no radiograph has pneumonia, or no radiograph is normal"
        endless = (
            "or probabilities are all the same, or tell all radiographs apart without a mistake"
        )
        return {
            FigureName.CALIBRATION_SLOPE: Measure(everyone, groups, f"{missing}, {endless}"),
            FigureName.CALIBRATION_INTERCEPT: Measure(everyone, groups, missing),
        }

    def values(self, weights: Weights) -> dict[FigureName, Replicates]:
        """Return both under each set of weights; NaN where the likelihood has no maximum."""
        one = np.ones_like(self._log_odds)
        # On a scale of their own deviation, so that a step is as long for any probabilities.
        unit = float(self._log_odds.std()) or 1.0
        line = np.stack([one, self._log_odds / unit])
        slope = self._regression(weights, line, np.zeros_like(one), np.zeros((1, 2)))
        intercept = self._regression(weights, one[None], self._log_odds, np.zeros((1, 1)))
        return {
            FigureName.CALIBRATION_SLOPE: slope[:, -1] / unit,
            FigureName.CALIBRATION_INTERCEPT: intercept[:, 0],
        }

    def _regression(
        self,
        weights: Weights,
        design: NDArray[np.float64],
        offset: NDArray[np.float64],
        start: NDArray[np.float64],
    ) -> NDArray[np.float64]:
        """Fit a logistic regression to each set of weights.

        Args:
            weights: Shape (b, n).
            design: Shape (k, n).
            offset: Added to the log-odds, shape (n,).
            start: Where a search for the fit to all radiographs begins, shape (1, k).

        Returns:
            Coefficients, shape (b, k); NaN where there is no maximum.
        """
        if self._has_no_end(design):
            return np.full((len(weights), len(design)), np.nan)
        everyone = self._steps(np.ones((1, len(offset))), design, offset, start)
        if np.isnan(everyone).any():
            return np.repeat(everyone, len(weights), axis=0)
        # Resampled patients have their maximum near that of all patients, so two or three steps
        # lead from there to each, and the first needs the probabilities of one fit only.
        found = self._steps(weights, design, offset, everyone)
        lost = np.isnan(
            found[:, 0]
        )  # among few radiographs; a far start may find what a near one lost
        if lost.any():
            found[lost] = self._steps(weights[lost], design, offset, start)
        return found

    def _has_no_end(self, design: NDArray[np.float64]) -> bool:
        if self.truth.all() or not self.truth.any():
            return True
        ill, well = self._log_odds[self.truth], self._log_odds[~self.truth]
        apart = ill.min() >= well.max() or well.min() >= ill.max()
        return bool(len(design) > 1 and (apart or np.ptp(self._log_odds) == 0.0))

    def _steps(
        self,
        weights: Weights,
        design: NDArray[np.float64],
        offset: NDArray[np.float64],
        start: NDArray[np.float64],
    ) -> NDArray[np.float64]:
        """Take Newton's steps from one start; NaN where they do not come to rest."""
        k = len(design)
        squares = (design[:, None] * design[None]).reshape(k * k, -1)
        found = np.full((len(weights), k), np.nan)
        left = np.arange(len(weights))  # the sets of weights that are not done
        here = np.repeat(start, len(weights), axis=0)
        came_true = _sums(weights, self.truth * design)
        shared = _chances(start, design, offset)[0]
        expected = _sums(weights, shared * design)
        bend = _sums(weights, shared * (1.0 - shared) * squares)
        for _ in range(_STEPS):
            bend = bend.reshape(-1, k, k)
            scale = np.prod(np.diagonal(bend, axis1=1, axis2=2), axis=1)
            sound = np.linalg.det(bend) > _SINGULAR * scale
            left, here, uphill = left[sound], here[sound], (came_true[left] - expected)[sound]
            step = np.linalg.solve(bend[sound], uphill[:, :, None])[:, :, 0]
            length = np.abs(step).max(axis=1, initial=0.0)
            here = here + step / np.maximum(1.0, length / _LARGEST_STEP)[:, None]
            done = length < _SMALL_STEP
            found[left[done]] = here[done]
            left, here = left[~done], here[~done]
            if not len(left):
                break
            # In place, for these are the largest arrays of all the evidence: (b, n).
            chances = _chances(here, design, offset)
            weighted = weights[left]
            weighted *= chances
            expected = _sums(weighted, design)
            chances *= weighted
            weighted -= chances  # w p (1 - p)
            bend = _sums(weighted, squares)
        return found


def _sums(weights: Weights, columns: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return weighted sums, shape (b, k), of columns (k, n)."""
    # A matrix product as thin as this costs more in threads that wait than in sums.
    return np.asarray(np.vecdot(weights[:, None], columns), dtype=np.float64)


def _chances(
    coefficients: NDArray[np.float64], design: NDArray[np.float64], offset: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return probabilities, shape (b, n), by coefficients (b, k)."""
    odds_against = np.tile(-offset, (len(coefficients), 1))
    for column, values in enumerate(design):
        odds_against -= coefficients[:, column, None] * values
    with np.errstate(over="ignore"):  # odds without end give a probability of 0, as they should
        np.exp(odds_against, out=odds_against)
    odds_against += 1.0
    return np.asarray(np.reciprocal(odds_against, out=odds_against), dtype=np.float64)


def calibration_quality(
    pneumonia: NDArray[np.float64],
    is_pneumonia: NDArray[np.bool_],
    patients: NDArray[np.str_],
    rng: np.random.Generator,
    replicates: int = REPLICATES,
) -> CalibrationQuality:
    """Measure how far probabilities can be taken at their word.

    Args:
        pneumonia: Calibrated probability of pneumonia, shape (n,), in [0, 1], n >= 1.
        is_pneumonia: The reference standard, shape (n,).
        patients: Who each radiograph shows, shape (n,).
        rng: Of the bootstrap.
        replicates: How many bootstrap replicates.

    Returns:
        The figures. Slope and intercept are null with a reason where a class is missing.
    """
    by_mass = mass_bins(pneumonia)
    place = np.minimum((pneumonia * _WIDTHS).astype(np.int64), _WIDTHS - 1)
    by_width = [np.flatnonzero(place == each) for each in np.unique(place)]
    subjects = {"recalibration": Recalibration(pneumonia, is_pneumonia)}
    figures = assess(subjects, patients, rng, replicates)["recalibration"]
    return CalibrationQuality(
        expected_calibration_error=_error(by_mass, pneumonia, is_pneumonia),
        equal_width_error=_error(by_width, pneumonia, is_pneumonia),
        mass_bins=len(by_mass),
        width_bins=len(by_width),
        brier=_brier_parts(by_mass, pneumonia, is_pneumonia),
        slope=figures[FigureName.CALIBRATION_SLOPE],
        intercept=figures[FigureName.CALIBRATION_INTERCEPT],
    )


def _error(
    bins: list[NDArray[np.intp]], pneumonia: NDArray[np.float64], is_pneumonia: NDArray[np.bool_]
) -> float:
    gaps = [abs(pneumonia[rows].sum() - is_pneumonia[rows].sum()) for rows in bins]
    return float(sum(gaps) / len(pneumonia))


def _brier_parts(
    bins: list[NDArray[np.intp]], pneumonia: NDArray[np.float64], is_pneumonia: NDArray[np.bool_]
) -> BrierParts:
    n, truth = len(pneumonia), is_pneumonia.astype(np.float64)
    prevalence = truth.mean()
    reliability = resolution = variance = covariance = 0.0
    for rows in bins:
        p, y = pneumonia[rows], truth[rows]
        reliability += len(rows) * (p.mean() - y.mean()) ** 2 / n
        resolution += len(rows) * (y.mean() - prevalence) ** 2 / n
        variance += np.square(p - p.mean()).sum() / n
        covariance += 2.0 * ((p - p.mean()) * (y - y.mean())).sum() / n
    return BrierParts(
        brier=float(np.square(pneumonia - truth).mean()),
        reliability=float(reliability),
        resolution=float(resolution),
        uncertainty=float(prevalence * (1.0 - prevalence)),
        within_bin_variance=float(variance),
        within_bin_covariance=float(covariance),
    )
