"""Networks as ONNX: for a `.hilum` file, and frozen blocks whose features are computed once.

The names of the weights are those of torch's state dict, so that a later training can start from
the file. Weights are stored as float16 and widened when the network is loaded. Nothing of the
machine that wrote the file is in it.
"""

import copy

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn

from hilum.networks.network import RadiographNetwork

__all__ = [
    "export_network",
    "export_prefix",
    "onnx_of",
    "store_as_half",
    "strip_metadata",
    "weights_from_onnx",
]

# Small tensors (biases, batch normalisation) stay float32: they cost little and matter more.
HALF_FROM_ELEMENTS = 1024
_HALF = ".half"
_LARGEST_HALF = float(np.finfo(np.float16).max)


class _Reader(nn.Module):
    """A network with grey levels as input and everything that a classifier needs as outputs."""

    def __init__(self, network: RadiographNetwork, *, mirror: bool) -> None:
        super().__init__()
        self.blocks = network.blocks
        self.head = network.head
        self._mirror = mirror

    def forward(self, pixels: Tensor) -> tuple[Tensor, ...]:
        grey = pixels.float() / 255.0
        if not self._mirror:
            return self._read(grey)
        both = zip(self._read(grey), self._read(grey.flip(-1)), strict=True)
        # Maps have places and are turned back; their mean stays the score.
        return tuple(
            (one + (other.flip(-1) if other.ndim == 4 else other)) / 2 for one, other in both
        )

    def _read(self, grey: Tensor) -> tuple[Tensor, ...]:
        features = self.blocks(grey)
        pooled = self.head.pooled(features)
        if not self.head.gives_maps:
            embedding = self.head.embedding(pooled)
            return self.head.linear(embedding), embedding
        maps = self.head.maps(features)
        return maps.mean((2, 3)), self.head.embedding(pooled), maps


class _Prefix(nn.Module):
    """The first blocks of a network, with the head's pooling if asked."""

    def __init__(self, network: RadiographNetwork, blocks: int, *, pooled: bool) -> None:
        super().__init__()
        self.blocks = network.blocks[:blocks]
        self._pool = network.head.pooled if pooled else None

    def forward(self, pixels: Tensor) -> Tensor:
        features: Tensor = self.blocks(pixels.float() / 255.0)
        return self._pool(features) if self._pool else features


def export_network(network: RadiographNetwork, *, half: bool = True, mirror: bool = False) -> bytes:
    """Export a network as it reads, with its running statistics and without dropout.

    Args:
        network: Left as it is.
        half: Store large weights as float16.
        mirror: Read the mirror image too and give the mean of both.

    Returns:
        ONNX with the input `pixels` (n, 1, size, size), uint8, and the float32 outputs `scores`
        (n, labels), `embedding` (n, k) and, where the head gives them, `maps` (n, labels, h, w)
        whose mean over places is the score. The same network gives the same bytes.
    """
    network = _at_rest(network)
    outputs = ["scores", "embedding", *(["maps"] if network.head.gives_maps else [])]
    model = onnx_of(_Reader(network, mirror=mirror), network.size, outputs)
    if half:
        store_as_half(model)
    return _bytes(model)


def export_prefix(network: RadiographNetwork, blocks: int, *, pooled: bool) -> bytes:
    """Export the first blocks, as they give features while they are frozen.

    Args:
        network: Left as it is.
        blocks: How many.
        pooled: Pool as the head does; needs all blocks.

    Returns:
        ONNX with the input `pixels` (n, 1, size, size), uint8, and the float32 output `features`.

    Raises:
        ValueError: If there are fewer blocks, or `pooled` is asked of some of them.
    """
    count = len(network.blocks)
    if not 1 <= blocks <= count or (pooled and blocks != count):
        raise ValueError(f"{blocks} blocks of {count}, pooled={pooled}, cannot be exported")
    prefix = _Prefix(_at_rest(network), blocks, pooled=pooled)
    return _bytes(onnx_of(prefix, network.size, ["features"]))


def weights_from_onnx(model: bytes) -> dict[str, Tensor]:
    """Return the weights in an exported network by their names in the state dict, as float32.

    A network that was exported by other means has none.
    """
    return {
        name: torch.from_numpy(numpy_helper.to_array(tensor).astype(np.float32))
        for tensor in onnx.load_model_from_string(model).graph.initializer
        if (name := tensor.name.removesuffix(_HALF)).startswith(("blocks.", "head."))
    }


def onnx_of(
    module: nn.Module, size: int, outputs: list[str], *, optimize: bool = False
) -> onnx.ModelProto:
    """Export a module that takes `pixels` (n, 1, size, size), uint8, for any n.

    Args:
        module: Put into evaluation mode.
        size: Side of the input, pixels.
        outputs: Names of what it returns.
        optimize: Let the exporter fold and rename weights.
    """
    example = torch.zeros(2, 1, size, size, dtype=torch.uint8)
    with torch.no_grad():
        program = torch.onnx.export(
            module.eval(),
            (example,),
            input_names=["pixels"],
            output_names=outputs,
            dynamic_shapes=({0: torch.export.Dim("n")},),
            opset_version=18,
            dynamo=True,
            optimize=optimize,
            verbose=False,
        )
    assert program is not None
    model = program.model_proto
    strip_metadata(model)
    model.producer_name, model.producer_version = "hilum", ""
    return model


def store_as_half(model: onnx.ModelProto) -> onnx.ModelProto:
    """Keep large weights as float16, each followed by a Cast to float32.

    A tensor with a value that float16 cannot hold stays as it is.
    """
    graph = model.graph
    casts = []
    for index, tensor in enumerate(graph.initializer):
        array = numpy_helper.to_array(tensor)
        if tensor.data_type != TensorProto.FLOAT or array.size < HALF_FROM_ELEMENTS:
            continue
        if not np.abs(array).max() <= _LARGEST_HALF:
            continue
        half = numpy_helper.from_array(array.astype(np.float16), f"{tensor.name}{_HALF}")
        casts.append(helper.make_node("Cast", [half.name], [tensor.name], to=TensorProto.FLOAT))
        graph.initializer[index].CopyFrom(half)
    nodes = [*casts, *graph.node]
    del graph.node[:]
    graph.node.extend(nodes)
    return model


def strip_metadata(model: onnx.ModelProto) -> None:
    """Drop the exporter's notes: they hold source paths of the machine that ran it."""
    del model.metadata_props[:]
    model.doc_string = ""
    graph = model.graph
    for item in [graph, *graph.node, *graph.input, *graph.output, *graph.initializer]:
        del item.metadata_props[:]
        item.doc_string = ""
    del graph.value_info[:]


def _at_rest(network: RadiographNetwork) -> RadiographNetwork:
    """Return a copy on the processor, in evaluation mode."""
    return copy.deepcopy(network).cpu().float().eval()


def _bytes(model: onnx.ModelProto) -> bytes:
    onnx.checker.check_model(model, full_check=True)
    return bytes(model.SerializeToString(deterministic=True))
