"""Classifiers that forgot what they learned, for sanity checks.

The weights of a `.hilum` file are shuffled within each tensor, from the head down (Adebayo et al., NeurIPS
2018, call it cascading). Shuffling keeps the weights' own distribution, so that activations neither die
nor explode more than they must, and needs no torch. Tensors of one dimension, biases and normalisation,
stay: shuffled against the statistics that they belong to they would do both.
"""

from dataclasses import replace
from math import ceil
from typing import TYPE_CHECKING

import numpy as np

from hilum.errors import ModelError
from hilum.model import Classifier
from hilum.model.file import ModelFile

if TYPE_CHECKING:
    import onnx

__all__ = ["CASCADE", "cascade", "randomised"]

# Shares of the weight tensors that are shuffled, from the head; the least is the head alone.
CASCADE = {"head": 0.0, "half": 0.5, "whole network": 1.0}


def cascade(file: ModelFile, *, draws: int = 2, seed: int = 0) -> dict[str, list[Classifier]]:
    """Return classifiers that forgot more and more, by the names of `CASCADE`.

    Args:
        file: Of the classifier.
        draws: How many of each.
        seed: Of the first; each has its own.

    Raises:
        ModelError: If the network has no weights to shuffle.
    """
    return {
        name: [
            randomised(file, share, np.random.default_rng([seed, step, draw]))
            for draw in range(draws)
        ]
        for step, (name, share) in enumerate(CASCADE.items())
    }


def randomised(file: ModelFile, share: float, rng: np.random.Generator) -> Classifier:
    """Return a classifier with a share of its weight tensors shuffled, those nearest the head first.

    Args:
        file: Of the classifier; it stays as it is.
        share: Of the tensors, in [0, 1], at least one.
        rng: Of the shuffles.

    Raises:
        ModelError: If the network has no weights to shuffle.
    """
    import onnx
    from onnx import numpy_helper

    model = onnx.load_model_from_string(file.network)
    tensors = {tensor.name: tensor for tensor in model.graph.initializer if len(tensor.dims) > 1}
    nearest = _from_the_head(model.graph, set(tensors))
    if not nearest:
        raise ModelError(
            "the network has no weights that could be shuffled; try another classifier"
        )
    for name in nearest[: max(1, ceil(share * len(nearest)))]:
        array = numpy_helper.to_array(tensors[name])
        shuffled = rng.permutation(array.ravel()).reshape(array.shape)
        tensors[name].CopyFrom(numpy_helper.from_array(shuffled, name))
    network = bytes(model.SerializeToString(deterministic=True))
    return Classifier(replace(file, network=network, sha256=""))


def _from_the_head(graph: "onnx.GraphProto", names: set[str]) -> list[str]:
    """Return the names of weights in the order of their use, the last used first."""
    # Weights may be stored as float16 and widened by a node of their own, which stands anywhere.
    widened = {node.output[0]: node.input[0] for node in graph.node if node.op_type == "Cast"}
    used: dict[str, int] = {}
    for index, node in enumerate(graph.node):
        if node.op_type != "Cast":
            used |= {widened.get(name, name): index for name in node.input}
    return sorted(names & set(used), key=lambda name: -used[name])
