"""Subgroups: figures and p values against independent definitions, and no findings by chance."""

import shutil
from pathlib import Path
from statistics import NormalDist

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from scipy.stats import binom, fisher_exact
from sklearn.metrics import recall_score, roc_auc_score

from hilum.cohort import load_cohort
from hilum.cohort.build import BuildOptions, build_cohort
from hilum.cohort.sources import metadata_of
from hilum.cohort.table import COLUMNS, METADATA, Cohort
from hilum.errors import CohortError, EvaluationError
from hilum.evaluation import FigureName, Predictions, choose_operating_point, parse_aim
from hilum.evaluation.comparison import holm
from hilum.evaluation.report import rendered
from hilum.evaluation.subgroups import ENOUGH_PATIENTS, subgroup_evidence, subgroup_findings
from hilum.findings import Finding, Part, Task
from hilum.model.schema import Labels

FIGURES = (FigureName.AUC, FigureName.SENSITIVITY, FigureName.SPECIFICITY)


def cohort_for(predictions: Predictions, **columns: object) -> Cohort:
    """A cohort of the predictions' radiographs, all alike but for the columns given."""
    n = len(predictions)
    findings = [str(predictions.labels.findings[i]) for i in predictions.truth]
    values = {
        **{name: [None] * n for name in COLUMNS},
        "id": predictions.ids.tolist(),
        "path": predictions.ids.tolist(),
        "patient": predictions.patients.tolist(),
        "finding": findings,
        "part": ["validation"] * n,
        "source": ["one hospital"] * n,
        "rows": [224] * n,
        "columns": [224] * n,
        **{name: list(column) for name, column in columns.items()},
    }
    return Cohort(pl.DataFrame(values, schema=COLUMNS), Path(), "made", False, "given", {})


def point_at(threshold: float):
    aim = parse_aim(f"probability>={threshold}")
    return choose_operating_point(aim, np.array([0.1, 0.9]), np.array([False, True]), "elsewhere")


def evidence(predictions, threshold=0.5, replicates=200, seed=0, **columns):
    axes = subgroup_evidence(
        predictions,
        cohort_for(predictions, **columns),
        point_at(threshold),
        seed=seed,
        replicates=replicates,
    )
    return {axis.axis: axis for axis in axes}


def predictions_of(score, truth, patients) -> Predictions:
    return Predictions(
        labels=Labels(task=Task.BINARY, findings=Task.BINARY.labels),
        probabilities=np.stack([1 - score, score], axis=1),
        truth=truth.astype(np.int64),
        patients=np.array(patients),
        ids=np.array([f"r{i}.png" for i in range(len(score))]),
    )


def clustered(rng, patients=120, sizes=(1, 3), spread=1.0, signal=1.5):
    """Patients with as many radiographs as `sizes` says, alike within each: score, truth, whose."""
    count = rng.integers(sizes[0], sizes[1] + 1, patients)
    whose = np.repeat(np.arange(patients), count)
    truth = (np.arange(patients) % 2 == 0)[whose]
    logit = rng.normal(0, spread, patients)[whose] + rng.normal(0, 0.5, len(whose))
    logit += np.where(truth, signal, -signal) / 2
    return 1 / (1 + np.exp(-logit)), truth, whose


def test_figures_and_differences_are_those_of_scikit_learn(simulate):
    predictions = simulate(300, seed=3, signal=1.0)
    view = np.where(np.arange(300) % 3 == 0, "AP", "PA")
    truth, score = predictions.is_pneumonia, predictions.pneumonia
    found = evidence(predictions, view=view)["view"]
    expected = {}
    for group in found.groups:
        rows = view == group.name
        called = score[rows] >= 0.5
        expected[group.name] = (
            roc_auc_score(truth[rows], score[rows]),
            recall_score(truth[rows], called),
            recall_score(~truth[rows], ~called),
        )
        got = [group.figures[name].value for name in FIGURES]
        assert got == pytest.approx(expected[group.name])
        assert group.radiographs == rows.sum()
        assert group.patients == len(set(predictions.patients[rows]))
    one, other = found.groups
    gaps = np.subtract(expected[one.name], expected[other.name])
    assert [one.differences[name].difference for name in FIGURES] == pytest.approx(gaps.tolist())
    for name in FIGURES:
        first, second = one.differences[name], other.differences[name]
        assert second.difference == pytest.approx(-first.difference)
        assert second.interval.lower == pytest.approx(-first.interval.upper)
        assert (second.p, second.p_corrected) == (first.p, first.p_corrected)


@pytest.mark.parametrize("missed", [(2, 9), (0, 6), (5, 6)])
def test_with_one_radiograph_each_the_p_of_a_rate_is_fishers_or_larger(missed):
    """With as many on either side, |difference| orders tables as their probability does."""
    side = np.repeat(["AP", "PA"], 40)
    right = np.ones(80, bool)
    right[: missed[0]] = False
    right[40 : 40 + missed[1]] = False
    score = np.concatenate([np.where(right, 0.9, 0.1), np.linspace(0.05, 0.6, 80)])
    truth = np.repeat([True, False], 80)
    predictions = predictions_of(score, truth, [f"p{i}" for i in range(160)])
    found = evidence(predictions, view=np.tile(side, 2), replicates=4000)["view"].groups[0]
    exact = fisher_exact([[missed[0], 40 - missed[0]], [missed[1], 40 - missed[1]]]).pvalue
    error = 4 * np.sqrt(exact * (1 - exact) / 4000) + 1 / 4000
    p = found.differences[FigureName.SENSITIVITY].p
    rates = np.array(missed) / 40
    width = np.sqrt((rates * (1 - rates) / 40).sum())
    normal = 2 * NormalDist().cdf(-abs(np.diff(rates)[0]) / width)
    assert p >= exact - error
    assert p <= max(exact + error, 1.25 * normal + 0.02)


@pytest.mark.parametrize("case", ["alike", "views within patients", "more radiographs each"])
def test_chance_is_not_called_a_finding(case):
    """Simulated without any difference; in the last, a side's few patients have many radiographs."""
    rng = np.random.default_rng(7)
    trials, hits, family = 80, dict.fromkeys(FIGURES, 0), 0
    for trial in range(trials):
        if case == "more radiographs each":
            small = clustered(rng, patients=70, sizes=(1, 1))
            large = clustered(rng, patients=40, sizes=(4, 8))
            score, truth = (np.concatenate(each) for each in zip(small[:2], large[:2], strict=True))
            whose = np.concatenate([small[2], 1000 + large[2]])
            side = np.where(whose >= 1000, "AP", "PA")
        else:
            score, truth, whose = clustered(rng)
            of_patient = rng.random(120) < 0.4
            within = rng.random(len(whose)) < 0.4
            side = np.where(within if case != "alike" else of_patient[whose], "AP", "PA")
        predictions = predictions_of(score, truth, [f"p{i}" for i in whose])
        # A second axis, once: it shows that the correction keeps the whole report's chance.
        third = {"sex": rng.choice(["female", "male", "other"], 2000)[whose]}
        further = third if case == "alike" else {}
        axes = evidence(predictions, view=side, replicates=99, seed=trial, **further)
        for name in FIGURES:
            hits[name] += axes["view"].groups[0].differences[name].p < 0.05
        every = [
            each.p_corrected
            for axis in axes.values()
            for group in axis.groups
            for each in group.differences.values()
        ]
        family += any(p is not None and p < 0.05 for p in every)
    # So many of 80 fair tests at 5 % come up in fewer than one run of a thousand.
    most = binom.isf(1e-3, trials, 0.05)
    assert all(count <= most for count in hits.values()), hits
    assert family <= most


def test_a_planted_weakness_is_found_and_said():
    rng = np.random.default_rng(1)
    score, truth, whose = clustered(rng, patients=300, signal=4.0)
    weak = (rng.random(300) < 0.3)[whose]
    score = np.where(
        weak & ~truth, 1 - score, score
    )  # normals of this scanner are called pneumonia
    predictions = predictions_of(score, truth, [f"p{i}" for i in whose])
    axes = evidence(
        predictions, scanner=np.where(weak, "Maker <b>X</b>", "Maker Y"), replicates=2000
    )
    gap = axes["scanner"].groups[0].differences[FigureName.SPECIFICITY]
    assert gap.interval.upper < -0.3
    assert gap.p_corrected < 0.01
    sentences = subgroup_findings(tuple(axes.values()))
    assert any(
        "Specificity" in each and "“Maker <b>X</b>” fares worse" in each for each in sentences
    )
    assert not any("“Maker Y”" in each for each in sentences)


def test_holm_counts_every_comparison_of_the_report_once(simulate):
    predictions = simulate(300, seed=5, signal=0.7)
    rng = np.random.default_rng(0)
    axes = evidence(
        predictions,
        view=rng.choice(["AP", "PA"], 300),  # two groups: one comparison
        sex=rng.choice(["female", "male", "other"], 300),
    )
    view, sex = axes["view"].groups, axes["sex"].groups
    made = [each for group in (view[0], *sex) for each in group.differences.values()]
    assert len(made) == 12
    assert [each.p_corrected for each in made] == holm([each.p for each in made])


def test_a_class_that_is_missing_gives_its_reason_and_no_figure(simulate):
    predictions = simulate(200)
    age = np.where(predictions.is_pneumonia, 30.0, np.where(np.arange(200) % 2, 70.0, 30.0))
    young, old = evidence(predictions, age=age)["age"].groups
    assert (young.name, old.name) == ("18 to 39", "65 and over")
    assert old.patients_with_pneumonia == 0
    assert old.figures[FigureName.AUC].value is None
    assert "no radiograph has pneumonia" in old.figures[FigureName.AUC].reason
    assert old.figures[FigureName.SPECIFICITY].value is not None
    for name in (FigureName.AUC, FigureName.SENSITIVITY):
        gap = old.differences[name]
        assert (gap.difference, gap.p, gap.p_corrected) == (None, None, None)
        assert gap.reason.startswith("in the subgroup only 0 patients with pneumonia")
        assert young.differences[name].reason.startswith("in the rest only 0 patients")
    assert old.differences[FigureName.SPECIFICITY].p is not None


def test_a_small_subgroup_is_warned_of_and_a_large_one_is_not(simulate):
    predictions = simulate(400)
    people = np.unique(predictions.patients)
    few = np.isin(predictions.patients, people[:50])
    small, large = evidence(predictions, sex=np.where(few, "female", "male"))["sex"].groups
    assert small.patients_with_pneumonia < ENOUGH_PATIENTS <= large.patients_with_pneumonia
    assert f"Only {small.patients_with_pneumonia} patients with pneumonia" in small.warning
    assert large.warning is None


def test_each_kind_of_pneumonia_is_held_against_all_normals(simulate):
    predictions = simulate(300, Task.THREE_CLASS, signal=1.0)
    axis = evidence(predictions)["finding"]
    truth, score = predictions.truth, predictions.pneumonia
    assert axis.unknown == 0
    assert [group.name for group in axis.groups] == [str(Finding.BACTERIAL), str(Finding.VIRAL)]
    for index, group in enumerate(axis.groups, start=1):
        rows = (truth == 0) | (truth == index)
        area = roc_auc_score(truth[rows] > 0, score[rows])
        assert group.figures[FigureName.AUC].value == pytest.approx(area)
        gap = group.differences[FigureName.SPECIFICITY]
        assert (gap.difference, gap.reason) == (None, "the same radiographs stand on both sides")
        assert group.differences[FigureName.SENSITIVITY].p is not None


def test_what_divides_nothing_says_why_and_unknown_radiographs_are_counted(simulate):
    predictions = simulate(100)
    view = [None if i < 10 else ("AP" if i % 2 else "PA") for i in range(100)]
    axes = evidence(predictions, view=view)
    assert axes["view"].unknown == 10
    assert sum(group.radiographs for group in axes["view"].groups) == 90
    assert axes["age"].reason == "no radiograph says it"
    assert axes["source"].reason == "“one hospital” is the only one"
    assert axes["image size"].groups == ()


def test_sizes_are_divided_in_thirds_and_many_scanners_are_put_together(simulate):
    predictions = simulate(300)
    rows = 500 + np.arange(300)
    scanner = [f"scanner {min(i // 12, 19):02}" for i in range(300)]
    axes = evidence(predictions, rows=rows, columns=rows + 400, scanner=scanner)
    sizes = axes["image size"].groups
    assert [group.radiographs for group in sizes] == [100, 100, 100]
    assert [group.name for group in sizes] == [
        "500 to 599 pixels",
        "600 to 699 pixels",
        "700 to 799 pixels",
    ]
    scanners = axes["scanner"].groups
    assert len(scanners) == 8
    assert scanners[-1].name == "all others"
    assert "scanner 19" in [group.name for group in scanners]  # the largest
    assert sum(group.radiographs for group in scanners) == 300


@settings(max_examples=25, deadline=None)
@given(
    sides=st.lists(st.integers(100, 110), min_size=60, max_size=60),
    ages=st.lists(st.none() | st.floats(0, 120), min_size=60, max_size=60),
)
def test_groups_divide_what_is_known_whatever_it_is(simulate, sides, ages):
    predictions = simulate(60)
    axes = evidence(predictions, rows=sides, age=ages, replicates=5)
    for name, known in (("image size", 60), ("age", 60 - ages.count(None))):
        axis = axes[name]
        assert axis.unknown == 60 - known
        if axis.groups:
            assert len(axis.groups) > 1
            assert sum(group.radiographs for group in axis.groups) == known


def test_another_part_than_the_one_that_was_read_is_refused(simulate):
    predictions = simulate(50)
    part = cohort_for(predictions).where(pl.col("id") != "radiograph-7.png")
    with pytest.raises(EvaluationError, match=r"no radiograph radiograph-7\.png; give the part"):
        subgroup_evidence(predictions, part, point_at(0.5), seed=0)


def test_the_section_shows_every_subgroup_and_escapes_their_names(simulate):
    predictions = simulate(120)
    scanner = np.where(np.arange(120) % 2, "<script>", "Maker Y")
    axes = tuple(evidence(predictions, scanner=scanner, replicates=50).values())

    class Holder:
        subgroups = axes

    page = rendered("subgroups.html.j2", evidence=Holder)
    assert "<script>" not in page
    assert "&lt;script&gt;" in page
    for group in axes[4].groups:
        assert f"{group.figures[FigureName.AUC].value:.3f}" in page
        assert f"{group.differences[FigureName.AUC].difference:+.3f}" in page
    assert "view (no radiograph says it)" in page


def test_metadata_come_from_the_columns_of_a_table(tmp_path):
    for name in "abc":
        Image.new("L", (80, 80), 99).save(tmp_path / f"{name}.png")
    table = tmp_path / "labels.csv"
    table.write_text(
        "path,finding,patient,view,age,gender,scanner\n"
        "a.png,normal,1,pa,061Y,M,Maker  Model\nb.png,normal,2,AP,6.5,female,\n"
        "c.png,normal,3,,unknown,O,n/a\n"
    )
    cohort, _ = build_cohort(table, BuildOptions(columns={"sex": "gender"}))
    assert cohort.table.select(METADATA.keys()).rows() == [
        ("PA", 61.0, "male", "Maker Model"),
        ("AP", 6.5, "female", None),
        (None, None, "other", None),
    ]


@pytest.mark.parametrize(
    ("column", "cell", "message"),
    [("age", "411", "line 2: '411' is no age in years"), ("sex", "x", "line 2: 'x' is no sex")],
)
def test_metadata_that_cannot_be_are_refused_with_their_line(tmp_path, column, cell, message):
    table = tmp_path / "labels.csv"
    table.write_text(f"path,finding,patient,{column}\na.png,normal,1,{cell}\n")
    with pytest.raises(CohortError, match=message):
        build_cohort(table, BuildOptions())


@pytest.mark.parametrize(
    ("text", "years"), [("006M", 0.5), ("052W", 1.0), ("000D", 0.0), ("7", 7.0), ("", None)]
)
def test_ages_are_years_whatever_their_unit(text, years):
    assert metadata_of("age", text) == (years if years is None else pytest.approx(years, abs=0.01))


def test_metadata_come_from_a_dicom_header(tmp_path, dicom_chest):
    pydicom = pytest.importorskip("pydicom")
    (tmp_path / "NORMAL").mkdir()
    shutil.copy(dicom_chest, tmp_path / "NORMAL" / "a.dcm")
    file = pydicom.dcmread(dicom_chest)
    file.PatientAge = "018M"
    file.save_as(tmp_path / "NORMAL" / "b.dcm")
    file.PatientAge, file.PatientSex = "200Y", ""
    file.save_as(tmp_path / "NORMAL" / "c.dcm")
    cohort, _ = build_cohort(tmp_path, BuildOptions())
    scanner = "Philips Medical Systems Cassette Holder Type 9840 500 70201"
    assert cohort.table.select(METADATA.keys()).rows() == [
        ("PA", None, "female", scanner),
        ("PA", 1.5, "female", scanner),
        ("PA", None, None, scanner),
    ]


def test_a_cohort_without_metadata_still_loads_and_its_digest_stays(tmp_path, simulate):
    cohort = cohort_for(simulate(20))
    with_view = cohort_for(simulate(20), view=["AP"] * 20)
    old = Cohort(cohort.table.drop(METADATA), Path(), "old", False, "given", {})
    old.save(tmp_path / "old.parquet")
    again = load_cohort(tmp_path / "old.parquet")
    assert again.table.equals(cohort.table)
    assert again.digest() == cohort.digest() == with_view.digest()
    with_view.save(tmp_path / "new.parquet")
    assert load_cohort(tmp_path / "new.parquet").part(Part.VALIDATION).table["view"][0] == "AP"
