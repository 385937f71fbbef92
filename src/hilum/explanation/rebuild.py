"""The torch network of a `.hilum` file, rebuilt from its recipe and weights, and held against the file.

Gradients and feature maps need torch, and the file holds ONNX. Its weights keep the names of torch's
state dict, and its provenance holds the recipe, so the network can be made again; that it is the same
network is not believed but measured, on pictures that both read.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import numpy_helper
from pydantic import ValidationError
from torch import Tensor, nn

from hilum.errors import ModelError, RecipeError
from hilum.explanation.exact import ExactNetwork
from hilum.model import Classifier, ModelFile
from hilum.networks.backbones import blocks_of, timm_network
from hilum.networks.export import weights_from_onnx
from hilum.networks.network import Head, RadiographNetwork
from hilum.networks.options import HeadOptions, ScratchOptions
from hilum.networks.registry import network_spec
from hilum.networks.weights import build_network

__all__ = ["Rebuilt", "rebuild"]

# Of scores, relative to 1 or to the largest score where that is more. Both compute in float32 and
# differ by the order of their sums; networks of the registry stay below a tenth of it.
_TOLERANCE = 1e-3
_COUNTER = "num_batches_tracked"  # nothing reads it, and the file has none


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """A network in torch that gives a file's own scores."""

    network: RadiographNetwork  # in evaluation mode, with parameters that take no gradients
    mirror: bool  # whether the file reads the mirror image too and takes the mean
    difference: float  # largest difference of a score from the file's, on the pictures of the check

    def scores(self, grey: Tensor) -> Tensor:
        """Return the file's raw scores, shape (n, labels).

        Args:
            grey: Shape (n, 1, size, size), float32, [0, 1].
        """
        scores: Tensor = self.network(grey)
        if self.mirror:
            scores = (scores + self.network(grey.flip(-1))) / 2
        return scores


def rebuild(classifier: Classifier) -> Rebuilt:
    """Rebuild a classifier's network in torch.

    Raises:
        ModelError: If the file does not say how its network is made, its weights do not fit, or the
            rebuilt network gives other scores.
    """
    file = classifier.file
    try:
        network = _network_of(file)
    except (KeyError, IndexError, TypeError, RuntimeError, ValidationError, RecipeError) as error:
        raise ModelError(
            f"the network {file.provenance.network} cannot be rebuilt in torch, because the file's "
            "recipe does not say how it is made; choose a method that needs no gradients, such as "
            "occlusion"
        ) from error
    network = network.eval().requires_grad_(False)
    recipe: Any = file.provenance.recipe
    mirror = bool((recipe.get("network") or {}).get("mirror")) if _staged(file) else False
    pictures = _pictures(classifier.size)
    theirs = ExactNetwork(classifier).run(pictures, "scores")
    rebuilt = Rebuilt(network, mirror, 0.0)
    with torch.no_grad():
        ours = rebuilt.scores(torch.from_numpy(pictures)[:, None].float() / 255.0).numpy()
    difference = float(np.abs(ours - theirs).max()) if ours.shape == theirs.shape else np.inf
    if not difference <= _TOLERANCE * max(1.0, float(np.abs(theirs).max())):
        raise ModelError(
            f"the network rebuilt in torch gives other scores than the file (by {difference:.2g}), "
            "so it would explain another classifier; choose a method that needs no gradients, such "
            "as occlusion"
        )
    return Rebuilt(network, mirror, difference)


def _staged(file: ModelFile) -> bool:
    return file.provenance.recipe.get("kind") == "staged"


def _network_of(file: ModelFile) -> RadiographNetwork:
    if not _staged(file):
        return _on_ready_base(file)
    choice: dict[str, Any] = file.provenance.recipe["network"]
    network, _ = build_network(
        choice["name"],
        len(file.labels.findings),
        size=file.preprocessing.size,
        options=ScratchOptions.model_validate(choice["options"]) if choice["options"] else None,
        head=HeadOptions.model_validate(choice["head"]) if choice["head"] else None,
        weights="random",
    )
    _load(network, weights_from_onnx(file.network), file.provenance.network)
    return network


def _on_ready_base(file: ModelFile) -> RadiographNetwork:
    """Rebuild what `instant` trains: a ready base and a linear head.

    The base was exported with each batch normalisation folded into the convolution before it, so
    that the normalisation is left with the bias alone.
    """
    graph = onnx.load_model_from_string(file.network).graph
    found = {
        tensor.name.removesuffix(".half"): torch.from_numpy(
            numpy_helper.to_array(tensor).astype(np.float32)
        )
        for tensor in graph.initializer
    }
    biases = {node.input[1]: node.input[2] for node in graph.node if node.op_type == "Conv"}
    spec = network_spec(file.provenance.network)
    theirs = timm_network(spec)
    blocks = blocks_of(spec, theirs)
    convolution = ""
    for name, module in theirs.named_modules():
        if isinstance(module, nn.Conv2d):
            convolution = f"network.{name}.weight"
            module.weight = nn.Parameter(found[convolution])
        elif isinstance(module, nn.BatchNorm2d):
            ones, zeros = torch.ones(module.num_features), torch.zeros(module.num_features)
            weights = {"weight": ones, "bias": found[biases[convolution]]}
            rest = {"running_mean": zeros, "running_var": ones - module.eps}
            module.load_state_dict({**weights, **rest}, strict=False)
    labels, channels = found["head.weight"].shape[:2]
    head = Head((channels, 2, 2), labels)  # any number of places: the head takes their mean
    head.linear.weight = nn.Parameter(found["head.weight"][:, :, 0, 0])
    head.linear.bias = nn.Parameter(found["head.bias"])
    return RadiographNetwork(spec.name, file.preprocessing.size, blocks, head)


def _load(network: RadiographNetwork, weights: dict[str, Tensor], name: str) -> None:
    ours = network.state_dict()
    odd = [
        key
        for key in sorted(ours.keys() | weights.keys())
        if not key.endswith(_COUNTER)
        and (key not in ours or key not in weights or ours[key].shape != weights[key].shape)
    ]
    if odd:
        raise ModelError(
            f"the weights in the file are not those of {name} as this hilum makes it (first at "
            f"{odd[0]}); use the version that made the file, or a method that needs no gradients"
        )
    network.load_state_dict(weights, strict=False)


def _pictures(size: int) -> NDArray[np.uint8]:
    """Return pictures that both networks read: noise, fine and coarse, and a ramp; (3, size, size)."""
    from PIL import Image

    rng = np.random.default_rng(0)
    fine = rng.integers(0, 256, (size, size), dtype=np.uint8)
    small = Image.fromarray(rng.integers(0, 256, (6, 6), dtype=np.uint8))
    coarse = np.asarray(small.resize((size, size), Image.Resampling.BILINEAR))
    ramp = np.linspace(0, 255, size).round().astype(np.uint8)
    return np.stack([fine, coarse, np.broadcast_to(ramp, (size, size))])
