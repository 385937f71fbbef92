"""Evaluating a classifier on a part, and the ledger of test openings."""

import json
from dataclasses import replace

import polars as pl
import pytest

from hilum.cohort.split import split_parts
from hilum.errors import CohortError, EvaluationError, ModelError
from hilum.evaluation import caveats, evaluate_classifier, openings_of, record_opening
from hilum.findings import Finding, Part
from hilum.model import load


@pytest.fixture(scope="module")
def classifier(model_path):
    return load(model_path)


def test_the_validation_part_reads_as_it_did_in_training(classifier, phantom_cohort, tmp_path):
    evidence = evaluate_classifier(classifier, phantom_cohort, Part.VALIDATION, tmp_path)
    trained = classifier.file.evidence
    assert evidence.figures["auc"].value == pytest.approx(trained["figures"]["auc"]["value"])
    assert (
        evidence.operating_point.counts.model_dump()
        == classifier.file.operating_points[0].counts.model_dump()
    )
    assert evidence.classifier_sha256 == classifier.file.sha256
    assert evidence.cohort_sha256 == phantom_cohort.digest()
    assert evidence.test_openings is None


def test_every_opening_of_a_test_part_is_counted(classifier, phantom_cohort, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "ledger"))
    assert openings_of(phantom_cohort) == 0
    for opening in (1, 2, 3):
        evidence = evaluate_classifier(classifier, phantom_cohort, Part.TEST, tmp_path / "out")
        assert evidence.test_openings == opening
    resplit = split_parts(phantom_cohort, validation=0.2, seed=9)
    assert openings_of(resplit) == 3  # another split of the rest: the test part is the same
    fewer = phantom_cohort.where(
        ~(
            (pl.col("part") == "test")
            & (pl.col("patient") == phantom_cohort.part(Part.TEST).patients[0])
        )
    )
    assert openings_of(fewer) == 0


def test_a_damaged_line_of_the_ledger_does_not_hide_the_others(
    phantom_cohort, tmp_path, monkeypatch
):
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    record_opening(phantom_cohort, "a")
    (ledger,) = tmp_path.rglob("test-openings.jsonl")
    ledger.write_text(ledger.read_text() + '{"test_pa\n')
    assert record_opening(phantom_cohort, "b") == 2


def test_metrics_and_report_are_written_together(classifier, phantom_cohort, tmp_path):
    evaluate_classifier(
        classifier, phantom_cohort, Part.VALIDATION, tmp_path, command="the command"
    )
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    report = (tmp_path / "report.html").read_text()
    assert metrics["command"] == "the command"
    assert "data:image/png;base64," in report  # the mistakes have pictures
    assert f"{metrics['figures']['auc']['value']:.3f}" in report


def test_findings_without_a_place_in_the_task_are_counted(
    three_class_model_path, phantom_cohort, tmp_path
):
    rows = phantom_cohort.table["part"] == "validation"
    first = phantom_cohort.table.filter(rows & (phantom_cohort.table["finding"] != "normal"))["id"][
        0
    ]
    table = phantom_cohort.table.with_columns(
        finding=pl.when(pl.col("id") == first)
        .then(pl.lit(str(Finding.PNEUMONIA)))
        .otherwise("finding")
    )
    cohort = type(phantom_cohort)(table, phantom_cohort.root, "x", True, "", {})
    evidence = evaluate_classifier(load(three_class_model_path), cohort, Part.VALIDATION, tmp_path)
    assert evidence.left_out == 1
    assert evidence.radiographs == int(rows.sum()) - 1


def test_what_cannot_be_evaluated_leaves_nothing_behind(classifier, phantom_cohort, tmp_path):
    with pytest.raises(ModelError, match="no operating point"):
        evaluate_classifier(
            classifier, phantom_cohort, Part.TEST, tmp_path / "out", operating_point="x"
        )
    no_test = phantom_cohort.where(pl.col("part") != "test")
    with pytest.raises(CohortError, match="no test part"):
        evaluate_classifier(classifier, no_test, Part.TEST, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_copies_of_training_radiographs_are_noticed(classifier, phantom_cohort, tmp_path):
    """Evaluating on what was learned from must not pass for a test."""
    table = phantom_cohort.part(Part.TRAIN).table.with_columns(part=pl.lit("test"))
    cohort = type(phantom_cohort)(table, phantom_cohort.root, "copies", True, "", {})
    evidence = evaluate_classifier(classifier, cohort, Part.TEST, tmp_path)
    assert evidence.like_training == evidence.radiographs
    assert any("the classifier learned from" in text for text in caveats(evidence))


def test_unreadable_files_and_refusals_are_counted(classifier, phantom_cohort, tmp_path):
    ids = phantom_cohort.part(Part.VALIDATION).table["id"]
    table = phantom_cohort.table.with_columns(
        unreadable=pl.when(pl.col("id") == ids[0]).then(pl.lit("it is empty")),
        rows=pl.when(pl.col("id") == ids[1]).then(20).otherwise("rows").cast(pl.Int32),
    )
    cohort = type(phantom_cohort)(table, phantom_cohort.root, "x", True, "", {})
    evidence = evaluate_classifier(classifier, cohort, Part.VALIDATION, tmp_path)
    assert evidence.unreadable == 1
    assert evidence.gate_refuses == 1
    text = " ".join(caveats(evidence))
    assert "1 files of the part cannot be read" in text
    assert "refused by the gate" in text


def test_predictions_are_written_so_that_figures_can_be_computed_again(
    classifier, phantom_cohort, tmp_path
):
    from sklearn.metrics import roc_auc_score

    evidence = evaluate_classifier(classifier, phantom_cohort, Part.VALIDATION, tmp_path)
    rows = pl.read_csv(tmp_path / "predictions.csv")
    assert rows.height == evidence.radiographs
    auc = roc_auc_score(rows["finding"] != "normal", 1 - rows["probability normal"])
    assert evidence.figures["auc"].value == pytest.approx(auc)


def test_what_is_known_already_is_no_external_cohort_and_opens_nothing(
    classifier, phantom_cohort, tmp_path, monkeypatch
):
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "ledger"))

    def asked(*external):
        return evaluate_classifier(
            classifier, phantom_cohort, Part.TEST, tmp_path / "out", external=external
        )

    for part in Part:
        with pytest.raises(EvaluationError, match="needs a cohort from elsewhere"):
            asked((phantom_cohort, part))
    renamed = phantom_cohort.table.with_columns(sha256=pl.lit("0" * 64))
    learned = type(phantom_cohort)(renamed, phantom_cohort.root, "copies", True, "", {})
    with pytest.raises(EvaluationError, match="look like ones that the classifier learned from"):
        asked((learned, Part.TRAIN))
    assert openings_of(phantom_cohort) == 0


def test_evidence_from_another_hilum_in_a_file_stops_nothing(classifier, phantom_cohort, tmp_path):
    told = {**classifier.file.evidence, "calibration_choice": {"method": "beta", "later": 1}}
    other = type(classifier)(replace(classifier.file, evidence=told))
    evidence = evaluate_classifier(other, phantom_cohort, Part.VALIDATION, tmp_path)
    assert evidence.calibration_choice is None
    own = evaluate_classifier(classifier, phantom_cohort, Part.VALIDATION, tmp_path)
    assert own.calibration_choice is not None
