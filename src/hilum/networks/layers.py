"""The layers that networks from scratch and heads are made of, by the names of a recipe."""

from collections.abc import Callable
from functools import partial
from math import gcd

from torch import Tensor, cat, nn, ones_like

from hilum.networks.options import Activation, Initializer, Normalisation

__all__ = ["ACTIVATIONS", "Normalise", "initialise", "normalisation"]

ACTIVATIONS: dict[Activation, Callable[[], nn.Module]] = {
    "relu": nn.ReLU,
    "elu": nn.ELU,
    "selu": nn.SELU,
    "leaky-relu": partial(nn.LeakyReLU, 0.1),
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "tanh": nn.Tanh,
}

_INITIALIZERS: dict[Initializer, Callable[[Tensor], Tensor]] = {
    "he-normal": partial(nn.init.kaiming_normal_, nonlinearity="relu"),
    "he-uniform": partial(nn.init.kaiming_uniform_, nonlinearity="relu"),
    "glorot-uniform": nn.init.xavier_uniform_,
    "glorot-normal": nn.init.xavier_normal_,
    "lecun-normal": partial(nn.init.kaiming_normal_, nonlinearity="linear"),
    "orthogonal": nn.init.orthogonal_,
}


class Normalise(nn.Module):
    """The input block: grey levels in [0, 1] to what the first layer takes.

    Args:
        means: Subtracted, one per channel that is made of the grey one.
        deviations: Divided by, as many.
        ones: Add a channel of ones, through which the first layer's weights subtract the mean.
    """

    def __init__(
        self, means: tuple[float, ...], deviations: tuple[float, ...], *, ones: bool = False
    ) -> None:
        super().__init__()
        self._channels = tuple(zip(means, deviations, strict=True))
        self._ones = ones

    def forward(self, pixels: Tensor) -> Tensor:
        """Return (n, channels, size, size) for pixels of shape (n, 1, size, size)."""
        channels = [(pixels - mean) / deviation for mean, deviation in self._channels]
        if self._ones:
            channels.append(ones_like(pixels))
        return cat(channels, dim=1) if len(channels) > 1 else channels[0]


def normalisation(kind: Normalisation, channels: int) -> list[nn.Module]:
    """Return the normalisation layer of `channels` channels, or nothing."""
    if kind == "batch":
        return [nn.BatchNorm2d(channels)]
    if kind == "group":
        # Groups need not divide what a searched width makes of the channels.
        return [nn.GroupNorm(gcd(8, channels), channels)]
    return []


def initialise(module: nn.Module, how: Initializer) -> None:
    """Draw the weights of all convolutions and dense layers from torch's generator; biases are 0."""
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            _INITIALIZERS[how](layer.weight)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
