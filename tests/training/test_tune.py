"""Tuning: the train part alone is read, a study goes on where it stopped, and the best recipe loads."""

import csv
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import replace
from pathlib import Path
from urllib.parse import quote

import optuna
import pytest
from optuna.trial import TrialState
from typer.testing import CliRunner

from hilum.cli.app import app
from hilum.errors import CohortError, MissingExtraError, RecipeError, UsageError
from hilum.findings import Part
from hilum.training import _tune_jobs, _tune_study, _tune_worker, load_recipe, train
from hilum.training.recipe import StagedRecipe
from hilum.training.staged import StageReport
from hilum.training.tune import TuneOptions, shown_storage, tune

RECIPE = """
name = "tiny"
about = "Two dense layers on 32 x 32 pixels, for tests."
kind = "staged"
task = "binary"
network = { name = "mlp", weights = "random", size = 32 }
stages = [{ name = "all", train = "all", epochs = 1, batch = 16, augment = false }]
operating_point = { aims = ["youden"] }

[search]
"stages.0.optimiser.learning_rate" = { low = 1e-4, high = 1e-2, log = true }
"stages.0.batch" = { low = 8, high = 24, step = 8 }
"network.options.dropout" = { low = 0.0, high = 0.5, step = 0.1 }
"network.options.activation" = { choices = ["relu", "elu"] }
"""
RATE, BATCH = "stages.0.optimiser.learning_rate", "stages.0.batch"


@pytest.fixture
def recipe_file(tmp_path) -> Path:
    path = tmp_path / "tiny.toml"
    path.write_text(RECIPE)
    return path


@pytest.fixture
def recipe(recipe_file) -> StagedRecipe:
    return load_recipe(str(recipe_file))


@pytest.fixture
def quick_training(monkeypatch):
    """Replace training by a figure that depends on the settings, where only the study matters."""

    def train_stages(network, recipe, learning, validation, folder, *, watch, **_):
        figures = {"auc": recipe.stages[0].optimiser.learning_rate * 90, "loss": 1.0, "accuracy": 0}
        for epoch in range(recipe.stages[0].epochs):
            watch("all", epoch, figures)
        return [StageReport("all", 1, 1, figures, 0.0, 1, 0)]

    monkeypatch.setattr(_tune_worker, "train_stages", train_stages)


def search(recipe, cohort, out, trials, **options):
    return tune(recipe, cohort, out, TuneOptions(trials=trials, folds=2, **options), command="test")


def rows(out: Path) -> list[dict[str, str]]:
    return list(csv.DictReader((out / "trials.csv").read_text().splitlines()))


def study_of(out: Path, name: str = "tiny") -> optuna.Study:
    return optuna.load_study(study_name=name, storage=f"sqlite:///{out / 'study.db'}")


def with_search(recipe: StagedRecipe, fields) -> StagedRecipe:
    return StagedRecipe.model_validate({**recipe.model_dump(mode="json"), "search": fields})


def test_the_best_recipe_loads_and_trains_and_the_other_parts_are_never_read(
    recipe_file, phantom_cohort, tmp_path, monkeypatch
):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    root, out = tmp_path / "train-files", tmp_path / "out"
    for path in phantom_cohort.part(Part.TRAIN).table["path"]:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(phantom_cohort.root / path, root / path)
    alone = replace(phantom_cohort, root=root)
    with pytest.raises(CohortError):
        train(load_recipe("instant"), alone, tmp_path / "refused", command="test")
    alone.save(tmp_path / "cohort.parquet")
    arguments = ["tune", str(recipe_file), "-c", str(tmp_path / "cohort.parquet"), "-o", str(out)]
    ran = CliRunner().invoke(app, [*arguments, "--trials", "3", "--folds", "2"])
    assert ran.exit_code == 0, ran.output
    assert "DRAWN PHANTOMS, 3 best trials by auc" in " ".join(ran.stdout.split())
    assert "optimistic" in ran.stderr

    best = load_recipe(str(out / "best.toml"))
    told = json.loads((out / "tune.json").read_text())
    assert best.stages[0].optimiser.learning_rate == told["best"]["settings"][RATE]
    assert best.name == "tiny-best"
    assert told["best"]["value"] == max(float(row["auc"]) for row in rows(out))
    assert told["best"]["value"] == pytest.approx(sum(told["best"]["folds"]) / 2)
    assert told["trials"]["finished"] == 3
    assert told["cohort_sha256"] == phantom_cohort.digest()
    assert set(json.loads((out / "importance.json").read_text())["importance"]) == set(best.search)
    names = {path.name for path in out.iterdir()}
    assert names == {
        "best.toml", "history.png", "importance.json", "importance.png", "study.db", "trials.csv",
        "tune.json",
    }  # fmt: skip
    result = train(best, phantom_cohort, tmp_path / "trained", command="test")
    assert result.path.is_file()


def test_stages_before_the_last_may_be_judged_by_another_figure(recipe, phantom_cohort, tmp_path):
    first = {"name": "first", "train": "all", "epochs": 1, "batch": 16}
    last = {**first, "name": "all", "monitor": "selection"}
    asked = recipe.changed({"stages": [first, last]})
    search(asked, phantom_cohort, tmp_path / "study", 1)
    assert float(rows(tmp_path / "study")[0]["selection"]) > 0


def test_a_study_taken_up_goes_on_as_if_it_had_never_stopped(
    recipe, phantom_cohort, tmp_path, quick_training
):
    once = search(recipe, phantom_cohort, tmp_path / "once", 11)
    assert search(recipe, phantom_cohort, tmp_path / "twice", 2).counts["finished"] == 2
    twice = search(recipe, phantom_cohort, tmp_path / "twice", 11)
    assert once.trials == twice.trials
    assert len({row[RATE] for row in rows(tmp_path / "twice")}) == 11
    assert {type(trial.settings[BATCH]) for trial in once.trials} == {int}
    assert load_recipe(str(twice.path)) == twice.recipe
    # What is there is enough: nothing more is tried.
    search(recipe, phantom_cohort, tmp_path / "twice", 5)
    assert len(rows(tmp_path / "twice")) == 11


def test_an_interrupted_search_keeps_its_trials_and_tries_the_broken_one_again(
    recipe, phantom_cohort, tmp_path, quick_training, monkeypatch
):
    whole = search(recipe, phantom_cohort, tmp_path / "whole", 4)
    real, calls = _tune_worker.train_stages, []

    def interrupted(*args, **kwargs):
        calls.append(1)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return real(*args, **kwargs)

    monkeypatch.setattr(_tune_worker, "train_stages", interrupted)
    out = tmp_path / "out"
    with pytest.raises(KeyboardInterrupt):
        search(recipe, phantom_cohort, out, 4)
    assert [row["state"] for row in rows(out)] == ["complete", "fail", "waiting"]
    assert load_recipe(str(out / "best.toml")).name == "tiny-best"
    again = search(recipe, phantom_cohort, out, 4)
    assert [t.settings for t in again.trials] == [t.settings for t in whole.trials]
    assert not (out / ".hilum-scratch").exists()


def test_another_recipe_cohort_or_folds_need_another_study(
    recipe, phantom_cohort, tmp_path, quick_training
):
    out, other = tmp_path / "out", tmp_path / "other"
    search(recipe, phantom_cohort, out, 1)
    shutil.copytree(out, other)
    (other / "tune.json").unlink()
    fewer = phantom_cohort.where(phantom_cohort.table["part"] != "test")
    for changed, cohort in ((recipe.changed(seed=1), phantom_cohort), (recipe, fewer)):
        with pytest.raises(UsageError, match="holds the results of another study, recipe, cohort"):
            search(changed, cohort, out, 1)
        with pytest.raises(UsageError, match="another name with --study"):
            search(changed, cohort, other, 1)
    assert search(recipe, fewer, other, 2, study="fewer").counts["finished"] == 2
    assert search(recipe.changed(seed=1), fewer, other, 1, force=True).counts["finished"] == 1


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("instant", "tune a recipe that is trained in stages"),
        ("001-mlp", r"declares nothing to search; add a table \[search\]"),
    ],
)
def test_recipes_without_a_search_are_refused(name, message, phantom_cohort, tmp_path):
    with pytest.raises(RecipeError, match=message):
        search(load_recipe(name), phantom_cohort, tmp_path, 1)


@pytest.mark.parametrize(
    ("path", "message"),
    [("seed", "seed cannot be searched"), (BATCH, "batch takes whole numbers")],
)
def test_fields_that_cannot_be_searched_so_are_refused(
    recipe, path, message, phantom_cohort, tmp_path
):
    changed = with_search(recipe, {path: {"low": 2, "high": 8.5}})
    with pytest.raises(RecipeError, match=message):
        search(changed, phantom_cohort, tmp_path, 1)


def test_a_trial_worse_than_the_median_is_pruned_inside_its_training(
    recipe, phantom_cohort, tmp_path
):
    recipe = recipe.changed({"stages.0.epochs": 4, RATE: 1e-9})
    recipe = with_search(recipe, {"network.options.dropout": {"low": 0.0, "high": 0.5}})
    search(recipe.changed({"stages.0.epochs": 4}), phantom_cohort, tmp_path, 1)
    study = study_of(tmp_path)
    for _ in range(5):
        study.add_trial(
            optuna.create_trial(
                value=1.0,
                params={"network.options.dropout": 0.1},
                distributions=study.trials[0].distributions,
                intermediate_values=dict.fromkeys(range(4), 1.0),
                user_attrs={"folds": [1.0, 1.0]},
            )
        )
    result = search(recipe, phantom_cohort, tmp_path, 7)
    assert result.counts["pruned"] == 1
    assert rows(tmp_path)[6]["reason"].endswith("at fold 1, stage all, epoch 3")
    assert not (tmp_path / ".hilum-scratch").exists()


def test_what_diverges_or_cannot_be_built_is_pruned_with_its_reason(
    recipe, phantom_cohort, tmp_path
):
    recipe = recipe.changed({"stages.0.optimiser.name": "sgd", "stages.0.epochs": 3, BATCH: 2})
    diverges = with_search(recipe, {RATE: {"low": 1e30, "high": 1e35}})
    result = search(diverges, phantom_cohort, tmp_path / "a", 1)
    assert result.recipe is None
    assert "training diverged in epoch" in rows(tmp_path / "a")[0]["reason"]
    told = json.loads((tmp_path / "a" / "importance.json").read_text())
    assert told == {"importance": None, "reason": "fewer than two trials are finished"}
    wrong = with_search(recipe, {"stages.0.train": {"choices": ["last-blocks:77", "tail"]}})
    assert search(wrong, phantom_cohort, tmp_path / "b", 4).counts["pruned"] == 4
    reasons = {row["reason"] for row in rows(tmp_path / "b")}
    assert any('must be "head", "all"' in reason for reason in reasons)


def test_a_worker_that_others_gave_up_goes_on_with_the_next_trial(
    recipe, phantom_cohort, tmp_path, quick_training, monkeypatch
):
    real, calls = _tune_worker.train_stages, []

    def given_up(*args, watch, **kwargs):
        calls.append(1)
        if len(calls) == 1:
            study = study_of(tmp_path)
            trial = next(t for t in study.trials if t.state is TrialState.RUNNING)
            study._storage.set_trial_state_values(trial._trial_id, TrialState.FAIL)
        return real(*args, watch=watch, **kwargs)

    monkeypatch.setattr(_tune_worker, "train_stages", given_up)
    result = search(recipe, phantom_cohort, tmp_path, 2)
    assert (result.counts["finished"], result.counts["failed"]) == (2, 1)


def test_two_workers_share_a_study_and_one_takes_over_what_a_killed_one_leaves(
    recipe, phantom_cohort, tmp_path
):
    recipe = recipe.changed({"stages.0.epochs": 2})
    killed: list[int] = []

    def kill_the_first_at_work():
        while not list(tmp_path.glob(".hilum-scratch/*")):
            time.sleep(0.05)
        running = (t for t in study_of(tmp_path).trials if t.state is TrialState.RUNNING)
        trial = next(t for t in running if "worker" in t.user_attrs)
        killed.append(trial.number)
        os.kill(int(trial.user_attrs["worker"].split(":")[1]), signal.SIGKILL)

    thread = threading.Thread(target=kill_the_first_at_work, daemon=True)
    thread.start()
    result = search(recipe, phantom_cohort, tmp_path, 2, jobs=2, heartbeat=1)
    thread.join()
    assert (result.counts["finished"], result.counts["failed"]) == (2, 1)
    assert result.counts["running"] == result.counts["waiting"] == 0
    lost = rows(tmp_path)[killed[0]]
    assert lost["reason"] == "its worker was killed"
    assert float(lost[RATE]) in {trial.settings[RATE] for trial in result.trials}
    assert len({trial.settings[RATE] for trial in result.trials}) == 2


@pytest.fixture
def postgres():
    """A server of its own on this machine, with a password that URLs must quote."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    root = os.geteuid() == 0
    if not found:
        pytest.skip("PostgreSQL's server is not installed (/usr/lib/postgresql/*/bin/initdb)")
    if root and not shutil.which("runuser"):
        pytest.skip("PostgreSQL's server does not run as root, and there is no runuser")
    pytest.importorskip("psycopg")
    user, binaries = "postgres" if root else None, found[-1].parent
    secret = "p{w}@1%/"
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]

    def call(program, *arguments):
        command = [str(binaries / program), *arguments]
        prefix = ["runuser", "-u", user, "--"] if user else []
        subprocess.run([*prefix, *command], check=True, capture_output=True, cwd="/")

    # Not below pytest's own folder, which another user may not enter.
    with tempfile.TemporaryDirectory(prefix="hilum-pg-") as folder:
        (Path(folder) / "password").write_text(secret)
        if user:
            shutil.chown(folder, user)
            shutil.chown(Path(folder) / "password", user)
        data = f"{folder}/data"
        call("initdb", "-D", data, "-U", "hilum", "-A", "scram-sha-256", f"--pwfile={folder}/password", "-N")  # fmt: skip
        options = f"-p {port} -h 127.0.0.1 -k {folder} -F"
        call("pg_ctl", "-D", data, "-o", options, "-l", f"{folder}/log", "-w", "start")
        try:
            yield f"postgresql://hilum:{quote(secret, safe='')}@127.0.0.1:{port}/postgres", secret
        finally:
            call("pg_ctl", "-D", data, "-m", "immediate", "stop")


def test_machines_share_a_study_in_postgresql_and_its_password_is_never_written(
    recipe, recipe_file, phantom_cohort, phantom_cohort_file, tmp_path, quick_training, postgres,
    monkeypatch,
):  # fmt: skip
    url, secret = postgres
    options = {"storage": url, "heartbeat": 1}
    first = search(recipe, phantom_cohort, tmp_path / "first", 2, **options)
    # A machine that asked for a trial and died.
    full = url.replace("postgresql:", "postgresql+psycopg:")
    gone = optuna.load_study(study_name="tiny", storage=full).ask()
    with _tune_study.quiet():
        storage = optuna.storages.RDBStorage(full, heartbeat_interval=1)
    storage.record_heartbeat(gone._trial_id)
    second = search(recipe, phantom_cohort, tmp_path / "second", 4, **options)
    assert second.counts["finished"] == 4
    assert second.counts["failed"] == 1
    assert {t.number for t in first.trials} < {t.number for t in second.trials}

    third = tmp_path / "third"
    typed = ["tune", str(recipe_file), "-c", str(phantom_cohort_file), "-o", str(third)]
    typed += ["--folds", "2", "--trials", "5", "--json", f"--storage={url}"]
    monkeypatch.setattr(sys, "argv", ["hilum", *typed])
    ran = CliRunner().invoke(app, typed)
    assert json.loads(ran.stdout)["counts"]["finished"] == 5
    wrong = url.replace("hilum:", "nobody:")
    with pytest.raises(UsageError, match=r"postgresql://nobody@127\.0\.0\.1.*password") as refused:
        search(recipe, phantom_cohort, tmp_path / "wrong", 1, storage=wrong)
    said = [str(refused.value), ran.output, *(
        path.read_text(errors="replace") for path in tmp_path.rglob("*") if path.is_file()
    )]  # fmt: skip
    for password in (secret, quote(secret, safe="")):
        assert not any(password in text for text in said)
    assert "--storage=postgresql://hilum@127.0.0.1" in (third / "tune.json").read_text()


def test_storages_are_shown_without_their_password():
    shown = shown_storage("postgres://ann:secret@db.example:5433/studies?sslmode=require")
    assert shown == "postgresql://ann@db.example:5433/studies"
    for wrong in ("mysql://a:secret@b/c", "secret", "postgresql://ann:secret@db:port/x"):
        with pytest.raises(UsageError, match="--storage takes no such URL") as error:
            shown_storage(wrong)
        assert "secret" not in str(error.value)


def test_tuning_on_ray_without_ray_names_the_extra(recipe, phantom_cohort, tmp_path, monkeypatch):
    def absent(name):
        raise ModuleNotFoundError(name)

    monkeypatch.setattr(_tune_jobs, "import_module", absent)
    with pytest.raises(MissingExtraError, match=r"hilum\[scale\]"):
        search(recipe, phantom_cohort, tmp_path, 1, ray=True)


def test_ray_runs_the_same_workers(recipe, phantom_cohort, tmp_path):
    pytest.importorskip("ray", reason="Ray is not installed: pip install 'hilum[scale]'")
    result = search(recipe, phantom_cohort, tmp_path, 1, ray=True)
    assert result.counts["finished"] == 1
