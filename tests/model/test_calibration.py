import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from pydantic import ValidationError

from hilum.errors import ModelError
from hilum.model import load
from hilum.model.calibration import probabilities_from_scores
from hilum.model.file import load_model_file, save_model_file
from hilum.model.schema import Calibration

scores = arrays(np.float64, (7, 3), elements=st.floats(-1e6, 1e6))


@given(
    scores=scores, scale=st.floats(1e-3, 1e3), bias=st.tuples(st.just(0.0), *[st.floats(-9, 9)] * 2)
)
def test_probabilities_lie_in_range_and_sum_to_one(scores, scale, bias):
    result = probabilities_from_scores(Calibration(scale=scale, bias=bias), scores)
    assert ((result >= 0) & (result <= 1)).all()
    np.testing.assert_allclose(result.sum(axis=1), 1.0, atol=1e-12)


def test_without_calibration_it_is_the_plain_softmax():
    result = probabilities_from_scores(Calibration(bias=(0.0, 0.0)), np.array([[0.0, np.log(3.0)]]))
    np.testing.assert_allclose(result, [[0.25, 0.75]])


def test_scores_are_not_changed_in_place():
    given_scores = np.array([[1.0, 2.0]])
    probabilities_from_scores(Calibration(scale=2.0, bias=(0.0, 1.0)), given_scores)
    np.testing.assert_array_equal(given_scores, [[1.0, 2.0]])


def test_no_radiographs_give_no_rows():
    assert probabilities_from_scores(Calibration(bias=(0.0, 0.0)), np.empty((0, 2))).shape == (0, 2)


def test_scores_of_another_task_are_refused():
    with pytest.raises(ModelError, match=r"\(1, 3\) do not fit a calibration for 2 labels"):
        probabilities_from_scores(Calibration(bias=(0.0, 0.0)), np.zeros((1, 3)))


def test_a_score_that_is_not_finite_is_refused():
    with pytest.raises(ModelError, match="not finite"):
        probabilities_from_scores(Calibration(bias=(0.0, 0.0)), np.array([[0.0, np.nan]]))


def test_a_calibration_of_an_older_file_gives_the_same_probabilities():
    old = json.dumps(
        {"method": "scale-and-bias", "scale": 1.5, "bias": [0.0, -0.5], "radiographs": 784}
    )
    scores = np.array([[0.3, -1.2], [2.0, 4.0]])
    odds = np.exp(1.5 * scores + [0.0, -0.5])
    np.testing.assert_allclose(
        probabilities_from_scores(Calibration.model_validate_json(old), scores),
        odds / odds.sum(axis=1, keepdims=True),
        rtol=1e-14,
    )


def log_odds_of(calibration, log_odds):
    """Log-odds after calibration, of scores with these log-odds."""
    scores = np.stack([np.zeros(len(log_odds)), log_odds], axis=1)
    p = probabilities_from_scores(calibration, scores)
    return np.log(p[:, 1] / p[:, 0])


def test_beta_calibration_is_as_its_paper_defines_it():
    a, b, c = 0.7, 1.9, -0.3
    given_log_odds = np.array([-3.0, -0.2, 0.0, 4.0])
    curve = Calibration(method="beta", scale=1.3, bias=(0.0, 0.4), beta=(a, b, c))
    p = 1 / (1 + np.exp(-given_log_odds))  # of the scores alone
    expected = c + a * np.log(p) - b * np.log(1 - p)
    np.testing.assert_allclose(log_odds_of(curve, given_log_odds), expected)


def test_beta_calibration_with_equal_slopes_is_scale_and_bias():
    curve = Calibration(method="beta", bias=(0.0, 0.0), beta=(1.3, 1.3, 0.4))
    plain = Calibration(method="scale-and-bias", scale=1.3, bias=(0.0, 0.4))
    scores = np.array([[0.5, -3.0], [1.0, 1.1], [-2.0, 6.0]])
    np.testing.assert_allclose(
        probabilities_from_scores(curve, scores), probabilities_from_scores(plain, scores)
    )


def test_isotonic_calibration_goes_through_its_knots_and_on_with_slope_one():
    curve = Calibration(method="isotonic", bias=(0.0, 0.0), knots=((-1.0, -3.0), (1.0, 0.5)))
    given_log_odds = np.array([-2.5, -1.0, 0.0, 1.0, 4.0])
    np.testing.assert_allclose(log_odds_of(curve, given_log_odds), [-4.5, -3.0, -1.25, 0.5, 3.5])


steps = st.lists(st.tuples(st.floats(0.01, 5), st.floats(0.01, 5)), min_size=1, max_size=8)
curves = st.one_of(
    st.tuples(st.floats(0.01, 5), st.floats(0.01, 5), st.floats(-4, 4)).map(
        lambda abc: {"method": "beta", "beta": abc}
    ),
    steps.map(
        lambda s: {"method": "isotonic", "knots": np.cumsum([(-9, -7), *s], axis=0).tolist()}
    ),
)


@settings(deadline=None)
@given(curves, st.floats(0.1, 5), st.floats(-3, 3), st.lists(st.floats(-6, 6), min_size=2))
def test_no_curve_changes_the_order_of_radiographs(curve, scale, bias, drawn):
    log_odds = np.unique(np.round(drawn, 3))  # rising, and farther apart than rounding
    scores = np.stack([np.zeros(len(log_odds)), log_odds], axis=1)
    p = probabilities_from_scores(Calibration(scale=scale, bias=(0.0, bias), **curve), scores)
    normal = p[:, 0]
    inside = (normal > 1e-9) & (normal < 1 - 1e-9)  # nearer to 0 and 1 double precision ends
    assert (np.diff(normal) <= 0).all()
    assert (np.diff(normal)[inside[1:] & inside[:-1]] < 0).all()
    np.testing.assert_allclose(p.sum(axis=1), 1.0)


@settings(deadline=None)
@given(curves, arrays(np.float64, (5, 2), elements=st.floats(-1e6, 1e6)))
def test_a_curve_gives_probabilities_for_scores_of_any_size(curve, scores):
    p = probabilities_from_scores(Calibration(scale=2.0, bias=(0.0, 1.0), **curve), scores)
    assert ((p >= 0) & (p <= 1)).all()
    np.testing.assert_allclose(p.sum(axis=1), 1.0)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"method": "beta"}, "does not fit its curve"),
        ({"method": "isotonic"}, "does not fit its curve"),
        ({"method": "scale-and-bias", "beta": (1, 1, 0)}, "does not fit its curve"),
        ({"method": "temperature", "knots": ((0, 0),)}, "does not fit its curve"),
        ({"method": "beta", "beta": (0, 1, 0)}, "greater than 0"),
        ({"method": "isotonic", "knots": ((0, 0), (1, 0))}, "do not rise"),
        ({"method": "isotonic", "knots": ((1, 0), (1, 2))}, "do not rise"),
        ({"method": "beta", "beta": (1, 1, 0), "bias": (0, 0, 0)}, "is for two labels"),
    ],
)
def test_a_curve_that_does_not_fit_its_method_is_refused(fields, message):
    with pytest.raises(ValidationError, match=message):
        Calibration(**{"bias": (0.0, 0.0), **fields})


@pytest.mark.parametrize(
    "curve",
    [
        {"method": "beta", "beta": (0.4, 2.0, 1.0)},
        {"method": "isotonic", "knots": ((-3.0, -1.0), (0.5, 0.0), (4.0, 9.0))},
    ],
)
def test_a_classifier_with_a_curve_reads_from_its_file_and_draws_by_scale_and_bias(
    model_path, tmp_path, curve
):
    file = load_model_file(model_path)
    plain = {"scale": 1.4, "bias": (0.0, 0.3)}
    bent = replace(file, calibration=Calibration(**plain, **curve))
    save_model_file(bent, tmp_path / "bent.hilum")
    classifier = load(tmp_path / "bent.hilum")
    assert classifier.file.calibration == bent.calibration

    size = classifier.size
    pixels = np.random.default_rng(0).integers(0, 255, (3, size, size)).astype(np.uint8)
    outputs = classifier.network.run(pixels)
    straight = probabilities_from_scores(Calibration(**plain), outputs["scores"])
    drawn = classifier.local_log_odds(outputs["maps"]).mean(axis=(1, 2))
    np.testing.assert_allclose(drawn, np.log(straight[:, 1] / straight[:, 0]), atol=0.02)
    given = classifier.probabilities(outputs["scores"])
    assert (np.abs(np.log(given[:, 0] / straight[:, 0])) > 0.1).all()  # not by scale and bias
