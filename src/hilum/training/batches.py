"""Batches that are a pure function of seed, epoch and number.

So a resumed training sees what an uninterrupted one would, and several workers together see what
one alone would: each takes every n-th radiograph of the same global batch.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from hilum.training.augment import augment
from hilum.training.augmentation import Augmentation
from hilum.training.draws import draw
from hilum.training.exchange import Styles

__all__ = ["Batch", "Examples", "derived_seed", "training_loader", "validation_loader"]

# Inputs of the trained part, float32; soft targets, shape (n, labels), float32.
Batch = tuple[Tensor, Tensor]
# Which epoch, and which batch of it.
Key = tuple[int, int]


def derived_seed(seed: int, *path: str | int) -> int:
    """Return a seed for one purpose, in [0, 2**63), that no other purpose shares."""
    text = ":".join(str(part) for part in (seed, *path))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


@dataclass(frozen=True)
class Examples:
    """What a stage learns from or is validated on.

    Attributes:
        inputs: One array per view. Radiographs are (n, size, size), uint8; cached features are
            float16 with any shape behind n.
        truth: Label index of each, shape (n,).
        soft: Share of each label in the target, shape (n, labels), float32; None where the truth
            has all of it.
    """

    inputs: tuple[NDArray[np.uint8] | NDArray[np.float16], ...]
    truth: NDArray[np.int64]
    soft: NDArray[np.float32] | None = None

    def __len__(self) -> int:
        """Number of radiographs."""
        return len(self.truth)

    def rows(self, rows: NDArray[np.int64], view: int) -> Tensor:
        """Return the inputs of some rows, float32: radiographs as (n, 1, size, size) in [0, 1]."""
        # Sorted rows read a memory-mapped file forwards.
        order = np.argsort(rows, kind="stable")
        array = self.inputs[view % len(self.inputs)]
        taken = np.empty((len(rows), *array.shape[1:]), array.dtype)
        taken[order] = array[rows[order]]
        tensor = torch.from_numpy(taken)
        return tensor[:, None].float() / 255 if self.pictures else tensor.float()

    def targets(self, rows: NDArray[np.int64], labels: int) -> Tensor:
        """Return the share of each label, shape (n, labels), float32; rows sum to 1."""
        if self.soft is not None:
            return torch.from_numpy(self.soft[rows])
        truth = torch.from_numpy(self.truth[rows])
        return torch.nn.functional.one_hot(truth, labels).float()

    @property
    def pictures(self) -> bool:
        """Whether the inputs are radiographs and no features."""
        return bool(self.inputs[0].dtype == np.uint8)


class _Training(Dataset[Batch]):
    """Batches by (epoch, number)."""

    def __init__(
        self,
        examples: Examples,
        labels: int,
        batch: int,
        *,
        chance: NDArray[np.float64] | None,
        augmentation: Augmentation | None,
        seed: int,
        rank: int,
        world: int,
    ) -> None:
        self._examples = examples
        self._labels = labels
        self._batch = min(batch, len(examples))
        self._chance = chance
        self._augmentation = augmentation if examples.pictures else None
        self._styles = (
            Styles.of(examples.inputs[0].astype(np.uint8, copy=False))
            if self._augmentation is not None and self._augmentation.exchange
            else None
        )
        self._seed = seed
        self._share = slice(rank, None, world)
        self._order: tuple[int, NDArray[np.int64]] = (-1, np.empty(0, np.int64))

    def __len__(self) -> int:
        # The last, smaller batch is left out: batch normalisation would be noisy on it, and each
        # epoch leaves out others.
        return max(len(self._examples) // self._batch, 1)

    def __getitem__(self, key: Key) -> Batch:
        epoch, number = key
        rows = self._epoch_order(epoch)[number * self._batch : (number + 1) * self._batch]
        share = rows[self._share]
        inputs = self._examples.rows(share, view=epoch)
        if self._augmentation is not None:
            seed = derived_seed(self._seed, "augment", epoch, number)
            draws = draw(self._augmentation, len(rows), seed=seed)
            inputs = augment(inputs, draws.rows(self._share), self._augmentation, self._styles)
        return inputs, self._examples.targets(share, self._labels)

    def _epoch_order(self, epoch: int) -> NDArray[np.int64]:
        if self._order[0] != epoch:
            rng = np.random.default_rng(derived_seed(self._seed, "order", epoch))
            count = len(self._examples)
            if self._chance is not None:
                order = rng.choice(count, size=count, p=self._chance / self._chance.sum())
            else:
                order = rng.permutation(count)
            self._order = (epoch, order.astype(np.int64))
        return self._order[1]


class _Numbers(Sampler[Key]):
    """The batch numbers of an epoch; the trainer says which epoch before it asks."""

    def __init__(self, batches: int) -> None:
        self._batches = batches
        self._epoch = 0

    def set_epoch(self, epoch: int) -> None:
        self._epoch = epoch

    def __len__(self) -> int:
        return self._batches

    def __iter__(self) -> Iterator[Key]:
        return ((self._epoch, number) for number in range(self._batches))


def training_loader(
    examples: Examples,
    labels: int,
    batch: int,
    *,
    chance: NDArray[np.float64] | None,
    augmentation: Augmentation | None,
    seed: int,
    rank: int = 0,
    world: int = 1,
) -> DataLoader[Batch]:
    """Return the shuffled, augmented batches of a stage; one worker's share of each.

    Args:
        examples: What is learned from.
        labels: Number of labels.
        batch: Radiographs in a batch of all workers together.
        chance: Draw with replacement in proportion to this, shape (n,); None: each comes once.
        augmentation: Of radiographs; cached features cannot be augmented. None: none.
        seed: Decides order and augmentation.
        rank: This worker.
        world: How many workers there are.
    """
    dataset = _Training(
        examples,
        labels,
        batch,
        chance=chance,
        augmentation=augmentation,
        seed=seed,
        rank=rank,
        world=world,
    )
    # The sampler gives (epoch, number) where torch's types expect row numbers.
    numbers: Sampler[Key] = _Numbers(len(dataset))
    return DataLoader(dataset, batch_size=None, sampler=numbers)


class _Validation(Dataset[Batch]):
    """Consecutive batches of this worker's share, padded so that all shares are equally long."""

    def __init__(
        self, examples: Examples, labels: int, batch: int, *, rank: int, world: int
    ) -> None:
        self._examples = examples
        self._labels = labels
        self._batch = batch
        padded = np.arange(-(-len(examples) // world) * world) % len(examples)
        self._rows = padded[rank::world]

    def __len__(self) -> int:
        return -(-len(self._rows) // self._batch)

    def __getitem__(self, number: int) -> Batch:
        rows = self._rows[number * self._batch : (number + 1) * self._batch]
        inputs = self._examples.rows(rows, view=0)
        return inputs, self._examples.targets(rows, self._labels)


def validation_loader(
    examples: Examples, labels: int, batch: int, *, rank: int = 0, world: int = 1
) -> DataLoader[Batch]:
    """Return the batches that a stage is validated on, in order; one worker's share of them."""
    return DataLoader(
        _Validation(examples, labels, batch, rank=rank, world=world), batch_size=None, shuffle=False
    )
