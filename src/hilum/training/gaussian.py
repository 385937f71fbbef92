"""Gaussian blur with a width of its own for each radiograph."""

import math

import torch
from torch import Tensor
from torch.nn import functional

__all__ = ["BLUR_SIDE", "blurred"]

BLUR_SIDE = 224  # the side in pixels at which deviations of blur are given
_KERNEL_REACH = 3.0  # deviations; beyond lies 0.3 % of a Gaussian


def blurred(grey: Tensor, deviation: Tensor, most: float) -> Tensor:
    """Convolve each radiograph with its own Gaussian; the result is a new tensor.

    Shifted pictures are added with one weight per radiograph, which is as fast as torch's grouped
    convolution and does not depend on how many radiographs there are.

    Args:
        grey: Shape (n, 1, s, s).
        deviation: In pixels at a side of 224, shape (n,).
        most: The largest deviation that there can be; it sets the kernel's length.
    """
    side = grey.shape[-1]
    per_pixel = side / BLUR_SIDE
    reach = min(max(1, math.ceil(_KERNEL_REACH * most * per_pixel)), side - 1)
    # The Gaussian's integral over each pixel: samples of it would not blur at all below a third of a
    # pixel. A deviation of nothing becomes a kernel of exactly one pixel.
    width = (deviation * per_pixel).clamp(min=1e-3)[:, None]
    edges = torch.arange(reach + 2, device=grey.device) - 0.5
    weights = torch.erf(edges / (width * math.sqrt(2))).diff(dim=1)  # (n, reach + 1), centre first
    weights = weights / (2 * weights.sum(1, keepdim=True) - weights[:, :1])
    for axis in (-2, -1):
        pad = (0, 0, reach, reach) if axis == -2 else (reach, reach, 0, 0)
        padded = functional.pad(grey, pad, mode="reflect")
        grey = padded.narrow(axis, reach, side) * weights[:, 0].view(-1, 1, 1, 1)
        for step in range(1, reach + 1):
            both = padded.narrow(axis, reach - step, side) + padded.narrow(axis, reach + step, side)
            grey.addcmul_(both, weights[:, step].view(-1, 1, 1, 1))
    return grey
