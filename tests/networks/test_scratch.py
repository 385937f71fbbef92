"""Networks from scratch: what a recipe says of their layers takes effect."""

import pytest
import torch
from torch import nn

from hilum.networks import NETWORKS, HeadOptions, ScratchOptions
from hilum.networks.layers import ACTIVATIONS
from hilum.networks.network import weighted_layers
from hilum.networks.weights import build_network

SCRATCH = [name for name, spec in NETWORKS.items() if spec.family == "scratch"]


def built(name="cnn-9", *, size=48, head=None, seed=0, **options):
    network, _ = build_network(
        name,
        2,
        size=size,
        options=ScratchOptions(**options),
        head=head,
        weights="random",
        seed=seed,
    )
    return network


def modules(network, kind):
    return [module for module in network.modules() if isinstance(module, kind)]


@pytest.mark.parametrize("name", SCRATCH)
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_the_activation_is_the_one_asked_for(name, activation):
    network = built(name, activation=activation)
    kinds = {kind: type(make()) for kind, make in ACTIVATIONS.items()}
    others = tuple(kind for key, kind in kinds.items() if key != activation)
    assert modules(network, kinds[activation])
    assert not modules(network, others)


@pytest.mark.parametrize("name", SCRATCH)
@pytest.mark.parametrize(
    ("normalisation", "kind"), [("batch", nn.BatchNorm2d), ("group", nn.GroupNorm)]
)
def test_every_layer_of_the_blocks_is_normalised_as_asked(name, normalisation, kind, pictures):
    network = built(name, normalisation=normalisation)
    assert len(modules(network, kind)) == len(weighted_layers(network))
    assert network(pictures(48)).shape == (4, 2)
    assert not modules(
        built(name, normalisation="none"), nn.modules.batchnorm._BatchNorm | nn.GroupNorm
    )


@pytest.mark.parametrize("name", SCRATCH)
def test_dropout_is_the_share_asked_for(name):
    shares = [layer.p for layer in modules(built(name, dropout=0.35), nn.Dropout)]
    assert shares
    assert set(shares) == {0.35}
    assert not modules(built(name, dropout=0.0), nn.Dropout)


def test_selu_is_given_its_own_dropout():
    network = built("cnn-9", activation="selu", dropout=0.1)
    assert modules(network, nn.AlphaDropout)
    assert not modules(network, nn.Dropout)


@pytest.mark.parametrize("name", SCRATCH)
def test_width_multiplies_channels_and_dense_layers(name):
    plain, wide = weighted_layers(built(name)), weighted_layers(built(name, width=2.0))
    assert [layer.weight.shape[0] for layer in wide] == [2 * k.weight.shape[0] for k in plain]
    narrow = weighted_layers(built(name, width=0.1))
    assert all(layer.weight.shape[0] >= 8 for layer in narrow)


@pytest.mark.parametrize(
    ("how", "expected"),
    [
        ("he-normal", (2 / 144) ** 0.5),
        ("he-uniform", (2 / 144) ** 0.5),
        ("glorot-uniform", (2 / (144 + 288)) ** 0.5),
        ("glorot-normal", (2 / (144 + 288)) ** 0.5),
        ("lecun-normal", (1 / 144) ** 0.5),
    ],
)
def test_the_initialiser_sets_the_spread_of_the_weights(how, expected):
    layer = weighted_layers(built(initializer=how))[1]  # 16 to 32 channels, 3 x 3
    assert layer.weight.std().item() == pytest.approx(expected, rel=0.05)
    bound = layer.weight.abs().max().item() / layer.weight.std().item()
    assert (bound < 1.8) == how.endswith("uniform")
    assert not layer.bias.any()


def test_orthogonal_weights_are_orthogonal():
    weight = weighted_layers(built(initializer="orthogonal"))[1].weight.flatten(1)
    torch.testing.assert_close(weight @ weight.T, torch.eye(32), rtol=0, atol=1e-5)


def test_the_initialiser_is_that_of_the_dense_layers_too():
    network = built(initializer="orthogonal")
    weight = modules(network.head.hidden, nn.Linear)[0].weight
    torch.testing.assert_close(weight @ weight.T, torch.eye(64), rtol=0, atol=1e-5)


def test_a_recipe_s_head_takes_the_place_of_the_network_s_own():
    own = built("cnn-9")
    assert own.head.pool == "flatten"
    assert len(modules(own.head, nn.Linear)) == 2
    head = built("cnn-9", head=HeadOptions(pool="average")).head
    assert head.gives_maps
    dense = built("cnn-9", head=HeadOptions(dense=(12,), activation="tanh", dropout=0.25)).head
    assert dense.pool == "flatten"
    assert dense.linear.in_features == 12
    assert modules(dense, nn.Tanh)
    assert {layer.p for layer in modules(dense, nn.Dropout)} == {0.25}


def test_the_dilated_network_sees_what_its_description_says():
    network = built("cnn-dilated", size=176, width=0.1, activation="elu").eval()
    middle = 176 // 16 // 2
    # A pooling passes on one place of four, so it takes several pictures to see the whole field.
    seen = torch.zeros(176, 176, dtype=torch.bool)
    for seed in range(12):
        pixels = torch.rand(1, 1, 176, 176, generator=torch.Generator().manual_seed(seed))
        network.blocks(pixels.requires_grad_())[0, :, middle, middle].sum().backward()
        seen |= pixels.grad[0, 0] != 0
    for axis in (0, 1):
        places = seen.any(axis).nonzero()
        assert 132 <= int(places.max() - places.min()) + 1 <= 140


def test_the_same_seed_gives_the_same_weights_and_leaves_torch_s_generator_alone():
    before = torch.random.get_rng_state()
    one, two, other = built(seed=3), built(seed=3), built(seed=4)
    assert torch.random.get_rng_state().equal(before)
    for name, tensor in one.state_dict().items():
        assert tensor.equal(two.state_dict()[name])
    assert not other.head.linear.weight.equal(one.head.linear.weight)
