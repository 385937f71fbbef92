"""Trials of explanations against known places, the thorax, and the trial as a whole."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from pydantic import ValidationError
from sklearn.metrics import jaccard_score

from hilum.cohort.phantom import draw_anatomy, draw_exposure, draw_opacity, render
from hilum.cohort.pixels import cached_pixels
from hilum.errors import EvaluationError
from hilum.explanation import explainer, target_of
from hilum.explanation.exact import ExactNetwork
from hilum.explanation.trials import TRIALS, ExplanationTrial, try_explanation
from hilum.explanation.trials_maps import share_within
from hilum.explanation.trials_means import above
from hilum.explanation.trials_outside import measure_outside
from hilum.explanation.trials_place import overlap, place, pointing
from hilum.explanation.trials_randomised import randomised
from hilum.explanation.trials_thorax import find_thorax
from hilum.findings import Finding, Part
from hilum.model import load

FEW = 200  # bootstrap replicates, where the interval's last digit does not matter
small_maps = arrays(np.float32, (1, 5, 5), elements=st.integers(-3, 5).map(float))
small_masks = arrays(np.bool_, (1, 5, 5)).filter(np.any)


@pytest.fixture(scope="module")
def drawn():
    """Phantoms with what is known of them: pixels, masks, lungs."""
    rng = np.random.default_rng(5)
    findings = [Finding.BACTERIAL, Finding.VIRAL, Finding.NORMAL] * 10
    pictures = [
        render(
            draw_anatomy(rng), draw_exposure(rng), draw_opacity(finding, rng), rows=96, columns=96
        )
        for finding in findings
    ]
    return (
        np.stack([picture.pixels for picture in pictures]),
        np.stack([picture.mask for picture in pictures]),
        np.stack([picture.lungs for picture in pictures]),
    )


def people(count: int) -> np.ndarray:
    return np.array([f"patient {i}" for i in range(count)])


# --- known places ------------------------------------------------------------------------------------


@given(maps=small_maps, masks=small_masks)
def test_places_are_measured_by_their_definitions(maps, masks):
    each, mask = maps[0].ravel(), masks[0].ravel()
    top = np.flatnonzero(each == each.max())
    assert pointing(maps, masks)[0] == pytest.approx(np.mean([mask[i] for i in top]))
    energy = share_within(maps, masks)[0]
    whole = sum(v for v in each if v > 0)
    inside = sum(v for v, m in zip(each, mask, strict=True) if v > 0 and m)
    assert np.isnan(energy) if whole == 0 else energy == pytest.approx(inside / whole)


@given(order=st.permutations(range(25)), masks=small_masks)
def test_overlap_is_the_jaccard_index_at_the_area_of_the_mask(order, masks):
    maps = np.array(order, np.float32).reshape(1, 5, 5)
    chosen = np.array(order) >= 25 - masks.sum()
    expected = jaccard_score(masks.ravel(), chosen)
    assert overlap(maps, masks)[0] == pytest.approx(expected)


def test_a_flat_map_does_no_better_than_chance(drawn, rng):
    masks = drawn[1]
    found = place(np.ones(masks.shape, np.float32), masks, people(30), rng, replicates=FEW)
    for placing in (found.pointing, found.energy, found.overlap):
        assert placing.over_chance.value == pytest.approx(0.0, abs=1e-6)
    assert found.empty_masks == 10


def test_a_random_map_does_no_better_than_chance(drawn):
    masks = np.tile(drawn[1][drawn[1].any(axis=(1, 2))], (10, 1, 1))
    noise = np.random.default_rng(0).random(masks.shape, np.float32)
    found = place(noise, masks, people(200), np.random.default_rng(1), replicates=FEW)
    for placing in (found.pointing, found.energy, found.overlap):
        assert abs(placing.over_chance.value) < 0.07


def test_the_mask_itself_is_the_best_map(drawn, rng):
    masks = drawn[1]
    found = place(masks.astype(np.float32), masks, people(30), rng, replicates=FEW)
    for placing in (found.pointing, found.energy, found.overlap):
        assert placing.found.value == pytest.approx(1.0)
        assert above(placing.over_centre, 0.0)
    assert found.pointing.found.interval.method == "Clopper-Pearson over patients"


def test_maps_with_nothing_above_zero_are_counted_and_in_no_energy(drawn, rng):
    maps = drawn[1].astype(np.float32)
    maps[0] = -1.0
    found = place(maps, drawn[1], people(30), rng, replicates=FEW)
    assert found.flat_maps == 1
    assert found.energy.found.radiographs == found.energy.chance.radiographs == 19
    assert found.pointing.found.radiographs == 20


def test_masks_without_an_opacity_or_of_another_grid_are_refused(drawn, rng):
    maps = drawn[1].astype(np.float32)
    with pytest.raises(EvaluationError, match="no mask has an opacity"):
        place(maps, np.zeros(maps.shape, bool), people(30), rng)
    with pytest.raises(EvaluationError, match="same grid"):
        place(maps, drawn[1][:, :50], people(30), rng)


# --- thorax ------------------------------------------------------------------------------------------


def test_thorax_holds_the_lungs_of_phantoms(drawn):
    pixels, _, lungs = drawn
    thorax = find_thorax(pixels)
    held = (thorax.region & lungs).sum(axis=(1, 2)) / lungs.sum(axis=(1, 2))
    assert thorax.found.all()
    assert held.min() > 0.85
    assert np.median(held) > 0.97
    # Not by being the whole radiograph.
    assert thorax.region.mean() < 0.55


def test_thorax_moves_with_the_patient(drawn):
    def centres(pixels):
        region = find_thorax(pixels).region
        return (region.any(axis=1) * np.arange(96)).sum(axis=1) / region.any(axis=1).sum(axis=1)

    pixels = drawn[0][2::3]  # normal ones
    right = np.stack([np.pad(each, ((0, 0), (9, 0)), mode="edge")[:, :96] for each in pixels])
    assert (centres(right) - centres(pixels)).mean() == pytest.approx(9, abs=4)


@pytest.mark.parametrize("what", ["flat", "noise"])
def test_where_no_thorax_is_found_an_ellipse_stands_in(what):
    pixels = np.full((2, 64, 64), 90, np.uint8)
    if what == "noise":
        pixels = np.random.default_rng(0).integers(0, 256, pixels.shape).astype(np.uint8)
    thorax = find_thorax(pixels)
    assert not thorax.found.any()
    assert np.array_equal(thorax.region[0], thorax.region[1])
    assert np.array_equal(thorax.region[0], thorax.region[0][:, ::-1])
    assert thorax.region[:, 32, 32].all()


def test_saliency_on_the_markers_rings_the_alarm(drawn, rng):
    pixels, _, lungs = drawn
    inside, corner = lungs.astype(np.float32), np.zeros(pixels.shape, np.float32)
    corner[:, :15, :15] = 1.0
    good = measure_outside(inside, pixels, people(30), rng, replicates=FEW)
    bad = measure_outside(corner, pixels, people(30), rng, replicates=FEW)
    flat = measure_outside(np.ones_like(inside), pixels, people(30), rng, replicates=FEW)
    assert (good.alarm, bad.alarm, flat.alarm) == (False, True, True)
    assert good.share.value < 0.05 < 0.9 < bad.share.value
    assert flat.below_chance.value == pytest.approx(0.0, abs=1e-6)
    assert "same everywhere" in flat.because


# --- the whole trial ---------------------------------------------------------------------------------


def test_trial_of_a_classifier_on_phantoms(model_path, phantom_cohort):
    classifier = load(model_path)
    part = phantom_cohort.part(Part.VALIDATION)
    pixels = np.array(cached_pixels(part, classifier.size))[:10]
    target = target_of(classifier.file.labels, classifier.file.calibration)
    network = ExactNetwork(classifier)
    log_odds = network.log_odds([pixels], target)
    forgetful = randomised(classifier.file, 1.0, np.random.default_rng(0))
    steps: list[str] = []
    trial = try_explanation(
        "class-activation-map",
        explainer(classifier, "class-activation-map"),
        pixels,
        part.patients[:10],
        score=lambda some: network.log_odds([some], target),
        randomised={"whole network": [explainer(forgetful, "class-activation-map")]},
        steps=1,
        replicates=FEW,
        progress=steps.append,
    )
    assert steps == ["random_weights", "deletion", "insertion", "outside"]
    assert set(trial.missing) == {"random_labels", "placement"}
    assert trial.called == (log_odds > 0).sum() == trial.deletion.room.radiographs
    assert trial.random_weights.steps[0].rank.radiographs == 10
    assert ExplanationTrial.model_validate_json(trial.model_dump_json()) == trial


def test_what_else_is_tried_changes_no_figure(drawn):
    pixels, masks, _ = drawn

    def explain(some):
        return some.astype(np.float32)

    def trial(**more):
        return try_explanation(
            "brightness", explain, pixels, people(30),
            score=lambda some: some.mean(axis=(1, 2)) - 50, steps=2, replicates=FEW, **more,
        )  # fmt: skip

    alone, together = trial(), trial(masks=masks, randomised={"x": [explain]})
    assert (alone.placement, alone.random_weights) == (None, None)
    assert together.placement is not None
    assert together.random_weights.result == "failed"
    assert alone.deletion == together.deletion
    assert alone.outside == together.outside


def test_nothing_is_tried_where_nothing_was_called(drawn):
    pixels, masks, _ = drawn
    trial = try_explanation(
        "brightness", lambda some: some.astype(np.float32), pixels, people(30),
        score=lambda some: np.full(len(some), -1.0), masks=masks, replicates=FEW,
    )  # fmt: skip
    assert trial.called == 0
    assert set(trial.missing) == set(TRIALS)
    assert "no radiograph pneumonia" in trial.missing["deletion"]


def test_radiographs_that_are_not_frontal_have_no_thorax(drawn):
    trial = try_explanation(
        "brightness", lambda some: some.astype(np.float32), drawn[0], people(30),
        frontal=False, replicates=FEW,
    )  # fmt: skip
    assert trial.outside is None
    assert "frontal" in trial.missing["outside"]


def test_a_missing_part_without_a_reason_is_no_trial(drawn):
    trial = try_explanation(
        "brightness", lambda some: some.astype(np.float32), drawn[0], people(30), replicates=FEW
    )
    fields = trial.model_dump() | {"outside": None}
    with pytest.raises(ValidationError, match="needs a reason"):
        ExplanationTrial.model_validate(fields)


def identity(some):
    return some.astype(np.float32)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"pixels": np.zeros((0, 8, 8), np.uint8)}, "one or more squares"),
        ({"pixels": np.zeros((3, 8, 9), np.uint8)}, "one or more squares"),
        ({"pixels": np.zeros((3, 8, 8))}, "give uint8"),
        ({"patients": people(2)}, "2 patients do not fit 3 radiographs"),
        ({"masks": np.zeros((3, 4, 4), bool)}, "same grid"),
        ({"explain": lambda some: some[:, :4, :4].astype(np.float32)}, "maps of shape"),
        ({"explain": lambda some: np.full(some.shape, np.nan, np.float32)}, "not finite"),
        ({"score": lambda some: np.zeros((len(some), 2))}, "one log-odds"),
    ],
)
def test_what_does_not_fit_is_refused_in_one_sentence(change, message):
    asked = {
        "explain": identity, "pixels": np.zeros((3, 8, 8), np.uint8), "patients": people(3)
    } | change  # fmt: skip
    with pytest.raises(EvaluationError, match=message):
        try_explanation("mine", **asked)
