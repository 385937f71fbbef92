"""Mixing: two radiographs of a batch become one, with both of their labels in part."""

import numpy as np
from torch import Tensor

from hilum.training.stages import Loss

__all__ = ["mixed"]


def mixed(inputs: Tensor, targets: Tensor, loss: Loss, seed: int) -> tuple[Tensor, Tensor]:
    """Mix each row with the row opposite to it.

    Args:
        inputs: Radiographs, shape (n, 1, s, s), or features of any shape behind n.
        targets: Shape (n, labels).
        loss: Says how strongly; where it asks for mixup and cutmix, each is as likely.
        seed: Of this step.

    Returns:
        Inputs and targets of the same shapes. Features without places are blended whatever is asked.
    """
    rng = np.random.Generator(np.random.Philox(seed))
    cuts = loss.cutmix > 0 and (loss.mixup == 0 or rng.random() < 0.5) and inputs.ndim == 4
    alpha = (loss.cutmix if cuts else loss.mixup) or loss.cutmix
    share = float(rng.beta(alpha, alpha))
    if cuts:
        inputs, share = _cut(inputs, share, rng)
    else:
        inputs = share * inputs + (1 - share) * inputs.flip(0)
    return inputs, share * targets + (1 - share) * targets.flip(0)


def _cut(inputs: Tensor, share: float, rng: np.random.Generator) -> tuple[Tensor, float]:
    """Put a rectangle of the opposite row into each; return the share that was really kept."""
    height, width = inputs.shape[2:]
    # The rectangle may lie partly outside, as in the paper, so the share is counted afterwards.
    half = np.sqrt(1 - share) / 2
    down, along = rng.random(2)
    top, bottom = (round(float(np.clip(down + sign * half, 0, 1)) * height) for sign in (-1, 1))
    left, right = (round(float(np.clip(along + sign * half, 0, 1)) * width) for sign in (-1, 1))
    cut = inputs.clone()
    cut[:, :, top:bottom, left:right] = inputs.flip(0)[:, :, top:bottom, left:right]
    return cut, 1 - (bottom - top) * (right - left) / (height * width)
