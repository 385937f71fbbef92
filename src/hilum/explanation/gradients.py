"""Explanations by gradients: how the log-odds change with a layer's features, or with the pixels.

Each function is the paper's formula. Where a paper averages gradients over places, here they are
summed: at the last block, whose features the head averages, a map then has the unit of the class
activation map, local log-odds, and its mean over places is the log-odds less the bias. The factor is
the same at every place.
"""

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hilum.explanation.layers import capture
from hilum.explanation.perturbation import Cover, covered
from hilum.explanation.rebuild import Rebuilt
from hilum.explanation.target import Target
from hilum.networks.network import RadiographNetwork

__all__ = [
    "LAYER_METHODS",
    "integrated_gradients",
    "layer_explanation",
    "log_odds",
    "mirrored",
    "smoothgrad",
]

Explain = Callable[[NDArray[np.uint8]], NDArray[np.float32]]

_BATCH = 16


def log_odds(scores: Tensor, target: Target) -> Tensor:
    """Return calibrated log-odds (n,) of raw scores (n, labels); see `Target.log_odds`."""
    logits = target.calibration.scale * scores + scores.new_tensor(target.calibration.bias)
    wanted = torch.logsumexp(logits[:, list(target.wanted)], dim=1)
    others = torch.logsumexp(logits[:, list(target.others)], dim=1)
    difference: Tensor = wanted - others
    return difference


def _grad_cam(features: Tensor, gradients: Tensor) -> Tensor:
    """Selvaraju et al., ICCV 2017: channels weighted by their mean gradient, negatives cut off."""
    return (gradients.sum((2, 3), keepdim=True) * features).sum(1).relu()


def _grad_cam_plus_plus(features: Tensor, gradients: Tensor) -> Tensor:
    """Chattopadhay et al., WACV 2018, equations 10 and 19, for the exponential of the log-odds.

    Its derivatives are the gradient's powers times that exponential, which is left out as a factor
    of the whole map.
    """
    squares, cubes = gradients**2, gradients**3
    below = 2 * squares + (features * cubes).sum((2, 3), keepdim=True)
    alpha = torch.where(below != 0, squares / torch.where(below != 0, below, 1.0), 0.0)
    weights = (alpha * gradients.relu()).sum((2, 3), keepdim=True)
    places = features.shape[2] * features.shape[3]
    return (places * weights * features).sum(1).relu()


def _hirescam(features: Tensor, gradients: Tensor) -> Tensor:
    """Draelos & Carin, arXiv 2011.08891: each place by its own gradient; signs are kept."""
    return features.shape[2] * features.shape[3] * (gradients * features).sum(1)


def _layer_cam(features: Tensor, gradients: Tensor) -> Tensor:
    """Jiang et al., IEEE Trans Image Process 2021;30:5875: only gradients above zero count."""
    places = features.shape[2] * features.shape[3]
    return places * (gradients.relu() * features).sum(1).relu()


def _eigen_cam(features: Tensor, _gradients: Tensor) -> Tensor:
    """Muhammad & Yeasin, IJCNN 2020: features along their first singular vector.

    A singular vector has no sign; the one is taken with which the map's sum is positive.
    """
    n, channels, rows, columns = features.shape
    matrices = features.reshape(n, channels, rows * columns).transpose(1, 2)
    _, _, right = torch.linalg.svd(matrices, full_matrices=False)
    found = (matrices @ right[:, 0, :, None])[..., 0]
    sign = torch.where(found.sum(1, keepdim=True) < 0, -1.0, 1.0)
    maps: Tensor = (sign * found).reshape(n, rows, columns)
    return maps


LAYER_METHODS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "grad-cam": _grad_cam,
    "grad-cam++": _grad_cam_plus_plus,
    "hirescam": _hirescam,
    "layer-cam": _layer_cam,
    "eigen-cam": _eigen_cam,
}


def layer_explanation(
    network: RadiographNetwork, method: str, target: Target, layer: str
) -> Explain:
    """Return what explains radiographs by a layer's features and their gradients.

    Args:
        network: In evaluation mode.
        method: One of `LAYER_METHODS`.
        target: What is explained.
        layer: Name of a layer with maps.

    Returns:
        Pixels (n, s, s) to maps (n, h, w) on the layer's own grid.
    """
    combine = LAYER_METHODS[method]

    def explain(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        maps = []
        for first in range(0, len(pixels), _BATCH):
            grey = _grey(pixels[first : first + _BATCH]).requires_grad_()
            with torch.enable_grad(), capture(network, layer) as captured:
                total = log_odds(network(grey), target).sum()
                features = captured.maps
                (gradients,) = torch.autograd.grad(total, features)
            maps.append(combine(features.detach(), gradients).numpy())
        return np.concatenate(maps)

    return explain


def integrated_gradients(
    rebuilt: Rebuilt, target: Target, cover: Cover, *, steps: int
) -> tuple[Explain, Callable[[NDArray[np.uint8]], NDArray[np.float64]]]:
    """Return integrated gradients (Sundararajan, Taly & Yan, ICML 2017), by captum.

    Args:
        rebuilt: The network; where it reads the mirror image too, so do the gradients.
        target: What is explained.
        cover: The baseline: what the radiograph is when it shows nothing.
        steps: Points of the Gauss-Legendre quadrature between baseline and radiograph.

    Returns:
        What explains, pixels (n, s, s) to maps (n, s, s), and what each map must add up to:
        the log-odds of the radiograph less those of its baseline, (n,).
    """
    from captum.attr import IntegratedGradients

    def of(grey: Tensor) -> Tensor:
        return log_odds(rebuilt.scores(grey), target)

    method = IntegratedGradients(of)

    def explain(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        maps = []
        for each in pixels:
            grey, baseline = _grey(each[None]), _grey(covered(each[None], cover))
            found: Tensor = method.attribute(
                grey, baselines=baseline, n_steps=steps, internal_batch_size=_BATCH
            )
            maps.append(found.detach()[0, 0].numpy().astype(np.float32))
        return np.stack(maps)

    def total(pixels: NDArray[np.uint8]) -> NDArray[np.float64]:
        with torch.no_grad():
            both = of(_grey(pixels)) - of(_grey(covered(pixels, cover)))
        return both.numpy().astype(np.float64)

    return explain, total


def smoothgrad(
    rebuilt: Rebuilt, target: Target, *, copies: int, noise: float, seed: int
) -> Explain:
    """Return SmoothGrad (Smilkov et al., arXiv 1706.03825): the gradient averaged over noisy copies.

    Args:
        rebuilt: The network; where it reads the mirror image too, so does the gradient.
        target: What is explained.
        copies: How many.
        noise: Standard deviation, share of the grey scale.
        seed: Of the noise; each radiograph gets the same, so that it does not matter which others
            are explained with it.

    Returns:
        Pixels (n, s, s) to maps (n, s, s): the size of the mean change of the log-odds with one
        grey level, 0 or more.
    """

    def explain(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        maps = []
        for each in pixels:
            generator = torch.Generator().manual_seed(seed)
            total = torch.zeros(each.shape)
            for first in range(0, copies, _BATCH):
                n = min(_BATCH, copies - first)
                drawn = torch.randn((n, 1, *each.shape), generator=generator)
                grey = (_grey(each[None]) + noise * drawn).requires_grad_()
                with torch.enable_grad():
                    change = log_odds(rebuilt.scores(grey), target).sum()
                    (gradients,) = torch.autograd.grad(change, grey)
                total += gradients.sum((0, 1))
            maps.append((total / copies / 255.0).abs().numpy())
        return np.stack(maps)

    return explain


def mirrored(explain: Explain) -> Explain:
    """Return the mean of what explains a radiograph and, turned back, its mirror image.

    For networks that read both and take the mean of their scores. For two classes, log-odds are
    linear in the scores, so that this is the explanation of the mean, too.
    """

    def both(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        other = explain(np.ascontiguousarray(pixels[..., ::-1]))
        return np.asarray((explain(pixels) + other[..., ::-1]) / 2, dtype=np.float32)

    return both


def _grey(pixels: NDArray[np.uint8]) -> Tensor:
    """Return pixels (n, s, s) as the network takes them: (n, 1, s, s), float32, [0, 1]."""
    return torch.from_numpy(np.ascontiguousarray(pixels))[:, None].float() / 255.0
