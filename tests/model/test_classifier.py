"""Reading with a loaded classifier."""

import subprocess
import sys

import numpy as np
import pytest

from hilum.imaging import read
from hilum.model import load


@pytest.fixture(scope="module")
def classifier(model_path):
    return load(model_path)


@pytest.fixture(scope="module")
def phantom_files(phantom_folder):
    return sorted((phantom_folder / "test").rglob("*.png"))[:12]


def test_a_reading_is_a_probability_with_a_decision_at_the_threshold(classifier, phantom_files):
    for path in phantom_files:
        reading = classifier.read(path)
        assert 0.0 <= reading.probability <= 1.0
        assert sum(reading.probabilities.values()) == pytest.approx(1.0)
        expected = "refer" if reading.probability >= reading.threshold else "do not refer"
        assert reading.decision == expected
        assert "research use only" in reading.research_use


def test_one_at_a_time_and_together_read_alike(classifier, phantom_files):
    together = classifier.read_batch([read(path) for path in phantom_files])
    alone = [classifier.read(path) for path in phantom_files]
    difference = [abs(a.probability - b.probability) for a, b in zip(alone, together, strict=True)]
    assert max(difference) < 0.01


def test_the_heat_map_adds_up_to_the_log_odds(classifier, phantom_files):
    reading = classifier.read(phantom_files[0])
    log_odds = np.log(reading.probability / (1 - reading.probability))
    assert reading.saliency.shape == (7, 7)
    assert reading.saliency.mean() == pytest.approx(log_odds, abs=0.02)


def test_another_operating_point_changes_the_threshold_alone(classifier, phantom_files):
    usual = classifier.read(phantom_files[0])
    rule = classifier.read(phantom_files[0], operating_point="probability>=0.05")
    assert rule.threshold == 0.05
    assert rule.probability == usual.probability


def test_a_leg_is_refused_by_its_header(classifier, dicom_leg):
    reading = classifier.read(dicom_leg)
    assert reading.probability is None
    assert reading.decision is None
    assert "body part EXTREMITY" in reading.refused


def test_a_real_dicom_chest_radiograph_is_read(classifier, dicom_chest):
    reading = classifier.read(dicom_chest)
    assert reading.refused is None
    assert 0.0 <= reading.probability <= 1.0


def test_three_classes_give_one_probability_of_pneumonia(three_class_model_path, phantom_files):
    reading = load(three_class_model_path).read(phantom_files[0])
    assert set(reading.probabilities) == {"normal", "bacterial pneumonia", "viral pneumonia"}
    assert reading.probability == pytest.approx(1 - reading.probabilities["normal"])
    assert np.isfinite(reading.saliency).all()


def test_reading_imports_no_torch_and_little_else(model_path, phantom_files):
    """The plain install is light: a reading must not pull in what only training needs."""
    code = (
        "import sys; from hilum.model import load;"
        f"load({str(model_path)!r}).read({str(phantom_files[0])!r});"
        "heavy = {'torch', 'sklearn', 'polars', 'matplotlib', 'scipy', 'onnx', 'pydicom'};"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
