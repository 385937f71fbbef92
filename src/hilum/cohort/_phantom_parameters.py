"""What a phantom is made of: the numbers behind one patient, one exposure and one opacity.

Random code lives here and only here: each class is drawn from a generator and then says everything
that `hilum.cohort._phantom_render` needs, so a phantom can be drawn again without an opacity, or
with another exposure. Lengths are in half pictures: u runs from -1 (viewer's left, the patient's
right) to 1, v from -1 (top) to 1. Attenuation is in arbitrary units, soft tissue being about 1.
"""

from dataclasses import dataclass

import numpy as np

from hilum.errors import CohortError
from hilum.findings import Finding

__all__ = [
    "Anatomy",
    "Exposure",
    "Focus",
    "Opacity",
    "draw_anatomy",
    "draw_exposure",
    "draw_opacity",
]

_SEEDS = (
    2**63
)  # texture seeds are below it, so that they fit a signed 64-bit integer in JSON readers


@dataclass(frozen=True, slots=True)
class Anatomy:
    """One patient's shape; every radiograph of the patient shares it."""

    thorax_half_width: float
    apex: float  # v of the top of the lungs
    base: float  # v of the right dome of the diaphragm at full inspiration
    dome_height: float
    left_dome_drop: float  # the right dome stands higher, above the liver
    mediastinum: float  # half width of the upper mediastinum
    heart_width: float
    heart_height: float
    heart_shift: float  # towards the viewer's right
    heart_tilt: float  # radians; the apex points down and to the viewer's right
    spine_half_width: float
    vertebra_height: float
    scoliosis: float  # sideways swing of the spine
    rib_spacing: float
    rib_half_thickness: float
    rib_fall: float  # how far a posterior rib descends from spine to chest wall
    rib_phase: float  # in rib spacings
    bone: float  # attenuation of bone, relative
    clavicle_height: float  # v of the inner end
    clavicle_rise: float  # how much higher the outer end is
    chest_wall: float  # soft tissue beside the ribs
    neck_half_width: float
    shoulder: float  # v of the shoulders
    vessels: float  # strength of the vascular markings
    gas: float  # size of the stomach bubble, 0 for none
    texture_seed: int


@dataclass(frozen=True, slots=True)
class Exposure:
    """How one radiograph was taken. It never depends on the finding, or it would be a shortcut."""

    rotation: float  # radians
    shift_u: float
    shift_v: float
    scale: float
    inspiration: float  # 1 is full
    arms_raised: bool
    gain: float
    offset: float
    gamma: float
    veil: float  # scattered radiation, which lifts the dark regions, 0 to 1
    noise: float  # standard deviation in the lungs, as a fraction of full scale
    blur: float  # standard deviation, in half pictures
    borders: tuple[float, float, float, float]  # left, right, top, bottom, as fractions of the side
    border_grey: float  # fraction of full scale
    marker: str  # "R", "L" or nothing
    marker_height: float  # v
    noise_seed: int


@dataclass(frozen=True, slots=True)
class Focus:
    """One region of consolidation, placed relative to a lung so that it lies inside any lung."""

    side: int  # -1 is the lung at the viewer's left, 1 the one at the right
    across: float  # 0 at the mediastinum, 1 at the chest wall
    down: float  # 0 at the apex, 1 at the diaphragm
    radius_u: float
    radius_v: float
    tilt: float  # radians


@dataclass(frozen=True, slots=True)
class Opacity:
    """What pneumonia adds to the lungs.

    Bacterial: the foci of a lobar consolidation. Viral: no foci, but haze that lies in both lungs.
    """

    finding: Finding
    foci: tuple[Focus, ...]
    contrast: float  # attenuation added where the opacity is densest
    extent: float  # viral: the fraction of the lungs that the haze reaches, about
    reticulation: float  # viral: share of the interstitial, net-like part
    texture_seed: int


def draw_anatomy(rng: np.random.Generator) -> Anatomy:
    """Draw one patient. The ranges give the habitus of small children to slender adults."""
    return Anatomy(
        thorax_half_width=rng.uniform(0.62, 0.76),
        apex=rng.uniform(-0.80, -0.66),
        base=rng.uniform(0.44, 0.60),
        dome_height=rng.uniform(0.12, 0.20),
        left_dome_drop=rng.uniform(0.01, 0.07),
        mediastinum=rng.uniform(0.12, 0.17),
        heart_width=rng.uniform(0.27, 0.37),
        heart_height=rng.uniform(0.36, 0.46),
        heart_shift=rng.uniform(0.08, 0.15),
        heart_tilt=rng.uniform(0.35, 0.75),
        spine_half_width=rng.uniform(0.075, 0.1),
        vertebra_height=rng.uniform(0.10, 0.13),
        scoliosis=rng.normal(0.0, 0.008),
        rib_spacing=rng.uniform(0.135, 0.165),
        rib_half_thickness=rng.uniform(0.024, 0.034),
        rib_fall=rng.uniform(0.16, 0.28),
        rib_phase=rng.uniform(0.0, 1.0),
        bone=rng.uniform(0.75, 1.25),
        clavicle_height=rng.uniform(-0.66, -0.54),
        clavicle_rise=rng.uniform(0.02, 0.16),
        chest_wall=rng.uniform(0.06, 0.16),
        neck_half_width=rng.uniform(0.24, 0.34),
        shoulder=rng.uniform(-0.84, -0.72),
        vessels=rng.uniform(0.5, 1.5),
        gas=max(0.0, rng.normal(0.06, 0.08)),
        texture_seed=int(rng.integers(_SEEDS)),
    )


def draw_exposure(rng: np.random.Generator) -> Exposure:
    """Draw how one radiograph is taken, without looking at the finding."""
    left, right, top, bottom = (
        max(0.0, rng.normal(0.01, 0.03)) if rng.random() < 0.7 else 0.0 for _ in range(4)
    )
    return Exposure(
        rotation=rng.normal(0.0, 0.035),
        shift_u=rng.normal(0.0, 0.03),
        shift_v=rng.normal(0.0, 0.03),
        scale=rng.uniform(0.92, 1.10),
        inspiration=rng.uniform(0.88, 1.0),
        arms_raised=bool(rng.random() < 0.5),
        gain=rng.uniform(0.80, 1.10),
        offset=rng.normal(0.0, 0.03),
        gamma=float(np.exp(rng.normal(0.0, 0.15))),
        veil=rng.uniform(0.0, 0.35),
        noise=rng.uniform(0.004, 0.020),
        blur=rng.uniform(0.002, 0.007),
        borders=(min(left, 0.08), min(right, 0.08), min(top, 0.08), min(bottom, 0.08)),
        border_grey=rng.uniform(0.0, 0.08),
        marker=str(rng.choice(["R", "L", ""], p=[0.5, 0.2, 0.3])),
        marker_height=rng.uniform(-0.85, -0.2),
        noise_seed=int(rng.integers(_SEEDS)),
    )


def draw_opacity(finding: Finding, rng: np.random.Generator) -> Opacity | None:
    """Draw what a finding adds to the lungs; None when the finding is normal.

    Contrast and size are drawn apart from each other, so that some opacities are subtle: faint and
    small at once.

    Raises:
        CohortError: If the finding is pneumonia of an unspecified kind, which has no picture.
    """
    if finding is Finding.NORMAL:
        return None
    if finding is Finding.PNEUMONIA:
        raise CohortError(
            "a phantom of 'pneumonia' cannot be drawn because its kind is not specified; "
            f"ask for '{Finding.BACTERIAL}' or '{Finding.VIRAL}'"
        )
    seed = int(rng.integers(_SEEDS))
    if finding is Finding.VIRAL:
        return Opacity(
            finding=finding,
            foci=(),
            contrast=rng.uniform(0.18, 0.50),
            extent=rng.uniform(0.30, 0.75),
            reticulation=rng.uniform(0.25, 0.7),
            texture_seed=seed,
        )
    # Lobar pneumonia is nearly always one focus in one lung; now and then it has a second one.
    side = int(rng.choice([-1, 1]))
    count = 2 if rng.random() < 0.2 else 1
    foci = tuple(
        Focus(
            side=side,
            across=rng.uniform(0.25, 0.75),
            down=rng.uniform(0.22, 0.88),
            radius_u=(radius := rng.uniform(0.14, 0.34)),
            radius_v=radius * rng.uniform(0.7, 1.4),
            tilt=rng.uniform(-0.8, 0.8),
        )
        for _ in range(count)
    )
    return Opacity(
        finding=finding,
        foci=foci,
        contrast=rng.uniform(0.20, 0.75),
        extent=0.0,
        reticulation=0.0,
        texture_seed=seed,
    )
