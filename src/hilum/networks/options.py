"""What a recipe may choose of a network: its layers if it starts from scratch, and its head."""

from typing import Annotated, Literal

from pydantic import Field

from hilum.model.schema import Document

__all__ = ["Activation", "HeadOptions", "Initializer", "Normalisation", "Pool", "ScratchOptions"]

Activation = Literal["relu", "elu", "selu", "leaky-relu", "gelu", "silu", "tanh"]
Initializer = Literal[
    "he-normal", "he-uniform", "glorot-uniform", "glorot-normal", "lecun-normal", "orthogonal"
]
Normalisation = Literal["none", "batch", "group"]
Pool = Literal["average", "flatten"]
Share = Annotated[float, Field(ge=0.0, lt=1.0)]


class ScratchOptions(Document):
    """How the layers of a network from scratch are made; its depth is the network's own."""

    activation: Activation = "relu"
    initializer: Initializer = "he-uniform"  # of convolutions and dense layers but the last
    normalisation: Normalisation | None = None  # None: the network's own
    # Share of values dropped after each block, and in the network's own dense layers; None: its own.
    dropout: Share | None = None
    # Added to the loss by training: l2 * sum of squares of convolutions' and dense layers' weights.
    l2: float = Field(default=0.0, ge=0.0)
    width: float = Field(default=1.0, gt=0.0, le=8.0)  # multiplies channels and own dense layers
    # Places between the taps of a convolution, of cnn-dilated alone; 1 is the plain convolution.
    dilation: int = Field(default=2, ge=1, le=8)


class HeadOptions(Document):
    """What comes after the last feature maps; the last layer is linear, with one row per label."""

    pool: Pool | None = None  # None: the network's own
    dense: tuple[Annotated[int, Field(ge=1, le=8192)], ...] = ()  # sizes, before the last layer
    activation: Activation = "relu"  # of the dense layers
    dropout: Share = 0.0  # before each dense layer and before the last layer
