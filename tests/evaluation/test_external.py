"""External evidence: the same figures side by side, and causes that are found where they were planted."""

from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from markupsafe import escape
from PIL import Image, ImageFilter
from sklearn.metrics import average_precision_score, roc_auc_score

from hilum.cohort.build import BuildOptions, build_cohort
from hilum.cohort.phantom import write_phantoms
from hilum.errors import CohortError, EvaluationError
from hilum.evaluation import Context, FigureName, Predictions, build_evidence, predict
from hilum.evaluation.external import ReadPart, external_evidence, external_finding
from hilum.evaluation.external_causes import beyond, likely_causes, strange_share
from hilum.evaluation.intervals import assess
from hilum.evaluation.report import rendered
from hilum.evaluation.subjects import Decision, Ranking
from hilum.findings import Finding, Part
from hilum.model.classifier import load

REPLICATES = 200


@pytest.fixture(scope="module")
def classifier(model_path):
    return load(model_path)


@pytest.fixture(scope="module")
def here(classifier, phantom_cohort):
    return ReadPart(
        "drawn",
        Part.VALIDATION,
        *predict(classifier, phantom_cohort.part(Part.VALIDATION)),
    )


def drawn_cohort(folder, change=None):
    """Phantoms of other patients, each picture changed; all in the test part."""
    write_phantoms(folder, patients=40, seed=99, rows=256, columns=256)
    if change:
        for path in folder.rglob("*.png"):
            with Image.open(path) as picture:
                changed = change(picture.convert("L"))
            changed.save(path)
    cohort, _ = build_cohort(folder, BuildOptions(name=folder.name))
    return replace(cohort, table=cohort.table.with_columns(part=pl.lit("test")))


def blurred_and_framed(picture):
    """As another machine might: soft, and with a bright frame."""
    soft = np.array(picture.filter(ImageFilter.GaussianBlur(6)))
    soft[:16] = soft[-16:] = 250
    soft[:, :16] = soft[:, -16:] = 250
    return Image.fromarray(soft)


@pytest.fixture(scope="module")
def alike(tmp_path_factory):
    return drawn_cohort(tmp_path_factory.mktemp("alike") / "alike")


@pytest.fixture(scope="module")
def strange(tmp_path_factory):
    return drawn_cohort(tmp_path_factory.mktemp("strange") / "strange", blurred_and_framed)


def external(classifier, here, other, **options):
    point = classifier.file.operating_point(None)
    settings = {"seed": 3, "replicates": REPLICATES, **options}
    return external_evidence(classifier, here, other, Part.TEST, point, **settings)


@pytest.fixture(scope="module")
def of_strange(classifier, here, strange):
    return external(classifier, here, strange)


def by_name(causes):
    return {cause.name: cause for cause in causes}


def test_both_sides_have_the_figures_of_scikit_learn(classifier, here, strange, of_strange):
    point = classifier.file.operating_point(None)
    _, there, _ = predict(classifier, strange)
    for side, predictions in ((of_strange.here, here.predictions), (of_strange.there, there)):
        truth, score = predictions.is_pneumonia, predictions.pneumonia
        called = score >= point.threshold
        expected = {
            FigureName.AUC: roc_auc_score(truth, score),
            FigureName.AVERAGE_PRECISION: average_precision_score(truth, score),
            FigureName.SENSITIVITY: called[truth].mean(),
            FigureName.SPECIFICITY: (~called)[~truth].mean(),
        }
        for name, value in expected.items():
            assert side.figures[name].value == pytest.approx(value)
        assert side.prevalence == pytest.approx(truth.mean())
        assert side.mean_probability == pytest.approx(score.mean())
        assert (side.radiographs, side.patients) == (len(truth), predictions.patient_count)
    for name, drop in of_strange.drops.items():
        values = [side.figures[name].value for side in (of_strange.there, of_strange.here)]
        if None not in values:
            assert drop.difference == pytest.approx(values[0] - values[1])


def test_the_reference_sides_intervals_are_those_of_its_own_evidence(classifier, here, of_strange):
    own = build_evidence(
        here.predictions,
        classifier.file.operating_point(None),
        context=Context("", "", "", Part.VALIDATION, True),
        seed=3,
        replicates=REPLICATES,
    )
    side = of_strange.here.figures
    assert side[FigureName.AUC] == own.figures[FigureName.AUC]
    assert side[FigureName.SPECIFICITY] == own.operating_point.figures[FigureName.SPECIFICITY]


def test_the_drop_is_between_two_independent_bootstraps(of_strange):
    """Its width is that of a difference of independent figures: the root of the summed squares."""
    compared = 0
    for name, drop in of_strange.drops.items():
        sides = [side.figures[name].interval for side in (of_strange.here, of_strange.there)]
        if drop.interval is None:
            assert drop.reason
            continue
        widths = [each.upper - each.lower for each in sides]
        assert drop.interval.upper - drop.interval.lower == pytest.approx(
            np.hypot(*widths), rel=0.3
        )
        compared += 1
    assert compared


def test_radiographs_from_another_machine_are_known_as_such(classifier, here, alike, of_strange):
    same = by_name(external(classifier, here, alike).causes)
    other = by_name(of_strange.causes)
    assert (same["looks"].likely, other["looks"].likely) == (False, True)
    assert other["looks"].figure.value > 0.95
    assert "look different" in other["looks"].sentence
    # 21 patients are too few to say how far apart a hospital's own radiographs lie.
    assert other["embedding"].likely is None
    assert "21 patients, and 40 are needed" in other["embedding"].sentence
    for cause in (*same.values(), *other.values()):
        assert cause.sentence.endswith(".")


def with_scores(read: ReadPart, score) -> ReadPart:
    """The same radiographs, as if read with other probabilities."""
    old = read.predictions
    new = Predictions(
        labels=old.labels,
        probabilities=np.stack([1 - score, score], axis=1),
        truth=old.truth,
        patients=old.patients,
        ids=old.ids,
    )
    return replace(read, predictions=new)


@pytest.fixture(scope="module")
def many(classifier, phantom_cohort):
    """The radiographs of 48 patients, whatever their part."""
    people = phantom_cohort.readable.table["patient"].unique().sort()[:48].to_list()
    chosen = phantom_cohort.readable.where(pl.col("patient").is_in(people))
    return ReadPart("many", Part.TRAIN, *predict(classifier, chosen))


@pytest.fixture(scope="module")
def planted(classifier, many):
    """Causes of radiographs whose probabilities were changed, against the unchanged ones."""
    truth = many.predictions.is_pneumonia
    logit = np.where(truth, 1.5, -1.5) + np.random.default_rng(0).normal(0, 1.3, len(truth))
    point = classifier.file.operating_point(None).model_copy(update={"threshold": 0.5})

    def measured(read):
        predictions = read.predictions
        score = predictions.pneumonia
        subjects = {"r": Ranking(score, truth), "d": Decision(truth, score >= 0.5)}
        rng = np.random.default_rng(0)
        found = assess(subjects, predictions.patients, rng, REPLICATES)
        return {**found["r"], **found["d"]}

    def causes(change):
        rng = np.random.default_rng(1)
        before = with_scores(many, 1 / (1 + np.exp(-logit)))
        after = with_scores(many, 1 / (1 + np.exp(-change(logit, rng))))
        figures = measured(before), measured(after)
        return by_name(likely_causes(classifier, before, after, point, *figures, rng, 50))

    return causes


def test_a_threshold_that_no_longer_fits_is_told_from_a_ranking_that_is_lost(planted):
    shifted = planted(lambda logit, _: logit + 3)
    assert (shifted["ranking"].likely, shifted["threshold"].likely) == (False, True)
    assert "optimistic" in shifted["threshold"].sentence
    shuffled = planted(lambda logit, rng: rng.permutation(logit))
    assert (shuffled["ranking"].likely, shuffled["threshold"].likely) == (True, False)
    assert "lost" in shuffled["ranking"].sentence
    worse = planted(lambda logit, rng: logit + rng.normal(0, 4, len(logit)))
    assert worse["ranking"].likely
    assert "worse" in worse["ranking"].sentence
    same = planted(lambda logit, _: logit)
    assert [cause.likely for cause in same.values()] == [False] * 5


def test_what_the_network_has_not_seen_is_far_from_the_reference(classifier, many, alike, strange):
    same, other = (
        by_name(external(classifier, many, each, replicates=50).causes)["embedding"]
        for each in (alike, strange)
    )
    assert other.likely
    assert other.figure.value > 2 * same.figure.value
    assert other.figure.radiographs == len(strange)


def test_another_prevalence_is_named_with_the_ppv_that_it_explains(classifier, here, alike):
    rare = alike.where(
        (pl.col("finding") == str(Finding.NORMAL)) | (pl.col("path").hash(seed=1) % 4 == 0)
    )
    found = external(classifier, here, rare, replicates=50)
    cause = by_name(found.causes)["prevalence"]
    assert cause.likely
    assert abs(found.there.prevalence - found.here.prevalence) > 0.05
    sensitivity, specificity = (
        found.here.figures[name].value for name in (FigureName.SENSITIVITY, FigureName.SPECIFICITY)
    )
    p = found.there.prevalence
    ppv = sensitivity * p / (sensitivity * p + (1 - specificity) * (1 - p))
    assert f"gives a PPV of {ppv:.3f}" in cause.sentence


def test_what_the_task_cannot_place_is_left_out_and_counted(
    three_class_model_path, phantom_cohort, alike
):
    three = load(three_class_model_path)
    here = ReadPart("drawn", Part.VALIDATION, *predict(three, phantom_cohort.part(Part.VALIDATION)))
    kind = pl.when(pl.col("finding") == str(Finding.VIRAL)).then(pl.lit(str(Finding.PNEUMONIA)))
    mixed = replace(alike, table=alike.table.with_columns(finding=kind.otherwise("finding")))
    unplaced = int((mixed.table["finding"] == str(Finding.PNEUMONIA)).sum())
    found = external(three, here, mixed, replicates=50)
    assert unplaced > 0
    assert found.left_out == unplaced
    assert found.there.radiographs == len(mixed) - unplaced
    assert f"{unplaced} radiographs there are in no figure" in external_finding(found)
    none = mixed.where(pl.col("finding") == str(Finding.PNEUMONIA))
    with pytest.raises(CohortError, match="can place; use a classifier of the binary task"):
        external(three, here, none)


def test_a_cohort_of_normals_alone_has_a_specificity_and_says_why_no_more(classifier, here, alike):
    found = external(
        classifier, here, alike.where(pl.col("finding") == str(Finding.NORMAL)), replicates=50
    )
    assert found.there.figures[FigureName.SPECIFICITY].value is not None
    assert found.drops[FigureName.AUC].difference is None
    assert "no radiograph has pneumonia" in found.drops[FigureName.AUC].reason
    causes = by_name(found.causes)
    assert causes["ranking"].likely is None
    assert causes["threshold"].likely is None
    assert "the AUC is undefined" in external_finding(found)


def test_the_reference_itself_is_no_external_cohort(classifier, here, phantom_cohort):
    with pytest.raises(EvaluationError, match="are in the reference part, too"):
        external_evidence(
            classifier,
            here,
            phantom_cohort,
            Part.VALIDATION,
            classifier.file.operating_point(None),
            seed=0,
        )


def test_the_section_shows_both_sides_and_every_cause(of_strange):
    class Holder:
        external = (of_strange.model_copy(update={"left_out": 7}),)

    page = rendered("external.html.j2", evidence=Holder)
    for side in (of_strange.here, of_strange.there):
        assert f"{side.figures[FigureName.AUC].value:.3f}" in page
    for cause in of_strange.causes:
        assert str(escape(cause.sentence)) in page
    assert "7 radiographs there are in no figure" in page
    assert type(of_strange).model_validate_json(of_strange.model_dump_json()) == of_strange


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10**6), people=st.integers(3, 20), shift=st.floats(0, 3))
def test_far_is_what_its_definition_says(seed, people, shift):
    rng = np.random.default_rng(seed)
    patients = rng.integers(0, people, 40).astype(str)
    patients[:2] = ["0", "1"]
    known = rng.normal(1, 1, (40, 5)).astype(np.float32)
    new = (rng.normal(1, 1, (15, 5)) - shift).astype(np.float32)

    def distance(a, b):
        a, b = a.astype(float), b.astype(float)
        return 1 - a @ b / np.sqrt((a @ a) * (b @ b))

    own = [
        min(distance(known[i], known[j]) for j in range(40) if patients[j] != patients[i])
        for i in range(40)
    ]
    nearest = np.array([min(distance(each, other) for other in known) for each in new])
    limit = np.quantile(own, 0.95)
    clear = np.abs(nearest - limit) > 1e-9
    assert (beyond(known, patients, new) == (nearest > limit))[clear].all()


def test_of_radiographs_from_the_same_place_one_in_twenty_is_far():
    rng = np.random.default_rng(4)
    shares = []
    for _ in range(20):
        known, new = (rng.normal(0, 1, (200, 8)).astype(np.float32) for _ in range(2))
        shares.append(beyond(known, np.arange(200).astype(str), new).mean())
    assert np.mean(shares) == pytest.approx(0.05, abs=0.015)


def test_many_radiographs_of_a_patient_do_not_make_strangers_of_others():
    """Ten near copies of each reference patient; new patients are like the old ones."""
    rng = np.random.default_rng(5)
    centres = rng.normal(0, 1, (120, 4))
    known = (np.repeat(centres, 10, axis=0) + rng.normal(0, 1e-3, (1200, 4))).astype(np.float32)
    new = rng.normal(0, 1, (200, 4)).astype(np.float32)
    assert beyond(known, np.repeat(np.arange(120), 10).astype(str), new).mean() < 0.15


def test_radiographs_from_the_same_place_are_seldom_called_strange():
    """The verdict, not only the share: the limit is itself an estimate from few patients."""
    called = 0
    for trial in range(60):
        rng = np.random.default_rng(trial)
        known, new = (rng.normal(0, 1, (count, 8)).astype(np.float32) for count in (60, 300))
        far = beyond(known, np.arange(60).astype(str), new)
        subject = Decision(np.ones(300, bool), far)
        share = assess({"": subject}, np.arange(300).astype(str), rng, 200)[""][
            FigureName.SENSITIVITY
        ]
        called += strange_share(share)
    assert called <= 8
