"""Comparing classifiers: what differs is found, what does not is left to chance."""

import json
from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from hilum.errors import EvaluationError, ModelError
from hilum.evaluation.comparing import compare_classifiers
from hilum.evaluation.comparison import Reading, compare, holm, sign_flip
from hilum.evaluation.figures import FigureName
from hilum.evaluation.openings import openings_of
from hilum.findings import Part
from hilum.model import load

PLACE = {
    "cohort_name": "drawn",
    "cohort_sha256": "0" * 64,
    "part": Part.VALIDATION,
    "phantom": True,
}


def readings(rng, gains, count=400):
    """Readings of patients with two radiographs each; a larger gain reads better."""
    truth = np.repeat(rng.random(count // 2) < 0.5, 2)
    found = []
    for i, gain in enumerate(gains):
        score = 1 / (1 + np.exp(-(rng.normal(size=count) + gain * (truth - 0.5))))
        found.append(
            Reading(
                name=f"c{i}", sha256=f"{i}" * 64, operating_point="youden", threshold=0.5,
                pneumonia=tuple(score.tolist()),
            )
        )  # fmt: skip
    return found, truth, np.repeat(np.arange(count // 2), 2).astype(str)


def test_a_better_classifier_is_found_and_the_numbers_agree():
    given_, truth, patients = readings(np.random.default_rng(0), (1.0, 1.0, 4.0))
    found = compare(given_, truth, patients, **PLACE, replicates=500)
    assert found.patients == 200
    by = {(d.first, d.second, d.figure): d for d in found.differences}
    assert len(by) == 9
    better, equal = by["c0", "c2", FigureName.AUC], by["c0", "c1", FigureName.AUC]
    assert better.p_corrected < 0.001
    assert better.interval.lower > 0.1
    assert equal.p_corrected > 0.05
    assert equal.interval.lower < 0 < equal.interval.upper
    values = [each.figures[FigureName.AUC].value for each in found.contenders]
    assert better.difference == pytest.approx(values[2] - values[0])
    sensitivity = by["c0", "c2", FigureName.SENSITIVITY]
    ill = int(truth.sum())
    assert sensitivity.difference == pytest.approx(
        (sensitivity.only_second - sensitivity.only_first) / ill
    )


@given(st.integers(0, 10**6), st.integers(1, 60))
def test_with_one_radiograph_each_the_sign_flip_is_mcnemar(seed, count):
    first, second = np.random.default_rng(seed).random((2, count)) < 0.7
    b, c = int((first & ~second).sum()), int((second & ~first).sum())
    expected = binomtest(b, b + c).pvalue if b + c else 1.0
    assert sign_flip(first, second, np.arange(count).astype(str)) == pytest.approx(expected)


def test_alike_radiographs_of_a_patient_do_not_make_a_finding_of_chance():
    """McNemar's test is wrong six times as often here."""
    rng = np.random.default_rng(4)
    patients = np.repeat(np.arange(60), 5).astype(str)
    wrong = 0
    for _ in range(300):
        first, second = (np.repeat(rng.random(60) < 0.8, 5) for _ in range(2))
        wrong += sign_flip(first, second, patients) < 0.05
    assert wrong / 300 < 0.08


def test_a_sample_that_cannot_carry_it_gets_no_interval_no_p_and_no_verdict():
    given_, truth, patients = readings(np.random.default_rng(9), (0.0, 6.0), count=16)
    found = compare(given_, truth, patients, **PLACE, replicates=50)
    for each in found.differences:
        assert each.interval is None
        assert each.p is None
        assert "patient" in each.reason


@given(st.lists(st.one_of(st.none(), st.floats(0, 1)), max_size=8))
def test_holm_never_lowers_and_keeps_the_order(p):
    corrected = holm(p)
    known = [(a, b) for a, b in zip(p, corrected, strict=True) if a is not None]
    assert [i for i, v in enumerate(p) if v is None] == [
        i for i, v in enumerate(corrected) if v is None
    ]
    assert all(a <= b <= 1 for a, b in known)
    by_p = [b for _, b in sorted(known)]
    assert by_p == sorted(by_p)


def test_holm_gives_the_published_example():
    """Holm's procedure as Wright (Biometrics 1992;48:1005-1013) explains it: 0.01, 0.04, 0.03, 0.005."""
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])


def test_one_class_alone_is_said_and_not_computed():
    given_, truth, patients = readings(np.random.default_rng(2), (1.0, 2.0))
    rows = np.flatnonzero(truth)
    only = [r.model_copy(update={"pneumonia": tuple(np.array(r.pneumonia)[rows])}) for r in given_]
    found = compare(only, truth[rows], patients[rows], **PLACE, replicates=50)
    by = {d.figure: d for d in found.differences}
    assert by[FigureName.AUC].difference is None
    assert by[FigureName.AUC].p is None
    assert by[FigureName.SPECIFICITY].p is None
    assert by[FigureName.SENSITIVITY].p is not None


def test_a_classifier_is_not_compared_with_itself():
    given_, truth, patients = readings(np.random.default_rng(3), (1.0, 1.0))
    with pytest.raises(EvaluationError, match="two classifiers or more"):
        compare([given_[0], given_[0]], truth, patients, **PLACE)


def test_classifiers_of_two_tasks_are_compared_and_written(
    model_path, three_class_model_path, phantom_cohort, tmp_path
):
    """Names that matplotlib would take for its own are names here."""
    models = {"_two <b>": load(model_path), "$three$_": load(three_class_model_path)}
    before = openings_of(phantom_cohort)
    found = compare_classifiers(models, phantom_cohort, Part.TEST, tmp_path / "out")
    assert openings_of(phantom_cohort) == found.test_openings == before + 2
    written = json.loads((tmp_path / "out" / "comparison.json").read_text())
    assert written["contenders"][0]["sha256"] == models["_two <b>"].file.sha256
    assert "research use" in written["research_use"]
    assert found.radiographs == len(phantom_cohort.part(Part.TEST))
    table = pl.read_csv(tmp_path / "out" / "disagreements.csv")
    assert len(table) > 0
    called = table.select(pl.col("^called pneumonia.*$")).sum_horizontal()
    assert (called == 1).all()
    page = (tmp_path / "out" / "comparison.html").read_text()
    svg = page[page.index("<svg") : page.index("</svg>")]
    assert "_two &lt;b&gt;" in svg
    assert "$three$_" in svg
    assert "_two <b>" not in page
    assert "research use only" in page.lower()
    assert "http" not in page.split("<body>")[1]
    assert page.count("<img") == min(len(table), 24)


def test_pneumonia_of_unknown_kind_is_pneumonia_to_all(
    model_path, three_class_model_path, phantom_cohort, tmp_path
):
    unknown = pl.when(pl.col("finding") == "normal").then("finding").otherwise(pl.lit("pneumonia"))
    cohort = replace(phantom_cohort, table=phantom_cohort.table.with_columns(finding=unknown))
    models = {"two": load(model_path), "three": load(three_class_model_path)}
    found = compare_classifiers(models, cohort, Part.VALIDATION, tmp_path)
    assert found.radiographs == len(cohort.part(Part.VALIDATION))


def test_an_unknown_operating_point_is_refused_before_anything_is_written(
    model_path, three_class_model_path, phantom_cohort, tmp_path
):
    models = {"two": load(model_path), "three": load(three_class_model_path)}
    with pytest.raises(ModelError, match="nowhere"):
        compare_classifiers(
            models, phantom_cohort, Part.TEST, tmp_path / "out", operating_point="nowhere"
        )
    assert not (tmp_path / "out").exists()
