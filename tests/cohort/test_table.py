"""The cohort's table: round trip, digest, and damage."""

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hilum.cohort import load_cohort
from hilum.cohort.table import COLUMNS
from hilum.errors import CohortError
from hilum.findings import Finding, Part, Task
from tests.cohort.test_split import cohort_of, many


def test_a_cohort_reads_back_as_it_was_written(tmp_path):
    cohort = many(20)
    cohort.save(tmp_path / "c.parquet")
    again = load_cohort(tmp_path / "c.parquet")
    assert again.table.equals(cohort.table)
    assert (again.name, again.phantom, again.digest()) == (
        cohort.name,
        cohort.phantom,
        cohort.digest(),
    )


def test_the_digest_ignores_the_order_of_rows_but_not_a_label():
    cohort = many(20)
    shuffled = type(cohort)(
        cohort.table.sample(fraction=1, shuffle=True, seed=1), cohort.root, "x", False, "", {}
    )
    relabelled = cohort.table.with_columns(finding=pl.lit(str(Finding.VIRAL)))
    assert shuffled.digest() == cohort.digest()
    assert type(cohort)(relabelled, cohort.root, "x", False, "", {}).digest() != cohort.digest()


@pytest.mark.parametrize(
    "write",
    [
        lambda path: path.write_bytes(b"no parquet"),
        lambda path: pl.DataFrame({"a": [1]}).write_parquet(path),
        lambda path: path.write_bytes(b""),
    ],
)
def test_another_file_is_refused_by_name(tmp_path, write):
    path = tmp_path / "c.parquet"
    write(path)
    with pytest.raises(CohortError, match=r"c.parquet is no cohort"):
        load_cohort(path)


def test_a_word_that_hilum_does_not_know_is_refused(tmp_path):
    cohort = many(5)
    odd = cohort.table.with_columns(finding=pl.lit("covid"))
    type(cohort)(odd, cohort.root, "x", False, "", {}).save(tmp_path / "c.parquet")
    with pytest.raises(CohortError, match="'covid' is no finding"):
        load_cohort(tmp_path / "c.parquet")


def test_a_missing_cohort_says_how_to_make_one(tmp_path):
    with pytest.raises(CohortError, match="hilum cohort build"):
        load_cohort(tmp_path / "c.parquet")


def test_an_unspecified_pneumonia_has_no_place_among_three_classes():
    cohort = cohort_of([(f"p{i}", finding, Part.TRAIN) for i, finding in enumerate(Finding)])
    binary, truth = cohort.for_task(Task.BINARY)
    three, three_truth = cohort.for_task(Task.THREE_CLASS)
    assert truth.tolist() == [0, 1, 1, 1]
    assert len(three) == 3
    assert three_truth.tolist() == [0, 1, 2]
    assert len(binary) == 4


def test_a_task_without_one_of_its_findings_is_refused():
    cohort = cohort_of([("a", Finding.NORMAL, Part.TRAIN), ("b", Finding.PNEUMONIA, Part.TRAIN)])
    with pytest.raises(CohortError, match="bacterial pneumonia nor viral pneumonia"):
        cohort.for_task(Task.THREE_CLASS)


def test_an_empty_part_says_how_to_make_it():
    with pytest.raises(CohortError, match="has no test part"):
        many(5).part(Part.TEST)


def test_every_column_is_documented_by_a_type():
    assert many(1).table.schema == COLUMNS


@settings(max_examples=80, deadline=None)
@given(where=st.integers(0, 10**6), flip=st.integers(1, 255))
def test_damage_is_never_another_error(tmp_path_factory, where, flip):
    path = tmp_path_factory.getbasetemp() / "damaged.parquet"
    many(20).save(path)
    content = bytearray(path.read_bytes())
    content[where % len(content)] ^= flip
    path.write_bytes(bytes(content))
    with pytest.raises(CohortError, match="is no cohort of hilum, or it is damaged"):
        load_cohort(path)


def test_a_table_that_another_program_wrote_again_is_refused(tmp_path):
    path = tmp_path / "c.parquet"
    many(5).save(path)
    pl.read_parquet(path).write_parquet(path)
    with pytest.raises(CohortError, match="is no cohort"):
        load_cohort(path)
