"""Explanations by gradients, held against identities, captum, and their formulas written out."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from hilum.errors import UsageError
from hilum.explanation import METHODS, Options, explainer
from hilum.explanation.gradients import log_odds
from hilum.explanation.methods import rebuilt_of

INNER = "blocks.3"


@pytest.fixture(scope="module")
def rebuilt(binary):
    return rebuilt_of(binary, "a test")


@pytest.fixture(scope="module")
def rebuilt_mirroring(mirroring):
    return rebuilt_of(mirroring, "a test")


def features_and_gradients(rebuilt, target, pixels, block):
    """Features after a block and their gradients, by running the network in two halves."""
    blocks = rebuilt.network.blocks
    grey = torch.from_numpy(pixels)[:, None].float() / 255
    features = blocks[: block + 1](grey).detach().requires_grad_()
    scores = rebuilt.network.head(blocks[block + 1 :](features))
    (gradients,) = torch.autograd.grad(log_odds(scores, target).sum(), features)
    return features.detach().numpy().astype(float), gradients.numpy().astype(float)


def test_at_the_last_block_hirescam_is_the_class_activation_map_less_its_bias(
    binary, rebuilt, pictures
):
    own = explainer(binary, "class-activation-map")
    hirescam = explainer(binary, "hirescam", rebuilt=rebuilt)
    weights = rebuilt.network.head.linear.bias.numpy()
    calibration = binary.file.calibration
    bias = calibration.scale * (weights[1] - weights[0]) + calibration.bias[1] - calibration.bias[0]
    maps = hirescam.native(pictures)
    assert np.abs(maps).max() > 0.5
    np.testing.assert_allclose(maps, own.native(pictures) - bias, atol=2e-4)
    grad_cam = explainer(binary, "grad-cam", rebuilt=rebuilt)
    np.testing.assert_allclose(grad_cam.native(pictures), np.maximum(maps, 0), atol=2e-4)


def test_the_class_activation_map_adds_up_to_the_log_odds(binary, pictures):
    own = explainer(binary, "class-activation-map")
    scores = binary.network.run(pictures)["scores"]
    # The reading may be in bfloat16, the map is in float32.
    np.testing.assert_allclose(
        own.native(pictures).mean(axis=(1, 2)), own.target.log_odds(scores), atol=0.1
    )
    assert np.allclose(
        own.native(pictures),
        -explainer(binary, "class-activation-map", finding="normal").native(pictures),
        atol=1e-5,
    )


def test_an_inner_grad_cam_is_captums_up_to_the_number_of_places(binary, rebuilt, pictures):
    from captum.attr import LayerGradCam

    found = []
    for finding in ("pneumonia", "normal"):
        ours = explainer(binary, "grad-cam", layer="blocks.2", finding=finding, rebuilt=rebuilt)
        theirs = LayerGradCam(
            lambda grey, target=ours.target: log_odds(rebuilt.network(grey), target),
            rebuilt.network.blocks[2],
        )
        grey = (torch.from_numpy(pictures)[:, None].float() / 255).requires_grad_()
        wanted = theirs.attribute(grey, relu_attributions=True)[:, 0].detach().numpy()
        found.append(ours.native(pictures))
        assert found[-1].shape == (3, 12, 12)
        np.testing.assert_allclose(found[-1], 144 * wanted, rtol=1e-3, atol=1e-4)
    # What is cut off for one finding is left for the other.
    assert (np.maximum(*found) > 0).any()


def grad_cam_plus_plus(features, gradients):
    """Equations 10 and 19 of the paper, one channel at a time."""
    rows, columns = features.shape[1:]
    total = np.zeros((rows, columns))
    for a, g in zip(features, gradients, strict=True):
        below = 2 * g**2 + (a * g**3).sum()
        alpha = np.divide(g**2, below, out=np.zeros_like(g), where=below != 0)
        total += (alpha * np.maximum(g, 0)).sum() * a
    return rows * columns * np.maximum(total, 0)


def layer_cam(features, gradients):
    rows, columns = features.shape[1:]
    return rows * columns * np.maximum((np.maximum(gradients, 0) * features).sum(axis=0), 0)


def hirescam(features, gradients):
    rows, columns = features.shape[1:]
    return rows * columns * (gradients * features).sum(axis=0)


def eigen_cam(features, _gradients):
    channels, rows, columns = features.shape
    places = features.reshape(channels, -1).T
    # By the eigenvectors of the channels' second moments instead of singular vectors.
    _, vectors = np.linalg.eigh(places.T @ places)
    found = places @ vectors[:, -1]
    return (found * np.sign(found.sum())).reshape(rows, columns)


@pytest.mark.parametrize(
    ("name", "formula"),
    [
        ("grad-cam++", grad_cam_plus_plus),
        ("layer-cam", layer_cam),
        ("hirescam", hirescam),
        ("eigen-cam", eigen_cam),
    ],
)
def test_inner_layers_give_the_papers_formula(binary, rebuilt, pictures, name, formula):
    explain = explainer(binary, name, layer=INNER, rebuilt=rebuilt)
    features, gradients = features_and_gradients(rebuilt, explain.target, pictures, 3)
    wanted = [formula(*each) for each in zip(features, gradients, strict=True)]
    found = explain.native(pictures)
    assert np.ptp(found) > 0
    np.testing.assert_allclose(found, wanted, rtol=2e-2, atol=1e-3 * np.abs(wanted).max())


@pytest.mark.parametrize("which", ["binary", "mirroring"])
def test_integrated_gradients_add_up_to_what_the_radiograph_has_over_its_baseline(
    which, request, pictures
):
    classifier = request.getfixturevalue(which)
    found = request.getfixturevalue("rebuilt" if which == "binary" else "rebuilt_mirroring")
    explain = explainer(
        classifier, "integrated-gradients", rebuilt=found, options=Options(steps=48)
    )
    wanted = explain.total(pictures[:1])
    assert np.abs(wanted).max() > 0.3
    np.testing.assert_allclose(
        explain.native(pictures[:1]).sum(axis=(1, 2)), wanted, atol=0.03 * np.abs(wanted).max()
    )


def test_smoothgrad_without_noise_is_the_size_of_the_gradient(binary, rebuilt, pictures):
    from captum.attr import Saliency

    explain = explainer(binary, "smoothgrad", rebuilt=rebuilt, options=Options(copies=2, noise=0.0))
    saliency = Saliency(lambda grey: log_odds(rebuilt.scores(grey), explain.target))
    grey = (torch.from_numpy(pictures)[:, None].float() / 255).requires_grad_()
    wanted = saliency.attribute(grey)[:, 0].numpy() / 255
    np.testing.assert_allclose(explain.native(pictures), wanted, rtol=1e-3, atol=1e-7)


def test_smoothgrad_does_not_depend_on_the_other_radiographs_nor_on_torchs_own_seed(
    binary, rebuilt, pictures
):
    explain = explainer(binary, "smoothgrad", rebuilt=rebuilt, options=Options(copies=20))
    state = torch.get_rng_state()
    together = explain.native(pictures)
    assert torch.equal(state, torch.get_rng_state())
    torch.rand(1)
    np.testing.assert_array_equal(together[2:], explain.native(pictures[2:]))
    other = explainer(binary, "smoothgrad", rebuilt=rebuilt, options=Options(copies=20, seed=1))
    assert not np.array_equal(together, other.native(pictures))


@pytest.mark.parametrize("name", ["class-activation-map", "grad-cam", "hirescam"])
def test_what_reads_the_mirror_image_explains_it_mirrored(
    mirroring, rebuilt_mirroring, pictures, name
):
    assert rebuilt_mirroring.mirror
    explain = explainer(mirroring, name, finding="viral", rebuilt=rebuilt_mirroring)
    turned = explain.native(np.ascontiguousarray(pictures[..., ::-1]))
    found = explain.native(pictures)
    assert np.ptp(found) > 0
    np.testing.assert_allclose(turned[..., ::-1], found, atol=1e-4)


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("which", ["binary", "mirroring"])
def test_every_method_gives_a_map_on_the_networks_grid_for_each_radiograph(
    which, name, request, pictures
):
    classifier = request.getfixturevalue(which)
    found = request.getfixturevalue("rebuilt" if which == "binary" else "rebuilt_mirroring")
    options = Options(masks=20, copies=2, steps=4, strides=1)
    explain = explainer(classifier, name, rebuilt=found, options=options)
    maps = explain(pictures)
    assert maps.shape == pictures.shape
    assert maps.dtype == np.float32
    assert np.isfinite(maps).all()
    native = explain.native(pictures)
    assert maps.max() <= native.max() + 1e-4
    np.testing.assert_allclose(explain(pictures[1:2])[0], maps[1], rtol=1e-3, atol=1e-4)


def test_another_network_can_be_explained_in_the_files_place(binary, rebuilt, pictures):
    import copy

    network = copy.deepcopy(rebuilt.network)
    network.head.linear.weight.data.neg_()
    turned = explainer(binary, "hirescam", rebuilt=replace(rebuilt, network=network))
    own = explainer(binary, "hirescam", rebuilt=rebuilt)
    np.testing.assert_allclose(turned.native(pictures), -own.native(pictures), atol=1e-5)


def test_a_layer_or_method_that_is_not_there_is_said(binary, rebuilt):
    with pytest.raises(UsageError, match=r"no layer 'blocks\.99' with maps; list them all"):
        explainer(binary, "grad-cam", layer="blocks.99", rebuilt=rebuilt)
    with pytest.raises(UsageError, match="no method 'lime'; choose one of: class-activation-map"):
        explainer(binary, "lime")
