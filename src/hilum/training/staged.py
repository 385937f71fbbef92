"""Training a network in stages, resumable at any moment.

A stage's folder holds its newest checkpoint while it runs, and its chosen weights when it is done; a
training that was interrupted goes on from there to the result it would have had.
"""

import hashlib
import json
import shutil
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import pytorch_lightning as pl
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file

from hilum.cohort.nuisance import nuisances
from hilum.cohort.table import Cohort
from hilum.errors import UsageError
from hilum.evaluation.shortcuts import shortcut_log_odds
from hilum.files import atomic_path, ensure_folder, write_text
from hilum.networks.export import export_prefix
from hilum.networks.network import RadiographNetwork, trainable
from hilum.networks.weights import build_network
from hilum.training._memory import keep_freed_memory
from hilum.training.balance import class_weights, drawing_chance
from hilum.training.batches import Examples, derived_seed, training_loader, validation_loader
from hilum.training.callbacks import Curves, Keeper, Steps, Watch, Watcher, load_weights
from hilum.training.figures import validation_figures
from hilum.training.module import Plan, StageModule, Tail
from hilum.training.prefix import cached_features
from hilum.training.progress import Stage
from hilum.training.recipe import StagedRecipe
from hilum.training.selection import Selection
from hilum.training.softening import soft_targets
from hilum.training.stages import StageOptions
from hilum.training.trainer import interruptible, make_trainer, quiet
from hilum.training.workers import Workers

__all__ = ["Radiographs", "StageReport", "starting_network", "train_stages"]

# How torch says that memory is short where it has no class for it.
_NO_MEMORY = ("not enough memory", "can't allocate memory")


@dataclass(frozen=True)
class Radiographs:
    """Radiographs to learn from or to validate on, decoded."""

    pixels: NDArray[np.uint8]  # (n, size, size)
    truth: NDArray[np.int64]  # label index of each
    sha256: Sequence[str]  # of each file
    patients: NDArray[np.str_]  # whose each is
    soft: NDArray[np.float32] | None = None  # targets (n, labels), where they are not the truth

    @classmethod
    def of(
        cls, cohort: Cohort, truth: NDArray[np.int64], pixels: NDArray[np.uint8]
    ) -> "Radiographs":
        """Return a cohort's radiographs with their labels and pixels, in its order."""
        return cls(pixels, truth, cohort.table["sha256"].to_list(), cohort.patients)

    @property
    def positive(self) -> NDArray[np.bool_]:
        """Which have any pneumonia, shape (n,)."""
        return self.truth > 0

    @property
    def key(self) -> str:
        """Digest of which radiographs these are, in order, for caches."""
        return hashlib.sha256(json.dumps(list(self.sha256)).encode()).hexdigest()


@dataclass(frozen=True)
class StageReport:
    """What a stage did."""

    name: str
    epochs: int  # trained, which may be fewer than the recipe allows
    kept_epoch: int  # whose weights went on, from 1
    figures: dict[str, float]  # of that epoch on validation
    seconds: float  # of all its runs together, features included
    trained_parameters: int
    cached_blocks: int  # blocks that ran once instead of every epoch


def starting_network(recipe: StagedRecipe) -> tuple[RadiographNetwork, str]:
    """Return a recipe's network with its starting weights, and where these came from.

    Raises:
        RecipeError: If the network cannot be made so.
        WeightsError: If the weights cannot be had or do not fit.
    """
    choice = recipe.network
    return build_network(
        choice.name,
        len(recipe.task.labels),
        size=choice.size,
        options=choice.options,
        head=choice.head,
        weights=choice.weights,
        seed=recipe.seed,
    )


def train_stages(
    network: RadiographNetwork,
    recipe: StagedRecipe,
    learning: Radiographs,
    validation: Radiographs,
    folder: Path,
    *,
    workers: Workers,
    stage: Stage,
    watch: Watch | None = None,
) -> list[StageReport]:
    """Train a network through the stages of a recipe; it holds the final weights afterwards.

    Args:
        network: With its starting weights.
        recipe: The stages and how each learns.
        learning: The train part.
        validation: The validation part, which chooses epochs.
        folder: For checkpoints, curves and logs; what an interrupted training left is taken up.
        workers: Which process this is of how many.
        stage: Shows progress.
        watch: Told the figures of each epoch; what it raises ends the training.

    Raises:
        UsageError: If the folder cannot be written or the disk is too full.
    """
    keep_freed_memory()
    check_room(network, folder)
    network.to(memory_format=torch.channels_last)
    if recipe.loss.soft_kinds:
        learning = _softened(network, recipe, learning, workers, stage)
    reports = []
    for number, options in enumerate(recipe.stages):
        place = ensure_folder(folder / "stages" / f"{number}-{options.name}")
        weights, report = place / "weights.safetensors", place / "stage.json"
        # The first worker alone reads and writes here, and the others go by what it found.
        done = workers.told(report.read_text() if workers.is_first and report.is_file() else None)
        if done is None:
            try:
                result = _run_stage(
                    network, recipe, options, learning, validation, place, workers, stage, watch
                )
                if workers.is_first:
                    with atomic_path(weights) as temporary:
                        save_file(_contiguous(network.state_dict()), temporary)
                    write_text(report, json.dumps(asdict(result), indent=2))
                    _tidy(place)
            except (OSError, RuntimeError) as error:
                # torch reports a full disk as a RuntimeError of its own writer.
                if isinstance(error, torch.OutOfMemoryError) or any(
                    words in str(error) for words in _NO_MEMORY
                ):
                    raise UsageError(
                        f"stage {options.name} needs more memory than there is; make its batch or "
                        f"network.size smaller, such as --set stages.{number}.batch={options.batch // 2}"
                    ) from error
                if isinstance(error, OSError) or "PytorchStreamWriter" in str(error):
                    raise UsageError(
                        f"{place} cannot be written ({error}); free space there and run the same "
                        "command again: training goes on from the last whole epoch"
                    ) from error
                raise
            reports.append(result)
        else:
            if workers.is_first:
                network.load_state_dict(load_file(weights))
                _tidy(place)
            reports.append(StageReport(**json.loads(done)))
        workers.share(network)
    return reports


def _tidy(place: Path) -> None:
    """Remove what only an unfinished stage needs."""
    for name in ("last.ckpt", "best.ckpt", "seconds.json"):
        (place / name).unlink(missing_ok=True)


def check_room(network: RadiographNetwork, folder: Path) -> None:
    """Refuse a disk that cannot hold the checkpoints, before work starts.

    Raises:
        UsageError: Saying how much is needed.
    """
    size = sum(p.numel() * p.element_size() for p in network.parameters())
    # Weights, two moments and the average, in two checkpoints and one being written; final copies.
    needed = 15 * size + (16 << 20)
    free = shutil.disk_usage(ensure_folder(folder)).free
    if free < needed:
        raise UsageError(
            f"checkpoints need {needed / 1e9:.1f} GB in {folder}, where {free / 1e9:.1f} GB are "
            "free; free space or choose another folder"
        )


def _run_stage(
    network: RadiographNetwork,
    recipe: StagedRecipe,
    options: StageOptions,
    learning: Radiographs,
    validation: Radiographs,
    place: Path,
    workers: Workers,
    stage: Stage,
    watch: Watch | None,
) -> StageReport:
    start = time.perf_counter()
    before = _seconds_so_far(place)
    seed = derived_seed(recipe.seed, options.name)
    selection: Selection | None = None
    judged = validation
    # What is fitted may differ in its last digit between machines; all workers go by the first.
    if options.monitor == "selection":
        with stage("prepare the selection score"):
            log_odds = shortcut_log_odds(
                nuisances(learning.pixels), learning.positive, nuisances(validation.pixels)
            )
            log_odds = workers.told(log_odds)
            selection = Selection.of(validation.pixels, validation.positive, log_odds)
        judged = _with_worn(validation, selection)

    def judge(scores: NDArray[np.float64]) -> dict[str, float]:
        figures = validation_figures(scores[: len(validation.truth)], validation.truth)
        return {**figures, **(selection.figures(scores) if selection else {})}

    blocks = trainable(network, options.trainable)
    cached = blocks if options.frozen == "cached" else 0
    # The block that normalises the pixels alone is no work worth a cache.
    cached = cached if cached > 1 else 0
    if cached:
        examples, held_out = _features(
            network, cached, recipe, options, learning, judged, seed, stage
        )
    else:
        examples = Examples((learning.pixels,), learning.truth, learning.soft)
        held_out = Examples((judged.pixels,), judged.truth)
    labels = len(recipe.task.labels)
    chance = workers.told(
        drawing_chance(
            recipe.loss.balance, learning.pixels, learning.truth, learning.patients, labels
        )
    )
    loader = training_loader(
        examples,
        labels,
        options.batch,
        chance=chance,
        augmentation=recipe.augmentation if options.augment else None,
        seed=seed,
        rank=workers.rank,
        world=workers.world,
    )
    rows = min(options.batch, len(examples))
    weigh = recipe.loss.balance == "class-weights"
    plan = Plan(
        optimiser=options.optimiser,
        loss=recipe.loss,
        class_weights=class_weights(learning.truth, labels) if weigh else (1.0,) * labels,
        l2=recipe.network.options.l2 if recipe.network.options else 0.0,
        epochs=options.epochs,
        steps=len(loader),
        seed=seed,
        share=workers.share_of(rows) * workers.world / rows,
    )
    tail = Tail(network, cached, pooled=cached == len(network.blocks))
    module = StageModule(tail, plan, len(held_out), judge)
    module.train()  # Lightning takes a module as it is, and what is frozen must be at rest
    keeper = Keeper(place, options.monitor, options.stopping.patience if options.stopping else None)
    curves = Curves(place, f"{recipe.name}: {options.name}")
    last = place / "last.ckpt"
    resumes = workers.told(last.is_file())
    with stage(f"train {options.name}") as progress, quiet(), torch.random.fork_rng(devices=[]):
        callbacks: list[pl.Callback] = [curves, keeper, Steps(progress)]
        if watch:
            callbacks.append(Watcher(watch, options.name))
        trainer = make_trainer(recipe, options, place, workers, callbacks)
        try:
            with interruptible():
                trainer.fit(
                    module,
                    loader,
                    validation_loader(
                        held_out, labels, options.batch, rank=workers.rank, world=workers.world
                    ),
                    ckpt_path=last if resumes else None,
                    weights_only=True,
                )
        finally:
            if workers.is_first:
                write_text(place / "seconds.json", str(before + time.perf_counter() - start))
    trained = sum(p.numel() for p in tail.parameters() if p.requires_grad)
    if workers.is_first:
        tail.load_state_dict(load_weights(place / f"{options.keep}.ckpt"))
    kept = keeper.best_epoch if options.keep == "best" else len(curves.epochs) - 1
    figures = {
        name: value
        for name, value in curves.epochs[kept].items()
        if name not in ("epoch", "learning_rate", "train_loss")
    }
    return StageReport(
        name=options.name,
        epochs=len(curves.epochs),
        kept_epoch=kept + 1,
        figures=figures,
        seconds=round(before + time.perf_counter() - start, 2),
        trained_parameters=trained,
        cached_blocks=cached,
    )


def _softened(
    network: RadiographNetwork,
    recipe: StagedRecipe,
    learning: Radiographs,
    workers: Workers,
    stage: Stage,
) -> Radiographs:
    """Soften the targets, by the features of the network as it starts."""
    with stage("soften bacterial and viral") as progress:
        (features,) = cached_features(
            export_prefix(network, len(network.blocks), pooled=True),
            learning.pixels,
            learning.key,
            augmentation=None,
            views=0,
            seed=0,
            progress=progress,
        )
        soft = soft_targets(
            learning.truth,
            np.asarray(features, np.float32),
            learning.patients,
            recipe.loss.soft_kinds,
            len(recipe.task.labels),
            recipe.seed,
        )
    return replace(learning, soft=workers.told(soft))


def _features(
    network: RadiographNetwork,
    blocks: int,
    recipe: StagedRecipe,
    options: StageOptions,
    learning: Radiographs,
    validation: Radiographs,
    seed: int,
    stage: Stage,
) -> tuple[Examples, Examples]:
    onnx = export_prefix(network, blocks, pooled=blocks == len(network.blocks))
    sets = []
    for part, views in ((learning, options.views if options.augment else 0), (validation, 0)):
        with stage("features of the frozen part") as progress:
            features = cached_features(
                onnx,
                part.pixels,
                part.key,
                augmentation=recipe.augmentation,
                views=views,
                seed=seed,
                progress=progress,
            )
        sets.append(Examples(features, part.truth, part.soft))
    return sets[0], sets[1]


def _with_worn(validation: Radiographs, selection: Selection) -> Radiographs:
    """Return the validation part followed by what the selection score reads besides."""
    return Radiographs(
        np.concatenate([validation.pixels, selection.extra]),
        np.concatenate(
            [validation.truth, np.tile(validation.truth[selection.rows], len(selection.views))]
        ),
        [*validation.sha256, *selection.names(validation.sha256)],
        np.concatenate(
            [
                validation.patients,
                np.tile(validation.patients[selection.rows], len(selection.views)),
            ]
        ),
    )


def _contiguous(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    # safetensors refuses channels_last strides.
    return {name: tensor.contiguous().cpu() for name, tensor in state.items()}


def _seconds_so_far(place: Path) -> float:
    try:
        return float(json.loads((place / "seconds.json").read_text()))
    except (OSError, ValueError):
        return 0.0
