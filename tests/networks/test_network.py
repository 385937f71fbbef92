"""Networks: shapes, what a stage trains, and what stays at rest while it is frozen."""

import copy

import numpy as np
import pytest
import torch
from torch import nn

from hilum.errors import RecipeError
from hilum.networks.network import (
    Head,
    RadiographNetwork,
    rest_what_is_frozen,
    trainable,
    weighted_layers,
)


def gradients(network: RadiographNetwork, pixels: torch.Tensor) -> dict[str, torch.Tensor | None]:
    """Return the gradient of every parameter for a loss that no symmetry makes zero."""
    network.zero_grad(set_to_none=True)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        scores = network(pixels)
    nn.functional.cross_entropy(scores, torch.tensor([0, 1, 1, 0])).backward()
    found = {name: parameter.grad for name, parameter in network.named_parameters()}
    network.zero_grad(set_to_none=True)
    return found


def statistics(module: nn.Module) -> dict[str, torch.Tensor]:
    return {name: buffer.clone() for name, buffer in module.named_buffers()}


def test_grey_levels_become_scores_and_maps_add_up_to_them(network, pictures):
    network.eval()
    with torch.no_grad():
        features = network.blocks(pictures(network.size, 2))
        scores = network.head(features)
        assert scores.shape == (2, 2)
        assert features.ndim == 4
        pooled = network.head.pooled(features)
        assert network.head.linear(network.head.embedding(pooled)).equal(scores)
        if network.head.gives_maps:
            maps = network.head.maps(features)
            assert maps.shape == (2, 2, *features.shape[2:])
            torch.testing.assert_close(maps.mean((2, 3)), scores, rtol=1e-3, atol=1e-3)


def test_the_input_block_has_no_parameters(network):
    assert not list(network.blocks[0].parameters())
    assert all(list(block.parameters()) for block in network.blocks[1:])


def test_all_weights_learn(network, pictures):
    assert trainable(network, "all") == 1
    for name, gradient in gradients(network, pictures(network.size)).items():
        assert gradient is not None, name
        assert gradient.isfinite().all(), name
        assert gradient.any(), name


@pytest.mark.parametrize("what", ["head", ("blocks", 1), ("layers", 2)])
def test_only_what_a_stage_trains_learns(network, pictures, what):
    first = trainable(network, what)
    network.train()
    rest_what_is_frozen(network.blocks)
    before = statistics(network.blocks[:first])
    found = gradients(network, pictures(network.size))
    for name, parameter in network.named_parameters():
        assert (found[name] is not None) == parameter.requires_grad, name
    assert all(parameter.requires_grad for parameter in network.head.parameters())
    assert not any(p.requires_grad for p in network.blocks[:first].parameters())
    if what == "head":
        assert first == len(network.blocks)
    else:
        assert any(p.requires_grad for p in network.blocks[first].parameters())
    for name, buffer in network.blocks[:first].named_buffers():
        assert buffer.equal(before[name]), name


def test_frozen_blocks_give_the_same_features_in_training(shared, pictures):
    network = shared("cnn-double")
    first = trainable(network, ("blocks", 2))
    assert first == len(network.blocks) - 2
    network.train()
    rest_what_is_frozen(network.blocks)
    pixels = pictures(network.size)
    with torch.no_grad():
        trained = network.blocks[:first](pixels)
        assert trained.equal(network.blocks[:first].eval()(pixels))
        network.train()
        rest_what_is_frozen(network.blocks)
        assert not network.blocks(pixels).equal(network.blocks(pixels))  # dropout above


def test_a_frozen_normalisation_inside_a_trained_block_keeps_its_statistics(shared, pictures):
    network = copy.deepcopy(shared("cnn-double"))
    first = trainable(network, ("layers", 1))
    block = network.blocks[first]
    norms = [module for module in block if isinstance(module, nn.BatchNorm2d)]
    network.train()
    rest_what_is_frozen(network.blocks)
    before = [norm.running_mean.clone() for norm in norms]
    network(pictures(network.size))
    assert norms[0].running_mean.equal(before[0])
    assert not norms[1].running_mean.equal(before[1])
    assert [norm.training for norm in norms] == [False, True]


def test_the_last_layers_come_with_their_normalisation(shared):
    network = shared("cnn-double")
    assert trainable(network, ("layers", 3)) == len(network.blocks) - 2
    names = {name for name, p in network.blocks.named_parameters() if p.requires_grad}
    assert {name.rsplit(".", 1)[0] for name in names} == {"4.3", "4.4", "5.0", "5.1", "5.3", "5.4"}


def test_layers_are_counted_from_input_to_output(shared):
    layers = weighted_layers(shared("vgg16"))
    assert len(layers) == 13
    assert layers[0].in_channels == 2
    assert layers[-1].out_channels == 512


def test_a_scale_belongs_to_the_layers_of_its_own_block(shared):
    network = shared("convnext-tiny")
    trainable(network, ("layers", 1))
    names = {name for name, p in network.blocks.named_parameters() if p.requires_grad}
    last = "5.0.blocks.2"
    norm = {"5.1.weight", "5.1.bias"}
    assert names == {f"{last}.gamma", f"{last}.mlp.fc2.weight", f"{last}.mlp.fc2.bias"} | norm


@pytest.mark.parametrize("what", [("blocks", 6), ("layers", 11), ("layers", 0)])
def test_more_than_there_is_cannot_be_trained(shared, what):
    with pytest.raises(RecipeError, match=rf"cnn-double has \d+ {what[0]} below its head, not"):
        trainable(shared("cnn-double"), what)


def test_dropout_of_the_head_works_while_the_blocks_are_frozen(shared):
    network = shared("cnn-baseline")
    trainable(network, "head")
    network.train()
    rest_what_is_frozen(network.blocks)
    dropouts = [m for m in network.modules() if isinstance(m, nn.Dropout)]
    assert dropouts
    assert all(dropout.training for dropout in dropouts)


@pytest.mark.parametrize(
    ("pool", "dense", "maps", "width"),
    [
        ("average", (), True, 6),
        ("flatten", (), False, 6 * 4 * 5),
        ("average", (7,), False, 7),
        ("flatten", (9, 8), False, 8),
    ],
)
def test_a_head_gives_maps_only_if_they_are_its_score(rng, pool, dense, maps, width):
    head = Head((6, 4, 5), 3, pool=pool, dense=dense, dropout=0.5, activation="selu").eval()
    features = torch.from_numpy(rng.normal(size=(2, 6, 4, 5)).astype(np.float32))
    assert head.gives_maps is maps
    assert head.embedding(head.pooled(features)).shape == (2, width)
    assert head(features).shape == (2, 3)
    if not maps:
        with pytest.raises(ValueError, match="average pooling and no dense layer"):
            head.maps(features)


def test_features_of_one_place_give_no_map():
    assert not Head((6, 1, 1), 2, pool="average").gives_maps
