"""Reproducing recipes: trained and measured once, ranked by validation, failures told."""

import csv
import json
import re
import shutil
from contextlib import nullcontext
from pathlib import Path

import pytest
from typer.testing import CliRunner

from hilum.cli.app import app
from hilum.errors import CohortError, RadiographError, RecipeError, UsageError
from hilum.evaluation import openings_of
from hilum.imaging import read
from hilum.model import load_model_file
from hilum.training import load_recipe
from hilum.training.leaderboard import Leaderboard
from hilum.training.reproduce import Wishes, reproduce

SMALL = """
name = "{name}"
about = "Small."
kind = "staged"
task = "{task}"
{source}
[network]
name = "{network}"
weights = "{weights}"
size = {size}

[[stages]]
name = "all"
train = "all"
epochs = {epochs}
stopping = {{ patience = 3 }}

[operating_point]
aims = ["sensitivity>=0.95"]
"""
SOURCE = """
[source]
project = "900"
system = "a | b"
reported = "91 %"
"""


@pytest.fixture(autouse=True)
def no_hub(monkeypatch, tmp_path):
    """ImageNet weights cannot be had, wherever the tests run."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))


@pytest.fixture(scope="module")
def recipes(tmp_path_factory) -> dict[str, str]:
    """Recipes that train in a second, by name: three classes, and one without its weights."""
    folder = tmp_path_factory.mktemp("recipes")

    def write(name, **fields):
        path = folder / f"{name}.toml"
        path.write_text(SMALL.format(name=name, **fields))
        return str(path)

    return {
        "three": write(
            "three", task="three-class", network="cnn-9", weights="random", size=32, epochs=1,
            source=SOURCE,
        ),
        "large": write(
            "large", task="binary", network="mlp", weights="random", size=128, epochs=5, source="",
        ),
        "photos": write(
            "photos", task="binary", network="timm:test_resnet", weights="imagenet", size=64,
            epochs=1, source="",
        ),
    }  # fmt: skip


def run(names, cohort, out, *, tell=lambda _: None, **wishes) -> Leaderboard:
    return reproduce(
        names,
        cohort,
        out,
        Wishes(**wishes),
        command="hilum reproduce | here",
        stage=lambda _: nullcontext(lambda _done, _total: None),
        tell=tell,
    )


def rows_of(board: Leaderboard) -> dict:
    return {row.recipe: row for row in board.rows}


@pytest.fixture(scope="module")
def done(recipes, phantom_cohort, tmp_path_factory) -> tuple[Leaderboard, Path]:
    """One run of `instant`, a three-class recipe, and one that lacks its weights."""
    out = tmp_path_factory.mktemp("reproduced")
    with pytest.MonkeyPatch.context() as patch:
        base = tmp_path_factory.getbasetemp()
        patch.setenv("XDG_CACHE_HOME", str(base / "cache"))
        patch.setenv("XDG_DATA_HOME", str(base / "data"))
        patch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
        patch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(out / "hub"))
        names = ["instant", recipes["three"], recipes["photos"]]
        return run(names, phantom_cohort, out), out


@pytest.fixture
def copy(done, tmp_path) -> Path:
    """What that run left, to go on with."""
    return Path(shutil.copytree(done[1], tmp_path / "copy"))


def test_every_recipe_is_trained_and_measured_alike(done, phantom_cohort):
    board, out = done
    assert board.cohort_sha256 == phantom_cohort.digest()
    assert board.phantom
    assert not board.waiting
    assert board.opened_now == 2
    for name in ("instant", "three"):
        row = rows_of(board)[name]
        assert row.model_sha256 == load_model_file(out / name / "model.hilum").sha256
        assert row.radiographs_per_second > 0
        assert row.training_seconds > 0
        for part, measured in (("validation", row.validation), ("test", row.test)):
            metrics = json.loads((out / name / f"evidence-{part}" / "metrics.json").read_text())
            assert measured.figures["auc"].value == metrics["figures"]["auc"]["value"]
            assert measured.operating_point == "sensitivity-0.95"
            assert ("macro_auc" in measured.figures) == (name == "three")
    three, instant = rows_of(board)["three"], rows_of(board)["instant"]
    assert (three.reported, three.source) == ("91 %", "900: a | b")
    assert three.epochs == (1,)
    assert three.size == 32
    assert instant.head_only
    assert instant.parameters == 2 * 1281


def test_rows_stand_in_the_order_of_validation_and_failures_last(done):
    board, _ = done
    areas = [row.validation.figures["auc"].value for row in board.rows if row.validation]
    assert areas == sorted(areas, reverse=True)
    assert board.rows[-1].recipe == "photos"
    assert "weights of timm:test_resnet cannot be had" in board.rows[-1].failed
    assert board.rows[-1].validation is None


def test_json_csv_markdown_and_plot_say_the_same(done):
    board, out = done
    assert Leaderboard.model_validate_json((out / "leaderboard.json").read_text()) == board
    with (out / "leaderboard.csv").open() as file:
        table = list(csv.DictReader(file))
    assert [row["recipe"] for row in table] == [row.recipe for row in board.rows]
    assert float(table[0]["test_auc"]) == board.rows[0].test.figures["auc"].value
    text = (out / "leaderboard.md").read_text()
    assert text.startswith("`hilum reproduce | here`")
    assert "not a medical device" in text
    assert "drawn phantoms" in text.lower()
    with pytest.raises(RadiographError, match="hilum drew"):
        read(out / "leaderboard.png")


def test_markdown_tables_are_well_formed(done):
    _, out = done
    lines = (out / "leaderboard.md").read_text().splitlines()
    tables, cells = [], re.compile(r"(?<!\\)\|")
    for before, line in zip(["", *lines], lines, strict=False):
        if line.startswith("| "):
            if not before.startswith("| "):
                tables.append([])
            tables[-1].append(len(cells.split(line)))
    assert [len(table) for table in tables] == [2 + 3, 2 + 3]
    assert all(len(set(table)) == 1 for table in tables)


def test_a_second_run_neither_trains_nor_opens_the_test_part(done, recipes, phantom_cohort):
    before, out = done
    kept = {
        path: path.stat().st_mtime_ns
        for name in ("instant", "three")
        for path in (out / name).rglob("*")
        if path.is_file()
    }
    openings = openings_of(phantom_cohort)
    again = run(["instant", recipes["three"], recipes["photos"]], phantom_cohort, out)
    assert openings_of(phantom_cohort) == openings
    assert again.opened_now == 0
    assert {path: path.stat().st_mtime_ns for path in kept} == kept
    assert again.rows == before.rows


def test_an_interrupted_run_leaves_the_table_of_what_is_done(recipes, phantom_cohort, copy):
    def interrupt(line):
        if line.startswith("[2/2]"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run([recipes["three"], "instant"], phantom_cohort, copy, tell=interrupt, test=False)
    board = Leaderboard.model_validate_json((copy / "leaderboard.json").read_text())
    assert board.waiting == ("instant",)
    assert board.rows[0].validation is not None
    assert "still waiting" in (copy / "leaderboard.md").read_text()


def test_a_folder_with_another_classifier_is_kept_until_forced(done, recipes, phantom_cohort, copy):
    first = rows_of(done[0])["three"]
    changed = {"test": False, "settings": {"seed": 1}}
    kept = run([recipes["three"]], phantom_cohort, copy, **changed).rows[0]
    assert "holds a classifier of another recipe" in kept.failed
    assert load_model_file(copy / "three" / "model.hilum").sha256 == first.model_sha256
    forced = run([recipes["three"]], phantom_cohort, copy, force=True, **changed).rows[0]
    assert forced.failed is None
    assert forced.seed == 1
    assert forced.model_sha256 != first.model_sha256
    assert forced.validation != first.validation


def test_quick_is_small_short_apart_and_marked(recipes, phantom_cohort, tmp_path):
    board = run([recipes["large"]], phantom_cohort, tmp_path, quick=True, test=False)
    row = board.rows[0]
    assert board.quick
    assert row.quick
    assert row.size == 96
    assert row.epochs == (2,)
    folder = tmp_path / "quick"
    for name in ("leaderboard.md", "leaderboard.json", "large/model.hilum"):
        assert (folder / name).is_file()
    assert not (tmp_path / "large").exists()
    assert "large (quick)" in (folder / "leaderboard.md").read_text()
    trained = load_model_file(folder / "large" / "model.hilum").provenance.recipe
    assert trained["name"] == "large (quick)"
    assert trained["stages"][0]["stopping"] is None
    assert row.recipe_sha256 != load_recipe(recipes["large"]).digest()


def test_without_weights_the_path_is_proven_from_random_ones(recipes, phantom_cohort, tmp_path):
    openings = openings_of(phantom_cohort)
    board = run([recipes["photos"]], phantom_cohort, tmp_path, random_weights=True)
    row = board.rows[0]
    assert row.failed is None
    assert row.random_weights
    assert row.weights.startswith("random")
    assert "proves the path" in row.remark
    assert row.validation is not None
    assert row.test is None
    assert openings_of(phantom_cohort) == openings
    assert (tmp_path / "random-weights" / "photos" / "model.hilum").is_file()
    assert "photos (random weights)" in (tmp_path / "leaderboard.md").read_text()


def test_a_bug_in_one_recipe_does_not_stop_the_others(
    recipes, phantom_cohort, tmp_path, monkeypatch
):
    def broken(*_, **__):
        raise ZeroDivisionError

    monkeypatch.setattr("hilum.training.reproduce.train", broken)
    board = run([recipes["three"], "instant"], phantom_cohort, tmp_path)
    assert all("ZeroDivisionError in hilum itself" in row.failed for row in board.rows)
    assert "Traceback" in (tmp_path / "three" / "error.txt").read_text()


def test_what_no_recipe_could_survive_is_refused_at_once(recipes, phantom_cohort, tmp_path):
    import polars as pl

    with pytest.raises(RecipeError, match="there is no recipe 'nothing'"):
        run(["instant", "nothing"], phantom_cohort, tmp_path)
    with pytest.raises(UsageError, match="the same name"):
        run([recipes["three"], recipes["three"]], phantom_cohort, tmp_path)
    learning = phantom_cohort.where(pl.col("part") != "test")
    with pytest.raises(CohortError, match="no test part"):
        run(["instant"], learning, tmp_path)
    assert not any(tmp_path.iterdir())


def test_the_command_ends_with_1_where_a_recipe_failed(
    recipes, phantom_cohort, phantom_cohort_file, copy
):
    openings = openings_of(phantom_cohort)
    command = ["reproduce", "-c", str(phantom_cohort_file), "-o", str(copy), "--no-test"]
    ended = CliRunner().invoke(app, [*command, recipes["three"], recipes["photos"], "--json"])
    assert ended.exit_code == 1
    board = json.loads(ended.stdout)
    assert [row["recipe"] for row in board["rows"]] == ["three", "photos"]
    assert board["rows"][0]["test"] is None
    assert board["opened_now"] == 0
    ended = CliRunner().invoke(app, [*command, recipes["three"], "--set", "seed=0"])
    assert ended.exit_code == 0
    assert "three" in ended.stdout
    assert "research use only" in ended.stdout
    assert "opened 0 times by this command" in ended.stderr
    assert openings_of(phantom_cohort) == openings
