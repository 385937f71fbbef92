"""Training in stages: what it promises about freezing, caching, interruption and repetition."""

import json
import shutil
import signal
import subprocess
import sys
import time
from collections import namedtuple
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from safetensors.numpy import load_file

from hilum.cohort.pixels import cached_pixels
from hilum.errors import CohortError, UsageError
from hilum.findings import Part
from hilum.model import load
from hilum.networks.weights import build_network
from hilum.training import load_recipe, train
from hilum.training.balance import class_weights, drawing_chance
from hilum.training.batches import Examples, derived_seed, training_loader, validation_loader
from hilum.training.figures import validation_figures
from hilum.training.staged import Radiographs, train_stages
from hilum.training.workers import Workers

RECIPE = """
name = "small"
about = "A small network with everything that has state: dropout, average, mixing, stopping."
kind = "staged"
task = "binary"
seed = 3

[network]
name = "cnn-double"
weights = "random"
size = 32
options = { width = 0.5, dropout = 0.2, l2 = 1e-4 }

[[stages]]
name = "head"
train = "head"
epochs = 2
batch = 16
views = 2
optimiser = { name = "sgd", learning_rate = 0.01 }

[[stages]]
name = "last"
train = "last-blocks:2"
epochs = 2
batch = 16
optimiser = { name = "rmsprop", learning_rate = 1e-4, clip = 1.0 }

[[stages]]
name = "all"
train = "all"
epochs = 5
batch = 16
monitor = "loss"
stopping = { patience = 3 }
optimiser = { learning_rate = 1e-3, weight_decay = 0.01, layer_decay = 0.8, schedule = "cosine", warm_up = 0.5, average = 0.9 }

[loss]
balance = "sampler"
label_smoothing = 0.05
mixup = 0.2

[augmentation]
rotate = 10
noise = 0.02

[operating_point]
aims = ["sensitivity>=0.95", "youden"]
"""


def silent(_):
    return nullcontext(lambda _done, _total: None)


@pytest.fixture(scope="module")
def recipe_file(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("recipe") / "small.toml"
    path.write_text(RECIPE)
    return path


@pytest.fixture(scope="module")
def recipe(recipe_file):
    return load_recipe(str(recipe_file))


@pytest.fixture(scope="module")
def trained(recipe, phantom_cohort, tmp_path_factory) -> Path:
    """The folder of an uninterrupted training."""
    out = tmp_path_factory.mktemp("whole")
    train(recipe, phantom_cohort, out, command="test")
    return out


def final_weights(folder: Path) -> dict[str, np.ndarray]:
    return load_file(sorted((folder / "stages").iterdir())[-1] / "weights.safetensors")


def equal(one: Path, other: Path) -> bool:
    a, b = final_weights(one), final_weights(other)
    return a.keys() == b.keys() and all(np.array_equal(a[name], b[name]) for name in a)


def test_a_training_leaves_a_classifier_with_curves_and_logs(trained, recipe):
    model = load(trained / "model.hilum")
    chosen = model.file.provenance.recipe["chosen"]
    assert [stage["name"] for stage in chosen["stages"]] == ["head", "last", "all"]
    assert chosen["parameters"] > 10_000
    assert model.file.provenance.network == "cnn-double"
    for stage in chosen["stages"]:
        folder = next((trained / "stages").glob(f"*-{stage['name']}"))
        curves = pl.read_csv(folder / "curves.csv")
        assert curves.height == stage["epochs"]
        assert {"train_loss", "loss", "auc", "accuracy", "learning_rate"} <= set(curves.columns)
        assert (folder / "curves.png").stat().st_size > 5_000
        assert not list(folder.glob("*.ckpt*"))
        assert stage["figures"]["auc"] == pytest.approx(curves["auc"][stage["kept_epoch"] - 1])
    assert len(list((trained / "tensorboard").rglob("events.out.tfevents.*"))) == 3


def test_the_classifier_reads_as_the_network_was_validated(trained):
    """What ships is ONNX in another arithmetic; it must be the network that training measured."""
    evidence = json.loads((trained / "recipe.json").read_text())
    assert evidence["name"] == "small"
    file = load(trained / "model.hilum").file
    kept = file.provenance.recipe["chosen"]["stages"][-1]["figures"]["auc"]
    assert file.evidence["figures"]["auc"]["value"] == pytest.approx(kept, abs=0.01)


def test_the_same_seed_gives_the_same_weights_and_another_seed_others(
    trained, recipe, phantom_cohort, tmp_path
):
    train(recipe, phantom_cohort, tmp_path / "again", command="test")
    assert equal(trained, tmp_path / "again")
    short = {"stages.0.epochs": 1, "stages.1.epochs": 1, "stages.2.epochs": 1}
    train(recipe.changed(short, seed=4), phantom_cohort, tmp_path / "other", command="test")
    assert not equal(trained, tmp_path / "other")


def test_a_killed_training_goes_on_to_the_same_result(
    trained, recipe_file, phantom_cohort_file, tmp_path
):
    out = tmp_path / "run"
    command = [sys.executable, "-m", "hilum", "train", str(recipe_file)]
    command += ["--cohort", str(phantom_cohort_file), "--output", str(out)]
    log = (tmp_path / "log").open("wb")
    running = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        deadline = time.monotonic() + 200
        while not (out / "stages/1-last/best.ckpt").exists():
            assert running.poll() is None, (tmp_path / "log").read_text()
            assert time.monotonic() < deadline
            time.sleep(0.005)
    finally:
        running.send_signal(signal.SIGKILL)
        running.wait()
    assert not (out / "model.hilum").exists()
    finished = subprocess.run(command, capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stderr
    assert equal(trained, out)
    assert (out / "stages/2-all/curves.csv").read_bytes() == (
        trained / "stages/2-all/curves.csv"
    ).read_bytes()


class PlugPulledError(Exception):
    """The plug."""


@pytest.mark.parametrize("epoch", [1, 3, 5, 6])
@pytest.mark.parametrize("moment", ["before the newest checkpoint has its name", "after it"])
def test_a_training_that_stops_anywhere_goes_on_to_the_same_result(
    trained, recipe, phantom_cohort, tmp_path, monkeypatch, epoch, moment
):
    """Epochs 1 and 3 end in the first two stages; 5 and 6 inside the last, with its average."""
    from hilum.training.callbacks import Keeper

    save, rename, done = Keeper.on_train_epoch_end, Path.replace, []

    def after(self, trainer, module):
        save(self, trainer, module)
        done.append(trainer.current_epoch)
        if len(done) == epoch and moment == "after it":
            raise PlugPulledError

    def before(self, target):
        if self.name == "last.ckpt.part" and len(done) + 1 == epoch and moment != "after it":
            raise PlugPulledError
        return rename(self, target)

    with monkeypatch.context() as patch:
        patch.setattr(Keeper, "on_train_epoch_end", after)
        patch.setattr(Path, "replace", before)
        with pytest.raises(PlugPulledError):
            train(recipe, phantom_cohort, tmp_path, command="test")
    train(recipe, phantom_cohort, tmp_path, command="test")
    assert equal(trained, tmp_path)


def test_an_unfinished_training_of_another_recipe_is_not_taken_up(
    recipe, phantom_cohort, trained, tmp_path
):
    shutil.copytree(trained / "stages", tmp_path / "stages")
    shutil.copy(trained / "run.json", tmp_path)
    other = recipe.changed(seed=9)
    with pytest.raises(UsageError, match="unfinished training of another recipe"):
        train(other, phantom_cohort, tmp_path, command="test")
    short = {"stages.0.epochs": 1, "stages.1.epochs": 1, "stages.2.epochs": 1}
    train(other.changed(short), phantom_cohort, tmp_path, command="test", anew=True)
    assert len(pl.read_csv(tmp_path / "stages/2-all/curves.csv")) == 1


def test_a_forced_training_that_stops_is_taken_up_and_the_old_classifier_kept(
    recipe, phantom_cohort, trained, tmp_path, monkeypatch
):
    from hilum.training.callbacks import Keeper

    out = tmp_path / "run"
    shutil.copytree(trained, out)
    old, save = (out / "model.hilum").read_bytes(), Keeper.on_train_epoch_end

    def once(self, trainer, module):
        save(self, trainer, module)
        raise PlugPulledError

    with monkeypatch.context() as patch:
        patch.setattr(Keeper, "on_train_epoch_end", once)
        with pytest.raises(PlugPulledError):
            train(recipe, phantom_cohort, out, command="test", anew=True)
    assert (out / "model.previous.hilum").read_bytes() == old
    begun = (out / "stages/0-head/last.ckpt").stat().st_mtime_ns
    epochs = []
    with monkeypatch.context() as patch:
        patch.setattr(
            Keeper,
            "on_train_epoch_end",
            lambda s, t, m: (epochs.append(t.current_epoch), save(s, t, m)),
        )
        train(recipe, phantom_cohort, out, command="test", anew=True)
    assert begun
    assert epochs[0] == 1, "the first epoch was trained again"
    assert equal(trained, out)


def test_a_folder_has_one_training_at_a_time(recipe, phantom_cohort, tmp_path):
    from filelock import FileLock

    with (
        FileLock(tmp_path / ".hilum.lock"),
        pytest.raises(UsageError, match="another training is at work"),
    ):
        train(recipe, phantom_cohort, tmp_path, command="test")


def test_foreign_folders_are_never_removed(recipe, phantom_cohort, tmp_path):
    mine = tmp_path / "stages" / "of-a-play.txt"
    mine.parent.mkdir()
    mine.write_text("mine")
    with pytest.raises(UsageError, match="not made by a training of hilum"):
        train(recipe, phantom_cohort, tmp_path, command="test", anew=True)
    assert mine.read_text() == "mine"


def test_a_cut_short_feature_cache_is_made_again_and_keys_tell_views_apart(recipe, tmp_path, rng):
    from hilum.networks.export import export_prefix
    from hilum.training.augmentation import Augmentation
    from hilum.training.prefix import cached_features

    network, _ = build_network("cnn-9", 2, size=32, weights="random")
    onnx = export_prefix(network, 2, pooled=False)
    pixels = rng.integers(0, 256, (20, 32, 32), dtype=np.uint8)

    def features(key="a", views=0, seed=0):
        return cached_features(
            onnx, pixels, key, augmentation=Augmentation(rotate=20), views=views, seed=seed,
            folder=tmp_path,
        )  # fmt: skip

    [plain] = features()
    whole = plain.copy()
    for path in tmp_path.glob("*.npy"):
        path.write_bytes(path.read_bytes()[:500])
    assert np.array_equal(features()[0], whole)
    one, two = features(views=2)
    assert not np.array_equal(one, two)
    assert not np.array_equal(one, whole)
    assert not np.array_equal(features(views=1, seed=1)[0], one)
    assert len(list(tmp_path.glob("*.npy"))) == 4


def test_a_file_system_without_links_keeps_the_best_epoch_too(
    recipe, phantom_cohort, trained, tmp_path, monkeypatch
):
    def no_links(*_):
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr("os.link", no_links)
    train(recipe, phantom_cohort, tmp_path, command="test")
    assert equal(trained, tmp_path)


def test_what_an_earlier_training_learned_from_is_remembered(
    recipe, phantom_cohort, trained, tmp_path
):
    """A split made anew may put into validation what the starting weights have seen."""
    from hilum.cohort.split import split_parts

    again = split_parts(phantom_cohort, validation=0.3, seed=11, anew=True)
    earlier = trained / "model.hilum"
    changes = {"network.weights": str(earlier), "stages.2.epochs": 1}
    model = train(recipe.changed(changes), again, tmp_path, command="test").model
    known = set(load(earlier).file.training_radiographs.perceptual_hashes)
    assert known <= set(model.training_radiographs.perceptual_hashes)
    assert model.evidence["like_training"] > 10


def parts(cohort, recipe, size):
    from hilum.cohort.pixels import cached_pixels

    found = []
    for part in (Part.TRAIN, Part.VALIDATION):
        chosen, truth = cohort.part(part).for_task(recipe.task)
        found.append(Radiographs.of(chosen, truth, cached_pixels(chosen, size)))
    return found


def one_stage(recipe, **changes):
    stage = {**recipe.stages[1].model_dump(mode="json"), **changes}
    return recipe.changed({"stages": [stage], "augmentation": {}, "loss": {}})


@pytest.mark.parametrize("trains", ["head", "last-blocks:1", "last-layers:2"])
def test_cached_features_train_like_the_plain_way(
    recipe, phantom_cohort, trained, tmp_path, trains
):
    reports, weights = {}, {}
    learning, validation = parts(phantom_cohort, recipe, 32)
    for way in ("plain", "cached"):
        # Small plain steps: large or adaptive ones blow up the last digits of bfloat16 features.
        asked = one_stage(
            recipe, train=trains, frozen=way, epochs=1,
            optimiser={"name": "sgd", "learning_rate": 0.001, "momentum": 0.0},
        )  # fmt: skip
        network, _ = build_network(
            "cnn-double", 2, size=32, options=recipe.network.options,
            weights=str(trained / "model.hilum"),
        )  # fmt: skip
        frozen = {name: p.clone() for name, p in network.state_dict().items()}
        [reports[way]] = train_stages(
            network, asked, learning, validation, tmp_path / way, workers=Workers(), stage=silent
        )
        weights[way] = network.state_dict()
        kept = [name for name, value in weights[way].items() if value.equal(frozen[name])]
        # The first block's weights and running statistics have not moved in either way.
        assert {n for n in frozen if n.startswith("blocks.1.")} <= set(kept)
        assert "head.linear.weight" not in kept
    assert reports["plain"].cached_blocks == 0
    assert reports["cached"].cached_blocks > 1
    for name in ("head.linear.weight", "head.hidden.1.weight"):
        moved = (weights["plain"][name] - frozen[name]).abs().mean()
        apart = (weights["plain"][name] - weights["cached"][name]).abs().mean()
        assert apart < 0.1 * moved, name


@pytest.mark.parametrize("way", ["plain", "cached"])
def test_the_selection_score_chooses_the_epoch(recipe, phantom_cohort, tmp_path, way):
    learning, validation = parts(phantom_cohort, recipe, 32)
    asked = one_stage(recipe, train="last-blocks:1", frozen=way, epochs=3, monitor="selection")
    asked = asked.changed({"loss": {"balance": "matched"}})
    network, _ = build_network("cnn-double", 2, size=32, weights="random")
    [report] = train_stages(
        network, asked, learning, validation, tmp_path, workers=Workers(), stage=silent
    )
    curves = pl.read_csv(next(tmp_path.rglob("curves.csv")))
    assert report.figures["selection"] == pytest.approx(curves["selection"].max())
    assert report.kept_epoch == curves["selection"].arg_max() + 1


def test_matching_with_too_few_patients_is_refused():
    pixels = np.random.default_rng(0).integers(0, 256, (12, 16, 16), dtype=np.uint8)
    truth = np.arange(12) % 2
    patients = np.array([f"p{i % 6}" for i in range(12)])  # three of either label
    with pytest.raises(CohortError, match="needs 5 normal patients"):
        drawing_chance("matched", pixels, truth, patients, 2)


def test_soft_kinds_and_a_mirror_go_the_whole_way(phantom_cohort, tmp_path):
    """A mirrored classifier gives a radiograph and its mirror image the same scores."""
    stage = {"name": "head", "train": "head", "epochs": 2, "batch": 16}
    asked = load_recipe("two-stage").changed(
        {
            "task": "three-class",
            "search": {},
            "stages": [stage],
            "network.size": 64,
            "network.mirror": True,
            "loss.soft_kinds": 0.5,
        }
    )
    result = train(asked, phantom_cohort, tmp_path / "soft", command="test")
    hard = train(
        asked.changed({"loss.soft_kinds": 0.0}), phantom_cohort, tmp_path / "hard", command="test"
    )
    pixels = cached_pixels(phantom_cohort.part(Part.VALIDATION), 64)[:4]
    model = load(result.path)
    scores = model.network.run(np.ascontiguousarray(pixels))["scores"]
    turned = model.network.run(np.ascontiguousarray(pixels[:, :, ::-1]))["scores"]
    np.testing.assert_allclose(scores, turned, atol=0.02)
    other = load(hard.path).network.run(np.ascontiguousarray(pixels))["scores"]
    assert np.abs(scores - other).max() > 0.02


def test_an_interruption_stays_one_and_the_next_is_heard(recipe, phantom_cohort, tmp_path):
    """Lightning alone would end with status 1 and ignore further interruptions."""
    learning, validation = parts(phantom_cohort, recipe, 32)
    network, _ = build_network("cnn-double", 2, size=32, weights="random")
    handler = signal.getsignal(signal.SIGINT)

    def interrupted(*_):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_stages(
            network, one_stage(recipe), learning, validation, tmp_path, workers=Workers(),
            stage=silent, watch=interrupted,
        )  # fmt: skip
    assert signal.getsignal(signal.SIGINT) is handler


def test_too_little_room_is_known_before_work_starts(recipe, phantom_cohort, tmp_path, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr("shutil.disk_usage", lambda _: usage(1, 1, 1000))
    with pytest.raises(UsageError, match=r"checkpoints need .* GB .* free space or choose another"):
        train(recipe, phantom_cohort, tmp_path, command="test")
    assert not (tmp_path / "stages").exists()


def test_a_disk_that_fills_up_ends_with_a_clear_error_and_resumes(
    recipe, phantom_cohort, trained, tmp_path, monkeypatch
):
    import pytorch_lightning

    saved = pytorch_lightning.Trainer.save_checkpoint

    def full(self, path, *args, **kwargs):
        if self.current_epoch == 1:
            raise OSError(28, "No space left on device")
        saved(self, path, *args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(pytorch_lightning.Trainer, "save_checkpoint", full)
        with pytest.raises(UsageError, match=r"No space left .* run the same command again"):
            train(recipe, phantom_cohort, tmp_path, command="test")
    train(recipe, phantom_cohort, tmp_path, command="test")
    assert equal(trained, tmp_path)


def test_an_unwritable_folder_is_refused(recipe, phantom_cohort, tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("no folder")
    with pytest.raises(UsageError, match="cannot be made"):
        train(recipe, phantom_cohort, blocked / "run", command="test")


def test_workers_share_the_batches_of_one(rng):
    truth = rng.integers(0, 2, 37)
    pixels = rng.integers(0, 256, (37, 16, 16), dtype=np.uint8)
    examples = Examples((pixels,), truth)
    from hilum.training.augmentation import Augmentation

    def batches(rank, world):
        loader = training_loader(
            examples, 2, 8, chance=None, augmentation=Augmentation(rotate=10, noise=0.05),
            seed=5, rank=rank, world=world,
        )  # fmt: skip
        loader.sampler.set_epoch(2)
        return list(loader)

    whole, halves = batches(0, 1), [batches(0, 2), batches(1, 2)]
    assert len(whole) == 4
    for number, (inputs, targets) in enumerate(whole):
        for rank in (0, 1):
            assert np.allclose(inputs[rank::2], halves[rank][number][0], atol=1e-5)
            assert (targets[rank::2] == halves[rank][number][1]).all()


@pytest.mark.parametrize("world", [1, 2, 3])
def test_validation_shares_cover_everything_in_order(rng, world):
    pixels = np.arange(10, dtype=np.uint8)[:, None, None].repeat(16, 1).repeat(16, 2)
    examples = Examples((pixels,), np.zeros(10, np.int64))
    shares = [
        np.concatenate(
            [
                (inputs[:, 0, 0, 0] * 255).round().numpy()
                for inputs, _ in validation_loader(examples, 2, 4, rank=rank, world=world)
            ]
        )
        for rank in range(world)
    ]
    assert len({len(share) for share in shares}) == 1
    assert np.stack(shares, 1).ravel()[:10].tolist() == list(range(10))


def test_a_balanced_sampler_draws_labels_equally_often():
    truth = np.array([0] * 90 + [1] * 10)
    examples = Examples((np.zeros((100, 8, 8), np.uint8),), truth)
    chance = drawing_chance("sampler", examples.inputs[0], examples.truth, np.array([]), 2)
    loader = training_loader(examples, 2, 10, chance=chance, augmentation=None, seed=0)
    drawn = []
    for epoch in range(20):
        loader.sampler.set_epoch(epoch)
        drawn += [targets[:, 1] for _, targets in loader]
    assert float(np.concatenate(drawn).mean()) == pytest.approx(0.5, abs=0.05)


def test_class_weights_make_labels_count_alike():
    truth = np.array([0, 0, 0, 1])
    weights = np.array(class_weights(truth, 2))
    sums = [weights[k] * (truth == k).sum() for k in range(2)]
    assert sums[0] == pytest.approx(sums[1])
    assert weights[truth].mean() == pytest.approx(1.0)


@pytest.mark.parametrize("labels", [2, 3])
def test_validation_figures_agree_with_scikit_learn(rng, labels):
    from scipy.special import softmax
    from sklearn.metrics import accuracy_score, log_loss, roc_auc_score

    truth = rng.integers(0, labels, 200)
    scores = rng.normal(size=(200, labels)) * 3 + np.eye(labels)[truth]
    p = softmax(scores, axis=1)
    figures = validation_figures(scores, truth)
    assert figures["loss"] == pytest.approx(log_loss(truth, p))
    assert figures["accuracy"] == accuracy_score(truth, scores.argmax(1))
    expected = (
        roc_auc_score(truth, p[:, 1]) if labels == 2 else roc_auc_score(truth, p, multi_class="ovr")
    )
    assert figures["auc"] == pytest.approx(expected)


def test_seeds_of_different_purposes_differ():
    seeds = {derived_seed(0, "order", epoch) for epoch in range(100)}
    seeds |= {derived_seed(0, "augment", epoch, 0) for epoch in range(100)}
    assert len(seeds) == 200
    assert all(0 <= seed < 2**63 for seed in seeds)
