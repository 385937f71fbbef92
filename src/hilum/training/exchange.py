"""Exchange of style: a radiograph takes on the tone and the detail of another one of the train part.

The other is drawn without regard to its finding. Over an epoch, how bright, contrasty or sharp a
radiograph is then says less of its finding than it did, whatever the cause: the strength of this
augmentation is learned from the cohort instead of guessed. It follows histogram matching (Gonzalez and
Woods, chapter 3) and the exchange of low-level statistics for domain generalisation (Yang and
Soatto, FDA, CVPR 2020; Zhou et al., MixStyle, ICLR 2021), done on bands of detail instead of
Fourier amplitudes, which a picture's borders disturb.
"""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hilum.training.gaussian import BLUR_SIDE, blurred

__all__ = ["Styles", "exchanged"]

_QUANTILES = 33  # of the grey levels; between them tone is interpolated
_LEVELS = 256
# Bands of detail lie between Gaussians of these deviations, in pixels of the grid; the first is none.
_WIDTHS = (1.0, 2.0, 4.0)
_STRONGEST = 3.0  # contrast and detail are multiplied by this at most: more would be noise
_FAINT = 1e-3  # grey levels in [0, 1]; detail below it is none
_BLOCK = 128


@dataclass(frozen=True)
class Styles:
    """The tone and the detail of each radiograph of the train part.

    Attributes:
        tones: Quantiles of the grey levels, shape (n, 33), float32 in [0, 1].
        details: Standard deviation of each band, shape (n, 3), float32.
    """

    tones: Tensor
    details: Tensor

    @classmethod
    def of(cls, pixels: NDArray[np.uint8]) -> "Styles":
        """Measure radiographs.

        Args:
            pixels: Shape (n, s, s), uint8.
        """
        tones, details = [], []
        for start in range(0, len(pixels), _BLOCK):
            block = torch.from_numpy(np.array(pixels[start : start + _BLOCK]))[:, None]
            grey = block.float() / 255
            tones.append(_tones(grey))
            details.append(_strengths(_bands(grey)[0]))
        return cls(torch.cat(tones), torch.cat(details))


def exchanged(grey: Tensor, styles: Styles, place: Tensor, tone: Tensor, detail: Tensor) -> Tensor:
    """Return radiographs in the style of others.

    Args:
        grey: Grey levels in [0, 1], shape (n, 1, s, s).
        styles: Among which to choose.
        place: Which of the styles, [0, 1), shape (n,).
        tone: Share of the way to its distribution of grey levels, shape (n,).
        detail: Share of the way, in octaves, to its strength of detail, shape (n,).
    """
    chosen = (place.double() * len(styles.tones)).long().clamp(max=len(styles.tones) - 1).cpu()
    worn = (tone > 0).nonzero().flatten()
    if len(worn):
        grey = grey.clone()
        grey[worn] = _toned(grey[worn], styles.tones[chosen[worn.cpu()]], tone[worn])
    worn = (detail > 0).nonzero().flatten()
    if len(worn):
        grey = grey.clone()
        wanted = styles.details[chosen[worn.cpu()]].to(grey.device)
        grey[worn] = _detailed(grey[worn], wanted, detail[worn])
    return grey


def _tones(grey: Tensor) -> Tensor:
    at = torch.linspace(0, 1, _QUANTILES, device=grey.device)
    return torch.quantile(grey.flatten(1), at, dim=1).T.contiguous()


def _toned(grey: Tensor, wanted: Tensor, share: Tensor) -> Tensor:
    """Send each grey level to the one of the same rank, as far as the share says."""
    own = _tones(grey).cpu().numpy()
    levels = np.linspace(0, 1, _LEVELS)
    table = np.stack(
        [
            # Equal quantiles would make the rank of a level ambiguous; a hair apart, it is not.
            np.interp(levels, mine + np.arange(_QUANTILES) * 1e-7, theirs)
            for mine, theirs in zip(own, wanted.numpy(), strict=True)
        ]
    )
    # Where many pixels share few levels, as unexposed borders do, ranks would blow up their noise.
    steps = np.minimum(np.diff(table, axis=1), _STRONGEST / (_LEVELS - 1))
    table[:, 1:] = table[:, :1] + np.cumsum(steps, axis=1)
    # The limit takes away jumps, and with them brightness; the median gets what it should have.
    middle = _QUANTILES // 2
    at = (own[:, middle] * (_LEVELS - 1)).round().astype(int)
    lost = wanted.numpy()[:, middle] - table[np.arange(len(table)), at]
    table = table + lost[:, None]
    index = (grey.flatten(1) * (_LEVELS - 1)).round().long()
    matched = torch.from_numpy(table).float().to(grey.device).gather(1, index).view_as(grey)
    return torch.lerp(grey, matched, share.view(-1, 1, 1, 1)).clamp_(0, 1)


def _detailed(grey: Tensor, wanted: Tensor, share: Tensor) -> Tensor:
    """Multiply each band of detail so that its deviation goes towards the wanted one."""
    bands, rest = _bands(grey)
    gains = ((wanted + _FAINT) / (_strengths(bands) + _FAINT)) ** share[:, None]
    gains = gains.clamp(1 / _STRONGEST, _STRONGEST)
    for band, gain in zip(bands, gains.unbind(1), strict=True):
        rest = rest + band * gain.view(-1, 1, 1, 1)
    return rest.clamp_(0, 1)


def _bands(grey: Tensor) -> tuple[list[Tensor], Tensor]:
    """Take a picture apart into bands of detail, finest first, and what is left."""
    per_pixel = BLUR_SIDE / grey.shape[-1]
    bands, before = [], grey
    for width in _WIDTHS:
        deviation = torch.full((len(grey),), width * per_pixel, device=grey.device)
        soft = blurred(grey, deviation, width * per_pixel)
        bands.append(before - soft)
        before = soft
    return bands, before


def _strengths(bands: list[Tensor]) -> Tensor:
    return torch.stack([band.flatten(1).std(dim=1) for band in bands], dim=1)
