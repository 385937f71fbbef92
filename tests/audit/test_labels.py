"""Confident learning, against its definition and on errors that were planted."""

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from hilum.audit.labels import (
    audit_labels,
    confident_joint,
    out_of_fold,
    suspected,
)
from hilum.cohort.split import patient_folds
from tests.cohort.test_split import many

RAW = arrays(np.float64, st.tuples(st.integers(6, 30), st.just(3)), elements=st.floats(0.01, 1))


@given(raw=RAW, seed=st.integers(0, 99))
def test_the_confident_joint_is_that_of_the_paper(raw, seed):
    probabilities = raw / raw.sum(axis=1, keepdims=True)
    labels = np.random.default_rng(seed).permutation(np.arange(len(raw)) % 3)
    mean = [np.mean([p[k] for p, g in zip(probabilities, labels, strict=True) if g == k]) for k in range(3)]  # fmt: skip
    expected, counts = [], np.zeros((3, 3))
    for row, given_label in zip(probabilities, labels, strict=True):
        above = [k for k in range(3) if row[k] >= mean[k]]
        best = max(above, key=lambda k: (row[k], -k)) if above else -1
        expected.append(best)
        if above:
            counts[given_label, best] += 1
    assert suspected(probabilities, labels).tolist() == expected
    joint = confident_joint(probabilities, labels)
    assert joint.sum(axis=1) == pytest.approx(np.bincount(labels, minlength=3))
    for k in range(3):
        if counts[k].any():
            assert joint[k] / joint[k].sum() == pytest.approx(counts[k] / counts[k].sum())


def test_probabilities_never_come_from_the_own_patient(rng):
    """Features that name the patient and labels of chance: knowing oneself would be perfect."""
    patients = np.array([f"p{i // 4}" for i in range(200)])
    labels = rng.integers(0, 2, 50).repeat(4)
    x = np.eye(50)[np.arange(200) // 4] * 50
    called = out_of_fold(x, labels, patient_folds(labels, patients, 5, seed=0)).argmax(axis=1)
    assert (called == labels).mean() < 0.7


@pytest.fixture(scope="module")
def wrong():
    """Three findings that features tell apart, and 12 of 300 with a wrong one."""
    cohort = many(300)
    rng = np.random.default_rng(3)
    names = np.unique(cohort.table["finding"].to_numpy().astype(str))
    truth = np.searchsorted(names, cohort.table["finding"].to_numpy().astype(str))
    features = (np.eye(3)[truth] @ rng.normal(0, 2, (3, 20))) + rng.normal(0, 1, (len(truth), 20))
    rows = rng.choice(len(truth), 12, replace=False)
    findings = truth.copy()
    findings[rows] = (truth[rows] + 1) % 3
    table = cohort.table.with_columns(finding=pl.Series(names[findings].tolist()))
    ids = set(table["id"].to_numpy()[rows])
    made = type(cohort)(table, cohort.root, "x", False, "", {})
    return made, features.astype(np.float32), ids


def test_planted_errors_are_listed_first_and_the_trial_says_so(wrong):
    cohort, features, ids = wrong
    audit = audit_labels(cohort, features)
    doubts = [doubt for pair in audit.pairs if pair.worth_a_look for doubt in pair.doubts]
    found = {doubt.id for doubt in doubts}
    assert len(found & ids) >= 0.7 * len(ids)
    assert len(found & ids) >= 0.7 * len(found)
    for pair in audit.pairs:
        margins = [doubt.margin for doubt in pair.doubts]
        assert margins == sorted(margins)
        assert pair.recall is None or pair.recall > 0.5
    [line] = audit.lines()
    assert line.found == len(found)
    assert not line.serious


def test_findings_that_pictures_do_not_show_send_nobody_to_look(wrong, rng):
    cohort, features, _ = wrong
    noise = rng.normal(size=features.shape).astype(np.float32)
    audit = audit_labels(cohort, noise)
    assert not any(pair.worth_a_look for pair in audit.pairs)
    assert audit.lines()[0].found == 0


def test_the_test_part_is_left_alone(wrong):
    cohort, features, ids = wrong
    table = cohort.table.with_columns(
        part=pl.when(pl.col("id").is_in(list(ids))).then(pl.lit("test")).otherwise(pl.lit("train"))
    )
    audit = audit_labels(type(cohort)(table, cohort.root, "x", False, "", {}), features)
    assert audit.radiographs == len(table) - len(ids)
    assert not ids & {doubt.id for pair in audit.pairs for doubt in pair.doubts}


def test_one_finding_alone_cannot_be_doubted(wrong):
    cohort, features, _ = wrong
    normal = cohort.table["finding"].to_numpy() == "normal"
    assert audit_labels(cohort.where(pl.col("finding") == "normal"), features[normal]) is None
