"""Networks rebuilt in torch give the file's scores, or are refused."""

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch

from hilum.errors import MissingExtraError, ModelError, UsageError
from hilum.explanation import explainer
from hilum.explanation.layers import feature_maps, first_filters, layer_named, layers
from hilum.explanation.methods import rebuilt_of
from hilum.explanation.rebuild import rebuild
from hilum.model import Classifier, load


def with_recipe(classifier, **network):
    """The same classifier, whose recipe says something else of its network."""
    recipe = classifier.file.provenance.recipe
    changed = {**recipe, "network": {**recipe["network"], **network}}
    provenance = classifier.file.provenance.model_copy(update={"recipe": changed})
    return Classifier(replace(classifier.file, provenance=provenance))


@pytest.mark.parametrize("which", ["binary", "mirroring"])
def test_a_rebuilt_network_gives_the_files_own_scores(which, request, pictures):
    classifier = request.getfixturevalue(which)
    rebuilt = rebuild(classifier)
    with torch.no_grad():
        ours = rebuilt.scores(torch.from_numpy(pictures)[:, None].float() / 255).numpy()
    theirs = classifier.network.run(pictures)["scores"]
    # The file may be read in bfloat16, whose numbers have 8 bits.
    np.testing.assert_allclose(ours, theirs, atol=0.03 * np.abs(theirs).max())
    assert np.ptp(theirs) > 0.2
    assert rebuilt.difference < 1e-3


def test_what_instant_trained_is_rebuilt_from_its_base_and_its_head(model_path):
    rebuilt = rebuild(load(model_path))
    assert rebuilt.difference < 1e-3
    assert layer_named(rebuilt.network, None).channels == 1280


def test_a_network_with_other_scores_is_refused(binary, mirroring):
    with pytest.raises(ModelError, match="gives other scores than the file"):
        rebuild(with_recipe(binary, options={"activation": "relu", "width": 0.25}))
    with pytest.raises(ModelError, match="gives other scores than the file"):
        rebuild(with_recipe(mirroring, mirror=False))


def test_weights_that_do_not_fit_the_recipe_are_refused_by_name(binary):
    with pytest.raises(ModelError, match=r"not those of cnn-dilated.*first at blocks\.1\.0"):
        rebuild(with_recipe(binary, options={"activation": "gelu", "width": 1.0}))


@pytest.mark.parametrize(
    "network", [{"name": "resnet-1000"}, {"options": {"colour": "red"}}, {"options": []}]
)
def test_a_recipe_that_does_not_say_how_is_refused(binary, network):
    changed = with_recipe(binary, **network)
    if network.get("options") == []:
        provenance = changed.file.provenance.model_copy(update={"recipe": {"kind": "staged"}})
        changed = Classifier(replace(changed.file, provenance=provenance))
    with pytest.raises(ModelError, match="does not say how it is made"):
        rebuild(changed)


def test_without_torch_the_extra_is_named_and_the_rest_works(binary, monkeypatch, pictures):
    monkeypatch.delitem(sys.modules, "hilum.explanation.rebuild", raising=False)
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(MissingExtraError, match=r"the method grad-cam needs.*hilum\[train\]"):
        explainer(binary, "grad-cam")
    assert explainer(binary, "class-activation-map").native(pictures).shape == (3, 3, 3)


def test_without_captum_the_extra_is_named(binary, monkeypatch):
    rebuilt = rebuilt_of(binary, "a test")
    for name in [name for name in sys.modules if name.split(".")[0] == "captum"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "captum", None)
    with pytest.raises(MissingExtraError, match=r"integrated-gradients needs.*hilum\[train\]"):
        explainer(binary, "integrated-gradients", rebuilt=rebuilt)


def test_importing_explanation_loads_no_torch():
    code = (
        "import sys, hilum.explanation.run; print(sorted({'torch', 'captum'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_layers_are_listed_from_input_to_output_with_the_default_last(binary):
    network = rebuild(binary).network
    found = {layer.name: layer for layer in layers(network)}
    assert list(found)[:3] == ["blocks.1", "blocks.1.0", "blocks.1.1"]
    assert [name for name, layer in found.items() if layer.default] == ["blocks.5"]
    last = found["blocks.5"]
    assert (last.channels, last.rows, last.columns) == (32, 3, 3)


def test_feature_maps_are_what_a_layer_gives_and_what_follows_gets_a_copy(binary, pictures):
    network = rebuild(binary).network
    grey = torch.from_numpy(pictures)[:, None].float() / 255
    with torch.no_grad():
        wanted = network.blocks[:3](grey).numpy()
        np.testing.assert_array_equal(feature_maps(network, "blocks.2", pictures), wanted)
        convolved = network.blocks[1][0](network.blocks[0](grey)).numpy()
        network.blocks[1][2] = torch.nn.ReLU(inplace=True)
        network.blocks[1][1] = torch.nn.Identity()
        np.testing.assert_array_equal(feature_maps(network, "blocks.1.0", pictures), convolved)
    assert convolved.min() < 0


def test_the_first_filters_are_the_weights_on_the_grey_level(binary):
    network = rebuild(binary).network
    name, filters = first_filters(network)
    assert name == "blocks.1.0"
    np.testing.assert_array_equal(filters, network.blocks[1][0].weight[:, 0].numpy())


def test_a_network_without_places_says_so(dense_path):
    classifier = load(dense_path)
    with pytest.raises(UsageError, match="has no layer with places"):
        explainer(classifier, "grad-cam")
    with pytest.raises(UsageError, match="begins with no convolution"):
        first_filters(rebuild(classifier).network)
    with pytest.raises(UsageError, match="no class activation map"):
        explainer(classifier, "class-activation-map")
