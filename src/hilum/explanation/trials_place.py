"""Where the place is known: does a map point at the opacity?

Three measures, because each is blind to something: the pointing game (Zhang et al., Int J Comput Vis
2018;126:1084-1102) sees only the maximum, the energy inside the mask sees only how much, and the overlap
only the shape. Each is held against chance, which is the mask's share of the radiograph, and against a
map that is bright in the centre whatever the radiograph shows: most opacities lie near the centre, too.
The pointing game is played without its usual tolerance of 15 pixels, which on a small grid is an eighth of it.
"""

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from hilum.errors import EvaluationError
from hilum.evaluation.figures import Figure
from hilum.evaluation.intervals import REPLICATES
from hilum.explanation.trials_erasing import centre_maps
from hilum.explanation.trials_maps import Maps, share_within
from hilum.explanation.trials_means import mean_figures
from hilum.model.schema import Document

__all__ = ["Placement", "Placing", "energy_inside", "overlap", "place", "pointing"]

Mask = NDArray[np.bool_]


class Placing(Document):
    """One measure of how well maps lie on masks, higher being better."""

    measure: str
    found: Figure  # of the maps, [0, 1]
    chance: Figure  # expected of a map that knows nothing
    centre: Figure  # of a map that is bright in the centre
    over_chance: Figure  # paired within radiographs
    over_centre: Figure


class Placement(Document):
    """Whether maps lie where the opacity lies."""

    pointing: Placing
    energy: Placing
    overlap: Placing
    empty_masks: int = Field(ge=0)  # radiographs without an opacity, in no figure
    flat_maps: int = Field(
        ge=0
    )  # of the others, those with nothing above 0: in no figure of energy


def pointing(maps: Maps, masks: Mask) -> NDArray[np.float64]:
    """Return whether each map's maximum lies inside the mask, shape (n,).

    Where several places share the maximum it is the fraction of them that does, so a flat map gets what
    chance gives.

    Args:
        maps: Shape (n, s, s).
        masks: True inside the opacity, same shape.
    """
    top = maps == maps.max(axis=(1, 2), keepdims=True)
    return np.asarray((top & masks).sum(axis=(1, 2)) / top.sum(axis=(1, 2)), dtype=np.float64)


def energy_inside(maps: Maps, masks: Mask) -> NDArray[np.float64]:
    """Return the share of positive saliency inside the mask, shape (n,); NaN where there is none."""
    return share_within(maps, masks)


def overlap(maps: Maps, masks: Mask) -> NDArray[np.float64]:
    """Return intersection over union of the mask and as many of the most salient pixels, shape (n,).

    Pixels that are equally salient share the last places evenly.

    Args:
        maps: Shape (n, s, s).
        masks: True inside the opacity, same shape, none of them empty.
    """
    found = np.empty(len(maps))
    for i, (each, mask) in enumerate(zip(maps, masks, strict=True)):
        area = int(mask.sum())
        limit = np.partition(each.ravel(), each.size - area)[each.size - area]
        surely, tied = each > limit, each == limit
        share = (area - surely.sum()) / tied.sum()
        both = (surely & mask).sum() + share * (tied & mask).sum()
        found[i] = both / (2 * area - both)
    return found


def place(
    maps: Maps,
    masks: Mask,
    patients: NDArray[np.str_],
    rng: np.random.Generator,
    *,
    replicates: int = REPLICATES,
) -> Placement:
    """Measure how well maps lie on the known places of opacities.

    Args:
        maps: Shape (n, s, s).
        masks: True inside the opacity, same shape; empty ones are left out and counted.
        patients: Whose each is, shape (n,).
        rng: Of the bootstrap.
        replicates: Of the bootstrap.

    Raises:
        EvaluationError: If the shapes differ, or every mask is empty.
    """
    if masks.shape != maps.shape:
        raise EvaluationError(
            f"masks of shape {masks.shape} do not fit maps of shape {maps.shape}; "
            "bring them to the same grid"
        )
    there = masks.any(axis=(1, 2))
    if not there.any():
        raise EvaluationError(
            "no mask has an opacity in it, so no map can point at one; give radiographs with pneumonia"
        )
    maps, masks, patients = maps[there], masks[there], patients[there]
    centre = centre_maps(maps.shape)
    share = masks.mean(axis=(1, 2))
    # Chance's overlap: of as many pixels as the mask has, the mask's share falls inside.
    rows = {
        "pointing": ("maximum inside the opacity", pointing, share),
        "energy": ("saliency inside the opacity", energy_inside, share),
        "overlap": ("intersection over union", overlap, share / (2 - share)),
    }
    placings = {}
    for name, (measure, function, chance) in rows.items():
        mine = function(maps, masks)
        # A baseline stands beside the map only where there is a map to compare it with.
        known = np.where(np.isnan(mine), np.nan, 0.0)
        baseline = function(centre, masks) + known
        figures = mean_figures(
            {
                "found": mine,
                "chance": chance + known,
                "centre": baseline,
                "over_chance": mine - chance,
                "over_centre": mine - baseline,
            },
            patients,
            rng,
            undefined="nothing in the map speaks for pneumonia",
            hits=frozenset({"found", "centre"} if name == "pointing" else ()),
            replicates=replicates,
        )
        placings[name] = Placing(measure=measure, **figures)
    return Placement(
        **placings,
        empty_masks=int((~there).sum()),
        flat_maps=int((maps.max(axis=(1, 2)) <= 0).sum()),
    )
