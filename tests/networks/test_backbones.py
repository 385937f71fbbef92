"""Backbones: reading one grey channel gives what timm gives for three equal ones."""

import pytest
import timm
import torch

from hilum.errors import RecipeError
from hilum.networks import NETWORKS, HeadOptions, network_spec
from hilum.networks.backbones import blocks_of, timm_network
from hilum.networks.weights import build_network

SIDES = {"inception-v3": 75}
BACKBONES = [name for name, spec in NETWORKS.items() if spec.family == "backbone"]
# One channel where all three are normalised alike, or the grey one and ones.
INPUTS = {
    **dict.fromkeys(BACKBONES, 1),
    **dict.fromkeys(["vgg16", "vgg19", "densenet121", "convnext-tiny"], 2),
}


def timm_features(spec, network, pixels):
    """What timm gives for the grey picture in three channels, normalised its way."""
    cfg = network.pretrained_cfg
    mean, deviation = (torch.tensor(cfg[key])[:, None, None] for key in ("mean", "std"))
    features = network.forward_features((pixels - mean) / deviation)
    return network.head.norm(features) if spec.name == "convnext-tiny" else features


@pytest.mark.parametrize("name", BACKBONES)
def test_one_channel_gives_what_three_equal_ones_give(name, pictures):
    spec = network_spec(name)
    pixels = pictures(SIDES.get(name, 64), 2)
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(1)
        network = timm_network(spec).eval()
        theirs = timm_features(spec, network, pixels)
        blocks = blocks_of(spec, network).eval()
        ours = blocks(pixels)
        assert blocks[0](pixels).shape[1] == INPUTS[name]
    assert ours.shape == theirs.shape
    assert (ours - theirs).abs().max() < 1e-4 * max(1.0, float(theirs.abs().max()))


def test_a_first_convolution_that_cannot_be_folded_reads_three_channels(pictures):
    network, _ = build_network("timm:resnetv2_50x1_bit", 2, size=64, weights="random")
    assert network.blocks[0](pictures(64, 1)).shape == (1, 3, 64, 64)
    assert network(pictures(64, 2)).shape == (2, 2)


@pytest.mark.parametrize(
    ("name", "maps"),
    [("timm:resnet10t", True), ("timm:vit_tiny_patch16_224", False)],
)
def test_other_networks_of_timm_are_one_block(name, maps, pictures):
    network, _ = build_network(name, 3, size=96, weights="random", head=HeadOptions(dropout=0.1))
    assert len(network.blocks) == 2
    assert network.head.gives_maps is maps
    assert network(pictures(96, 2)).shape == (2, 3)


def test_the_size_of_another_network_is_timm_s():
    network, _ = build_network("timm:resnet10t", 2, weights="random")
    assert network.size == timm.get_pretrained_cfg("resnet10t").input_size[-1]


def test_a_network_that_timm_does_not_have_is_refused():
    with pytest.raises(RecipeError, match="timm has no network 'no_such_net'"):
        build_network("timm:no_such_net", 2, weights="random")


def test_a_picture_too_small_for_the_network_is_refused():
    with pytest.raises(RecipeError, match="vgg16 cannot read 16 x 16 pixels"):
        build_network("vgg16", 2, size=16, weights="random")
