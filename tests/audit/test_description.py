"""A description says what is in a cohort, and its page carries all it shows."""

import json
import re

import numpy as np
import polars as pl
import pytest

from hilum.audit.description import EXAMPLES, describe_cohort
from hilum.cohort.pixels import cached_pixels
from hilum.errors import CohortError
from hilum.findings import Finding, Part


def test_a_description_counts_what_is_there(phantom_cohort, tmp_path):
    found = describe_cohort(phantom_cohort, tmp_path / "out", command="test")
    table = phantom_cohort.readable.table
    assert found.radiographs == len(table)
    assert found.patients == table["patient"].n_unique()
    assert sum(group.radiographs for group in found.groups) == len(table)
    assert [g.part for g in found.groups] == sorted(
        (g.part for g in found.groups), key=list(Part).index
    )
    for group in found.groups:
        rows = table.filter(
            (pl.col("part") == str(group.part)) & (pl.col("finding") == str(group.finding))
        )
        assert group.radiographs == len(rows)
        assert group.patients == rows["patient"].n_unique()
        assert group.per_patient.highest == rows["patient"].value_counts()["count"].max()
        assert group.rows.median == 256
        assert group.kilobytes.lowest * 1000 == pytest.approx(rows["bytes"].min())
    for shares in found.grey_levels.values():
        assert sum(shares) == pytest.approx(1)
    seen = phantom_cohort.part(
        Part.TRAIN, Part.VALIDATION
    )  # what is shown leaves the test part out
    normal = np.array([f is Finding.NORMAL for f in seen.findings])
    dark = (cached_pixels(seen, 224)[normal] < 4).mean()
    assert found.grey_levels[Finding.NORMAL][0] == pytest.approx(dark)


def test_its_page_loads_nothing_and_shows_examples(phantom_cohort, tmp_path):
    found = describe_cohort(phantom_cohort, tmp_path)
    page = (tmp_path / "description.html").read_text()
    assert json.loads((tmp_path / "description.json").read_text())["phantom"] is True
    assert "drawn phantoms" in page
    findings = len(found.grey_levels)
    assert page.count("data:image/png;base64,") == findings * (EXAMPLES + 2)
    assert not set(phantom_cohort.part(Part.TEST).table["id"]) & set(
        re.findall(r"Radiograph ([^\"]+)", page)
    )
    assert "http" not in page.split("<body>")[1]
    assert "research use only" in page.lower()


def test_nothing_readable_is_one_sentence(phantom_cohort, tmp_path):
    with pytest.raises(CohortError):
        describe_cohort(phantom_cohort.where(pl.col("id") == "none"), tmp_path)
