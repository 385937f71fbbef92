"""Lightning's trainer as hilum runs it: its own checkpoints and curves, no advice, an honest Ctrl-C."""

import logging
import signal
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from lightning_fabric.plugins.environments.torchelastic import TorchElasticEnvironment
from pytorch_lightning.loggers import TensorBoardLogger
from pytorch_lightning.strategies import DDPStrategy

from hilum.training.callbacks import Average
from hilum.training.recipe import StagedRecipe
from hilum.training.stages import StageOptions
from hilum.training.workers import Workers

__all__ = ["interruptible", "make_trainer", "quiet"]


def make_trainer(
    recipe: StagedRecipe,
    options: StageOptions,
    place: Path,
    workers: Workers,
    callbacks: list[pl.Callback],
) -> pl.Trainer:
    """Return the trainer of one stage.

    Args:
        recipe: For the arithmetic.
        options: The stage.
        place: The stage's folder.
        workers: Which process this is of how many.
        callbacks: In their order; an average of the weights goes before them.
    """
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


@contextmanager
def interruptible() -> Iterator[None]:
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
def quiet() -> Iterator[None]:
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
