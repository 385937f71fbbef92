"""The methods of explanation by name, and the explainer that each makes of a classifier.

An explainer is called with radiographs on the network's grid and gives one map for each, so that
whatever judges explanations can judge them all alike.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from hilum.errors import MissingExtraError, UsageError
from hilum.explanation.exact import ExactNetwork
from hilum.explanation.perturbation import Cover, occlusion, rise
from hilum.explanation.target import Target, target_of
from hilum.model import Classifier
from hilum.model.schema import Document

if TYPE_CHECKING:
    from hilum.explanation.rebuild import Rebuilt

__all__ = ["METHODS", "Explainer", "Method", "Options", "explainer", "method_named", "rebuilt_of"]

Maps = Callable[[NDArray[np.uint8]], NDArray[np.float32]]

_BATCH = 64
_LOG_ODDS = "local log-odds"


@dataclass(frozen=True, slots=True)
class Method:
    """A way to explain."""

    name: str
    about: str  # what a map shows, with the source
    unit: str
    needs_torch: bool
    layered: bool = False  # looks at a layer, which may be chosen
    asks_finding: bool = True  # False: its map is the same whatever is explained
    speckled: bool = False  # single pixels stand out, which a scale must not go by


# fmt: off
METHODS: dict[str, Method] = {
    method.name: method
    for method in (
        Method("class-activation-map", "What each place adds to the score; it is the network's own, and adds up (Zhou et al., CVPR 2016).", _LOG_ODDS, needs_torch=False),
        Method("occlusion", "How far the log-odds fall when a patch is covered (Zeiler & Fergus, ECCV 2014).", "fall in log-odds", needs_torch=False),
        Method("rise", "Which random parts go with high log-odds when they are shown (Petsiuk et al., BMVC 2018).", "log-odds over the mean", needs_torch=False),
        Method("grad-cam", "A layer's channels, each weighted by its mean gradient (Selvaraju et al., ICCV 2017).", _LOG_ODDS, needs_torch=True, layered=True),
        Method("grad-cam++", "The same, with places of large gradients weighing more (Chattopadhay et al., WACV 2018).", "weighted activation", needs_torch=True, layered=True),
        Method("hirescam", "A layer's channels, each weighted by the gradient at its own place (Draelos & Carin 2020, arXiv 2011.08891).", _LOG_ODDS, needs_torch=True, layered=True),
        Method("layer-cam", "The same, with gradients above zero alone (Jiang et al., IEEE Trans Image Process 2021).", "weighted activation", needs_torch=True, layered=True),
        Method("eigen-cam", "What most of a layer's channels share, whatever the finding (Muhammad & Yeasin, IJCNN 2020).", "activation", needs_torch=True, layered=True, asks_finding=False),
        Method("integrated-gradients", "Gradients at the pixels, summed from a blurred radiograph to the radiograph (Sundararajan et al., ICML 2017).", "log-odds per pixel", needs_torch=True, speckled=True),
        Method("smoothgrad", "Size of the gradient at the pixels, averaged over noisy copies (Smilkov et al. 2017, arXiv 1706.03825).", "log-odds per grey level", needs_torch=True, speckled=True),
    )
}
# fmt: on


class Options(Document):
    """Parameters of the methods."""

    seed: int = Field(default=0, ge=0, lt=2**32)  # of the masks of RISE and the noise of SmoothGrad
    # What hidden parts show in occlusion and RISE, and where integrated gradients start.
    cover: Cover = "blur"
    # Side of occlusion's patch, share of the radiograph's: about the height of three ribs and the
    # spaces between them, for smaller ones seldom hide an opacity.
    patch: float = Field(default=1 / 6, gt=0.0, le=1.0)
    strides: int = Field(default=4, ge=1, le=64)  # steps of the patch within its own side
    masks: int = Field(default=1000, ge=1, le=100_000)  # of RISE
    cells: int = Field(default=7, ge=1, le=64)  # of RISE's coarse grid, as in the paper
    kept: float = Field(default=0.5, gt=0.0, lt=1.0)  # share that RISE shows, as in the paper
    steps: int = Field(default=64, ge=1, le=1000)  # of integrated gradients
    copies: int = Field(default=32, ge=1, le=1000)  # of SmoothGrad
    noise: float = Field(default=0.1, ge=0.0, le=1.0)  # of SmoothGrad, share of the grey scale


@dataclass(frozen=True, slots=True)
class Explainer:
    """A method, ready for the radiographs of one classifier."""

    method: Method
    target: Target
    native: Maps  # (n, s, s) to maps on the method's own grid, (n, h, w)
    parameters: dict[str, Any] = field(default_factory=dict)  # what it was told, for provenance
    layer: str | None = None
    # What the values of each map must add up to, where the method promises it, (n,).
    total: Callable[[NDArray[np.uint8]], NDArray[np.float64]] | None = None

    def __call__(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Explain radiographs.

        Args:
            pixels: On the network's grid, shape (n, s, s), uint8, display polarity.

        Returns:
            Shape (n, s, s), in the method's unit; higher where there is more for the finding.
        """
        return on_grid(self.native(pixels), pixels.shape[1])


def on_grid(maps: NDArray[np.float32], side: int) -> NDArray[np.float32]:
    """Bring maps (n, h, w) to a grid (n, side, side).

    Linear interpolation: it gives no value beyond those that were there.
    """
    from PIL import Image

    if maps.shape[1:] == (side, side):
        return maps
    return np.stack(
        [
            np.asarray(Image.fromarray(each).resize((side, side), Image.Resampling.BILINEAR))
            for each in np.ascontiguousarray(maps, dtype=np.float32)
        ]
    )


def method_named(name: str) -> Method:
    """Return a method by its name.

    Raises:
        UsageError: If there is none of that name.
    """
    if name not in METHODS:
        raise UsageError(f"there is no method '{name}'; choose one of: {', '.join(METHODS)}")
    return METHODS[name]


def rebuilt_of(classifier: Classifier, what: str) -> "Rebuilt":
    """Return a classifier's network in torch.

    Args:
        classifier: A loaded one.
        what: Needs it, for the message where torch is missing.

    Raises:
        MissingExtraError: If torch is not installed.
        ModelError: If the network cannot be rebuilt, or gives other scores.
    """
    try:
        from hilum.explanation.rebuild import rebuild
    except ModuleNotFoundError as error:
        raise MissingExtraError(what, "train") from error
    return rebuild(classifier)


def explainer(
    classifier: Classifier,
    name: str,
    *,
    finding: str = "pneumonia",
    layer: str | None = None,
    options: Options | None = None,
    rebuilt: "Rebuilt | None" = None,
) -> Explainer:
    """Make a method ready for a classifier.

    Args:
        classifier: Whose readings are explained.
        name: Of the method, as in `METHODS`.
        finding: See `hilum.explanation.target.target_of`.
        layer: Of the methods that look at a layer; None: the last block whose output has places.
        options: None: all defaults.
        rebuilt: The network in torch, for methods that need it; None: it is rebuilt. Another one
            than the file's, such as with weights drawn anew, is explained instead of it.

    Raises:
        UsageError: If there is no such method, finding or layer, or the classifier cannot be
            explained so.
        MissingExtraError: If the method needs torch or captum and they are not installed.
        ModelError: If the network cannot be rebuilt in torch.
    """
    method = method_named(name)
    options = options or Options()
    target = target_of(classifier.file.labels, classifier.file.calibration, finding)
    if not method.needs_torch:
        return _by_answers(classifier, method, target, options)
    found = rebuilt or rebuilt_of(classifier, f"the method {name}")
    return _by_gradients(found, method, target, layer, options)


def _by_answers(
    classifier: Classifier, method: Method, target: Target, options: Options
) -> Explainer:
    if method.name == "class-activation-map":
        return Explainer(method, target, _class_activation_map(classifier, target))
    network = ExactNetwork(classifier)

    def score(batches: Iterable[NDArray[np.uint8]]) -> NDArray[np.float64]:
        return network.log_odds(batches, target)

    explain: Callable[..., NDArray[np.float32]]
    told: dict[str, Any]
    if method.name == "occlusion":
        patch = max(1, round(options.patch * classifier.size))
        explain, told = occlusion, {"patch": patch, "stride": max(1, patch // options.strides)}
    else:
        explain = rise
        told = {key: getattr(options, key) for key in ("masks", "cells", "kept", "seed")}

    def native(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        return np.stack([explain(score, each, options.cover, **told) for each in pixels])

    return Explainer(method, target, native, {"cover": options.cover, **told})


def _class_activation_map(classifier: Classifier, target: Target) -> Maps:
    if not classifier.draws_maps:
        raise UsageError(
            f"{classifier.file.provenance.network} as trained here has no class activation map "
            "(dense layers mix its places); choose another method, such as occlusion"
        )
    network = ExactNetwork(classifier)

    def native(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        starts = range(0, len(pixels), _BATCH)
        maps = [target.log_odds(network.run(pixels[i : i + _BATCH], "maps")) for i in starts]
        return np.concatenate(maps).astype(np.float32)

    return native


def _by_gradients(
    rebuilt: "Rebuilt", method: Method, target: Target, layer: str | None, options: Options
) -> Explainer:
    from hilum.explanation import gradients
    from hilum.explanation.layers import layer_named

    if method.layered:
        chosen = layer_named(rebuilt.network, layer).name
        explain = gradients.layer_explanation(rebuilt.network, method.name, target, chosen)
        native = gradients.mirrored(explain) if rebuilt.mirror else explain
        return Explainer(method, target, native, {}, chosen)
    if method.name == "smoothgrad":
        told = {key: getattr(options, key) for key in ("copies", "noise", "seed")}
        return Explainer(method, target, gradients.smoothgrad(rebuilt, target, **told), told)
    try:
        native, total = gradients.integrated_gradients(
            rebuilt, target, options.cover, steps=options.steps
        )
    except ModuleNotFoundError as error:
        raise MissingExtraError(f"the method {method.name}", "train") from error
    told = {"baseline": options.cover, "steps": options.steps}
    return Explainer(method, target, native, told, total=total)
