"""The network is self-contained, and loading OpenVINO tells nobody."""

import os
import subprocess
import sys

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from hilum.errors import ModelError
from hilum.model.network import Network
from hilum.networks import FROZEN_BASES


def test_a_network_that_points_to_another_file_is_refused(tmp_path):
    """ONNX's external data would read any file of the machine into the weights."""
    secret = tmp_path / "secret.bin"
    secret.write_bytes(np.arange(4, dtype=np.float32).tobytes())
    tensor = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[4])
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value=str(secret))
    graph = helper.make_graph(
        [helper.make_node("Add", ["pixels", "w"], ["scores"])],
        "g",
        [helper.make_tensor_value_info("pixels", TensorProto.FLOAT, [4])],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, [4])],
        [tensor],
    )
    content = helper.make_model(graph).SerializeToString()
    with pytest.raises(ModelError, match="data outside its file"):
        Network(content)


@pytest.mark.parametrize("content", [b"", b"<?xml version='1.0'?><net/>", b"\x08\x07 nonsense"])
def test_what_is_no_onnx_network_is_refused(content):
    with pytest.raises(ModelError, match=r"no ONNX|cannot be loaded"):
        Network(content)


def test_streaming_gives_every_output_in_order(rng):
    network = Network(FROZEN_BASES["efficientnet-lite0"].path.read_bytes())
    pixels = rng.integers(0, 255, (37, 224, 224), dtype=np.uint8)
    batches = [pixels[start : start + 5] for start in range(0, 37, 5)]
    streamed = np.concatenate(list(network.stream(batches, "features")))
    alone = np.concatenate([network.run(batch)["features"] for batch in batches])
    np.testing.assert_allclose(streamed, alone, atol=0.05)


def test_an_abandoned_stream_leaves_nothing_hanging(rng):
    network = Network(FROZEN_BASES["efficientnet-lite0"].path.read_bytes())
    batches = iter(rng.integers(0, 255, (20, 2, 224, 224), dtype=np.uint8))
    assert next(network.stream(batches, "features")).shape == (2, 1280, 7, 7)
    del network


def test_openvino_reports_to_nobody(tmp_path):
    code = (
        "import sys; from hilum.model.network import Network;"
        "from hilum.networks import FROZEN_BASES;"
        "Network(FROZEN_BASES['efficientnet-lite0'].path.read_bytes());"
        "print(sys.modules['openvino_telemetry'])"
    )
    environment = {**os.environ, "HOME": str(tmp_path)}
    environment.pop("CI", None)
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment
    )
    assert done.stdout.strip() == "None"
    assert not list(tmp_path.iterdir())


def test_the_shipped_networks_are_self_contained():
    for base in FROZEN_BASES.values():
        model = onnx.load(base.path)
        assert all(not tensor.external_data for tensor in model.graph.initializer)
        Network(base.path.read_bytes())
