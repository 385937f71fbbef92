"""Corruptions do what their names say, and what a classifier lives on is found by what takes it away."""

from types import SimpleNamespace

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from markupsafe import Markup
from onnx import TensorProto, helper, numpy_helper
from scipy import ndimage
from sklearn.metrics import roc_auc_score

from hilum.errors import EvaluationError
from hilum.evaluation.area_changes import area_changes
from hilum.evaluation.corruptions import CORRUPTIONS, Strength, shifted
from hilum.evaluation.report import rendered
from hilum.evaluation.robustness import balanced_sample, measure_robustness
from hilum.evaluation.robustness_figures import Robustness
from hilum.evaluation.robustness_plots import robustness_plots
from hilum.evaluation.terms import with_definitions
from hilum.findings import Task
from hilum.model import Classifier
from hilum.model.file import ModelFile
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

BY_NAME = {each.name: each for each in CORRUPTIONS}
GRADES = [
    pytest.param(each, grade, id=f"{each.name} {grade.amount:g}")
    for each in CORRUPTIONS
    for grade in each.grades
]
SIDE = 48


def smooth(seed=0, n=6, side=SIDE):
    """Pictures with soft content over the whole range."""
    noise = np.random.default_rng(seed).normal(size=(n, side, side))
    grey = ndimage.gaussian_filter(noise, (0, 4, 4), mode="wrap")
    low, high = grey.min((1, 2), keepdims=True), grey.max((1, 2), keepdims=True)
    return np.rint(20 + 215 * (grey - low) / (high - low)).astype(np.uint8)


def small_pictures():
    return arrays(
        np.uint8, st.tuples(st.integers(1, 3), st.shared(st.integers(16, 40))).map(
            lambda shape: (shape[0], shape[1], shape[1])
        )
    )  # fmt: skip


# What every corruption owes


@pytest.mark.parametrize("corruption", CORRUPTIONS, ids=lambda each: each.name)
@settings(max_examples=8, deadline=None)
@given(pixels=small_pictures(), number=st.integers(0, 4))
def test_a_change_keeps_shape_type_and_its_input(corruption, pixels, number):
    grade = corruption.grades[number % len(corruption.grades)]
    before = pixels.copy()
    changed = corruption(pixels, grade.amount, seed=3)
    assert changed.shape == pixels.shape
    assert changed.dtype == np.uint8
    np.testing.assert_array_equal(pixels, before)
    np.testing.assert_array_equal(changed, corruption(pixels, grade.amount, seed=3))


@pytest.mark.parametrize("corruption", CORRUPTIONS, ids=lambda each: each.name)
@settings(max_examples=8, deadline=None)
@given(pixels=small_pictures())
def test_the_neutral_amount_changes_nothing(corruption, pixels):
    if corruption.neutral is None:
        assert corruption.name == "JPEG compression"
    else:
        np.testing.assert_array_equal(corruption(pixels, corruption.neutral), pixels)


@pytest.mark.parametrize(("corruption", "grade"), GRADES)
def test_every_grade_changes_something(corruption, grade):
    # On a large grid: the finest blur is gone on a small one.
    pixels = np.random.default_rng(0).integers(0, 256, (1, 224, 224), dtype=np.uint8)
    assert (corruption(pixels, grade.amount) != pixels).mean() > 0.02


@pytest.mark.parametrize("corruption", CORRUPTIONS, ids=lambda each: each.name)
def test_grades_go_from_mild_to_severe_on_each_side_of_neutral(corruption):
    amounts = [grade.amount for grade in corruption.grades]
    assert amounts == sorted(amounts)
    assert corruption.name in {"mirror", "inversion"} or 3 <= len(amounts) <= 5
    neutral = 100.0 if corruption.neutral is None else corruption.neutral
    harm = list(Strength)
    for side in (1, -1):
        away = sorted(
            (abs(g.amount - neutral), harm.index(g.strength))
            for g in corruption.grades
            if side * (g.amount - neutral) > 0
        )
        assert [strength for _, strength in away] == sorted(strength for _, strength in away)


@pytest.mark.parametrize("corruption", CORRUPTIONS, ids=lambda each: each.name)
def test_one_radiograph_changes_as_it_does_among_many(corruption):
    pixels = np.concatenate([smooth(seed, n=70, side=24) for seed in (1, 2)])
    amount = corruption.grades[-1].amount
    together = corruption(pixels, amount, seed=5)
    np.testing.assert_array_equal(together[:3], corruption(pixels[:3], amount, seed=5))
    if corruption.name != "noise":  # which goes on from radiograph to radiograph
        np.testing.assert_array_equal(together[-3:], corruption(pixels[-3:], amount))


# What their names say


def test_a_quarter_turn_is_anticlockwise():
    pixels = smooth()
    np.testing.assert_array_equal(BY_NAME["rotation"](pixels, 90.0), np.rot90(pixels, axes=(1, 2)))


@settings(max_examples=20, deadline=None)
@given(st.floats(-30, 30), st.integers(0, 100))
def test_a_turn_before_a_mirror_is_the_opposite_turn_after_it(angle, seed):
    pixels, turn, mirror = smooth(seed), BY_NAME["rotation"], BY_NAME["mirror"]
    one = turn(mirror(pixels, 1.0), angle).astype(int)
    other = mirror(turn(pixels, -angle), 1.0).astype(int)
    assert np.abs(one - other).max() <= 1


@settings(max_examples=20, deadline=None)
@given(st.floats(-20, 20), st.integers(0, 100))
def test_turning_back_restores_the_middle(angle, seed):
    pixels, turn = smooth(seed), BY_NAME["rotation"]
    back = turn(turn(pixels, angle), -angle)[:, 14:34, 14:34].astype(int)
    assert np.abs(back - pixels[:, 14:34, 14:34]).max() <= 16


def test_a_shift_goes_right_and_down_by_whole_pixels():
    pixels = smooth(side=50)
    moved = BY_NAME["shift"](pixels, 0.1)
    np.testing.assert_array_equal(moved[:, 5:, 5:], pixels[:, :-5, :-5])
    np.testing.assert_array_equal(moved[:, 0, 5:], pixels[:, 0, :-5])  # the edge is repeated
    np.testing.assert_array_equal(shifted(pixels, -0.1, 0.0)[:, :, :-5], pixels[:, :, 5:])
    np.testing.assert_array_equal(shifted(pixels, 0.001, 0.0)[:, :, 1:], pixels[:, :, :-1])


def test_a_crop_enlarges_what_is_left():
    side, share = 80, 0.1
    down, right = np.mgrid[:side, :side] / side
    ramp = np.rint(40 + 80 * down + 100 * right).astype(np.uint8)[None]
    cut = BY_NAME["crop"](ramp, share)[0].astype(float)
    kept = 40 + 80 * (share + down * (1 - 2 * share)) + 100 * (share + right * (1 - 2 * share))
    assert np.abs(cut - kept).max() <= 1.5


@settings(max_examples=20, deadline=None)
@given(st.floats(0.3, 1.0), st.integers(0, 50))
def test_contrast_scales_the_deviation_and_keeps_the_mean(factor, seed):
    pixels = smooth(seed)
    changed = BY_NAME["contrast"](pixels, factor)
    assert np.abs(changed.mean((1, 2)) - pixels.mean((1, 2))).max() < 0.5
    np.testing.assert_allclose(changed.std((1, 2)), factor * pixels.std((1, 2)), rtol=0.05)


@settings(max_examples=20, deadline=None)
@given(st.floats(0.3, 3.0))
def test_gamma_keeps_the_order_and_both_ends(exponent):
    levels = np.arange(256, dtype=np.uint8).reshape(1, 16, 16)
    changed = BY_NAME["gamma"](levels, exponent).ravel().astype(int)
    assert (changed[0], changed[-1]) == (0, 255)
    assert (np.diff(changed) >= 0).all()
    assert (changed.sum() <= levels.sum()) == (exponent >= 1) or abs(exponent - 1) < 0.01


def test_brightness_adds_and_stops_at_the_ends():
    levels = np.arange(256, dtype=np.uint8).reshape(1, 16, 16)
    brighter = BY_NAME["brightness"](levels, 25.0).ravel()
    np.testing.assert_array_equal(brighter, np.minimum(np.arange(256) + 25, 255))
    darker = BY_NAME["brightness"](levels, -50.0).ravel()
    np.testing.assert_array_equal(darker, np.maximum(np.arange(256) - 50, 0))


def test_a_blur_has_the_same_width_on_every_grid():
    for side in (112, 224):
        point = np.zeros((1, side, side), np.uint8)
        # A bar, as wide as it must be to stay visible: its edge takes the width of the blur.
        point[:, :, side // 2 :] = 255
        edge = BY_NAME["blur"](point, 6.0)[0, side // 2].astype(float)
        spread = np.gradient(edge) / 255
        where = np.arange(side) * 224 / side
        centre = (spread * where).sum()
        assert np.sqrt((spread * (where - centre) ** 2).sum()) == pytest.approx(6, abs=0.5)


def test_noise_has_its_deviation_and_the_same_draw_at_every_amount():
    grey = np.full((4, 64, 64), 128, np.uint8)
    little, much = (BY_NAME["noise"](grey, a, seed=1) - 128.0 for a in (5.0, 20.0))
    assert little.std() == pytest.approx(5, rel=0.05)
    assert much.std() == pytest.approx(20, rel=0.05)
    assert np.corrcoef(little.ravel(), much.ravel())[0, 1] > 0.98
    assert (BY_NAME["noise"](grey, 5.0, seed=2) - 128.0 != little).any()


@pytest.mark.parametrize(
    ("name", "amounts"),
    [("JPEG compression", (90, 60, 30, 10)), ("downsampling", (0.75, 0.5, 0.25))],
)
def test_what_loses_detail_loses_more_with_every_grade(name, amounts):
    pixels = np.random.default_rng(0).integers(60, 200, (4, 96, 96), dtype=np.uint8)
    lost = [np.abs(BY_NAME[name](pixels, a) - pixels.astype(float)).mean() for a in amounts]
    assert lost == sorted(lost)
    assert lost[0] < lost[-1]


def test_downsampling_keeps_means_and_loses_what_is_fine():
    checks = np.indices((40, 40)).sum(axis=0) % 2 * np.uint8(200)
    coarse = BY_NAME["downsampling"](checks[None].astype(np.uint8), 0.5)
    np.testing.assert_array_equal(coarse, 100)


def test_inversion_and_mirror_undo_themselves():
    pixels = smooth()
    for name in ("inversion", "mirror"):
        changed = BY_NAME[name](pixels, 1.0)
        np.testing.assert_array_equal(BY_NAME[name](changed, 1.0), pixels)
    np.testing.assert_array_equal(BY_NAME["inversion"](pixels, 1.0), 255 - pixels)
    np.testing.assert_array_equal(BY_NAME["mirror"](pixels, 1.0)[:, :, 0], pixels[:, :, -1])


def test_frames_take_the_border_and_nothing_else():
    pixels = smooth(side=40)
    for name in ("black frame", "grey frame"):
        changed = BY_NAME[name](pixels, 0.1)
        np.testing.assert_array_equal(changed[:, 4:-4, 4:-4], pixels[:, 4:-4, 4:-4])
        for each, inner in zip(changed, pixels[:, 4:-4, 4:-4], strict=True):
            grey = 0 if name == "black frame" else round(float(inner.mean()))
            frame = np.concatenate(
                [each[:4].ravel(), each[-4:].ravel(), each[:, :4].ravel(), each[:, -4:].ravel()]
            )
            np.testing.assert_array_equal(frame, grey)


# Areas and their changes


def test_areas_and_changes_are_those_of_scikit_learn():
    rng = np.random.default_rng(2)
    truth = np.arange(80) % 2 == 0
    scores = rng.normal(size=(3, 80)) + truth * np.array([[2.0], [1.0], [0.0]])
    found = area_changes(scores, truth, np.arange(80).astype(str))
    areas = [roc_auc_score(truth, each) for each in scores]
    for (area, change), wanted in zip(found, areas, strict=True):
        assert area.value == pytest.approx(wanted)
        assert change.value == pytest.approx(wanted - areas[0])
        assert 0 < area.interval.lower < area.value < area.interval.upper < 1
    assert found[0][1].interval is None
    assert "variance is 0" in found[0][1].no_interval
    assert found[2][1].interval.upper < 0


def test_a_perfect_area_has_no_interval_but_its_fall_has():
    truth = np.arange(40) < 20
    scores = np.stack([truth.astype(float), np.random.default_rng(0).normal(size=40) + truth])
    (perfect, _), (fallen, change) = area_changes(scores, truth, np.arange(40).astype(str))
    assert perfect.value == 1.0
    assert perfect.interval is None
    assert fallen.interval.upper < 1.0
    assert change.interval.upper < 0


def test_intervals_cover_what_is_true_in_nineteen_of_twenty_samples():
    """Paired readings of patients with three radiographs each, who are alike within."""
    rng = np.random.default_rng(11)

    def drawn(patients):
        whose = np.repeat(np.arange(patients), 3)
        truth = whose % 2 == 0
        shared = rng.normal(size=patients)[whose]
        each = [shared + rng.normal(0, 0.7, len(whose)) + truth * g for g in (1.8, 1.2)]
        return np.stack(each), truth, whose.astype(str)

    (one, _), (_, fall) = area_changes(*drawn(30_000))
    covered = np.zeros(2)
    runs = 300
    for _ in range(runs):
        (area, _), (_, change) = area_changes(*drawn(50))
        covered += (
            area.interval.lower <= one.value <= area.interval.upper,
            change.interval.lower <= fall.value <= change.interval.upper,
        )
    assert (covered / runs >= 0.91).all()
    assert (covered / runs <= 0.99).all()


# The sample


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 60), st.integers(1, 60), st.integers(2, 80))
def test_a_sample_is_balanced_whole_and_spread_over_patients(seed, ill, well, limit):
    rng = np.random.default_rng(seed)
    truth = rng.permutation(np.arange(ill + well) < ill)
    patients = rng.integers(0, 15, ill + well).astype(str)
    rows = balanced_sample(truth, patients, limit, np.random.default_rng(seed))
    assert len(rows) == min(limit, ill + well)
    assert (np.diff(rows) > 0).all()
    for side, whole in ((True, ill), (False, well)):
        mine = rows[truth[rows] == side]
        assert len(mine) >= min(whole, limit // 2)
        counts = {p: (patients[mine] == p).sum() for p in np.unique(patients[truth == side])}
        have = {p: ((patients == p) & (truth == side)).sum() for p in counts}
        # Nobody has two fewer than another while there was more of him to take.
        for p, count in counts.items():
            assert count == have[p] or count >= max(counts.values()) - 1


# A classifier and what it lives on


def classifier_of(weights, middle):
    """A linear classifier: the weighted sum of grey levels, at even odds where it is `middle`."""
    side = weights.shape[0]
    columns = np.stack([-weights.ravel(), weights.ravel()], axis=1).astype(np.float32)
    graph = helper.make_graph(
        [
            helper.make_node("Cast", ["pixels"], ["grey"], to=TensorProto.FLOAT),
            helper.make_node("Flatten", ["grey"], ["flat"]),
            helper.make_node("MatMul", ["flat", "weights"], ["product"]),
            helper.make_node("Add", ["product", "bias"], ["scores"]),
            helper.make_node("Identity", ["scores"], ["embedding"]),
        ],
        "linear",
        [helper.make_tensor_value_info("pixels", TensorProto.UINT8, ["n", 1, side, side])],
        [
            helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["n", 2]),
            helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["n", 2]),
        ],
        [
            numpy_helper.from_array(columns, "weights"),
            numpy_helper.from_array(np.array([middle, -middle], np.float32), "bias"),
        ],
    )
    network = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(network)
    point = OperatingPoint(
        name="even", aim="even odds", threshold=0.5, chosen_on="validation",
        counts=Counts(true_positives=1, false_positives=0, true_negatives=1, false_negatives=0),
    )  # fmt: skip
    return Classifier(
        ModelFile(
            network=network.SerializeToString(),
            labels=Labels(task=Task.BINARY, findings=Task.BINARY.labels),
            preprocessing=Preprocessing(size=side),
            calibration=Calibration(bias=(0.0, 0.0)),
            operating_points=(point,),
            saliency=Saliency(method="none", scale=1.0),
            gate=Gate(),
            provenance=Provenance(
                hilum_version="0", created="2026-01-01T00:00:00+00:00", command="test", recipe={},
                seed=0, cohort_sha256="0" * 64, cohort_name="test", radiographs={}, patients={},
                left_out={}, phantom=True, network="linear", network_weights="none",
            ),
            training_radiographs=TrainingRadiographs(perceptual_hashes=()),
            evidence={},
            card="",
        )
    )  # fmt: skip


def rim(side=SIDE, width=2):
    inside = np.zeros((side, side), bool)
    inside[width:-width, width:-width] = True
    return ~inside


def radiographs(n=80, seed=0):
    """Pictures whose rim and whose middle are both brighter with pneumonia; two of each patient."""
    rng = np.random.default_rng(seed)
    truth = np.arange(n) // 2 % 2 == 0
    grey = 90.0 + ndimage.gaussian_filter(rng.normal(0, 60, (n, SIDE, SIDE)), (0, 3, 3))
    # Darker around the middle, so that the mean, which a grey frame shows, tells nothing.
    bump = np.zeros((SIDE, SIDE))
    bump[10:38, 10:38] = -16 * 16 / (28 * 28 - 16 * 16)
    bump[16:32, 16:32] = 1.0
    grey += (40 * truth + rng.normal(0, 12, n))[:, None, None] * bump
    grey[:, rim()] += 40 * truth[:, None] + rng.normal(0, 12, (n, 1))
    patients = (np.arange(n) // 2).astype(str)
    return np.clip(np.rint(grey), 0, 255).astype(np.uint8), truth, patients


def measured(weights, middle, **changes):
    pixels, truth, patients = radiographs()
    classifier = classifier_of(weights, middle)
    options = {"seed": 0, "replicates": 40, **changes}
    return measure_robustness(
        classifier, pixels, truth, patients, classifier.file.operating_points[0], **options
    )


def middle_of(weights):
    pixels, truth, _ = radiographs()
    sums = (pixels * weights).sum((1, 2))
    return float((sums[truth].mean() + sums[~truth].mean()) / 2)


@pytest.fixture(scope="module")
def by_rim():
    weights = rim() / rim().sum() / 4
    return measured(weights, middle_of(weights))


@pytest.fixture(scope="module")
def by_middle():
    weights = np.zeros((SIDE, SIDE))
    weights[18:30, 18:30] = 1 / 144 / 4
    return measured(weights, middle_of(weights))


def grades(robustness, corruption):
    [curve] = [each for each in robustness.curves if each.corruption == corruption]
    return {change.amount: change for change in curve.changes}


def test_a_classifier_that_lives_on_the_border_is_caught_by_taking_the_border(by_rim, by_middle):
    assert by_rim.auc.value > 0.95
    for frame in ("black frame", "grey frame"):
        for amount in (0.05, 0.1):
            change = grades(by_rim, frame)[amount]
            assert change.auc_change.value < -0.3
            assert change.auc_change.interval.upper < -0.2
            assert abs(grades(by_middle, frame)[amount].auc_change.value) < 0.01
    first = [curve.corruption for curve, _ in by_rim.worst[:3]]
    assert set(first) == {"black frame", "grey frame", "crop"}  # a crop takes the border, too
    for corruption in ("rotation", "shift", "contrast", "gamma", "brightness", "noise", "mirror",
                       "JPEG compression"):  # fmt: skip
        for change in grades(by_rim, corruption).values():
            if change.strength is not Strength.SEVERE:
                assert change.auc_change.value > -0.08, (corruption, change.label)


def test_the_worst_come_first_and_severe_grades_after_all_others(by_rim, by_middle):
    for found in (by_rim, by_middle):
        assert len(found.worst) == len(CORRUPTIONS)
        falls = [change.auc_change.value for _, change in found.worst]
        severe = [change.strength is Strength.SEVERE for _, change in found.worst]
        assert severe == [False] * (len(severe) - 1) + [True]  # of inversion there is no other
        assert falls[:-1] == sorted(falls[:-1])
        for curve, change in found.worst:
            for other in curve.changes:
                milder = other.strength is not Strength.SEVERE
                assert not milder or other.auc_change.value >= change.auc_change.value


def test_what_is_found_can_be_computed_again(by_middle):
    pixels, truth, patients = radiographs()
    weights = np.zeros((SIDE, SIDE))
    weights[18:30, 18:30] = 1 / 144 / 4
    middle = middle_of(weights)
    assert by_middle.radiographs == by_middle.out_of == len(pixels)
    assert by_middle.patients == len(np.unique(patients))
    assert by_middle.readings == len(pixels) * (1 + len(GRADES) + 4)

    def odds(of):
        return 2 * ((of * weights).sum((1, 2)) - middle)

    before = odds(pixels)
    assert by_middle.auc.value == pytest.approx(roc_auc_score(truth, before), abs=0.01)
    changed = odds(BY_NAME["brightness"](pixels, 25.0))
    found = grades(by_middle, "brightness")[25.0]
    probability = 1 / (1 + np.exp(-changed))
    moved = np.abs(probability - 1 / (1 + np.exp(-before))).mean()
    assert found.probability_moved == pytest.approx(moved, abs=0.01)
    assert found.sensitivity.value == pytest.approx((changed[truth] >= 0).mean(), abs=0.03)
    assert found.specificity.value == pytest.approx((changed[~truth] < 0).mean(), abs=0.03)
    flips = ((changed >= 0) != (before >= 0)).mean()
    assert found.flipped.value == pytest.approx(flips, abs=0.03)
    assert found.flipped.value * len(pixels) == pytest.approx(found.to_pneumonia + found.to_normal)
    assert found.to_pneumonia > 0
    assert found.to_normal == 0
    assert found.flipped.interval.lower <= found.flipped.value <= found.flipped.interval.upper


def test_decisions_that_a_mirror_cannot_change_all_stay(by_rim, by_middle):
    stays = {each.under: each.share for each in by_middle.agreement}
    # The mean of a middle that is alike on both sides.
    assert stays["left and right exchanged"].value == 1.0
    assert stays["left and right exchanged"].interval.method == "Clopper-Pearson over patients"
    for found in (by_rim, by_middle):
        *single, together = found.agreement
        assert len(single) == 5
        assert together.share.value <= min(each.share.value for each in single)
        assert together.share.value >= 1 - sum(1 - each.share.value for each in single) - 1e-9


def test_the_same_seed_gives_the_same_document(by_middle):
    weights = np.zeros((SIDE, SIDE))
    weights[18:30, 18:30] = 1 / 144 / 4
    assert measured(weights, middle_of(weights)) == by_middle
    assert Robustness.model_validate_json(by_middle.model_dump_json()) == by_middle


def test_no_more_radiographs_than_the_limit_are_read():
    weights = np.full((SIDE, SIDE), 1e-4)
    seen = []
    found = measured(
        weights, 0.0, limit=40, progress=lambda done, total: seen.append((done, total))
    )
    assert (found.radiographs, found.with_pneumonia, found.patients) == (40, 20, 40)
    assert found.out_of == 80
    assert seen[-1] == (found.readings, found.readings)


def test_a_class_with_too_few_patients_is_refused_with_the_reason():
    pixels, truth, patients = radiographs()
    classifier = classifier_of(np.full((SIDE, SIDE), 1e-4), 0.0)
    point = classifier.file.operating_points[0]
    keep = ~truth | (np.arange(len(truth)) < 12)
    found = measure_robustness(classifier, pixels[keep], truth[keep], patients[keep], point, seed=0)
    assert found.refused == "only 3 patients with pneumonia; 10 are needed"
    assert (found.curves, found.agreement, found.auc, found.readings) == ((), (), None, 0)
    assert found.in_words.startswith("Robustness was not measured: only 3 patients")
    assert robustness_plots(found) == ()
    page = section(found)
    assert "only 3 patients with pneumonia" in page
    assert "<table" not in page


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"pixels": np.zeros((80, 32, 32), np.uint8)}, "48 x 48 grey levels"),
        ({"pixels": np.zeros((80, SIDE, SIDE), np.float32)}, "one byte each"),
        ({"truth": np.ones(79, bool)}, "79 findings"),
        ({"truth": np.ones(80, int)}, "true or false"),
        ({"limit": 19}, "ask for 20 or more"),
        ({"replicates": 0}, "ask for 500"),
    ],
)
def test_what_does_not_fit_is_refused(change, message):
    pixels, truth, patients = radiographs()
    given = {"pixels": pixels, "truth": truth, "patients": patients, **change}
    arrays_ = [given.pop(name) for name in ("pixels", "truth", "patients")]
    classifier = classifier_of(np.full((SIDE, SIDE), 1e-4), 0.0)
    with pytest.raises(EvaluationError, match=message):
        measure_robustness(
            classifier, *arrays_, classifier.file.operating_points[0], seed=0, **given
        )


# What people see


def section(robustness, plots=()):
    return rendered(
        "robustness.html.j2",
        evidence=SimpleNamespace(robustness=robustness),
        robustness_plots=plots,
    )


@pytest.fixture(scope="module")
def drawn(by_rim):
    return robustness_plots(by_rim)


def test_the_section_shows_every_grade_and_every_plot(by_rim, drawn):
    assert len(drawn) == len(CORRUPTIONS)
    assert len({plot.name for plot in drawn}) == len(drawn)
    page = section(by_rim, drawn)
    assert with_definitions(Markup(page)).count("<dt") == 5  # every link leads somewhere
    assert page.count("<svg") == len(drawn)
    assert page.count("<tr>") == 3 + len(CORRUPTIONS) + 6 + len(GRADES)
    worst, change = by_rim.worst[0]
    assert f"{worst.corruption} ({change.label}: {worst.unit}) lowers the AUC most" in page
    assert f"{change.auc_change.value:+.3f}" in page
    black = next(plot for plot in drawn if plot.title == "Black frame")
    for each in grades(by_rim, "black frame").values():
        assert f"{each.label}: {each.auc.value:.3f}" in black.alt
        assert each.label in black.svg


def test_untouched_radiographs_stand_between_less_and_more(drawn):
    alts = {plot.title: plot.alt for plot in drawn}
    order = [alts["Contrast"].index(text) for text in ("0.85:", "none:", "1.2:")]
    assert order == sorted(order)
    assert alts["JPEG compression"].index("90:") < alts["JPEG compression"].index("none:")
