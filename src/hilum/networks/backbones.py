"""Backbones that were trained on photographs: timm's networks, taken apart into blocks.

A radiograph has one channel, and copying it into three would waste two thirds of the first layer's
work. So the first convolution is folded, exactly. Where the three channels are normalised alike,
its weights are summed over them. Where they are not, it takes the grey channel x and a channel of
ones: W * (x - m) / s = (W / s) * x - (W m / s) * 1, summed over the three. A bias would not do in
place of the ones, since at the border the padding is zero after normalisation.
"""

from typing import Any

import timm
import torch
from timm.layers.conv2d_same import Conv2dSame
from torch import Tensor, nn

from hilum.errors import RecipeError
from hilum.networks.layers import Normalise
from hilum.networks.registry import NetworkSpec

__all__ = [
    "blocks_of",
    "convnext",
    "densenet",
    "efficientnet",
    "inception",
    "other",
    "resnetv2",
    "timm_network",
    "vgg",
]


def timm_network(spec: NetworkSpec, size: int | None = None) -> Any:
    """Return timm's network for three channels, with random weights from torch's generator.

    Args:
        spec: Of a backbone.
        size: Side of the input, for networks that are made for one size.

    Raises:
        RecipeError: If timm has no such network, or not for this size.
    """
    assert spec.timm is not None
    if not timm.is_model(spec.timm):
        raise RecipeError(f"timm has no network '{spec.timm}'; timm.list_models() names all")
    if spec.size is None:
        return _other_network(spec.timm, size)
    # VGG's dense layers of 4096 are left out below; one unit in them spares 500 MB until then.
    options: dict[str, Any] = {"mlp_ratio": 1 / 4096} if spec.timm.startswith("vgg") else {}
    return timm.create_model(spec.timm, pretrained=False, **options)


def _other_network(name: str, size: int | None) -> Any:
    """Return timm's network without its classifier; unpooled where its features are maps."""
    try:
        cfg: Any = timm.get_pretrained_cfg(name)
        options: dict[str, Any] = {"img_size": size} if size and cfg.fixed_input_size else {}
        maps = timm.create_model(name, num_classes=0, global_pool="", **options).eval()
        side = size or cfg.input_size[-1]
        with torch.no_grad():
            features = maps(torch.zeros(1, 3, side, side))
        if features.ndim == 4 and getattr(maps, "output_fmt", "NCHW") == "NCHW":
            return maps
        return timm.create_model(name, num_classes=0, **options)
    except (RuntimeError, AssertionError, TypeError, AttributeError) as error:
        raise RecipeError(
            f"timm's {name} cannot be used with this size or without its classifier ({error}); "
            "choose another network"
        ) from error


def blocks_of(spec: NetworkSpec, network: Any) -> nn.Sequential:
    """Take timm's network apart into blocks whose first reads one grey channel.

    Args:
        spec: Of the backbone.
        network: From `timm_network`, with its weights in place; its modules are used, not copied.
    """
    normalise = _fold(network)
    return nn.Sequential(normalise, *spec.build(network))


def _fold(network: Any) -> Normalise:
    """Fold the first convolution; return what normalises its input."""
    means, deviations = network.pretrained_cfg["mean"], network.pretrained_cfg["std"]
    name = network.pretrained_cfg["first_conv"]
    found: Any = network.get_submodule(name) if isinstance(name, str) else None
    # A convolution that standardises its weights, say, is not linear in them.
    plain = type(found) in (nn.Conv2d, Conv2dSame)
    if not plain or found.in_channels != 3 or found.groups != 1:
        return Normalise(means, deviations)
    weight: Tensor = found.weight.detach()
    if len(set(means)) == len(set(deviations)) == 1:
        folded = weight.sum(dim=1, keepdim=True)
        normalise = Normalise(means[:1], deviations[:1])
    else:
        scaled = weight / torch.tensor(deviations)[:, None, None]
        shift = -(scaled * torch.tensor(means)[:, None, None])
        folded = torch.stack([scaled.sum(dim=1), shift.sum(dim=1)], dim=1)
        normalise = Normalise((0.0,), (1.0,), ones=True)
    found.weight = nn.Parameter(folded)
    found.in_channels = folded.shape[1]
    return normalise


def vgg(network: Any) -> list[nn.Module]:
    """Blocks that end with a pooling each; the dense layers of 4096 are left out."""
    blocks: list[nn.Module] = []
    layers: list[nn.Module] = []
    for layer in network.features:
        layers.append(layer)
        if isinstance(layer, nn.MaxPool2d):
            blocks.append(nn.Sequential(*layers))
            layers = []
    return blocks


def inception(network: Any) -> list[nn.Module]:
    """One block per convolution of the stem and per mixed module; poolings go with the one before."""
    blocks: list[nn.Module] = []
    for name in network.layer_names:
        layer = network.get_submodule(name)
        if isinstance(layer, nn.MaxPool2d):
            blocks[-1] = nn.Sequential(blocks[-1], layer)
        else:
            blocks.append(layer)
    return blocks


def resnetv2(network: Any) -> list[nn.Module]:
    """The stem and every residual block; the last normalisation goes with the last of them."""
    *blocks, last = (block for stage in network.stages for block in stage.blocks)
    return [network.stem, *blocks, nn.Sequential(last, network.norm)]


def densenet(network: Any) -> list[nn.Module]:
    """The stem, and every dense block with what follows it: a transition or the normalisation."""
    stem: list[nn.Module] = []
    dense: list[nn.Module] = []
    after: list[nn.Module] = []
    for name, layer in network.features.named_children():
        (dense if name.startswith("denseblock") else after if dense else stem).append(layer)
    pairs = zip(dense, after, strict=True)
    return [nn.Sequential(*stem), *(nn.Sequential(*pair) for pair in pairs)]


def efficientnet(network: Any) -> list[nn.Module]:
    """The stem, the stages, and the last convolution."""
    stem = nn.Sequential(network.conv_stem, network.bn1)
    return [stem, *network.blocks, nn.Sequential(network.conv_head, network.bn2)]


def convnext(network: Any) -> list[nn.Module]:
    """The stem and the stages; the last normalisation goes with the last stage.

    timm normalises after the mean over places; here every place is normalised before it, so that
    class activation maps add up to the score.
    """
    *stages, last = network.stages
    return [network.stem, *stages, nn.Sequential(last, network.head.norm)]


def other(network: Any) -> list[nn.Module]:
    """The whole network as one block; without maps, its pooled features as those of one place."""
    return [nn.Sequential(network, _Places())]


class _Places(nn.Module):
    """Features of one place from pooled ones (n, channels); maps stay as they are."""

    def forward(self, features: Tensor) -> Tensor:
        """Return (n, channels, h, w)."""
        return features if features.ndim == 4 else features[:, :, None, None]
