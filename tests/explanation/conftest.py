"""Small classifiers with random weights, as files: what explains must not depend on training."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from hilum.findings import Task
from hilum.model import ModelFile, load, save_model_file
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
from hilum.networks.export import export_network
from hilum.networks.options import ScratchOptions
from hilum.networks.weights import build_network

SIZE = 48
OPTIONS = ScratchOptions(activation="gelu", width=0.25)


def classifier_file(task: Task, *, mirror: bool, name: str = "cnn-dilated") -> ModelFile:
    """A classifier whose network was never trained, with running statistics that are not 0 and 1."""
    labels = Labels(task=task, findings=task.labels)
    network, weights = build_network(
        name, len(task.labels), size=SIZE, options=OPTIONS, weights="random", seed=5
    )
    generator = torch.Generator().manual_seed(1)
    for key, tensor in network.state_dict().items():
        if key.endswith(("running_mean", "bias")):
            tensor += 0.2 * torch.randn(tensor.shape, generator=generator)
        elif key.endswith("running_var"):
            tensor *= 0.5 + torch.rand(tensor.shape, generator=generator)
    network.head.linear.weight.data *= 3.0
    counts = Counts(true_positives=1, false_positives=0, true_negatives=1, false_negatives=0)
    choice = {"name": name, "size": SIZE, "mirror": mirror, "head": None}
    return ModelFile(
        network=export_network(network, mirror=mirror),
        labels=labels,
        preprocessing=Preprocessing(size=SIZE),
        calibration=Calibration(
            method="scale-and-bias", scale=1.7, bias=(0.1, -0.4, 0.3)[: len(task.labels)]
        ),
        operating_points=(
            OperatingPoint(
                name="youden", aim="youden", threshold=0.5, chosen_on="validation", counts=counts
            ),
        ),
        saliency=Saliency(
            method="class-activation-map" if network.head.gives_maps else "none", scale=4.0
        ),
        gate=Gate(),
        provenance=Provenance(
            hilum_version="0",
            created="2026-01-01T00:00:00+00:00",
            command="test",
            recipe={"kind": "staged", "network": {**choice, "options": OPTIONS.model_dump()}},
            seed=0,
            cohort_sha256="0" * 64,
            cohort_name="none",
            radiographs={},
            patients={},
            left_out={},
            phantom=True,
            network=name,
            network_weights=weights,
        ),
        training_radiographs=TrainingRadiographs(perceptual_hashes=()),
        evidence={},
        card="",
    )


@pytest.fixture(scope="session")
def binary_path(tmp_path_factory):
    path = tmp_path_factory.mktemp("binary") / "model.hilum"
    save_model_file(classifier_file(Task.BINARY, mirror=False), path)
    return path


@pytest.fixture(scope="session")
def binary(binary_path):
    """Two classes, with class activation maps."""
    return load(binary_path)


@pytest.fixture(scope="session")
def mirroring(tmp_path_factory):
    """Three classes; the file reads the mirror image too."""
    path = tmp_path_factory.mktemp("mirroring") / "model.hilum"
    save_model_file(classifier_file(Task.THREE_CLASS, mirror=True), path)
    return load(path)


@pytest.fixture(scope="session")
def dense_path(tmp_path_factory):
    """Dense layers from the first on: no class activation map, and no layer with places."""
    path = tmp_path_factory.mktemp("dense") / "model.hilum"
    file = classifier_file(Task.BINARY, mirror=False, name="mlp")
    save_model_file(replace(file, saliency=Saliency(method="none", scale=1.0)), path)
    return path


@pytest.fixture
def pictures(rng):
    """Three pictures with structure of several sizes, (3, SIZE, SIZE), uint8."""
    from scipy.ndimage import gaussian_filter

    coarse = gaussian_filter(rng.normal(0, 1, (3, SIZE, SIZE)), (0, 5, 5)) * 400
    fine = rng.normal(0, 15, (3, SIZE, SIZE))
    return np.clip(120 + coarse + fine, 0, 255).astype(np.uint8)
