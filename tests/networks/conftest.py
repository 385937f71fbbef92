"""Networks that several tests share; building the large ones takes seconds."""

from functools import cache

import numpy as np
import openvino as ov
import pytest
import torch

from hilum.networks import NETWORKS
from hilum.networks.network import RadiographNetwork, trainable
from hilum.networks.weights import build_network

# Small inputs that every network can read; the features of most are still larger than one place.
SIDES = {"inception-v3": 107}
SIDE = 64


@cache
def _built(name: str) -> RadiographNetwork:
    network, _ = build_network(name, 2, size=SIDES.get(name, SIDE), weights="random")
    return network


@pytest.fixture
def shared():
    """Return a network by its name, with random weights; only freezing may be changed in it."""

    def get(name: str) -> RadiographNetwork:
        network = _built(name)
        trainable(network, "all")
        return network.train()

    return get


# vgg19 and the larger EfficientNets are more of the same layers; `test_backbones` reads all.
@pytest.fixture(
    params=[n for n in NETWORKS if n not in ("vgg19", "efficientnet-lite1", "efficientnet-lite2")]
)
def network(request, shared) -> RadiographNetwork:
    """Every kind of network of the registry."""
    return shared(request.param)


@pytest.fixture
def pictures(rng):
    """Return radiographs for a network, shape (n, 1, size, size), float32 in [0, 1]."""

    def draw(size: int, count: int = 4) -> torch.Tensor:
        return torch.from_numpy(rng.uniform(0, 1, (count, 1, size, size)).astype(np.float32))

    return draw


@pytest.fixture(scope="session")
def run_onnx():
    """Run an ONNX network in float32, so that nothing but the network is compared."""

    def run(model: bytes, pixels: np.ndarray) -> dict[str, np.ndarray]:
        core = ov.Core()
        compiled = core.compile_model(
            core.read_model(model), "CPU", {"INFERENCE_PRECISION_HINT": "f32"}
        )
        result = compiled({"pixels": pixels})
        return {out.get_any_name(): np.array(result[out]) for out in compiled.outputs}

    return run
