"""What is explained: calibrated log-odds that agree with the probabilities."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from hilum.errors import UsageError
from hilum.explanation import target_of
from hilum.explanation.gradients import log_odds
from hilum.findings import Task
from hilum.model.calibration import probabilities_from_scores
from hilum.model.schema import Calibration, Labels

THREE = Labels(task=Task.THREE_CLASS, findings=Task.THREE_CLASS.labels)
BINARY = Labels(task=Task.BINARY, findings=Task.BINARY.labels)
CALIBRATION = Calibration(scale=1.3, bias=(0.2, -0.1, 0.4))
scores = hnp.arrays(np.float32, (4, 3), elements=st.floats(-4, 4, width=32))


@settings(deadline=None)
@given(scores)
def test_log_odds_are_those_of_the_calibrated_probability(raw):
    probabilities = probabilities_from_scores(CALIBRATION, raw.astype(np.float64))
    for finding, columns in (
        ("pneumonia", [1, 2]),
        ("normal", [0]),
        ("bacterial pneumonia", [1]),
        ("viral", [2]),
    ):
        target = target_of(THREE, CALIBRATION, finding)
        p = probabilities[:, columns].sum(axis=1)
        np.testing.assert_allclose(target.log_odds(raw), np.log(p / (1 - p)), atol=1e-6)
        in_torch = log_odds(torch.from_numpy(raw), target).numpy()
        np.testing.assert_allclose(in_torch, target.log_odds(raw), atol=1e-4)


@settings(deadline=None)
@given(scores)
def test_maps_of_one_place_are_the_scores(raw):
    target = target_of(THREE, CALIBRATION)
    np.testing.assert_array_equal(
        target.log_odds(raw[:, :, None, None])[:, 0, 0], target.log_odds(raw)
    )


def test_a_finding_that_the_classifier_does_not_know_is_named_with_those_it_does():
    with pytest.raises(UsageError, match="'viral' apart; choose one of: pneumonia, normal"):
        target_of(BINARY, Calibration(bias=(0.0, 0.0)), "viral")
