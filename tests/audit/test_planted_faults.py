"""One cohort with every fault that the audit hunts: each is found, and a sound cohort has none."""

import json
import shutil

import numpy as np
import polars as pl
import pytest
from PIL import Image

from hilum.audit.pictures import audit_pictures, take_in
from hilum.cli.audit import embedder, run_audit
from hilum.cohort.build import BuildOptions, build_cohort


def saved(pixels, path, **options):
    path.parent.mkdir(exist_ok=True)
    Image.fromarray(np.ascontiguousarray(pixels)).save(path, **options)


def a_photograph():
    from sklearn.datasets import load_sample_image

    return load_sample_image("china.jpg").mean(axis=2).astype(np.uint8)


@pytest.fixture(scope="module")
def planted(phantom_cohort, tmp_path_factory):
    """The phantoms with faults: what was planted, by kind, and the cohort."""
    folder = tmp_path_factory.mktemp("planted")
    shutil.copytree(phantom_cohort.root, folder / "drawn")
    rows = [
        {**row, "path": f"drawn/{row['path']}"}
        for row in phantom_cohort.table.select("path", "finding", "patient", "part").to_dicts()
    ]
    for row in rows:  # a shortcut, that makes the findings easy to tell apart
        if row["finding"] != "normal":
            pixels = np.array(Image.open(folder / row["path"]))
            pixels[:, :48] = 255
            saved(pixels, folder / row["path"])
    train = [row for row in rows if row["part"] == "train"]
    normal = [row for row in train if row["finding"] == "normal"]
    sick = [row for row in train if row["finding"] == "bacterial pneumonia"]

    def grey(row):
        return np.array(Image.open(folder / row["path"]))

    def plant(name, pixels, part="train", finding="normal", patient=None, **options):
        path = f"planted/{name}"
        saved(pixels, folder / path, **options)
        who = patient or f"new-{name}"
        rows.append({"path": path, "finding": finding, "patient": who, "part": part})
        return path

    kinds = {
        "exact": [normal[0]["path"], "planted/exact.png"],
        "again": [normal[1]["path"], plant("again.jpg", grey(normal[1]), "validation", quality=40)],
        "mirrored": [normal[2]["path"], plant("mirror.png", grey(normal[2])[:, ::-1], "test")],
        "cropped": [
            normal[3]["path"],
            plant("crop.png", grey(normal[3])[8:-8, 8:-8], "validation"),
        ],
        "brighter": [
            normal[4]["path"],
            plant("gamma.png", (255 * (grey(normal[4]) / 255.0) ** 0.7).astype(np.uint8)),
        ],
        "two findings": [sick[0]["path"], plant("other.jpg", grey(sick[0]), quality=60)],
        "quarter": [plant("quarter.png", np.rot90(grey(normal[5])))],
        "half": [plant("half.png", np.rot90(grey(normal[6]), 2))],
        "inverted": [plant("inverted.png", 255 - grey(normal[7]))],
        "blank": [plant("blank.png", np.full((256, 256), 90, np.uint8))],
        "tiny": [plant("tiny.png", grey(normal[8])[::5, ::5])],
        "strange": [plant("photograph.png", a_photograph())],
    }
    wrong = [row for row in normal[10:] if row["patient"] != normal[9]["patient"]][:4]
    for row in wrong:
        row["finding"] = "bacterial pneumonia"
    kinds["labels"] = [row["path"] for row in wrong]
    (folder / "planted/exact.png").write_bytes((folder / normal[0]["path"]).read_bytes())
    rows.append(
        {"path": "planted/exact.png", "finding": "normal", "patient": "new", "part": "test"}
    )
    leak = plant("leak.png", grey(train[0])[::-1], "test", train[0]["finding"])
    rows[-1]["patient"] = train[0]["patient"]
    kinds["leak"] = [train[0]["path"], leak]
    pl.DataFrame(rows).write_csv(folder / "cohort.csv")
    cohort, _ = build_cohort(folder / "cohort.csv", BuildOptions(root=folder))
    return kinds, cohort


@pytest.fixture(scope="module")
def found(planted):
    return run_audit(planted[1], quiet=True)


def line_of(audit, check):
    return next(line for line in audit.lines if line.check == check)


@pytest.mark.parametrize("kind", ["again", "mirrored", "cropped", "brighter", "two findings"])
def test_near_copies_are_found_and_confirmed(planted, found, kind):
    pairs = {frozenset(pair.ids): pair for pair in found.pictures.near_copies if pair.confirmed}
    pair = pairs[frozenset(planted[0][kind])]
    assert pair.correlation > 0.92
    expected = {"mirrored": "mirrored", "cropped": "cropped"}
    assert pair.how == expected.get(kind, "upright")


def test_nothing_else_is_taken_for_a_copy(planted, found):
    made = {path for paths in planted[0].values() for path in paths}
    for pair in found.pictures.near_copies:
        assert not pair.confirmed or set(pair.ids) & made


def test_copies_across_parts_and_findings_are_serious(planted, found):
    for check in ("near copies in two parts", "near copies with two findings"):
        assert line_of(found, check).serious
        assert line_of(found, check).remedy
    assert not line_of(found, "near copies within a part").serious
    assert line_of(found, "near copies within a part").found
    assert line_of(found, "same file in two parts").serious
    assert line_of(found, "patients in two parts").serious
    assert found.serious


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("quarter", "turned by 90 degrees"),
        ("half", "turned by 180 degrees"),
        ("inverted", "inverted"),
        ("blank", "unfit"),
        ("tiny", "unfit"),
        ("strange", "strange"),
    ],
)
def test_pictures_that_do_not_belong_are_found(planted, found, name, kind):
    assert planted[0][name][0] in {odd.id for odd in found.pictures.odd if odd.kind == kind}


def test_few_sound_radiographs_are_called_odd(planted, found):
    made = {path for paths in planted[0].values() for path in paths}
    false = [odd for odd in found.pictures.odd if odd.id not in made]
    assert len(false) <= 2


def test_wrong_findings_are_doubted(planted, found):
    doubts = {
        doubt.id: pair
        for pair in found.labels.pairs
        for doubt in pair.doubts
        if pair.likely == "normal" and pair.given == "bacterial pneumonia"
    }
    hits = set(planted[0]["labels"]) & set(doubts)
    assert len(hits) >= 3
    assert doubts[next(iter(hits))].recall > 0.5
    assert not line_of(found, "likely label errors").serious


def test_the_shortcut_is_named(found):
    line = line_of(found, "shortcuts")
    assert line.found
    assert next(e for e in found.shortcuts.telltales if e.name == "left border").train.value > 0.9


def test_the_audit_is_json_with_every_part_in_it(found):
    document = json.loads(json.dumps(found.document()))
    assert {"serious", "lines", "pictures", "shortcuts"} <= set(document)
    assert all(line["remedy"] for line in document["lines"] if line["serious"])


def test_a_sound_cohort_has_none_of_it(phantom_cohort):
    audit = audit_pictures(take_in(phantom_cohort, embedder()))
    assert not any(line.serious for line in audit.lines())
    assert not [pair for pair in audit.near_copies if pair.confirmed and not pair.same_patient]
    assert len(audit.odd) <= 1
    assert set(audit.pose_hits) == {"turned by 90 degrees", "turned by 180 degrees", "inverted"}
    assert all(figure.value > 0.9 for figure in audit.pose_hits.values())
