"""The documents of a recipe that is trained in stages by gradient descent.

They are torch-free, so that a recipe can be read, checked and shown on a plain installation.
"""

import re
from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from hilum.errors import RecipeError
from hilum.model.schema import Document
from hilum.networks.options import HeadOptions, ScratchOptions
from hilum.networks.registry import network_spec

__all__ = [
    "Choices",
    "Loss",
    "NetworkChoice",
    "Optimiser",
    "Range",
    "Source",
    "StageOptions",
    "Stopping",
]

_TRAINABLE = re.compile(r"head|all|last-(?:blocks|layers):[1-9]\d{0,2}")

# "selection" reads worn radiographs, too, and costs more: docs/generalisation.md.
Monitor = Literal["auc", "loss", "accuracy", "selection"]
Positive = Annotated[float, Field(gt=0.0)]


class Source(Document):
    """Which earlier system a recipe rebuilds, and what its authors reported."""

    project: str = Field(min_length=1)
    system: str = Field(min_length=1)
    reported: str | None = None  # in the authors' words; None where no figure has come down to us
    differs: str = ""  # what is done otherwise here, and why


class NetworkChoice(Document):
    """What is trained and where its weights start."""

    name: str
    weights: str = "imagenet"  # "imagenet", "random", or a .safetensors or .hilum file
    size: int | None = Field(default=None, ge=32, le=1024)  # pixels a side; None: the network's own
    # The finished network reads each radiograph and its mirror image and takes the mean of both:
    # steadier, at twice the time.
    mirror: bool = False
    options: ScratchOptions | None = None  # of networks from scratch
    head: HeadOptions | None = None  # None: the network's own

    @field_validator("name")
    @classmethod
    def _is_known(cls, value: str) -> str:
        try:
            network_spec(value)
        except RecipeError as error:
            raise ValueError(str(error)) from error
        return value

    @model_validator(mode="after")
    def _fits_the_family(self) -> "NetworkChoice":
        scratch = network_spec(self.name).family == "scratch"
        if scratch and self.weights == "imagenet":
            raise ValueError(f'{self.name} has no ImageNet weights; say weights = "random"')
        if not scratch and self.options is not None:
            raise ValueError(f"{self.name} comes as it is; options are for networks from scratch")
        return self


class Optimiser(Document):
    """How weights are stepped."""

    name: Literal["adamw", "adam", "sgd", "rmsprop"] = "adamw"
    learning_rate: Positive = 1e-3
    weight_decay: float = Field(default=0.0, ge=0.0)
    momentum: float = Field(default=0.9, ge=0.0, lt=1.0)  # of sgd
    # Each block learns at `layer_decay` times the rate of the block above it, so that what is near
    # the pixels moves least (Howard and Ruder, ACL 2018); 1 is one rate for all.
    layer_decay: float = Field(default=1.0, gt=0.0, le=1.0)
    schedule: Literal["constant", "cosine"] = "constant"
    warm_up: float = Field(default=0.0, ge=0.0)  # epochs of linearly growing rate
    clip: Positive | None = None  # largest norm of the gradient
    # Decay of the exponential moving average of the weights that is validated and kept.
    average: Annotated[float, Field(gt=0.0, lt=1.0)] | None = None


class Loss(Document):
    """What is minimised: cross-entropy, with how the classes are weighed and softened."""

    # "sampler" draws each label equally often; "matched" draws so that, besides, nuisances such as
    # sharpness and borders differ less between labels.
    balance: Literal["none", "class-weights", "sampler", "matched"] = "none"
    label_smoothing: float = Field(default=0.0, ge=0.0, lt=1.0)
    # With three classes: how far bacterial or viral, which are noisy labels, give way to what other
    # patients' radiographs suggest; `hilum.training.softening` says how.
    soft_kinds: float = Field(default=0.0, ge=0.0, le=1.0)
    # Two radiographs become one: blended, or a rectangle of one in the other. Alpha of the Beta
    # distribution of the shares; 0 is off. With both, they take turns.
    mixup: float = Field(default=0.0, ge=0.0, le=10.0)  # Zhang et al., ICLR 2018
    cutmix: float = Field(default=0.0, ge=0.0, le=10.0)  # Yun et al., ICCV 2019


class Stopping(Document):
    """End a stage when validation has not improved for some epochs."""

    patience: int = Field(ge=1)  # epochs


class StageOptions(Document):
    """One stage: what learns, for how long, and which weights are kept."""

    name: str = Field(pattern=r"^[a-z0-9-]+$")
    train: str  # "head", "all", "last-blocks:N" or "last-layers:N"
    epochs: int = Field(ge=1, le=10_000)
    batch: int = Field(default=32, ge=2, le=4096)
    optimiser: Optimiser = Optimiser()
    monitor: Monitor = "auc"
    keep: Literal["best", "last"] = "best"  # which epoch's weights go on, by the monitor
    stopping: Stopping | None = None
    augment: bool = True
    # What is frozen runs once, by OpenVINO, and its features are cached; "plain" runs it each epoch.
    frozen: Literal["cached", "plain"] = "cached"
    # With cached features: how many augmented views of each radiograph; 0 is the plain one alone.
    views: int = Field(default=0, ge=0, le=64)

    @field_validator("train")
    @classmethod
    def _is_trainable(cls, value: str) -> str:
        if not _TRAINABLE.fullmatch(value):
            raise ValueError('must be "head", "all", "last-blocks:N" or "last-layers:N"')
        return value

    @property
    def trainable(self) -> Literal["head", "all"] | tuple[Literal["blocks", "layers"], int]:
        """What `train` says, taken apart: of blocks and layers, how many of the last."""
        what, _, count = self.train.removeprefix("last-").partition(":")
        if not count:
            return "head" if what == "head" else "all"
        return ("blocks" if what == "blocks" else "layers", int(count))


class Range(Document):
    """Numbers that a search may try."""

    low: float
    high: float
    log: bool = False
    step: Positive | None = None

    @model_validator(mode="after")
    def _is_a_range(self) -> "Range":
        if self.high <= self.low or (self.log and self.low <= 0) or (self.log and self.step):
            raise ValueError("needs low < high; with log, low above 0 and no step")
        return self


class Choices(Document):
    """Values that a search may try."""

    choices: tuple[str | int | float | bool | None, ...] = Field(min_length=2)
