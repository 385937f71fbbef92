"""`hilum explain`: pictures, document and page, and what it says when it cannot."""

import json
import re
import sys

import numpy as np
import pytest
from PIL import Image

from hilum.cli import main
from hilum.errors import RadiographError
from hilum.evaluation.openings import openings_of
from hilum.imaging import read


@pytest.fixture
def hilum(monkeypatch, capsys):
    """Run the command in this process; return its status, output and errors."""

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["hilum", *map(str, arguments)])
        with pytest.raises(SystemExit) as ending:
            main()
        captured = capsys.readouterr()
        return ending.value.code or 0, captured.out, captured.err

    return run


@pytest.fixture
def radiographs(phantom_folder):
    return sorted((phantom_folder / "test").rglob("*.png"))[:2]


def test_radiographs_become_pictures_a_document_and_a_page(
    hilum, binary, binary_path, radiographs, tmp_path
):
    out = tmp_path / "out"
    blank = tmp_path / "blank <b>.png"
    Image.fromarray(np.full((200, 200), 7, np.uint8)).save(blank)
    status, printed, errors = hilum(
        "explain", binary_path, *radiographs, blank, tmp_path / "gone*", "-o", out, "--json"
    )
    assert status == 2  # a pattern that matches nothing is asked wrongly
    assert "nothing matches" in errors
    assert not out.exists()
    asked = ["--method", "class-activation-map", "--method", "occlusion", "--method", "grad-cam++"]
    status, printed, errors = hilum(
        "explain", binary_path, *radiographs, blank, "-o", out, "--json", *asked,
        "--feature-maps", "blocks.2", "--filters",
    )  # fmt: skip
    assert status == 1  # the blank one was refused
    document = json.loads((out / "explanation.json").read_text())
    assert json.loads(printed) == document
    assert document["classifier_sha256"] == binary.file.sha256
    assert document["command"].startswith("hilum explain")
    assert document["rebuilt_difference"] < 1e-3
    assert [m["name"] for m in document["methods"]] == asked[1::2]
    assert [m["scale_from"] for m in document["methods"]] == [
        "fixed in the classifier", "highest of the run", "highest of the run",
    ]  # fmt: skip
    *good, bad = document["radiographs"]
    assert bad["status"] == "refused"
    assert "blank" in bad["reason"]
    for path, each in zip(radiographs, good, strict=True):
        assert each["sha256"] == read(path).provenance.sha256
        assert each["probability"] == pytest.approx(binary.read(path).probability, abs=0.02)
        assert [m["method"] for m in each["maps"]] == asked[1::2]
        for found in each["maps"]:
            assert (out / found["picture"]).is_file()
            if found["peak"]:
                assert found["highest"] > 0
                assert 0 <= found["peak"]["source_row"] < 256
    highest = max(each["maps"][1]["highest"] for each in good)
    assert document["methods"][1]["scale"] == pytest.approx(highest)
    named = {m["picture"] for each in good for m in each["maps"]}
    named |= {each["feature_maps"] for each in good} | {"filters.png"}
    assert {path.name for path in out.iterdir()} == named | {"explanation.json", "index.html"}
    for name in named:
        with pytest.raises(RadiographError, match="is a picture that hilum drew"):
            read(out / name)
    page = (out / "index.html").read_text()
    assert "research use only" in page
    assert "blank &lt;b&gt;" in page
    assert set(re.findall(r'src="([^:"]*):', page)) == {"data"}
    assert "<script" not in page


def test_the_default_is_the_networks_own_map_and_a_folder_in_use_is_kept(
    hilum, binary_path, radiographs, tmp_path
):
    status, printed, _ = hilum("explain", binary_path, radiographs[0], "-o", tmp_path / "out")
    assert status == 0
    document = json.loads((tmp_path / "out" / "explanation.json").read_text())
    assert [m["name"] for m in document["methods"]] == ["class-activation-map"]
    assert document["rebuilt_difference"] is None
    assert "research use only" in printed
    status, _, errors = hilum("explain", binary_path, radiographs[0], "-o", tmp_path / "out")
    assert status == 2
    assert "--force" in errors
    again = hilum("explain", binary_path, radiographs[0], "-o", tmp_path / "out", "--force")
    assert again[0] == 0


def test_layers_are_listed_without_radiographs(hilum, binary_path):
    status, printed, _ = hilum("explain", binary_path, "--layers", "--json")
    assert status == 0
    (default,) = (layer for layer in json.loads(printed) if layer["default"])
    assert default["name"] == "blocks.5"


def test_without_torch_its_methods_end_with_one_sentence(
    hilum, binary_path, radiographs, tmp_path, monkeypatch
):
    monkeypatch.delitem(sys.modules, "hilum.explanation.rebuild", raising=False)
    monkeypatch.setitem(sys.modules, "torch", None)
    status, _, errors = hilum(
        "explain", binary_path, radiographs[0], "-o", tmp_path / "out", "--method", "hirescam"
    )
    assert status == 2
    assert errors.strip().endswith("pip install 'hilum[train]'")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--method", "lime"], "there is no method 'lime'"),
        (["--finding", "viral"], "does not tell 'viral' apart"),
        (["--method", "grad-cam", "--layer", "conv9"], "no layer 'conv9' with maps"),
        (["--feature-maps", "conv9"], "no layer 'conv9' with maps"),
    ],
)
def test_what_is_asked_wrongly_is_said_before_anything_is_written(
    hilum, binary_path, radiographs, tmp_path, options, message
):
    out = tmp_path / "out"
    status, _, errors = hilum("explain", binary_path, radiographs[0], "-o", out, *options)
    assert status == 2
    assert message in errors
    assert not out.exists()


def test_a_run_needs_something_to_do_and_somewhere_to_put_it(hilum, binary_path, tmp_path):
    assert "name one with -o" in hilum("explain", binary_path, "--filters")[2]
    assert "nothing to explain" in hilum("explain", binary_path, "-o", tmp_path / "out")[2]


def test_a_trial_says_what_held(hilum, binary_path, phantom_folder, tmp_path):
    status, printed, _ = hilum(
        "explain", binary_path, "--trial", phantom_folder, "--number", 24, "--draws", 1,
        "-o", tmp_path,
    )  # fmt: skip
    assert status == 0
    assert "pointing" in printed
    [trial] = json.loads((tmp_path / "trial.json").read_text())["trials"]
    assert trial["method"] == "class-activation-map"
    assert trial["radiographs"] == 24
    assert trial["placement"] is not None
    assert "random_labels" in trial["missing"]


def test_a_trial_refuses_a_folder_without_phantoms(hilum, binary_path, tmp_path):
    (tmp_path / "empty").mkdir()
    status, _, errors = hilum(
        "explain", binary_path, "--trial", tmp_path / "empty", "-o", tmp_path / "out"
    )
    assert status == 2
    assert errors.startswith("error: ")


def test_a_trial_is_asked_rightly_or_refused_before_it_starts(
    hilum, binary_path, phantom_folder, tmp_path
):
    for wrong in (["--method", "rise", "--method", "magic"], ["--finding", "nonsense"]):
        status, _, errors = hilum(
            "explain", binary_path, "--trial", phantom_folder, *wrong, "-o", tmp_path / "out"
        )
        assert status == 2, wrong
        assert wrong[-1] in errors
    assert not (tmp_path / "out").exists()


def test_a_trial_on_a_test_part_is_an_opening_of_it(
    hilum, binary_path, phantom_cohort, phantom_cohort_file, tmp_path, monkeypatch
):
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "ledger"))
    status, _, _ = hilum(
        "explain", binary_path, "--trial", f"{phantom_cohort_file}:test", "--number", 12,
        "--draws", 0, "-o", tmp_path / "out",
    )  # fmt: skip
    assert status == 0
    document = json.loads((tmp_path / "out" / "trial.json").read_text())
    assert document["part"] == "test"
    assert document["test_openings"] == openings_of(phantom_cohort) == 1
