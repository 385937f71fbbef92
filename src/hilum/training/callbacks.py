"""What happens at the end of every epoch: keep the weights, draw the curves, show progress.

A stage's folder holds `last.ckpt`, from which an interrupted training goes on, and `best.ckpt`. Both are
written beside and renamed, so a kill at any moment leaves the newest whole one.
"""

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor

from hilum.training.curves import Epoch, draw_curves, write_table
from hilum.training.module import StageModule

__all__ = ["Average", "Curves", "Keeper", "Steps", "Watch", "Watcher", "load_weights"]


# Takes the stage's name, the epoch from 0, and its figures by name.
Watch = Callable[[str, int, dict[str, float]], None]


class _WarmedUp:
    """An exponential moving average that follows quickly while it is young.

    With a fixed decay the first weights would weigh on short trainings; (1 + n) / (10 + n) lets
    the average forget them (as TensorFlow's ExponentialMovingAverage does with `num_updates`).
    """

    def __init__(self, decay: float) -> None:
        self.decay = decay

    def __call__(self, average: Tensor, current: Tensor, updates: Tensor | int) -> Tensor:
        if not average.is_floating_point():
            return current
        count = float(updates)
        decay = min(self.decay, (1 + count) / (10 + count))
        return average + (current - average) * (1 - decay)


class Average(pl.callbacks.WeightAveraging):
    """Keeps an exponential moving average of the weights; it is what is validated and kept."""

    def __init__(self, decay: float) -> None:
        super().__init__(avg_fn=_WarmedUp(decay))


class Keeper(pl.Callback):
    """Writes `last.ckpt` after each epoch and `best.ckpt` after the best one; ends what stagnates.

    Args:
        folder: Of the stage.
        monitor: Which validation figure tells the best epoch.
        patience: End after so many epochs without a better one; None: never.

    Attributes:
        best: The best figure so far, or None before the first epoch.
        best_epoch: Where it was reached, from 0.
    """

    def __init__(self, folder: Path, monitor: str, patience: int | None) -> None:
        self.folder = folder
        self.monitor = monitor
        self.patience = patience
        self.best: float | None = None
        self.best_epoch = -1
        self._epoch = -1

    def state_dict(self) -> dict[str, Any]:
        """Return what a resumed training must remember."""
        return {"best": self.best, "best_epoch": self.best_epoch, "epoch": self._epoch}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take up what was remembered."""
        self.best, self.best_epoch = state_dict["best"], state_dict["best_epoch"]
        self._epoch = state_dict["epoch"]

    def on_train_start(self, trainer: pl.Trainer, _: pl.LightningModule) -> None:
        """Do not go on after a kill that came when the last epoch was already saved."""
        trainer.should_stop = self._stagnates()

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Save the epoch, after its validation."""
        assert isinstance(pl_module, StageModule)
        figure = pl_module.figures[self.monitor]
        improved = self.best is None or (
            figure < self.best if self.monitor == "loss" else figure > self.best
        )
        self._epoch = trainer.current_epoch
        if improved:
            self.best, self.best_epoch = figure, self._epoch
        part = self.folder / "last.ckpt.part"
        # All workers take part in saving; the first one writes.
        trainer.save_checkpoint(part)
        if trainer.is_global_zero:
            with part.open("rb") as written:
                os.fsync(written.fileno())
            if improved:
                # The best is in place before the last names it as best, so a kill between the two
                # only repeats the epoch.
                linked = self.folder / "best.ckpt.part"
                linked.unlink(missing_ok=True)
                try:
                    os.link(part, linked)
                except OSError:  # a file system without links
                    shutil.copyfile(part, linked)
                linked.replace(self.folder / "best.ckpt")
            part.replace(self.folder / "last.ckpt")
        trainer.should_stop = self._stagnates()

    def _stagnates(self) -> bool:
        return self.patience is not None and self._epoch - self.best_epoch >= self.patience


class Curves(pl.Callback):
    """Writes the learning curves of a stage: a CSV after each epoch, a PNG at its end."""

    def __init__(self, folder: Path, title: str) -> None:
        self.folder = folder
        self.title = title
        self.epochs: list[Epoch] = []

    def state_dict(self) -> dict[str, Any]:
        """Return the epochs so far."""
        return {"epochs": [dict(epoch) for epoch in self.epochs]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take up the epochs so far."""
        self.epochs = list(state_dict["epochs"])

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Add the epoch and write the table anew."""
        assert isinstance(pl_module, StageModule)
        rates = [group["lr"] for group in trainer.optimizers[0].param_groups]
        self.epochs.append(
            {"epoch": trainer.current_epoch, "learning_rate": rates[0], **pl_module.figures}
        )
        if trainer.is_global_zero:
            write_table(self.epochs, self.folder / "curves.csv")

    def on_train_end(self, trainer: pl.Trainer, _: pl.LightningModule) -> None:
        """Draw the stage."""
        if trainer.is_global_zero and self.epochs:
            draw_curves(self.epochs, self.folder / "curves.png", self.title)


class Watcher(pl.Callback):
    """Tells a caller the figures of each epoch; it may raise to end the training."""

    def __init__(self, watch: Watch, stage: str) -> None:
        self.watch = watch
        self.stage = stage

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Report the epoch."""
        assert isinstance(pl_module, StageModule)
        self.watch(self.stage, trainer.current_epoch, dict(pl_module.figures))


class Steps(pl.Callback):
    """Tells how many steps of how many are done."""

    def __init__(self, progress: Callable[[int, int], None]) -> None:
        self.progress = progress

    def on_train_batch_end(self, trainer: pl.Trainer, *_: Any) -> None:
        """Report a step."""
        assert trainer.max_epochs is not None
        self.progress(trainer.global_step, int(trainer.num_training_batches) * trainer.max_epochs)


def load_weights(path: Path) -> dict[str, Tensor]:
    """Return the weights of a checkpoint that this program wrote; no code of it is run."""
    content = torch.load(path, map_location="cpu", weights_only=True)
    return {
        name.removeprefix("tail."): tensor
        for name, tensor in content["state_dict"].items()
        if name.startswith("tail.")
    }
