"""Splitting by patient: nobody on both sides, findings balanced, the same for the same seed."""

from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hilum.cohort.split import check_parts_apart, split_folds, split_parts
from hilum.cohort.table import COLUMNS, Cohort
from hilum.errors import CohortError
from hilum.findings import Finding, Part


def cohort_of(rows: list[tuple[str, Finding, Part]]) -> Cohort:
    """A cohort of (patient, finding, part) rows without files."""
    blank = dict.fromkeys(COLUMNS)
    table = pl.DataFrame(
        [
            {
                **blank,
                "id": str(i),
                "path": str(i),
                "patient": p,
                "finding": str(f),
                "part": str(w),
                "sha256": str(i),
            }
            for i, (p, f, w) in enumerate(rows)
        ],
        schema=COLUMNS,
    )
    return Cohort(table, Path(), "made", False, "given", {})


def many(patients: int, images: int = 1) -> Cohort:
    kinds = (Finding.NORMAL, Finding.BACTERIAL, Finding.VIRAL)
    return cohort_of(
        [
            (f"p{i}", kinds[i % 3], Part.TRAIN)
            for i in range(patients)
            for _ in range(1 + i % images)
        ]
    )


@settings(max_examples=25, deadline=None)
@given(
    patients=st.integers(60, 200),
    images=st.integers(1, 5),
    seed=st.integers(0, 2**31),
    validation=st.sampled_from([0.1, 0.15, 0.3]),
)
def test_no_patient_is_ever_on_both_sides(patients, images, seed, validation):
    split = split_parts(many(patients, images), validation=validation, test=0.2, seed=seed)
    per_patient = split.table.group_by("patient").agg(pl.col("part").n_unique())
    assert per_patient["part"].max() == 1
    assert set(split.table["part"]) == {"train", "validation", "test"}


def test_shares_and_findings_are_kept():
    split = split_parts(many(600), validation=0.15, seed=3)
    counts = {
        (r["part"], r["finding"]): r["radiographs"]
        for r in split.count("part", "finding").to_dicts()
    }
    for finding in ("normal", "bacterial pneumonia", "viral pneumonia"):
        assert 27 <= counts[("validation", finding)] <= 33  # 15 % of 200


def test_the_same_seed_gives_the_same_split_and_another_seed_another():
    first, same, other = (split_parts(many(90), validation=0.2, seed=s) for s in (5, 5, 6))
    assert first.digest() == same.digest() != other.digest()


def test_the_test_part_is_left_as_it_is():
    rows = [
        (f"p{i}", f, Part.TRAIN)
        for i in range(60)
        for f in [Finding.NORMAL if i % 2 else Finding.VIRAL]
    ]
    rows += [("t1", Finding.NORMAL, Part.TEST), ("t2", Finding.VIRAL, Part.TEST)]
    split = split_parts(cohort_of(rows), validation=0.2)
    assert split.table.filter(pl.col("part") == "test")["patient"].to_list() == ["t1", "t2"]


def test_a_patient_in_two_parts_is_refused_by_training_and_split():
    rows = [(f"p{i}", Finding.NORMAL if i % 2 else Finding.VIRAL, Part.TRAIN) for i in range(60)]
    leaky = cohort_of([*rows, ("p3", Finding.NORMAL, Part.TEST)])
    with pytest.raises(CohortError, match="1 patients of made are in more than one of test, train"):
        check_parts_apart(leaky)
    with pytest.raises(CohortError, match="more than one of"):
        split_parts(leaky, validation=0.2)


def test_folds_cover_the_train_part_and_keep_patients_together():
    folded = split_folds(many(100, images=4), k=5, seed=2)
    assert sorted(folded.table["fold"].unique()) == [0, 1, 2, 3, 4]
    assert folded.table.group_by("patient").agg(pl.col("fold").n_unique())["fold"].max() == 1


@pytest.mark.parametrize(
    ("shares", "message"),
    [
        ({"validation": 0.0}, "cannot be split off"),
        ({"validation": float("inf")}, "cannot be split off"),
        ({"validation": float("nan")}, "cannot be split off"),
        ({"validation": 0.5, "test": 0.5}, "cannot be split off"),
    ],
)
def test_impossible_shares_are_refused(shares, message):
    with pytest.raises(CohortError, match=message):
        split_parts(many(100), **shares)


def test_a_small_cohort_is_split_as_finely_as_its_patients_allow():
    split = split_parts(many(12), validation=0.15)
    counts = {
        r["finding"]: r["patients"] for r in split.part(Part.VALIDATION).count("finding").to_dicts()
    }
    assert set(counts.values()) == {1}


@pytest.mark.parametrize("viral", [1, 2, 3, 4, 19])
def test_a_rare_finding_does_not_make_the_validation_part_large(viral):
    rows = [(f"n{i}", Finding.NORMAL, Part.TRAIN) for i in range(500)]
    rows += [(f"b{i}", Finding.BACTERIAL, Part.TRAIN) for i in range(500)]
    rows += [(f"v{i}", Finding.VIRAL, Part.TRAIN) for i in range(viral)]
    split = split_parts(cohort_of(rows), validation=0.15)
    assert 140 <= len(split.part(Part.VALIDATION)) <= 165


def test_too_few_patients_are_refused_by_number():
    with pytest.raises(CohortError, match="rarest finding has 1 patients, too few"):
        split_parts(many(3), validation=0.15)
    with pytest.raises(CohortError, match="'bacterial pneumonia' has 3 patients, too few for 5"):
        split_folds(many(10), k=5)


def test_a_cohort_with_only_a_test_part_is_refused():
    tested = cohort_of([("a", Finding.NORMAL, Part.TEST), ("b", Finding.VIRAL, Part.TEST)])
    with pytest.raises(CohortError, match="only a test part"):
        split_parts(tested, validation=0.2)


def test_copies_under_two_patients_are_never_split_apart():
    cohort = many(200)
    copies = pl.Series([f"copy {i // 2}" if i < 60 else str(i) for i in range(len(cohort))])
    copied = replace(cohort, table=cohort.table.with_columns(sha256=copies))
    for seed in range(4):
        split = split_parts(copied, validation=0.3, seed=seed)
        assert split.table.group_by("sha256").agg(pl.col("part").n_unique())["part"].max() == 1


def test_a_copy_in_another_part_is_refused_by_training():
    rows = [(f"p{i}", Finding.NORMAL if i % 2 else Finding.VIRAL, Part.TRAIN) for i in range(60)]
    cohort = cohort_of([*rows, ("other", Finding.NORMAL, Part.VALIDATION)])
    copied = cohort.table.with_columns(sha256=pl.col("sha256").replace({"60": "1"}))
    with pytest.raises(CohortError, match="2 files of made have an exact copy in another part"):
        check_parts_apart(replace(cohort, table=copied))
