"""Screening: every input becomes one row, in order, whatever happens."""

import csv
import io
import json
import os

import numpy as np
import polars as pl
import pytest
from PIL import Image

from hilum.cohort.build import BuildOptions, build_cohort
from hilum.cohort.split import split_parts
from hilum.errors import ModelError, UsageError
from hilum.imaging import read
from hilum.model import load
from hilum.screening import Input, find_inputs, screen
from hilum.screening.overlays import draw_overlay, heat_on_grid, write_overlay
from hilum.screening.writers import columns, open_writer, row_of
from hilum.training import load_recipe, train


@pytest.fixture(scope="module")
def classifier(model_path):
    return load(model_path)


@pytest.fixture
def mixed(tmp_path, phantom_folder, dicom_chest, dicom_leg):
    """A folder with radiographs, a leg, and bad files."""
    good = sorted((phantom_folder / "test").rglob("*.png"))[:20]
    for number, path in enumerate(good):
        (tmp_path / f"a{number:02}.png").write_bytes(path.read_bytes())
    (tmp_path / "b.dcm").write_bytes(dicom_chest.read_bytes())
    (tmp_path / "c.dcm").write_bytes(dicom_leg.read_bytes())
    (tmp_path / "d.png").write_bytes(good[0].read_bytes()[:500])
    (tmp_path / "e.jpg").write_bytes(b"")
    (tmp_path / "notes.txt").write_text("no radiograph")
    return tmp_path


def test_every_file_is_a_row_in_order(classifier, mixed):
    rows = list(screen(classifier, find_inputs([str(mixed)], None)))
    assert [row.name for row in rows] == sorted(row.name for row in rows)
    statuses = [row.status for row in rows]
    assert statuses == ["read"] * 21 + ["refused"] + ["unreadable"] * 2
    assert "cut short" in rows[22].reason
    assert "empty" in rows[23].reason
    assert rows[0].sha256
    assert rows[0].picture is None


def test_screening_agrees_with_reading_one_by_one(classifier, mixed):
    for row in screen(classifier, find_inputs([str(mixed / "a0*.png")], None)):
        assert row.reading.probability == pytest.approx(
            classifier.read(row.name).probability, abs=0.01
        )


def test_inputs_are_files_folders_globs_and_paths_by_standard_input(mixed):
    def names(*arguments, stdin=b""):
        return [
            item.name for item in find_inputs(list(arguments), io.BufferedReader(io.BytesIO(stdin)))
        ]

    assert len(names(str(mixed))) == 24
    assert len(names(str(mixed / "a1*.png"))) == 10
    assert names(str(mixed / "notes.txt")) == [str(mixed / "notes.txt")]
    assert names("-", stdin=b"x.png\n\ny.png\r\n") == ["x.png", "y.png"]


def test_standard_input_can_be_the_radiograph_itself(classifier, mixed):
    for name in ("a00.png", "b.dcm"):
        content = (mixed / name).read_bytes()
        (item,) = find_inputs(["-"], io.BufferedReader(io.BytesIO(content)))
        assert item.source == content
        (row,) = screen(classifier, [item])
        assert row.status == "read"


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("nowhere.png", "there is no file or folder nowhere.png"),
        ("nothing*.png", "nothing matches"),
    ],
)
def test_an_input_that_is_not_there_is_said_at_once(argument, message):
    with pytest.raises(UsageError, match=message):
        list(find_inputs([argument], None))


def test_a_listed_file_that_is_gone_becomes_a_row(classifier):
    (row,) = screen(classifier, find_inputs(["-"], io.BytesIO(b"gone.png\n")))
    assert row.status == "unreadable"
    assert "gone.png" in row.reason


def test_an_unknown_operating_point_is_refused_before_reading(classifier):
    with pytest.raises(ModelError, match="no operating point 'x'"):
        next(screen(classifier, [Input("a", b"")], operating_point="x"))


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
def test_tables_hold_the_same_rows(classifier, mixed, tmp_path, suffix):
    path = tmp_path / "out" / f"readings{suffix}"
    findings = classifier.file.labels.findings
    items = list(screen(classifier, find_inputs([str(mixed)], None)))
    with open_writer(path, findings) as writer:
        for item in items:
            writer.write(row_of(item, findings, classifier.file.sha256, "1"))
    if suffix == ".csv":
        with path.open(newline="") as source:
            rows = list(csv.DictReader(source))
    elif suffix == ".jsonl":
        rows = [json.loads(line) for line in path.read_text().splitlines()]
    else:
        rows = pl.read_parquet(path).to_dicts()
    assert list(rows[0]) == columns(findings)
    assert [row["file"] for row in rows] == [item.name for item in items]
    assert float(rows[0]["probability"]) == items[0].reading.probability
    assert not rows[23]["probability"]
    assert "empty" in rows[23]["reason"]
    assert [p.name for p in path.parent.iterdir()] == [path.name]


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
def test_an_interrupted_table_keeps_what_was_done(classifier, mixed, tmp_path, suffix):
    path = tmp_path / f"readings{suffix}"
    findings = classifier.file.labels.findings
    (item,) = screen(classifier, find_inputs([str(mixed / "a00.png")], None))

    def write_two_and_stop():
        with open_writer(path, findings) as writer:
            writer.write(row_of(item, findings, "x", "1"))
            writer.write(row_of(item, findings, "x", "1"))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_two_and_stop()
    if suffix == ".parquet":
        assert pl.read_parquet(path).height == 2
    else:
        assert len(path.read_text().splitlines()) == (3 if suffix == ".csv" else 2)


def test_a_table_that_is_there_is_not_overwritten(tmp_path, classifier):
    path = tmp_path / "r.csv"
    path.write_text("precious")
    with pytest.raises(UsageError, match="is there already"), open_writer(path, ()):
        pass
    assert path.read_text() == "precious"


def test_an_unknown_kind_of_table_names_the_known_ones(tmp_path):
    with (
        pytest.raises(UsageError, match=r"use .csv, .jsonl or .parquet"),
        open_writer(tmp_path / "r.xlsx", ()),
    ):
        pass


def test_an_overlay_shows_both_pictures_and_is_cold_where_nothing_speaks(
    classifier, mixed, tmp_path
):
    (row,) = screen(classifier, find_inputs([str(mixed / "b.dcm")], None), pictures=True)
    path = write_overlay(tmp_path, 3, row.name, row.picture, row.reading, scale=5.0)
    assert path.name == "000003-b.png"
    with Image.open(path) as picture:
        assert picture.format == "PNG"
        assert picture.width > 2 * 400
    cold = heat_on_grid(np.full((7, 7), -3.0, np.float32), (70, 50), 5.0)
    hot = heat_on_grid(np.full((7, 7), 9.0, np.float32), (70, 50), 5.0)
    assert cold.shape == (50, 70)
    assert cold.max() == 0.0
    assert hot.min() == 1.0


def test_the_hottest_place_of_the_map_is_the_brightest_change(classifier, mixed):
    (row,) = screen(classifier, find_inputs([str(mixed / "a00.png")], None), pictures=True)
    saliency = np.full((7, 7), -1.0, np.float32)
    saliency[5, 1] = 4.0  # bottom left
    heat = heat_on_grid(saliency, (70, 70), 4.0)
    assert np.unravel_index(heat.argmax(), heat.shape)[0] > 40
    assert np.unravel_index(heat.argmax(), heat.shape)[1] < 30
    draw_overlay(row.picture, row.reading, 4.0)


def test_overlays_are_not_read_as_radiographs(classifier, mixed, tmp_path):
    (row,) = screen(classifier, find_inputs([str(mixed / "a00.png")]), pictures=True)
    drawn = write_overlay(tmp_path / "maps", 1, row.name, row.picture, row.reading, 5.0)
    (again,) = screen(classifier, find_inputs([str(drawn)]))
    assert again.status == "unreadable"
    assert "picture that hilum drew" in again.reason


def test_a_long_name_gets_an_overlay_too(classifier, mixed, tmp_path):
    (row,) = screen(classifier, find_inputs([str(mixed / "a00.png")]), pictures=True)
    drawn = write_overlay(tmp_path, 1, "x" * 250 + ".png", row.picture, row.reading, 5.0)
    assert drawn.is_file()


@pytest.mark.real_data
def test_overlays_and_reduced_decoding_change_no_reading(real_data, tmp_path):
    """One file has one probability, however it is decoded and whatever is drawn beside it."""
    cohort, _ = build_cohort(real_data / "kermany512", BuildOptions())
    model = train(load_recipe("instant"), split_parts(cohort, validation=0.2), tmp_path, command="")
    classifier = load(model.path)
    folder = [str(real_data / "kermany-original")]
    plain = list(screen(classifier, find_inputs(folder)))
    drawn = list(screen(classifier, find_inputs(folder), pictures=True))
    full = [classifier.read_batch([read(row.name)])[0] for row in plain]
    assert [row.reading.probability for row in drawn] == [row.reading.probability for row in plain]
    difference = [
        abs(row.reading.probability - whole.probability)
        for row, whole in zip(plain, full, strict=True)
        if whole.probability is not None
    ]
    assert len(difference) >= 78
    assert max(difference) < 0.02


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
def test_a_name_that_is_no_utf_8_stops_nothing(classifier, mixed, tmp_path, suffix):
    folder = tmp_path / "odd"
    folder.mkdir()
    (folder / os.fsdecode(b"\xff\xfe.png")).write_bytes((mixed / "a00.png").read_bytes())
    findings = classifier.file.labels.findings
    (item,) = screen(classifier, find_inputs([str(folder)]))
    path = tmp_path / f"r{suffix}"
    with open_writer(path, findings) as writer:
        writer.write(row_of(item, findings, "x", "1"))
    assert item.status == "read"
    assert item.name.endswith(r"\xff\xfe.png")


def test_folders_behind_links_are_read_once(mixed, tmp_path_factory):
    root = tmp_path_factory.mktemp("links")
    (root / "linked").symlink_to(mixed)
    (root / "loop").symlink_to(root)
    assert len(list(find_inputs([str(root)]))) == len(list(find_inputs([str(mixed)])))


class Trickle(io.BytesIO):
    """A pipe that gives one byte at a time."""

    def read(self, size=-1):
        return super().read(1 if size and size > 0 else size)


def test_a_slow_pipe_is_understood(mixed):
    content = (mixed / "b.dcm").read_bytes()
    (item,) = find_inputs(["-"], Trickle(content))
    assert item.source == content
    names = [item.name for item in find_inputs(["-"], Trickle(b"a.png\nb.png"))]
    assert names == ["a.png", "b.png"]


def test_closed_standard_input_is_said_when_it_is_asked_for():
    with pytest.raises(UsageError, match="standard input is closed"):
        list(find_inputs(["-"], None))


def test_one_mistyped_argument_is_known_before_any_work(mixed):
    with pytest.raises(UsageError, match=r"no file or folder gone\.png"):
        find_inputs([str(mixed), "gone.png"])


def test_rows_of_a_killed_run_are_not_destroyed_by_the_next(tmp_path):
    part = tmp_path / "r.csv.part"
    part.write_text("rows of a killed run")
    with (
        pytest.raises(UsageError, match="killed or still runs"),
        open_writer(tmp_path / "r.csv", ()),
    ):
        pass
    assert part.read_text() == "rows of a killed run"
    with open_writer(tmp_path / "r.csv", (), force=True):
        pass
    assert not part.exists()


def test_a_dangling_link_matched_by_a_glob_is_a_row(classifier, mixed):
    (mixed / "a99.png").symlink_to("/nowhere.png")
    rows = list(screen(classifier, find_inputs([str(mixed / "a*.png")])))
    assert [row.status for row in rows] == ["read"] * 20 + ["unreadable"]
