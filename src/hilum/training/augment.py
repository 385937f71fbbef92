"""Augmenting a batch of radiographs: what is drawn, and how it is applied.

Drawing and applying are apart, so that training is reproducible and can be split. `draw` takes the
chance for a whole batch from a seed alone, row by row; `augment` has no chance of its own: even noise is
computed from the radiograph's own seed. Workers that each augment some rows of a batch therefore do
what one worker would, and torch's global generators are never touched.
"""

import math
from dataclasses import dataclass, fields

import numpy as np
import simplejpeg
import torch
from torch import Tensor
from torch.nn import functional

from hilum.training.augmentation import Augmentation

__all__ = ["BEST_JPEG", "Draws", "augment", "draw"]

BEST_JPEG = 95  # above it, compression leaves no trace worth learning against
_BLUR_SIDE = 224  # the side in pixels at which deviations of blur are given
_SHARPNESS_BLUR = 1.0  # pixels at that side
_KERNEL_REACH = 3.0  # deviations; beyond lies 0.3 % of a Gaussian
# Height over width of what is erased, at most; the inverse at least (Zhong et al., AAAI 2020).
_ERASE_ASPECT = 1 / 0.3
_MASK_KEEPS = 0.8  # share of its grey level that a darkened border keeps at most
_BLOCK = 2**19  # pixels that are worked on at a time; 2 MB of float32
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
    )


@torch.no_grad()
def augment(pixels: Tensor, draws: Draws, augmentation: Augmentation) -> Tensor:
    """Apply what was drawn: geometry, exposure, detector, then borders and compression.

    The result of a radiograph does not depend on the others in the batch, but for the rounding of
    float32 (and, after that, of JPEG). Augmentations that are off cost nothing, whatever was drawn.

    Args:
        pixels: Grey levels, uint8 in [0, 255] or floating in [0, 1], shape (n, 1, s, s), on any
            device; they are not changed.
        draws: For these n radiographs.
        augmentation: The limits they were drawn within.

    Returns:
        Grey levels in [0, 1], float32, shape (n, 1, s, s), on the same device.

    Raises:
        ValueError: If a shape or the kind of number does not fit.
    """
    if pixels.ndim != 4 or pixels.shape[1] != 1 or pixels.shape[2] != pixels.shape[3]:
        raise ValueError(f"the radiographs have shape {tuple(pixels.shape)}, not (n, 1, s, s)")
    if not (pixels.dtype == torch.uint8 or pixels.is_floating_point()):
        raise ValueError(f"the radiographs are {pixels.dtype}; give uint8 or floating numbers")
    if len(pixels) != len(draws):
        raise ValueError(
            f"there are draws for {len(draws)} radiographs, but {len(pixels)} are here"
        )
    if len(pixels) == 0:
        return pixels.float()
    # On a CPU, what fits its cache is done 1.6 times as fast; an accelerator takes the batch whole.
    most = max(1, _BLOCK // pixels[0].numel()) if pixels.device.type == "cpu" else len(pixels)
    blocks = [slice(first, first + most) for first in range(0, len(pixels), most)]
    return torch.cat([_augmented(pixels[rows], draws.rows(rows), augmentation) for rows in blocks])


def _augmented(pixels: Tensor, draws: Draws, augmentation: Augmentation) -> Tensor:
    on = frozenset(augmentation.on)
    here = draws.to(pixels.device)
    grey = (pixels.float() / (1 if pixels.is_floating_point() else 255)).clamp_(0, 1)
    if on & {"rotate", "shift", "scale", "aspect", "flip"}:
        grey = _placed(grey, here, augmentation.padding)
    if "gamma" in on:
        grey = grey.pow_(_each(here.gamma))
    if on & {"contrast", "brightness"}:
        grey = _exposed(grey, here)
    if "blur" in on:
        grey = _blurred(grey, here.blur, augmentation.blur)
    if "sharpness" in on:
        soft = _blurred(grey, torch.full_like(here.sharpness, _SHARPNESS_BLUR), _SHARPNESS_BLUR)
        detail = soft.neg_().add_(grey)
        grey = grey.addcmul_(detail, _each(here.sharpness)).clamp_(0, 1)
    if "noise" in on:
        noise = _noise(here.noise_seed, grey.shape[-1])
        grey = grey.addcmul_(noise, _each(here.noise)).clamp_(0, 1)
    if "border" in on:
        grey = _bordered(grey, here)
    if "erase" in on:
        grey = _erased(grey, here)
    if "jpeg" in on:
        grey = _compressed(grey, draws.jpeg)
    return grey


def _each(values: Tensor) -> Tensor:
    """Bring one number per radiograph, (n,), to the shape (n, 1, 1, 1)."""
    return values.view(-1, 1, 1, 1)


def _placed(grey: Tensor, draws: Draws, padding: str) -> Tensor:
    """Turn, mirror, stretch and move, with one interpolation.

    In coordinates from -1 to 1, right and down: out = R(rotate) diag(width, height) in + 2 shift.
    The sampler needs the inverse, where each pixel comes from.
    """
    n, _, side, _ = grey.shape
    angle = torch.deg2rad(draws.rotate)
    stretch = draws.aspect.sqrt()
    width = draws.scale * stretch * (1 - 2 * draws.flip.float())
    height = draws.scale / stretch
    cos, sin = angle.cos(), angle.sin()
    centres = (torch.arange(side, device=grey.device) * 2 + 1) / side - 1
    right = centres - 2 * draws.shift[:, :1]  # (n, s)
    down = centres - 2 * draws.shift[:, 1:]
    source = torch.empty((n, side, side, 2), device=grey.device)
    # Down is positive, so an anticlockwise turn by a is [[cos a, sin a], [-sin a, cos a]].
    for axis, (from_right, from_down) in enumerate(
        ((cos / width, -sin / width), (sin / height, cos / height))
    ):
        torch.add(
            (right * from_right[:, None])[:, None, :],
            (down * from_down[:, None])[:, :, None],
            out=source[..., axis],
        )
    mode = {"reflect": "reflection", "edge": "border", "black": "zeros"}[padding]
    return functional.grid_sample(
        grey, source, mode="bilinear", padding_mode=mode, align_corners=False
    ).clamp_(0, 1)


def _exposed(grey: Tensor, draws: Draws) -> Tensor:
    # The mean is in float64 so that it does not depend on how torch splits a sum of this batch.
    mean = grey.mean((1, 2, 3), dtype=torch.float64).float()
    offset = (1 - draws.contrast) * mean + draws.brightness
    return grey.mul_(_each(draws.contrast)).add_(_each(offset)).clamp_(0, 1)


def _blurred(grey: Tensor, deviation: Tensor, most: float) -> Tensor:
    """Convolve each radiograph with its own Gaussian; the result is a new tensor.

    Shifted pictures are added with one weight per radiograph, which is as fast as torch's grouped
    convolution and does not depend on how many radiographs there are.

    Args:
        grey: Shape (n, 1, s, s).
        deviation: In pixels at a side of 224, shape (n,).
        most: The largest deviation that there can be; it sets the kernel's length.
    """
    side = grey.shape[-1]
    per_pixel = side / _BLUR_SIDE
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
        grey = padded.narrow(axis, reach, side) * _each(weights[:, 0])
        for step in range(1, reach + 1):
            both = padded.narrow(axis, reach - step, side) + padded.narrow(axis, reach + step, side)
            grey.addcmul_(both, _each(weights[:, step]))
    return grey


def _noise(seeds: Tensor, side: int) -> Tensor:
    """Return standard Gaussian noise, float32, (n, 1, s, s), from one int32 seed per radiograph.

    Pixel p of seed k is the inverse Gaussian distribution at hash(hash(p) ^ k): a function of its
    place and seed alone, on any device. Hashing p first keeps neighbouring seeds from giving the
    same noise a few pixels further on.
    """
    place = _hashed(torch.arange(side * side, dtype=torch.int32, device=seeds.device))
    mixed = _hashed(place ^ seeds[:, None])
    # 24 bits are what float32 holds; half a step keeps both ends finite (|noise| < 5.5).
    uniform = (mixed & 0xFFFFFF).float().add_(0.5).mul_(2**-23).sub_(1)  # (-1, 1)
    return torch.erfinv(uniform).mul_(math.sqrt(2)).view(-1, 1, side, side)


def _hashed(value: Tensor) -> Tensor:
    """Hash int32 to int32 (lowbias32 of Wellons' hash-prospector, 2018); products wrap around."""
    value = value ^ ((value >> 16) & 0xFFFF)
    value.mul_(0x7FEB352D)
    value.bitwise_xor_((value >> 15) & 0x1FFFF)
    value.mul_(0x846CA68B - 2**32)
    return value.bitwise_xor_((value >> 16) & 0xFFFF)


def _bordered(grey: Tensor, draws: Draws) -> Tensor:
    side = grey.shape[-1]
    left, right, top, bottom = (draws.border * side).floor().unbind(1)
    within = _box(top, side - bottom, left, side - right, side)
    covered = grey * _each(draws.border_keeps) + _each(draws.border_grey)
    return torch.where(within, grey, covered)


def _erased(grey: Tensor, draws: Draws) -> Tensor:
    side = grey.shape[-1]
    down, along, height, width = draws.erase.unbind(1)
    # Whole pixels, rounded down, so that the area never exceeds its share.
    height, width = (height * side).floor(), (width * side).floor()
    top, left = (down * (side - height + 1)).floor(), (along * (side - width + 1)).floor()
    inside = _box(top, top + height, left, left + width, side)
    return torch.where(inside, _each(draws.erase_grey), grey)


def _box(top: Tensor, bottom: Tensor, left: Tensor, right: Tensor, side: int) -> Tensor:
    """Return where rows in [top, bottom) and columns in [left, right) are, bool, (n, 1, s, s)."""
    place = torch.arange(side, device=top.device)
    rows = (place >= top[:, None]) & (place < bottom[:, None])
    columns = (place >= left[:, None]) & (place < right[:, None])
    return (rows[:, :, None] & columns[:, None, :])[:, None]


def _compressed(grey: Tensor, quality: Tensor) -> Tensor:
    """Write and read the chosen radiographs as JPEG, on the CPU; the others stay as they are."""
    chosen = torch.nonzero(quality > 0).flatten()
    if len(chosen) == 0:
        return grey
    place = chosen.to(grey.device)
    levels = grey[place, 0].mul(255).round_().to(torch.uint8).cpu().numpy()
    for picture, level in zip(levels, quality[chosen].tolist(), strict=True):
        file = simplejpeg.encode_jpeg(picture[..., None], level, "GRAY", "Gray")
        picture[:] = simplejpeg.decode_jpeg(file, "GRAY")[..., 0]
    grey[place, 0] = torch.from_numpy(np.ascontiguousarray(levels)).to(grey.device).float() / 255
    return grey
