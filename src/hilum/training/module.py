"""The part of a network that a stage trains, as a Lightning module.

Where the frozen part's features are cached, the module holds only what comes after them; the
training loop is the same.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import log_softmax

from hilum.errors import RecipeError
from hilum.networks.network import RadiographNetwork, rest_what_is_frozen
from hilum.training.batches import Batch, derived_seed
from hilum.training.mixing import mixed
from hilum.training.stages import Loss, Optimiser
from hilum.training.workers import gathered

__all__ = ["StageModule", "Tail"]


class Tail(nn.Module):
    """What of a network comes after the cached features; all of it where nothing is cached."""

    def __init__(self, network: RadiographNetwork, start: int, *, pooled: bool) -> None:
        super().__init__()
        self.blocks = network.blocks[start:]
        self.head = network.head
        self._pooled = pooled

    def forward(self, inputs: Tensor) -> Tensor:
        """Return scores (n, labels) of radiographs, or of features where those are cached."""
        if self._pooled:
            return self.head.from_pooled(inputs)
        scores: Tensor = self.head(self.blocks(inputs))
        return scores

    def weights_to_shrink(self) -> Iterator[Tensor]:
        """Yield the trained weights of convolutions and dense layers, for the L2 penalty."""
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d | nn.Linear) and layer.weight.requires_grad:
                yield layer.weight

    def depth_groups(self) -> list[list[nn.Parameter]]:
        """Return the trained parameters from the head down to the first block."""
        parts: list[nn.Module] = [self.head, *reversed(list(self.blocks))]
        groups = [[p for p in part.parameters() if p.requires_grad] for part in parts]
        return [group for group in groups if group]


@dataclass(frozen=True)
class Plan:
    """What a stage's module needs to know of its recipe."""

    optimiser: Optimiser
    loss: Loss
    class_weights: tuple[float, ...]
    l2: float
    epochs: int
    steps: int  # in an epoch
    seed: int
    share: float = 1.0  # this worker's part of each batch, as a multiple of an equal part


# Takes raw scores, float64, shape (n, labels), and returns figures by name.
Judge = Callable[[NDArray[np.float64]], dict[str, float]]


class StageModule(pl.LightningModule):
    """Trains a tail by cross-entropy and measures it on validation after every epoch.

    Args:
        tail: What is trained.
        plan: How.
        validation: How many radiographs are read for validation.
        judge: Makes figures of their scores, shape (validation, labels).
    """

    def __init__(self, tail: Tail, plan: Plan, validation: int, judge: Judge) -> None:
        super().__init__()
        self.tail = tail
        self.plan = plan
        self.figures: dict[str, float] = {}  # of the newest epoch
        self._validation = validation
        self._judge = judge
        self._scores: list[Tensor] = []
        self._losses: list[Tensor] = []
        self._weights: Tensor
        self.register_buffer("_weights", torch.tensor(plan.class_weights), persistent=False)

    def train(self, mode: bool = True) -> "StageModule":
        """Switch to training, but keep what is frozen at rest.

        A frozen batch normalisation must go on using its running statistics, and a frozen block's
        dropout must stay off, or the cached features would differ from the live ones.
        """
        super().train(mode)
        if mode:
            rest_what_is_frozen(self.tail.blocks)
        return self

    def forward(self, inputs: Tensor) -> Tensor:
        """Return scores, shape (n, labels), float32."""
        if inputs.ndim == 4:
            inputs = inputs.contiguous(memory_format=torch.channels_last)
        scores: Tensor = self.tail(inputs)
        return scores.float()

    def training_step(self, batch: Batch, number: int) -> Tensor:
        """Return the loss of a batch."""
        # Seeded by the step, so that dropout in a resumed training is what it would have been.
        torch.manual_seed(derived_seed(self.plan.seed, "step", self.global_step, self.global_rank))
        if number == 0:
            self._losses.clear()
        inputs, targets = batch
        loss = self.plan.loss
        if loss.mixup or loss.cutmix:
            seed = derived_seed(self.plan.seed, "mixup", self.global_step)
            inputs, targets = mixed(inputs, targets, loss, seed)
        if loss.label_smoothing:
            targets = targets * (1 - loss.label_smoothing) + loss.label_smoothing / targets.shape[1]
        value = -(log_softmax(self(inputs), dim=1) * targets * self._weights).sum(dim=1).mean()
        # The mean over workers is then the mean over the whole batch.
        value = value * self.plan.share
        self._losses.append(value.detach())
        if self.plan.l2:
            shrink = sum(weight.square().sum() for weight in self.tail.weights_to_shrink())
            value = value + self.plan.l2 * shrink
        return value

    def on_validation_epoch_start(self) -> None:
        """Forget the scores of the epoch before."""
        self._scores.clear()

    def validation_step(self, batch: Batch, _: int) -> None:
        """Keep the scores of a batch."""
        self._scores.append(self(batch[0]))

    def on_validation_epoch_end(self) -> None:
        """Measure the epoch on the whole validation part.

        Raises:
            RecipeError: If the training diverged.
        """
        scores = torch.cat(self._scores)
        world = self.trainer.world_size
        if world > 1:
            # Worker r has rows r, r + world, ...: stacked last and flattened, they are in order.
            scores = gathered(scores, world).transpose(0, 1).reshape(-1, scores.shape[1])
        values = scores[: self._validation].double().cpu().numpy()
        if not np.isfinite(values).all():
            raise RecipeError(
                f"training diverged in epoch {self.current_epoch + 1}: its scores are no numbers; "
                "use a smaller learning_rate, or clip the gradient"
            )
        figures = self._judge(values)
        train_loss = torch.stack(self._losses).mean() if self._losses else torch.tensor(torch.nan)
        if world > 1:
            train_loss = gathered(train_loss, world).mean()
        self.figures = {"train_loss": float(train_loss), **figures}
        self.log_dict(self.figures, sync_dist=False, rank_zero_only=False)

    def configure_optimizers(self) -> Any:
        """Build the optimiser with its schedule, one group of parameters per depth."""
        how = self.plan.optimiser
        groups = [
            {"params": group, "lr": how.learning_rate * how.layer_decay**depth}
            for depth, group in enumerate(self.tail.depth_groups())
        ]
        optimiser = _optimiser(how, groups)
        total = self.plan.epochs * self.plan.steps
        warm = round(how.warm_up * self.plan.steps)

        def factor(step: int) -> float:
            if step < warm:
                return (step + 1) / warm
            if how.schedule == "constant":
                return 1.0
            return 0.5 * (1 + float(np.cos(np.pi * (step - warm) / max(total - warm, 1))))

        schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, factor)
        return {
            "optimizer": optimiser,
            "lr_scheduler": {"scheduler": schedule, "interval": "step"},
        }


def _optimiser(how: Optimiser, groups: list[dict[str, Any]]) -> torch.optim.Optimizer:
    if how.name == "sgd":
        return torch.optim.SGD(
            groups, momentum=how.momentum, weight_decay=how.weight_decay, nesterov=how.momentum > 0
        )
    kinds: dict[str, Callable[..., torch.optim.Optimizer]] = {
        "adamw": torch.optim.AdamW,
        "adam": torch.optim.Adam,
        "rmsprop": torch.optim.RMSprop,
    }
    return kinds[how.name](groups, weight_decay=how.weight_decay)
