"""Building a cohort from folders, CSV and DICOM."""

import hashlib
import os
import shutil

import numpy as np
import polars as pl
import pytest
from PIL import Image

from hilum.cohort.build import BuildOptions, build_cohort
from hilum.errors import CohortError
from hilum.findings import Finding, Part


def write_image(path, seed=0, size=80):
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 255, (size, size), dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    return path


def guangzhou_folder(root):
    for part in ("train", "test"):
        for number in range(3):
            write_image(root / part / "NORMAL" / f"IM-000{number}-0001.jpeg", number)
            kind = "bacteria" if number else "virus"
            write_image(root / part / "PNEUMONIA" / f"person{number}_{kind}_7.jpeg", 9 + number)
    return root


def test_class_folders_give_finding_part_patient_and_digest(tmp_path):
    root = guangzhou_folder(tmp_path / "xray")
    cohort, ignored = build_cohort(root, BuildOptions())
    assert ignored == []
    assert cohort.name == "xray"
    assert cohort.patients_from == "guangzhou"
    path = "test/PNEUMONIA/person0_virus_7.jpeg"
    (row,) = cohort.table.filter(pl.col("path") == path).to_dicts()
    assert row["finding"] == Finding.VIRAL
    assert row["part"] == Part.TEST
    assert row["patient"] == "test/person0"
    assert (row["rows"], row["columns"]) == (80, 80)
    assert row["sha256"] == hashlib.sha256((root / row["path"]).read_bytes()).hexdigest()
    assert len(row["phash"]) == 16


def test_an_unreadable_file_stays_in_the_table_with_its_reason(tmp_path):
    root = guangzhou_folder(tmp_path / "xray")
    (root / "train" / "NORMAL" / "IM-0009-0001.jpeg").write_bytes(b"")
    cohort, _ = build_cohort(root, BuildOptions())
    assert len(cohort) == 13
    assert len(cohort.readable) == 12
    assert cohort.unreadable["path"].to_list() == ["train/NORMAL/IM-0009-0001.jpeg"]
    assert "empty" in cohort.unreadable["unreadable"][0]


def test_folders_without_a_meaning_are_reported_and_not_guessed(tmp_path):
    root = guangzhou_folder(tmp_path / "xray")
    write_image(root / "masks" / "NORMAL" / "a.png")
    write_image(root / "train" / "UNSURE" / "b.png")
    cohort, ignored = build_cohort(root, BuildOptions())
    assert ignored == ["masks", "train/UNSURE"]
    assert len(cohort) == 12


def test_a_further_class_name_can_be_given_a_meaning(tmp_path):
    for number in range(3):
        write_image(tmp_path / "Sick" / f"{number}.png", number)
    options = BuildOptions(findings={"Sick": Finding.PNEUMONIA}, patients="each")
    cohort, _ = build_cohort(tmp_path, options)
    assert set(cohort.table["finding"]) == {"pneumonia"}


def test_unknown_patients_are_never_guessed(tmp_path):
    write_image(tmp_path / "NORMAL" / "scan.png")
    with pytest.raises(CohortError, match="1 of 1 radiographs have no patient"):
        build_cohort(tmp_path, BuildOptions())


def test_a_folder_without_classes_says_how_to_name_them(tmp_path):
    write_image(tmp_path / "stuff" / "scan.png")
    with pytest.raises(CohortError, match="has no class folders"):
        build_cohort(tmp_path, BuildOptions())


def test_a_csv_with_other_columns_is_mapped(tmp_path):
    for number in range(3):
        write_image(tmp_path / "files" / f"{number}.png", number)
    table = tmp_path / "labels.csv"
    table.write_text(
        "image,label,who\nfiles/0.png,Sick,a\nfiles/1.png,No Finding,b\nfiles/2.png,No Finding,b\n"
    )
    options = BuildOptions(
        columns={"path": "image", "finding": "label", "patient": "who"},
        findings={"Sick": Finding.PNEUMONIA},
        part=Part.TEST,
    )
    cohort, _ = build_cohort(table, options)
    assert cohort.table["patient"].to_list() == ["a", "b", "b"]
    assert cohort.table["finding"].to_list() == ["pneumonia", "normal", "normal"]
    assert set(cohort.table["part"]) == {"test"}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("image,finding\na.png,normal\n", "has no column path; it has image, finding"),
        ("path,finding\na.png,dog\n", "line 2: 'dog' is no finding"),
        ("path,finding,part\na.png,normal,dev\n", "line 2: 'dev' is no part"),
        ("path,finding\n", "has no rows"),
        ("path,finding\n/tmp/a.png,normal\n", "line 2: /tmp/a.png is no path below the root"),
        ("path,finding\n../a.png,normal\n", "line 2: ../a.png is no path below the root"),
    ],
)
def test_a_wrong_csv_names_the_place(tmp_path, content, message):
    table = tmp_path / "labels.csv"
    table.write_text(content)
    with pytest.raises(CohortError, match=message):
        build_cohort(table, BuildOptions())


def test_a_dicom_patient_becomes_a_pseudonym(tmp_path, dicom_chest):
    (tmp_path / "NORMAL").mkdir()
    shutil.copy(dicom_chest, tmp_path / "NORMAL" / "a.dcm")
    cohort, _ = build_cohort(tmp_path, BuildOptions())
    row = cohort.table.row(0, named=True)
    assert row["format"] == "DICOM"
    assert row["patient"].startswith("patient-")


def test_a_phantom_folder_makes_a_phantom_cohort(phantom_cohort):
    assert phantom_cohort.phantom
    assert phantom_cohort.patients_from == "phantom"


@pytest.mark.real_data
def test_the_real_training_folder_has_its_known_counts(real_data, tmp_path):
    cohort, _ = build_cohort(real_data / "kermany224", BuildOptions())
    counts = {
        (row["part"], row["finding"]): row["radiographs"]
        for row in cohort.count("part", "finding").to_dicts()
    }
    assert counts[("train", "normal")] == 1341
    assert counts[("train", "bacterial pneumonia")] + counts[("train", "viral pneumonia")] == 3875
    assert counts[("test", "normal")] == 234
    assert counts[("test", "bacterial pneumonia")] + counts[("test", "viral pneumonia")] == 390
    assert not cohort.unreadable.height


def test_a_path_that_is_there_twice_is_refused_with_both_lines(tmp_path):
    table = tmp_path / "labels.csv"
    table.write_text("path,finding\na.png,normal\nb.png,normal\na.png,viral\n")
    with pytest.raises(CohortError, match=r"line 4: a\.png is on line 2 already"):
        build_cohort(table, BuildOptions())


def test_parts_below_the_classes_are_refused_and_not_trained_on(tmp_path):
    write_image(tmp_path / "NORMAL" / "test" / "IM-0001-0001.jpeg")
    with pytest.raises(CohortError, match="put the parts above the classes"):
        build_cohort(tmp_path, BuildOptions())


def test_a_mistyped_class_name_is_noticed(tmp_path):
    root = guangzhou_folder(tmp_path / "xray")
    with pytest.raises(CohortError, match="no class folder is named Sik"):
        build_cohort(root, BuildOptions(findings={"Sik": Finding.PNEUMONIA}))


def test_a_root_that_is_not_there_is_said(tmp_path):
    table = tmp_path / "labels.csv"
    table.write_text("path,finding\na.png,normal\n")
    with pytest.raises(CohortError, match="is no folder; say where"):
        build_cohort(table, BuildOptions(root=tmp_path / "nowhere"))


def test_a_name_that_is_no_utf_8_is_an_unreadable_row(tmp_path):
    root = guangzhou_folder(tmp_path / "xray")
    name = os.fsdecode(b"IM-0007-0001-\xff.jpeg")
    odd = write_image(root / "train" / "NORMAL" / "IM-0007-0001.jpeg")
    odd.rename(odd.with_name(name))
    cohort, _ = build_cohort(root, BuildOptions())
    (reason,) = cohort.unreadable["unreadable"]
    assert "no UTF-8" in reason
    cohort.save(tmp_path / "c.parquet")
