"""Sheets of what a network has inside: a layer's maps of one radiograph, and its first filters."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from hilum.explanation.drawing import draw_sheet
from hilum.explanation.layers import feature_maps, first_filters
from hilum.networks.network import RadiographNetwork

__all__ = ["MOST_CHANNELS", "draw_feature_maps", "draw_filters"]

MOST_CHANNELS = 64  # on a sheet; more could not be told apart


def draw_feature_maps(
    network: RadiographNetwork, layer: str, pixels: NDArray[np.uint8]
) -> Image.Image:
    """Draw what a layer gives for one radiograph, on one scale for all channels.

    Of a layer with many channels, those are drawn that differ most over the radiograph.

    Args:
        network: In evaluation mode.
        layer: Its name.
        pixels: Shape (s, s).

    Raises:
        UsageError: If there is no such layer.
    """
    (maps,) = feature_maps(network, layer, pixels[None])
    spread = maps.std(axis=(1, 2))
    chosen = np.sort(np.argsort(-spread, kind="stable")[:MOST_CHANNELS])
    many = f"the {len(chosen)} that vary most of {len(maps)}" if len(chosen) < len(maps) else "all"
    title = f"{network.name}, layer {layer}: channels ({many}), {maps.shape[1]} x {maps.shape[2]}"
    return draw_sheet(
        maps[chosen], [str(channel) for channel in chosen], title=title, unit="activation"
    )


def draw_filters(network: RadiographNetwork) -> Image.Image:
    """Draw the filters of the first convolution, on one scale that is even around 0.

    Raises:
        UsageError: If the network begins with no convolution.
    """
    name, filters = first_filters(network)
    return draw_sheet(
        filters,
        [str(number) for number in range(len(filters))],
        title=f"{network.name}, layer {name}: {len(filters)} filters on the grey level",
        unit="weight",
        even=True,
    )
