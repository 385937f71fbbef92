"""Augmenting a batch of radiographs as it was drawn.

There is no chance in here: even noise is computed from the radiograph's own seed, see `draws`.
"""

import math

import numpy as np
import simplejpeg
import torch
from torch import Tensor
from torch.nn import functional

from hilum.training.augmentation import Augmentation
from hilum.training.draws import Draws
from hilum.training.exchange import Styles, exchanged
from hilum.training.gaussian import blurred

__all__ = ["augment"]

_SHARPNESS_BLUR = 1.0  # pixels at that side
_BLOCK = 2**19  # pixels that are worked on at a time; 2 MB of float32


@torch.no_grad()
def augment(
    pixels: Tensor, draws: Draws, augmentation: Augmentation, styles: Styles | None = None
) -> Tensor:
    """Apply what was drawn: style, geometry, exposure, detector, then borders and compression.

    The result of a radiograph does not depend on the others in the batch, but for the rounding of
    float32 (and, after that, of JPEG). Augmentations that are off cost nothing, whatever was drawn.

    Args:
        pixels: Grey levels, uint8 in [0, 255] or floating in [0, 1], shape (n, 1, s, s), on any
            device; they are not changed.
        draws: For these n radiographs.
        augmentation: The limits they were drawn within.
        styles: Those to exchange with; needed where `exchange` is on.

    Returns:
        Grey levels in [0, 1], float32, shape (n, 1, s, s), on the same device.

    Raises:
        ValueError: If a shape or the kind of number does not fit, or styles are missing.
    """
    if pixels.ndim != 4 or pixels.shape[1] != 1 or pixels.shape[2] != pixels.shape[3]:
        raise ValueError(f"the radiographs have shape {tuple(pixels.shape)}, not (n, 1, s, s)")
    if not (pixels.dtype == torch.uint8 or pixels.is_floating_point()):
        raise ValueError(f"the radiographs are {pixels.dtype}; give uint8 or floating numbers")
    if len(pixels) != len(draws):
        raise ValueError(
            f"there are draws for {len(draws)} radiographs, but {len(pixels)} are here"
        )
    if augmentation.exchange and styles is None:
        raise ValueError("exchange needs the styles of the train part")
    if len(pixels) == 0:
        return pixels.float()
    # On a CPU, what fits its cache is done 1.6 times as fast; an accelerator takes the batch whole.
    most = max(1, _BLOCK // pixels[0].numel()) if pixels.device.type == "cpu" else len(pixels)
    blocks = [slice(first, first + most) for first in range(0, len(pixels), most)]
    return torch.cat(
        [_augmented(pixels[rows], draws.rows(rows), augmentation, styles) for rows in blocks]
    )


def _augmented(
    pixels: Tensor, draws: Draws, augmentation: Augmentation, styles: Styles | None
) -> Tensor:
    on = frozenset(augmentation.on)
    here = draws.to(pixels.device)
    grey = (pixels.float() / (1 if pixels.is_floating_point() else 255)).clamp_(0, 1)
    if styles is not None and "exchange" in on:
        grey = exchanged(grey, styles, here.exchange_with, here.exchange_tone, here.exchange_detail)
    if on & {"rotate", "shift", "scale", "aspect", "flip"}:
        grey = _placed(grey, here, augmentation.padding)
    if "gamma" in on:
        grey = grey.pow_(_each(here.gamma))
    if on & {"contrast", "brightness"}:
        grey = _exposed(grey, here)
    if "blur" in on:
        grey = blurred(grey, here.blur, augmentation.blur)
    if "sharpness" in on:
        soft = blurred(grey, torch.full_like(here.sharpness, _SHARPNESS_BLUR), _SHARPNESS_BLUR)
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
