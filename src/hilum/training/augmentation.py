"""What augmentation may do to a radiograph in training: limits, each of them off unless given.

The document holds no chance and needs no torch; `hilum.training.augment` draws within these limits and
applies what was drawn. A limit is the strongest change that still leaves a radiograph a reader would
accept: judge one with `hilum.training.sheet` before a network is trained with it.
"""

from typing import Literal

from pydantic import Field

from hilum.model.schema import Document

__all__ = ["Augmentation"]


class Augmentation(Document):
    """The limits of augmentation; an empty table means none.

    U(a, b) is uniform. A factor f is log-uniform in [1/f, f], so that it enlarges as often as it shrinks.
    Grey levels are in [0, 1].
    """

    probability: float = Field(default=1.0, ge=0.0, le=1.0)  # share that is augmented at all

    # Geometry, as positioning on the detector varies: degrees, U(-rotate, rotate); share of the side
    # on each axis, U(-shift, shift); a factor of both sides; one of width over height, area kept.
    rotate: float = Field(default=0.0, ge=0.0, le=45.0)
    shift: float = Field(default=0.0, ge=0.0, le=0.3)
    scale: float = Field(default=1.0, ge=1.0, le=2.0)
    aspect: float = Field(default=1.0, ge=1.0, le=2.0)
    # Probability of a mirror image. The heart lies on the left, situs inversus exists, and L or R
    # markers are in the picture: a mirrored radiograph is another patient's anatomy.
    flip: float = Field(default=0.0, ge=0.0, le=1.0)
    # What lies beyond the radiograph. Black wedges appear in no radiograph that is read later, and
    # their size tells how far it was turned; reflected tissue keeps the grey levels of the border.
    padding: Literal["reflect", "edge", "black"] = "reflect"

    # Exposure and display: exponent e^U(-gamma, gamma), which keeps black and white; factor of the
    # difference from the mean, 1 + U(-contrast, contrast); grey levels, U(-brightness, brightness).
    gamma: float = Field(default=0.0, ge=0.0, le=1.0)
    contrast: float = Field(default=0.0, ge=0.0, le=0.9)
    brightness: float = Field(default=0.0, ge=0.0, le=0.5)

    # Detector and processing.
    # U(-sharpness, sharpness): -1 is blurred by one pixel at a side of 224, 1 is an unsharp mask of
    # the same radius and full strength.
    sharpness: float = Field(default=0.0, ge=0.0, le=1.0)
    # Pixels at a side of 224, standard deviation of a Gaussian, U(0, blur); scaled with the side.
    blur: float = Field(default=0.0, ge=0.0, le=5.0)
    noise: float = Field(default=0.0, ge=0.0, le=0.3)  # grey levels, deviation, U(0, noise)

    # Shortcuts. Borders and compression differ between hospitals and so between findings.
    # Share of the side; each of four sides with probability 1/2 is covered by U(0, border), either
    # with one grey or darkened.
    border: float = Field(default=0.0, ge=0.0, le=0.25)
    # Share of the area; with probability 1/2 one rectangle of U(0, erase) becomes one grey
    # (Zhong et al., AAAI 2020).
    erase: float = Field(default=0.0, ge=0.0, le=0.5)
    # Lowest quality; with probability 1/2 the radiograph is compressed at U(jpeg, 95).
    jpeg: int | None = Field(default=None, ge=5, le=95)

    # Probability of taking on, in part, the distribution of grey levels of another radiograph of the
    # train part, whatever its finding; and, on its own, the strength of its fine detail.
    exchange: float = Field(default=0.0, ge=0.0, le=1.0)

    @property
    def on(self) -> tuple[str, ...]:
        """The names of the augmentations that are on, in the order of the fields."""
        none = Augmentation()
        return tuple(
            name
            for name in Augmentation.model_fields
            if name not in {"probability", "padding"} and getattr(self, name) != getattr(none, name)
        )
