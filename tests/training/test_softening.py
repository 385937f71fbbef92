"""Soft targets: a label that other patients contradict is believed less."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hilum.errors import CohortError
from hilum.training.softening import soft_targets


def cohort(wrong=0.0, count=300, seed=0):
    """Features that show the kind, and labels of which some are wrong."""
    rng = np.random.default_rng(seed)
    kinds = rng.integers(0, 3, count)
    features = rng.normal(size=(count, 8)).astype(np.float32)
    features[:, 0] += 4.0 * (kinds == 2)
    swapped = (kinds > 0) & (rng.random(count) < wrong)
    truth = np.where(swapped, 3 - kinds, kinds)
    return truth, features, np.array([f"p{i // 2}" for i in range(count)]), swapped


def test_wrong_labels_are_believed_less_than_right_ones():
    truth, features, patients, swapped = cohort(wrong=0.15)
    targets = soft_targets(truth, features, patients, 0.5, 3, seed=0)
    believed = targets[np.arange(len(truth)), truth]
    ill = truth > 0
    assert believed[swapped].mean() < 0.7
    assert believed[ill & ~swapped].mean() > 0.85


@settings(deadline=None, max_examples=5)
@given(st.floats(0, 1), st.integers(0, 9))
def test_targets_are_shares_and_normal_is_left_alone(share, seed):
    truth, features, patients, _ = cohort(wrong=0.1, count=120, seed=seed)
    targets = soft_targets(truth, features, patients, share, 3, seed)
    assert targets.dtype == np.float32
    np.testing.assert_allclose(targets.sum(axis=1), 1, atol=1e-6)
    assert (targets >= 0).all()
    np.testing.assert_array_equal(
        targets[truth == 0], np.eye(3)[0][None].repeat((truth == 0).sum(), 0)
    )
    np.testing.assert_allclose(targets[truth > 0, 0], 0)
    believed = targets[np.arange(len(truth)), truth]
    assert (believed >= 1 - share - 1e-6).all()


def test_too_few_patients_of_a_kind_are_refused():
    truth = np.array([0] * 10 + [1] * 20 + [2] * 2)
    features = np.zeros((32, 3), np.float32)
    with pytest.raises(CohortError, match="soft_kinds needs 5 patients"):
        soft_targets(truth, features, np.arange(32).astype(str), 0.5, 3, seed=0)
