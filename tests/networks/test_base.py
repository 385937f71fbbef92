"""The committed base network is timm's, to within float16 storage."""

import importlib.util
from pathlib import Path

import numpy as np
import onnx
import openvino as ov
import pytest
import torch

from hilum.networks import FROZEN_BASES, join_linear_head

BASE = FROZEN_BASES["efficientnet-lite0"]


def run(model: bytes, pixels: np.ndarray) -> dict[str, np.ndarray]:
    """Run an ONNX network in float32, so that only its weights are compared."""
    core = ov.Core()
    compiled = core.compile_model(
        core.read_model(model), "CPU", {"INFERENCE_PRECISION_HINT": "f32"}
    )
    result = compiled({"pixels": pixels})
    return {out.get_any_name(): np.array(result[out]) for out in compiled.outputs}


@pytest.fixture(scope="module")
def make_base():
    """The script that made the committed file."""
    path = Path(__file__).parents[2] / "scripts" / "make_base.py"
    spec = importlib.util.spec_from_file_location("make_base", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def pixels(rng) -> np.ndarray:
    """Smooth grey pictures, since a network answers noise with noise. (4, 1, 224, 224), uint8."""
    coarse = torch.from_numpy(rng.uniform(0, 255, (4, 1, 9, 9)).astype(np.float32))
    smooth = torch.nn.functional.interpolate(coarse, size=BASE.size, mode="bicubic")
    return smooth.clamp(0, 255).to(torch.uint8).numpy()


def test_base_agrees_with_timm(make_base, pixels):
    grey = torch.from_numpy(pixels).float() / 127.5 - 1.0
    with torch.no_grad():
        theirs = make_base.timm_network().forward_features(grey.expand(-1, 3, -1, -1)).numpy()
    ours = run(BASE.path.read_bytes(), pixels)["features"]
    assert ours.shape == theirs.shape == (4, BASE.channels, 7, 7)
    pooled, expected = ours.mean((2, 3)).ravel(), theirs.mean((2, 3)).ravel()
    assert np.corrcoef(pooled, expected)[0, 1] > 0.9999
    assert np.abs(pooled - expected).max() < 0.02 * np.abs(expected).max()


def test_base_is_small_and_carries_no_paths():
    content = BASE.path.read_bytes()
    assert len(content) < 10_000_000
    assert b"site-packages" not in content
    assert b"/home/" not in content


def test_the_mean_of_the_maps_is_the_score(rng, pixels):
    weights, bias = rng.normal(size=(3, BASE.channels)) * 0.01, rng.normal(size=3)
    outputs = run(join_linear_head(BASE.path.read_bytes(), weights, bias), pixels)
    np.testing.assert_allclose(outputs["maps"].mean((2, 3)), outputs["scores"], atol=1e-4)
    linear = outputs["embedding"] @ weights.T + bias
    np.testing.assert_allclose(outputs["scores"], linear, atol=1e-3)


def test_a_head_of_another_width_is_refused(rng):
    with pytest.raises(ValueError, match="does not fit features"):
        join_linear_head(BASE.path.read_bytes(), rng.normal(size=(2, 5)), np.zeros(2))


def test_a_joined_network_is_valid_onnx():
    joined = join_linear_head(BASE.path.read_bytes(), np.zeros((2, BASE.channels)), np.zeros(2))
    onnx.checker.check_model(onnx.load_model_from_string(joined), full_check=True)
