"""The installed command: help, exit statuses, JSON, and no traceback for a user's mistake."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest

from hilum._version import __version__

HILUM = Path(sys.executable).with_name("hilum")


def hilum(*arguments, **options) -> subprocess.CompletedProcess:
    environment = {**os.environ, **options.pop("env", {})}
    return subprocess.run(
        [HILUM, *map(str, arguments)],
        capture_output=True,
        text=True,
        env=environment,
        check=False,
        timeout=300,
        **options,
    )


COMMANDS = [
    (), ("demo",), ("cohort",), ("cohort", "build"), ("cohort", "split"), ("cohort", "show"),
    ("cohort", "audit"), ("cohort", "describe"), ("cohort", "fetch"), ("cohort", "phantom"), ("train",), ("evaluate",),
    ("screen",), ("model",), ("model", "show"), ("model", "verify"), ("recipe",),
    ("recipe", "list"), ("recipe", "show"), ("recipe", "new"), ("recipe", "sheet"), ("tune",),
    ("reproduce",), ("compare",), ("explain",),
]  # fmt: skip


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(command):
    done = hilum(*command, "--help")
    assert done.returncode == 0
    assert "Usage:" in done.stdout


def test_the_version_is_the_packages():
    assert hilum("--version").stdout.strip() == f"hilum {__version__}"


def test_help_starts_without_heavy_imports():
    code = (
        "import sys; import hilum.cli.app;"
        "heavy = {'torch', 'numpy', 'polars', 'openvino', 'sklearn', 'matplotlib', 'pydicom'};"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("screen", "x.png"), "model"),
        (("screen", "x.png", "-m", "none.hilum"), "none.hilum cannot be read"),
        (("train", "nothing", "-c", "c", "-o", "o"), "there is no recipe 'nothing'"),
        (("train", "instant", "-c", "none.parquet", "-o", "o"), "there is no cohort none.parquet"),
        (("cohort", "build", "nowhere", "-o", "c.parquet"), "nowhere is no folder"),
        (("cohort", "show", "none.parquet"), "there is no cohort"),
        (("cohort", "fetch", "imagenet"), "imagenet"),
        (("model", "show", "none.hilum"), "cannot be read"),
        (("evaluate", "none.hilum", "-c", "c.parquet"), "there is no cohort"),
        (("screen", "-", "-m", "/dev/zero"), "is no file"),
        (("cohort", "build", ".", "-o", "labels.csv"), "end in .parquet"),
        (("cohort", "build", ".", "-o", "c.parquet", "--column", "path=x"), "CSV table"),
        (("cohort", "split", "c", "-o", "d.parquet", "--folds", "5", "--all"), "neither"),
        (("model", "show", "[/b]/model.hilum"), "cannot be read"),
        (("nonsense",), "nonsense"),
    ],
)
def test_a_mistake_is_one_sentence_and_status_2(tmp_path, arguments, message):
    done = hilum(*arguments, cwd=tmp_path)
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert not list(tmp_path.iterdir())


def test_the_main_job_by_commands(phantom_folder, tmp_path, monkeypatch):
    """Folder to classifier to report to readings, each by one command."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))  # a ledger of its own
    cohort, run, report = tmp_path / "c.parquet", tmp_path / "run", tmp_path / "report"
    built = hilum("cohort", "build", phantom_folder, "-o", cohort, "--validation", "0.3", "--json")
    assert built.returncode == 0, built.stderr
    assert json.loads(built.stdout)["phantom"]
    assert hilum("cohort", "audit", cohort).returncode == 0
    trained = hilum(
        "train", "instant", "-c", cohort, "-o", run, "--aim", "probability>=0.05", "--json"
    )
    assert trained.returncode == 0, trained.stderr
    assert json.loads(trained.stdout)["evidence"]["part"] == "validation"
    model = run / "model.hilum"
    assert hilum("model", "verify", model).returncode == 0
    shown = json.loads(hilum("model", "show", model, "--json").stdout)
    assert [p["threshold"] for p in shown["operating_points"]] == [0.05]
    for opening in (1, 2):
        evaluated = hilum("evaluate", model, "-c", cohort, "-o", report, "--json", "--force")
        assert evaluated.returncode == 0, evaluated.stderr
        assert json.loads(evaluated.stdout)["test_openings"] == opening
    assert "research use only" in (report / "report.html").read_text()
    assert json.loads((report / "metrics.json").read_text())["part"] == "test"
    readings = tmp_path / "readings.parquet"
    screened = hilum(
        "screen",
        phantom_folder / "test",
        "-m",
        model,
        "-o",
        readings,
        "--overlays",
        tmp_path / "png",
    )
    assert screened.returncode == 0, screened.stderr
    table = pl.read_parquet(readings)
    files = list((phantom_folder / "test").rglob("*.png"))
    assert table.height == len(files)
    assert len(list((tmp_path / "png").glob("*.png"))) == len(files)
    assert set(table["decision"]) <= {"refer", "do not refer"}


def test_a_bad_file_gives_status_1_and_its_reason(model_path, tmp_path):
    (tmp_path / "bad.png").write_text("this is text")
    done = hilum("screen", tmp_path, "-m", model_path, "--json")
    assert done.returncode == 1
    (row,) = map(json.loads, done.stdout.splitlines())
    assert row["status"] == "unreadable"
    assert row["reason"]


def test_a_folder_without_radiographs_says_so(model_path, tmp_path):
    done = hilum("screen", tmp_path, "-m", model_path)
    assert done.returncode == 1
    assert "nothing to read" in done.stderr


def test_the_model_can_come_from_the_environment(model_path, phantom_folder):
    path = next((phantom_folder / "test").rglob("*.png"))
    done = hilum("screen", path, "--json", env={"HILUM_MODEL": str(model_path)})
    assert done.returncode == 0
    assert json.loads(done.stdout)["status"] == "read"


def test_a_leaky_cohort_fails_its_audit(phantom_cohort, tmp_path):
    table = phantom_cohort.table.with_columns(patient=pl.lit("one"))
    path = tmp_path / "leaky.parquet"
    type(phantom_cohort)(table, phantom_cohort.root, "leaky", True, "", {}).save(path)
    done = hilum("cohort", "audit", path)
    assert done.returncode == 1
    assert "SERIOUS" in done.stdout
    refused = hilum("train", "instant", "-c", path, "-o", tmp_path / "run")
    assert refused.returncode == 2
    assert "more than one of" in refused.stderr


def test_an_interrupted_screening_leaves_what_was_done(model_path, phantom_folder, tmp_path):
    files = [str(path) for path in (phantom_folder / "test").rglob("*.png")]
    readings = tmp_path / "readings.csv"
    process = subprocess.Popen(
        [HILUM, "screen", "-", "-m", model_path, "-o", readings],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    process.stdin.write("\n".join((files * 100)[:1000]) + "\n")
    process.stdin.flush()  # left open: the list has no end, so only Ctrl-C can stop it
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        part = tmp_path / "readings.csv.part"
        if part.exists() and len(part.read_text().splitlines()) > 100:
            break
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    error = process.communicate(timeout=60)[1]
    assert process.returncode == 130
    assert "Traceback" not in error
    assert "interrupted" in error
    rows = pl.read_csv(readings)
    assert rows.height >= 100  # the lines counted above include the header
    assert rows["probability"].null_count() == 0


def test_overlays_of_another_run_are_not_replaced(model_path, phantom_folder, tmp_path):
    path = next((phantom_folder / "test").rglob("*.png"))
    first = hilum("screen", path, "-m", model_path, "--overlays", tmp_path / "maps")
    assert first.returncode == 0
    again = hilum("screen", path, "-m", model_path, "--overlays", tmp_path / "maps")
    assert again.returncode == 2
    assert "is not empty" in again.stderr
    forced = hilum("screen", path, "-m", model_path, "--overlays", tmp_path / "maps", "--force")
    assert forced.returncode == 0


def test_the_name_of_a_cohort_does_not_choose_the_folder(phantom_cohort, model_path, tmp_path):
    model = tmp_path / "run" / "model.hilum"
    model.parent.mkdir()
    model.write_bytes(model_path.read_bytes())
    cohort = tmp_path / "c.parquet"
    replace(phantom_cohort, name="../../out").save(cohort)
    done = hilum("evaluate", model, "-c", cohort, "--part", "validation")
    assert done.returncode == 0, done.stderr
    assert [path.name for path in model.parent.iterdir() if path.is_dir()] == [
        "evidence-_out-validation"
    ]


def test_classifiers_are_compared_by_the_names_that_tell_them_apart(
    model_path, three_class_model_path, phantom_cohort_file, tmp_path
):
    out = tmp_path / "comparison"
    arguments = ["compare", model_path, three_class_model_path, "-c", phantom_cohort_file]
    done = hilum(*arguments, "-o", out, "--json")
    assert done.returncode == 0, done.stderr
    names = [each["name"] for each in json.loads(done.stdout)["contenders"]]
    assert names == [model_path.parent.name, three_class_model_path.parent.name]
    again = hilum(*arguments, "-o", out)
    assert again.returncode == 2
    assert "--force" in again.stderr
    alone = hilum(
        "compare", model_path, model_path, "-c", phantom_cohort_file, "-o", tmp_path / "x"
    )
    assert alone.returncode == 2
    assert "named twice" in alone.stderr


def test_an_audit_without_the_files_still_tells_what_the_table_tells(
    phantom_cohort, tmp_path, phantom_folder
):
    path = tmp_path / "moved.parquet"
    replace(phantom_cohort, root=tmp_path / "gone").save(path)
    done = hilum("cohort", "audit", path, env={"XDG_CACHE_HOME": str(tmp_path / "cache")})
    assert done.returncode == 2
    assert "patients in two parts" in done.stdout
    assert "--root" in done.stderr
    assert "--quick" in done.stderr
    assert hilum("cohort", "audit", path, "--quick").returncode == 0
    found = hilum("cohort", "audit", path, "--root", phantom_folder)
    assert found.returncode == 0
    assert "shortcuts" in found.stdout
