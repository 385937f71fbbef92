"""Several workers: they learn what one would, end together, and go on after a kill."""

import csv
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file
from typer.testing import CliRunner

from hilum.cli.app import app
from hilum.errors import HilumError
from hilum.model import load_model_file
from hilum.training import load_recipe, train
from hilum.training.cluster import processors_each
from hilum.training.workers import Workers, check_shares

# No dropout and no batch normalisation, so that workers share nothing but the batch. The last
# stage's batches are larger than the train part, whose 97 radiographs are shared unequally.
RECIPE = """
name = "shared"
about = "A small network without anything that depends on how a batch is shared."
kind = "staged"
task = "binary"
seed = 5

[network]
name = "cnn-9"
weights = "random"
size = 32
options = { dropout = 0.0, l2 = 1e-4 }

[[stages]]
name = "all"
train = "all"
epochs = 3
batch = 16
optimiser = { name = "sgd", learning_rate = 0.02, clip = 1.0 }

[[stages]]
name = "head"
train = "head"
epochs = 2
batch = 128
views = 2
keep = "last"
optimiser = { name = "sgd", learning_rate = 0.01 }

[loss]
balance = "class-weights"
label_smoothing = 0.05

[augmentation]
rotate = 10.0
shift = 0.1

[operating_point]
aims = ["youden"]
"""
TORCHRUN = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "-m", "hilum")
# Generous, as the machine that runs the tests may be busy; nothing waits for it to pass.
PATIENCE = 240


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("workers")
    (folder / "recipe.toml").write_text(RECIPE)
    return folder


@pytest.fixture(scope="module")
def run(place, phantom_cohort_file):
    """Starts `python LAUNCHER train RECIPE ... -o OUT OPTIONS` with caches of its own."""

    def start(launcher, out, *options, **environment) -> subprocess.Popen:
        where = {name: str(place / name) for name in ("XDG_CACHE_HOME", "XDG_DATA_HOME")}
        return subprocess.Popen(
            [sys.executable, *launcher, "train", str(place / "recipe.toml"),
             "-c", str(phantom_cohort_file), "-o", str(out), *options],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            env={**os.environ, **where, **environment},
        )  # fmt: skip

    return start


@pytest.fixture(scope="module")
def alone(place, phantom_cohort) -> Path:
    """What one process learns."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(place / "XDG_CACHE_HOME"))
        recipe = load_recipe(str(place / "recipe.toml"))
        train(recipe, phantom_cohort, place / "alone", command="test")
    return place / "alone"


@pytest.fixture(scope="module")
def together(place, run):
    """What two workers of torchrun learn, and what they print."""
    process = run(TORCHRUN, place / "together")
    out, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, err
    return place / "together", out, err


def weights(folder: Path) -> dict[str, np.ndarray]:
    return {
        f"{path.parent.name}:{name}": tensor
        for path in sorted(folder.glob("stages/*/weights.safetensors"))
        for name, tensor in load_file(path).items()
    }


def curves(folder: Path) -> list[dict[str, float]]:
    rows = []
    for path in sorted(folder.glob("stages/*/curves.csv")):
        with path.open() as file:
            rows += [{k: float(v) for k, v in row.items()} for row in csv.DictReader(file)]
    return rows


def assert_same(one: Path, other: Path, *, tolerance: float) -> None:
    assert curves(one)
    for ours, theirs in zip(curves(one), curves(other), strict=True):
        assert theirs == pytest.approx(ours, abs=10 * tolerance)
    ours, theirs = weights(one), weights(other)
    assert ours.keys() == theirs.keys()
    for name, tensor in ours.items():
        np.testing.assert_allclose(theirs[name], tensor, rtol=0, atol=tolerance, err_msg=name)


def test_two_workers_learn_what_one_does(alone, together):
    folder, _, _ = together
    assert_same(alone, folder, tolerance=1e-4)
    models = [load_model_file(f / "model.hilum") for f in (alone, folder)]
    assert [m.provenance.recipe["chosen"]["workers"] for m in models] == [1, 2]
    one, two = (m.evidence["figures"]["auc"]["value"] for m in models)
    assert two == pytest.approx(one, abs=1e-3)


def test_only_the_first_worker_speaks(together):
    _, out, err = together
    assert out.count("For research use only") == 1
    assert err.count("model.hilum") == 1
    assert "Warning" not in err


def test_a_killed_worker_ends_the_command_which_then_goes_on(place, run, together):
    out = place / "killed"
    command = ("-m", "hilum"), out, "--devices", "2"
    process = run(*command)
    wait_for(out / "stages" / "0-all" / "last.ckpt", process)
    os.kill(worker_of(process, rank=1), signal.SIGKILL)
    start = time.monotonic()
    _, err = process.communicate(timeout=PATIENCE)
    assert time.monotonic() - start < 60
    assert process.returncode == 2
    assert "worker 1 was ended by SIGKILL" in err
    assert "run the same command again" in err
    assert not (out / "model.hilum").exists()

    process = run(*command)
    _, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, err
    assert_same(together[0], out, tolerance=1e-6)


def test_an_error_that_all_workers_meet_is_told_once(place, run):
    process = run(TORCHRUN, place / "wrong", "--set", "stages.0.batch=15")
    _, err = process.communicate(timeout=PATIENCE)
    assert process.returncode != 0
    assert err.count("error: stage all: a batch of 15 cannot be shared by 2 workers") == 1
    assert not (place / "wrong").exists()


def test_ray_trains_a_network_with_batch_normalisation(place, phantom_cohort_file, monkeypatch):
    pytest.importorskip("ray", reason="needs the extra `scale`")
    monkeypatch.setenv("XDG_CACHE_HOME", str(place / "XDG_CACHE_HOME"))
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    options = ("--set", "network.name=cnn-double", "--ray-workers", "2")
    done = invoke(place, phantom_cohort_file, "ray", *options)
    assert done.exit_code == 0, done.output
    assert done.output.count("For research use only") == 1
    assert len(curves(place / "ray")) == 5
    model = load_model_file(place / "ray" / "model.hilum")
    assert model.provenance.recipe["chosen"]["workers"] == 2
    assert not (place / "ray" / "ray").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--devices", "3"), r"batch of 16 cannot be shared by 3 .* stages.0.batch=15"),
        (("--ray-workers", "3"), r"batch of 16 cannot be shared by 3"),
        (("--nodes", "2"), "set MASTER_ADDR"),
        (("--devices", "2", "--ray-workers", "2"), "--ray-workers alone"),
    ],
)
def test_what_cannot_be_shared_is_refused_before_work(
    place, phantom_cohort_file, monkeypatch, options, message
):
    monkeypatch.delenv("MASTER_ADDR", raising=False)
    done = invoke(place, phantom_cohort_file, "refused", *options)
    with pytest.raises(HilumError, match=message):
        raise done.exception
    assert not (place / "refused").exists()


def test_without_ray_the_extra_is_named(place, phantom_cohort_file, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    done = invoke(place, phantom_cohort_file, "refused", "--ray-workers", "2")
    with pytest.raises(HilumError, match=r"training on Ray needs .* 'hilum\[scale\]'"):
        raise done.exception


@pytest.mark.parametrize(
    ("machines", "workers", "each"), [([16], 2, 8), ([4, 16], 4, 4), ([7, 7], 3, 3), ([1, 1], 2, 1)]
)
def test_ray_workers_share_the_processors_of_all_machines(machines, workers, each):
    assert processors_each(machines, workers) == each


def test_more_ray_workers_than_processors_are_refused():
    with pytest.raises(HilumError, match="2 processors for 3 workers"):
        processors_each([1, 1], 3)


def test_a_recipe_without_stages_trains_in_one_process():
    with pytest.raises(HilumError, match="instant trains in one process"):
        check_shares(load_recipe("instant"), 2)


def test_shares_of_a_batch_make_it_up():
    assert [Workers(rank, 3).share_of(8) for rank in range(3)] == [3, 3, 2]


def invoke(place: Path, cohort: Path, out: str, *options: str):
    arguments = ("train", place / "recipe.toml", "-c", cohort, "-o", place / out, *options)
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def wait_for(path: Path, process: subprocess.Popen) -> None:
    end = time.monotonic() + PATIENCE
    while not path.exists():
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < end
        time.sleep(0.005)


def worker_of(process: subprocess.Popen, *, rank: int) -> int:
    """Return the process id of a worker that a command started."""
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    wanted = f"RANK={rank}".encode()
    return next(
        int(pid) for pid in children
        if wanted in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    )  # fmt: skip
