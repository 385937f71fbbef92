"""The layers of a rebuilt network by name: what they are, and what they give for a radiograph."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from hilum.errors import UsageError
from hilum.networks.network import RadiographNetwork

__all__ = ["Captured", "Layer", "capture", "feature_maps", "first_filters", "layer_named", "layers"]


@dataclass(frozen=True, slots=True)
class Layer:
    """A layer that gives maps: one value per channel and place."""

    name: str  # as torch names it, such as "blocks.9"
    kind: str  # of the module, such as "Conv2d"
    channels: int
    rows: int
    columns: int
    default: bool = False  # what a class activation map takes when no layer is named


@dataclass(slots=True)
class Captured:
    """What a layer gave in the newest run of its network."""

    maps: Tensor = field(default_factory=lambda: torch.empty(0))  # (n, channels, h, w)


@contextmanager
def capture(network: nn.Module, name: str) -> Iterator[Captured]:
    """Keep what a layer gives while the block runs.

    What follows gets a copy, so that a layer that works in place cannot change what was kept.
    """
    captured = Captured()

    def keep(_module: nn.Module, _inputs: object, output: Tensor) -> Tensor:
        captured.maps = output
        return output.clone()

    handle = network.get_submodule(name).register_forward_hook(keep)
    try:
        yield captured
    finally:
        handle.remove()


def layers(network: RadiographNetwork) -> list[Layer]:
    """List the layers whose output has more than one place, from input to output.

    The default is the last block of them: what the head takes, wherever that has places.
    """
    found: dict[str, Layer] = {}
    handles = []
    for name, module in network.blocks.named_modules(prefix="blocks"):

        def look(module: nn.Module, _inputs: object, output: object, name: str = name) -> None:
            if isinstance(output, Tensor) and output.ndim == 4 and output[0, 0].numel() > 1:
                _, channels, rows, columns = output.shape
                found[name] = Layer(name, type(module).__name__, channels, rows, columns)

        # The first block normalises grey levels, which gives no feature.
        if name not in ("blocks", "blocks.0"):
            handles.append(module.register_forward_hook(look))
    try:
        with torch.no_grad():
            network(torch.zeros(1, 1, network.size, network.size))
    finally:
        for handle in handles:
            handle.remove()
    blocks = [name for name in found if name.count(".") == 1]
    last = max(blocks, key=lambda name: int(name.split(".")[1]), default=None)
    ordered = (name for name, _ in network.blocks.named_modules(prefix="blocks") if name in found)
    return [replace(found[name], default=name == last) for name in ordered]


def layer_named(network: RadiographNetwork, name: str | None) -> Layer:
    """Return a layer by its name, or the default one.

    Raises:
        UsageError: If there is none of that name, or no layer gives maps.
    """
    found = layers(network)
    for layer in found:
        if layer.name == name or (name is None and layer.default):
            return layer
    if name is None and found:
        raise UsageError(
            f"no whole block of {network.name} gives maps; name a layer inside one with --layer "
            "(--layers lists them), or choose a method that asks the pixels, such as occlusion"
        )
    if name is None:
        raise UsageError(
            f"{network.name} has no layer with places, so there is no map of it; choose a method "
            "that asks the pixels, such as occlusion or integrated-gradients"
        )
    raise UsageError(f"{network.name} has no layer '{name}' with maps; list them all with --layers")


def feature_maps(
    network: RadiographNetwork, name: str, pixels: NDArray[np.uint8]
) -> NDArray[np.float32]:
    """Return what a layer gives for radiographs.

    Args:
        network: In evaluation mode.
        name: Of the layer.
        pixels: Shape (n, s, s).

    Returns:
        Shape (n, channels, h, w), in the layer's own unit.

    Raises:
        UsageError: If there is no such layer.
    """
    layer = layer_named(network, name)
    with torch.no_grad(), capture(network, layer.name) as captured:
        network(torch.from_numpy(np.ascontiguousarray(pixels))[:, None].float() / 255.0)
    return captured.maps.numpy()


def first_filters(network: RadiographNetwork) -> tuple[str, NDArray[np.float32]]:
    """Return the weights of the first convolution, which alone sees grey levels.

    Where the grey level enters as several channels that differ only in scale, their weights are
    summed, for so the grey level meets them; the channel of ones that some backbones get is left out.

    Returns:
        Its name and its weights, shape (filters, h, w).

    Raises:
        UsageError: If the network begins with no convolution.
    """
    for name, module in network.blocks.named_modules(prefix="blocks"):
        if isinstance(module, nn.Linear):
            break
        if isinstance(module, nn.Conv2d):
            weight = module.weight.detach()
            # One channel: grey. Two: grey and ones (hilum.networks.backbones). Three: grey thrice.
            used = weight[:, :1] if weight.shape[1] == 2 else weight
            return name, used.sum(dim=1).numpy()
    raise UsageError(f"{network.name} begins with no convolution, so it has no filters to draw")
