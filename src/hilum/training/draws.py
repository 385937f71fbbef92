"""What is drawn to augment a batch of radiographs: all of its chance, from a seed alone.

Applying it, `augment`, has no chance of its own. Workers that each augment some rows of a batch
therefore do what one worker would, and torch's global generators are never touched.
"""

import math
from dataclasses import dataclass, fields

import torch
from torch import Tensor

from hilum.training.augmentation import Augmentation

__all__ = ["BEST_JPEG", "Draws", "draw"]

BEST_JPEG = 95  # above it, compression leaves no trace worth learning against
# Height over width of what is erased, at most; the inverse at least (Zhong et al., AAAI 2020).
_ERASE_ASPECT = 1 / 0.3
_MASK_KEEPS = 0.8  # share of its grey level that a darkened border keeps at most
# Numbers in [0, 1) for each radiograph, some of them spare. Which one is for what is part of what a
# seed means: a new augmentation takes the first spare one, or every recipe would draw anew.
_NUMBERS = 32


@dataclass(frozen=True, slots=True)
class Draws:
    """What is done to each of n radiographs: float32 of shape (n,) where nothing else is said."""

    rotate: Tensor  # degrees, positive turns the picture anticlockwise
    shift: Tensor  # (n, 2), shares of the side that it moves right and down
    scale: Tensor  # factor of both sides, above 1 enlarges
    aspect: Tensor  # factor of width over height
    flip: Tensor  # bool, mirrored left to right
    gamma: Tensor  # exponent of the grey levels, above 1 darkens
    contrast: Tensor  # factor of the difference from the mean
    brightness: Tensor  # grey levels added
    sharpness: Tensor  # share of the fine detail that is added, negative removes it
    blur: Tensor  # standard deviation in pixels at a side of 224
    noise: Tensor  # standard deviation in grey levels
    noise_seed: Tensor  # int32, which noise
    border: Tensor  # (n, 4), shares of the side covered at the left, right, top and bottom
    border_keeps: Tensor  # share of its grey level that what is covered keeps
    border_grey: Tensor  # grey level added to what it keeps
    erase: Tensor  # (n, 4), place of the rectangle down and along, [0, 1); height, width, shares
    erase_grey: Tensor  # grey level of the rectangle
    jpeg: Tensor  # int64, quality; 0 leaves it uncompressed
    exchange_with: Tensor  # [0, 1), place among the styles
    exchange_tone: Tensor  # share of the way to that tone, 0 keeps its own
    exchange_detail: Tensor  # share of the way to that detail

    @classmethod
    def neutral(cls, n: int) -> "Draws":
        """Return draws that leave n radiographs as they are."""
        return draw(Augmentation(), n, seed=0)

    def __len__(self) -> int:
        """Return for how many radiographs it was drawn."""
        return len(self.rotate)

    def rows(self, index: slice | Tensor) -> "Draws":
        """Return the draws of some of the radiographs, such as one worker's share of the batch."""
        return Draws(**{field.name: getattr(self, field.name)[index] for field in fields(self)})

    def to(self, device: torch.device) -> "Draws":
        """Return the draws on a device."""
        return Draws(**{field.name: getattr(self, field.name).to(device) for field in fields(self)})


def draw(augmentation: Augmentation, n: int, *, seed: int) -> Draws:
    """Draw what is done to each radiograph of a batch.

    Row i depends on the seed and on i alone: not on n, and not on which other augmentations are on,
    so that switching one off leaves the others as they were.

    Args:
        augmentation: The limits.
        n: How many radiographs the whole batch has, over all workers.
        seed: Of this batch, in [0, 2^64); another one for every batch of every epoch.

    Returns:
        The draws, on the CPU.
    """
    generator = torch.Generator().manual_seed(seed)
    numbers = torch.rand((n, _NUMBERS), generator=generator, dtype=torch.float64)
    column = iter(numbers.unbind(1))
    limits = augmentation
    # Where a radiograph is left alone, all limits are nothing.
    augmented = next(column) < limits.probability

    def uniform(low: float, high: float) -> Tensor:
        return ((low + (high - low) * next(column)) * augmented).float()

    def factor(limit: float) -> Tensor:
        return uniform(-math.log(limit), math.log(limit)).exp()

    def happens(probability: float) -> Tensor:
        return (next(column) < probability) & augmented

    def half_the_time(limit: float) -> Tensor:
        return uniform(-limit, limit).clamp(min=0)

    # Below one half a plain border of a grey, above it a darkened one.
    kind = uniform(0, 2)
    plain = kind < 1
    area, shape = half_the_time(limits.erase), factor(_ERASE_ASPECT)
    height, width = (area * shape).sqrt().clamp(max=1), (area / shape).sqrt().clamp(max=1)
    compressed = happens(0.5 if limits.jpeg is not None else 0)
    lowest = BEST_JPEG if limits.jpeg is None else limits.jpeg
    quality = (lowest + (BEST_JPEG + 1 - lowest) * next(column)).floor().long()
    return Draws(
        rotate=uniform(-limits.rotate, limits.rotate),
        shift=torch.stack([uniform(-limits.shift, limits.shift) for _ in range(2)], 1),
        scale=factor(limits.scale),
        aspect=factor(limits.aspect),
        flip=happens(limits.flip),
        gamma=uniform(-limits.gamma, limits.gamma).exp(),
        contrast=1 + uniform(-limits.contrast, limits.contrast),
        brightness=uniform(-limits.brightness, limits.brightness),
        sharpness=uniform(-limits.sharpness, limits.sharpness),
        blur=uniform(0, limits.blur),
        noise=uniform(0, limits.noise),
        noise_seed=(next(column) * 2**32 - 2**31).floor().to(torch.int32),
        border=torch.stack([half_the_time(limits.border) for _ in range(4)], 1),
        border_keeps=torch.where(plain, 0.0, (kind - 1) * _MASK_KEEPS),
        border_grey=torch.where(plain, kind, 0.0),
        erase=torch.stack([uniform(0, 1), uniform(0, 1), height, width], 1),
        erase_grey=uniform(0, 1),
        jpeg=torch.where(compressed, quality, 0),
        exchange_with=uniform(0, 1),
        exchange_tone=happens(limits.exchange) * uniform(0, 1),
        exchange_detail=happens(limits.exchange) * uniform(0, 1),
    )
