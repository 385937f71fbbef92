"""Saliency outside the thorax: an alarm for shortcuts.

Pneumonia is in the lungs. A map that is bright on markers, borders, arms or the belly says that the
classifier reads those, or that the method does not say what it reads; either way nobody should believe the
picture. The alarm rings at a quarter of the saliency: the outline is generous, but a coarse map is
enlarged, and spills over it by up to half a place on either side.
"""

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from hilum.evaluation.figures import Figure
from hilum.evaluation.intervals import REPLICATES
from hilum.explanation.trials_maps import Maps, Pixels, share_within
from hilum.explanation.trials_means import above, doubt, mean_figures
from hilum.explanation.trials_thorax import find_thorax
from hilum.model.schema import Document

__all__ = ["LEVEL", "Outside", "measure_outside"]

LEVEL = 0.25  # share of the saliency; see above


class Outside(Document):
    """How much of the saliency lies outside the thorax."""

    share: Figure  # of what is above 0 in a map, [0, 1]
    chance: Figure  # share of the radiograph that lies outside: what a flat map gets
    below_chance: Figure  # chance less share, paired within radiographs
    level: float = LEVEL
    alarm: bool | None  # None where the sample cannot decide
    because: str
    thorax_found: int = Field(ge=0)
    thorax_assumed: int = Field(ge=0)  # radiographs on which a central ellipse stood in
    flat_maps: int = Field(ge=0)  # with nothing above 0: in no figure


def measure_outside(
    maps: Maps,
    pixels: Pixels,
    patients: NDArray[np.str_],
    rng: np.random.Generator,
    *,
    replicates: int = REPLICATES,
) -> Outside:
    """Measure how much of the saliency lies outside the thorax.

    Args:
        maps: Shape (n, s, s).
        pixels: Frontal radiographs, shape (n, s, s).
        patients: Whose each is, shape (n,).
        rng: Of the bootstrap.
        replicates: Of the bootstrap.

    Returns:
        With an alarm where the whole interval of the share lies above the level, and where the share is not
        below chance with its whole interval.
    """
    thorax = find_thorax(pixels)
    share = 1.0 - share_within(maps, thorax.region)
    known = np.where(np.isnan(share), np.nan, 0.0)
    chance = 1.0 - thorax.region.mean(axis=(1, 2)) + known
    figures = mean_figures(
        {"share": share, "chance": chance, "below_chance": chance - share},
        patients,
        rng,
        undefined="nothing in the map speaks for pneumonia",
        replicates=replicates,
    )
    alarm, because = _judged(figures)
    return Outside(
        share=figures["share"],
        chance=figures["chance"],
        below_chance=figures["below_chance"],
        alarm=alarm,
        because=because,
        thorax_found=int(thorax.found.sum()),
        thorax_assumed=int((~thorax.found).sum()),
        flat_maps=int(np.isnan(share).sum()),
    )


def _judged(figures: dict[str, Figure]) -> tuple[bool | None, str]:
    much, better = above(figures["share"], LEVEL), above(figures["below_chance"], 0.0)
    if better is False:
        return True, "no less lies outside the thorax than of a map that is the same everywhere"
    if much:
        return True, f"more than {LEVEL:.0%} lies outside the thorax"
    if much is None:
        return None, f"of the share outside the thorax, {doubt(figures['share'], LEVEL)}"
    return False, f"no more than {LEVEL:.0%} lies outside the thorax"
