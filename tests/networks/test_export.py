"""Exported networks compute what torch computes, and their weights can be read back."""

import copy
import logging

import numpy as np
import onnx
import pytest
import torch

from hilum.model.network import Network
from hilum.networks import NETWORKS
from hilum.networks.export import export_network, export_prefix, store_as_half, weights_from_onnx
from hilum.networks.network import Head

# Exporting takes time for every layer, and the later blocks of backbones are of the same layers.
BLOCKS = {
    "vgg16": 3,
    "inception-v3": 4,
    "resnet50v2": 3,
    "densenet121": 3,
    "efficientnet-lite0": 3,
    "convnext-tiny": 3,
}
SCRATCH = [name for name, spec in NETWORKS.items() if spec.family == "scratch"]


@pytest.fixture
def grey(rng):
    """Return grey levels for a network, shape (3, 1, size, size), uint8."""
    return lambda size: rng.integers(0, 256, (3, 1, size, size), dtype=np.uint8)


@pytest.fixture(params=[*SCRATCH, *BLOCKS])
def exported(request, shared):
    """A network with running statistics and weights as after some training, and its ONNX."""
    network = copy.deepcopy(shared(request.param))
    if request.param in BLOCKS:
        network.blocks = network.blocks[: BLOCKS[request.param]]
        with torch.no_grad():
            features = network.eval().blocks(torch.zeros(1, 1, network.size, network.size))
        network.head = Head(tuple(features.shape[1:]), 2)
        network.train()
    generator = torch.Generator().manual_seed(1)
    for name, tensor in network.state_dict().items():
        if name.endswith(("running_mean", "bias")):
            tensor += 0.1 * torch.randn(tensor.shape, generator=generator)
        elif name.endswith("running_var"):
            tensor *= 0.5 + torch.rand(tensor.shape, generator=generator)
    return network, export_network(network)


def test_an_exported_network_reads_like_torch_and_gives_its_weights_back(exported, grey, run_onnx):
    network, model = exported
    assert network.training
    weights = weights_from_onnx(model)
    expected = {k: v for k, v in network.state_dict().items() if "num_batches" not in k}
    assert weights.keys() == expected.keys()
    for name, tensor in expected.items():
        # Half the spacing of float16, and of its smallest numbers.
        torch.testing.assert_close(weights[name], tensor, rtol=2**-11, atol=2**-25, msg=name)
    network.load_state_dict(weights, strict=False)
    pixels = grey(network.size)
    outputs = run_onnx(model, pixels)
    network.eval()
    with torch.no_grad():
        features = network.blocks(torch.from_numpy(pixels) / 255.0)
        pooled = network.head.pooled(features)
        wanted = {"scores": network.head(features), "embedding": network.head.embedding(pooled)}
        if network.head.gives_maps:
            wanted["maps"] = network.head.maps(features)
    assert outputs.keys() == wanted.keys()
    for name, tensor in wanted.items():
        scale = float(tensor.abs().max())
        np.testing.assert_allclose(outputs[name], tensor.numpy(), rtol=0, atol=1e-4 * scale)
    if network.head.gives_maps:
        np.testing.assert_array_less(
            np.abs(outputs["maps"].mean((2, 3)) - outputs["scores"]),
            1e-4 * (1 + np.abs(outputs["scores"])),
        )


@pytest.mark.parametrize("name", ["cnn-9", "cnn-dilated"])
def test_an_exported_network_is_the_same_bytes_and_carries_no_paths(shared, name):
    model = export_network(shared(name))
    assert model == export_network(shared(name))
    assert not any(word in model for word in (b"site-packages", b"/home/", b"/work/", b"location"))
    assert onnx.load_model_from_string(model).producer_name == "hilum"
    assert len(export_network(shared(name), half=False)) > 1.6 * len(model)


def test_exporting_says_nothing(shared, capfd, caplog, recwarn):
    export_network(shared("cnn-9"))
    assert capfd.readouterr() == ("", "")
    assert not [record for record in caplog.records if record.levelno >= logging.INFO]
    assert not recwarn.list


@pytest.mark.parametrize(
    ("name", "blocks", "pooled"),
    [
        ("cnn-double", 3, False),
        ("cnn-dilated", 6, True),
        ("vgg16", 2, False),
        ("efficientnet-lite0", 3, False),
    ],
)
def test_frozen_blocks_give_torch_s_features(shared, grey, run_onnx, name, blocks, pooled):
    network = shared(name)
    model = export_prefix(network, blocks, pooled=pooled)
    pixels = grey(network.size)
    network.eval()
    with torch.no_grad():
        expected = network.blocks[:blocks](torch.from_numpy(pixels) / 255.0)
        if pooled:
            expected = network.head.pooled(expected)
    found = run_onnx(model, pixels)["features"]
    np.testing.assert_allclose(found, expected.numpy(), rtol=0, atol=1e-4 * expected.abs().max())
    ran = Network(model).run(pixels[:, 0])["features"]
    assert ran.shape == found.shape  # in the processor's own precision


@pytest.mark.parametrize(("blocks", "pooled"), [(0, False), (99, False), (2, True)])
def test_blocks_that_are_not_there_cannot_be_exported(shared, blocks, pooled):
    with pytest.raises(ValueError, match="cannot be exported"):
        export_prefix(shared("cnn-9"), blocks, pooled=pooled)


def test_what_float16_cannot_hold_stays_float32():
    large = np.full(2048, 1e6, np.float32)
    graph = onnx.helper.make_graph(
        [], "g", [], [], [onnx.numpy_helper.from_array(large, "blocks.1.weight")]
    )
    model = store_as_half(onnx.helper.make_model(graph))
    np.testing.assert_array_equal(
        weights_from_onnx(model.SerializeToString())["blocks.1.weight"], large
    )


@pytest.mark.parametrize("name", ["cnn-9", "cnn-dilated"])  # the second gives maps
def test_a_mirror_gives_the_mean_of_a_radiograph_and_its_mirror_image(shared, grey, run_onnx, name):
    network = shared(name)
    plain, mirror = (export_network(network, mirror=m) for m in (False, True))
    pixels = grey(network.size)
    turned = np.ascontiguousarray(pixels[..., ::-1])
    one, other, both = run_onnx(plain, pixels), run_onnx(plain, turned), run_onnx(mirror, pixels)
    for output in one:
        back = other[output][..., ::-1] if output == "maps" else other[output]
        np.testing.assert_allclose(both[output], (one[output] + back) / 2, rtol=1e-4, atol=1e-5)
    assert np.abs(one["scores"] - other["scores"]).max() > 1e-3
    assert weights_from_onnx(mirror).keys() == weights_from_onnx(plain).keys()
