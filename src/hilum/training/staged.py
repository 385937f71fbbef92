"""Training a network in stages, resumable at any moment.

A stage's folder holds its newest checkpoint while it runs, and its chosen weights when it is done; a
training that was interrupted goes on from there to the result it would have had.
"""

import json
import logging
import shutil
import signal
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from lightning_fabric.plugins.environments.torchelastic import TorchElasticEnvironment
from numpy.typing import NDArray
from pytorch_lightning.loggers import TensorBoardLogger
from pytorch_lightning.strategies import DDPStrategy
from safetensors.torch import load_file, save_file

from hilum.errors import UsageError
from hilum.files import atomic_path, ensure_folder, write_text
from hilum.networks.export import export_prefix
from hilum.networks.network import RadiographNetwork, trainable
from hilum.training._memory import keep_freed_memory
from hilum.training.batches import Examples, derived_seed, training_loader, validation_loader
from hilum.training.callbacks import Average, Curves, Keeper, Steps, Watch, Watcher, load_weights
from hilum.training.module import Plan, StageModule, Tail, class_weights
from hilum.training.prefix import cached_features
from hilum.training.recipe import StagedRecipe
from hilum.training.stages import StageOptions
from hilum.training.workers import Workers

__all__ = ["Radiographs", "StageReport", "train_stages"]

# Shows a named stage while it runs and takes (done, total).
Stage = Callable[[str], AbstractContextManager[Callable[[int, int], None]]]


@dataclass(frozen=True)
class Radiographs:
    """One part of a cohort, decoded."""

    pixels: NDArray[np.uint8]  # (n, size, size)
    truth: NDArray[np.int64]  # label index of each
    key: str  # digest of what is in `pixels`, for caches


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
                if isinstance(error, torch.OutOfMemoryError) or "alloc" in str(error).lower():
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
    blocks = trainable(network, options.trainable)
    cached = blocks if options.frozen == "cached" else 0
    # The block that normalises the pixels alone is no work worth a cache.
    cached = cached if cached > 1 else 0
    if cached:
        examples, held_out = _features(
            network, cached, recipe, options, learning, validation, seed, stage
        )
    else:
        examples = Examples((learning.pixels,), learning.truth)
        held_out = Examples((validation.pixels,), validation.truth)
    labels = len(recipe.task.labels)
    loader = training_loader(
        examples,
        labels,
        options.batch,
        balanced=recipe.loss.balance == "sampler",
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
    module = StageModule(tail, plan, validation.truth)
    module.train()  # Lightning takes a module as it is, and what is frozen must be at rest
    keeper = Keeper(place, options.monitor, options.stopping.patience if options.stopping else None)
    curves = Curves(place, f"{recipe.name}: {options.name}")
    last = place / "last.ckpt"
    resumes = workers.told(last.is_file())
    with stage(f"train {options.name}") as progress, _quiet(), torch.random.fork_rng(devices=[]):
        callbacks: list[pl.Callback] = [curves, keeper, Steps(progress)]
        if watch:
            callbacks.append(Watcher(watch, options.name))
        trainer = _trainer(recipe, options, place, workers, callbacks)
        try:
            with _interruptible():
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
    figures = {name: curves.epochs[kept][name] for name in ("loss", "auc", "accuracy")}
    return StageReport(
        name=options.name,
        epochs=len(curves.epochs),
        kept_epoch=kept + 1,
        figures=figures,
        seconds=round(before + time.perf_counter() - start, 2),
        trained_parameters=trained,
        cached_blocks=cached,
    )


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
        sets.append(Examples(features, part.truth))
    return sets[0], sets[1]


def _trainer(
    recipe: StagedRecipe,
    options: StageOptions,
    place: Path,
    workers: Workers,
    callbacks: list[pl.Callback],
) -> pl.Trainer:
    if options.optimiser.average is not None:
        callbacks = [Average(options.optimiser.average), *callbacks]
    return pl.Trainer(
        default_root_dir=place,
        accelerator="auto",
        devices=workers.per_node,
        num_nodes=workers.nodes,
        strategy=DDPStrategy(cluster_environment=_Launched()) if workers.world > 1 else "auto",
        precision="bf16-mixed" if recipe.precision == "bfloat16" else "32-true",
        max_epochs=options.epochs,
        gradient_clip_val=options.optimiser.clip,
        logger=TensorBoardLogger(place.parent.parent / "tensorboard", name="", version=place.name),
        callbacks=callbacks,
        log_every_n_steps=10,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        use_distributed_sampler=False,
    )


class _Launched(TorchElasticEnvironment):
    """What the launcher's variables say, whatever else runs around it."""

    def validate_settings(self, num_devices: int, num_nodes: int) -> None:
        """Let machines have different numbers of workers."""


def _contiguous(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    # safetensors refuses channels_last strides.
    return {name: tensor.contiguous().cpu() for name, tensor in state.items()}


def _seconds_so_far(place: Path) -> float:
    try:
        return float(json.loads((place / "seconds.json").read_text()))
    except (OSError, ValueError):
        return 0.0


@contextmanager
def _interruptible() -> Iterator[None]:
    """Let Ctrl-C end a training as it ends other commands.

    Lightning makes status 1 of it and switches further interruptions off for the whole process.
    """
    handler = signal.getsignal(signal.SIGINT)
    try:
        yield
    except SystemExit as ending:
        if not isinstance(ending.__context__, KeyboardInterrupt):
            raise
        signal.signal(signal.SIGINT, handler)
        raise KeyboardInterrupt from ending


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep Lightning's advice on hardware and loaders from between our own lines."""
    logger = logging.getLogger("pytorch_lightning")
    level: Any = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module="pytorch_lightning.*")
            warnings.filterwarnings("ignore", message=".*num_workers.*|.*eval mode.*")
            # Two ways to write the strides of one input channel.
            warnings.filterwarnings("ignore", message="Grad strides do not match")
            yield
    finally:
        logger.setLevel(level)
