"""The audit finds what was planted, and nothing where nothing is."""

import numpy as np
import polars as pl

from hilum.audit.table import audit_cohort
from hilum.cohort.hashes import near_hash_pairs
from hilum.cohort.split import split_parts
from tests.cohort.test_split import many


def spread_hashes(count):
    """Hashes that are far from one another."""
    numbers = np.random.default_rng(0).integers(1, 2**63, count)
    return pl.Series([f"{number:016x}" for number in numbers])


def by_check(cohort):
    return {line.check: line for line in audit_cohort(cohort)}


def sound_cohort():
    cohort = split_parts(many(300), validation=0.2, seed=1)
    return type(cohort)(
        cohort.table.with_columns(phash=spread_hashes(len(cohort))), cohort.root, "x", False, "", {}
    )


def planted(**columns):
    cohort = sound_cohort()
    return type(cohort)(cohort.table.with_columns(**columns), cohort.root, "x", False, "", {})


def two_of(column, value, rows):
    return pl.when(pl.col("id").is_in(rows)).then(pl.lit(value)).otherwise(pl.col(column))


def one_of_each_part(cohort):
    return [
        cohort.table.filter(pl.col("part") == part)["id"][0] for part in ("train", "validation")
    ]


def test_a_sound_cohort_has_no_serious_line():
    assert not any(line.serious for line in audit_cohort(sound_cohort()))


def test_a_patient_in_two_parts_is_serious():
    rows = one_of_each_part(sound_cohort())
    line = by_check(planted(patient=two_of("patient", "same", rows)))["patients in two parts"]
    assert line.serious
    assert line.found == 1
    assert set(line.examples) == set(rows)


def test_the_same_file_in_two_parts_is_serious_and_counted_once():
    rows = one_of_each_part(sound_cohort())
    lines = by_check(
        planted(sha256=two_of("sha256", "same", rows), phash=two_of("phash", "0" * 16, rows))
    )
    assert lines["same file in two parts"].serious
    assert lines["same file in two parts"].found == 2
    assert lines["look-alikes in two parts"].found == 0


def test_look_alikes_in_two_parts_are_worth_a_look():
    line = by_check(planted(phash=two_of("phash", "0" * 16, one_of_each_part(sound_cohort()))))[
        "look-alikes in two parts"
    ]
    assert line.found == 2
    assert not line.serious


def test_one_file_with_two_findings_is_serious():
    table = sound_cohort().table
    rows = [table.filter(pl.col("finding") == f)["id"][0] for f in ("normal", "viral pneumonia")]
    line = by_check(planted(sha256=two_of("sha256", "same", rows)))["one file, two findings"]
    assert line.serious
    assert line.found == 2


def test_a_small_part_says_what_it_cannot_show():
    line = by_check(
        planted(
            part=pl.when(pl.col("id") == "3").then(pl.lit("validation")).otherwise(pl.lit("train"))
        )
    )["size of validation"]
    assert line.found
    assert "errors" in line.text


def test_unreadable_files_are_counted():
    cohort = planted(unreadable=pl.when(pl.col("id") == "3").then(pl.lit("it is empty")))
    line = by_check(cohort)["unreadable files"]
    assert (line.found, line.serious) == (1, False)
    assert line.examples == ("3",)


def test_a_copy_that_was_saved_again_is_worth_a_look():
    """Saving again at another quality flips a bit or two of the hash."""
    cohort = sound_cohort()
    train, validation = one_of_each_part(cohort)
    text = cohort.table.filter(pl.col("id") == train)["phash"][0]
    near = f"{int(text, 16) ^ 0b101:016x}"
    line = by_check(
        planted(phash=pl.when(pl.col("id") == validation).then(pl.lit(near)).otherwise("phash"))
    )
    assert set(line["look-alikes in two parts"].examples) == {train, validation}


def test_one_file_under_two_patients_is_worth_a_look():
    rows = sound_cohort().table.filter(pl.col("part") == "train")["id"][:2].to_list()
    line = by_check(planted(sha256=two_of("sha256", "same", rows)))["one file, two patients"]
    assert (line.found, line.serious) == (2, False)


def test_a_small_part_says_what_interval_a_result_would_have():
    """Three normal patients of validation: all right would still start at 0.29."""
    cohort = sound_cohort()
    few = cohort.table.filter(pl.col("finding") == "normal")["patient"].unique().sort()[:3]
    keep = pl.when(pl.col("patient").is_in(few.to_list())).then(pl.lit("validation"))
    line = by_check(planted(part=keep.otherwise(pl.lit("train"))))["size of validation"]
    assert "the finding that is missing" in line.text  # no patient with pneumonia is there
    both = cohort.table.filter(pl.col("finding") != "normal")["patient"].unique().sort()[:50]
    people = [*few.to_list(), *both.to_list()]
    keep = pl.when(pl.col("patient").is_in(people)).then(pl.lit("validation"))
    line = by_check(planted(part=keep.otherwise(pl.lit("train"))))["size of validation"]
    assert "an interval from 0.29" in line.text
    assert line.found == 3


def test_pairs_of_near_hashes_are_those_of_a_plain_count(rng):
    hashes = rng.integers(0, 2**63, 700, dtype=np.uint64)
    hashes[600] = hashes[3] ^ np.uint64(5)
    hashes[650] = hashes[3] ^ np.uint64(7)
    hashes[300] = hashes[299]
    pairs = {tuple(pair) for pair in near_hash_pairs(hashes).tolist()}
    assert pairs == {(3, 600), (600, 650), (299, 300)}
