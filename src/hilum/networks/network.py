"""A network that reads radiographs: blocks from grey levels to feature maps, and a head.

The blocks are in one sequence so that a stage of training can freeze the first of them, run those
once, and train the rest. The pixels are normalised by the first block, which has no parameters.
"""

from collections.abc import Iterator
from itertools import chain
from typing import Literal

from torch import Tensor, nn
from torch.nn.functional import conv2d

from hilum.errors import RecipeError
from hilum.networks.layers import ACTIVATIONS
from hilum.networks.options import Activation, HeadOptions, Pool

__all__ = ["Head", "RadiographNetwork", "rest_what_is_frozen", "trainable", "weighted_layers"]


class Head(nn.Module):
    """Feature maps (n, channels, h, w), float32, to scores (n, labels).

    Args:
        shape: Of the feature maps without the batch: (channels, h, w).
        labels: How many.
        pool: The mean over places, or all values side by side.
        dense: Sizes of the dense layers before the last.
        activation: Of the dense layers.
        dropout: Share dropped before each dense layer and before the last layer.
    """

    def __init__(
        self,
        shape: tuple[int, int, int],
        labels: int,
        *,
        pool: Pool = "average",
        dense: tuple[int, ...] = (),
        activation: Activation = "relu",
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        channels, rows, columns = shape
        # The mean of one place is that place, and a map of one place shows nothing.
        self.pool: Pool = "flatten" if rows * columns == 1 else pool
        width = channels if self.pool == "average" else channels * rows * columns
        # Dropout that keeps SELU's mean and variance (Klambauer et al., NeurIPS 2017).
        drop = nn.AlphaDropout if activation == "selu" and dense else nn.Dropout
        layers: list[nn.Module] = []
        for size in dense:
            layers += [drop(dropout)] if dropout else []
            layers += [nn.Linear(width, size), ACTIVATIONS[activation]()]
            width = size
        layers += [drop(dropout)] if dropout else []
        self.hidden = nn.Sequential(*layers)
        self.linear = nn.Linear(width, labels)
        self.gives_maps = self.pool == "average" and not dense
        for layer in self.hidden:
            if isinstance(layer, nn.Linear):
                nn.init.kaiming_uniform_(layer.weight, nonlinearity="relu")
                nn.init.zeros_(layer.bias)
        nn.init.xavier_uniform_(self.linear.weight)
        nn.init.zeros_(self.linear.bias)

    @staticmethod
    def of(options: HeadOptions, shape: tuple[int, int, int], labels: int, pool: Pool) -> "Head":
        """Make a head as a recipe asks; `pool` is the network's own."""
        return Head(
            shape,
            labels,
            pool=options.pool or pool,
            dense=options.dense,
            activation=options.activation,
            dropout=options.dropout,
        )

    def pooled(self, features: Tensor) -> Tensor:
        """Return one row per radiograph, shape (n, channels) or (n, channels * h * w)."""
        return features.mean((2, 3)) if self.pool == "average" else features.flatten(1)

    def embedding(self, pooled: Tensor) -> Tensor:
        """Return what the last layer sees, shape (n, k)."""
        found: Tensor = self.hidden(pooled)
        return found

    def from_pooled(self, pooled: Tensor) -> Tensor:
        """Return scores (n, labels) of pooled features."""
        scores: Tensor = self.linear(self.embedding(pooled))
        return scores

    def forward(self, features: Tensor) -> Tensor:
        """Return scores (n, labels)."""
        return self.from_pooled(self.pooled(features))

    def maps(self, features: Tensor) -> Tensor:
        """Return class activation maps, shape (n, labels, h, w), whose mean is the score.

        A linear layer commutes with the mean over places (Zhou et al., CVPR 2016).

        Raises:
            ValueError: If the head is not the mean over places and one linear layer.
        """
        if not self.gives_maps:
            raise ValueError("class activation maps need average pooling and no dense layer")
        return conv2d(features, self.linear.weight[:, :, None, None], self.linear.bias)


class RadiographNetwork(nn.Module):
    """Grey levels (n, 1, size, size), float32 in [0, 1], to scores (n, labels).

    Args:
        name: As in the registry.
        size: Side of the input, pixels.
        blocks: From the input to the features; the first normalises and has no parameters.
        head: From the features to the scores.
    """

    def __init__(self, name: str, size: int, blocks: nn.Sequential, head: Head) -> None:
        super().__init__()
        self.name = name
        self.size = size
        self.blocks = blocks
        self.head = head

    def forward(self, pixels: Tensor) -> Tensor:
        """Return scores (n, labels)."""
        scores: Tensor = self.head(self.blocks(pixels))
        return scores


def weighted_layers(network: RadiographNetwork) -> list[nn.Module]:
    """Return the convolutions and dense layers of the blocks, from input to output.

    The head's are not among them: they are always trained.
    """
    return [module for module in _inside_out(network.blocks) if _is_weighted(module)]


def trainable(
    network: RadiographNetwork,
    what: Literal["head", "all"] | tuple[Literal["blocks", "layers"], int],
) -> int:
    """Choose what is trained; the head always is.

    Normalisation and scales belong to the convolution or dense layer before them.

    Args:
        network: Whose parameters are set to be trained or frozen.
        what: The head alone, everything, or with the head the last blocks or layers.

    Returns:
        Index of the first block with something to train, so that the blocks before it are wholly
        frozen: 1 where everything is trained, as the input block has no parameters;
        len(network.blocks) for the head alone.

    Raises:
        RecipeError: If the network has fewer blocks or layers than asked for.
    """
    network.requires_grad_(what == "all")
    network.head.requires_grad_(True)
    if isinstance(what, tuple):
        unit, count = what
        parts = _blocks_with_weights(network) if unit == "blocks" else _layers(network)
        if not 1 <= count <= len(parts):
            raise RecipeError(
                f"{network.name} has {len(parts)} {unit} below its head, not {count}; "
                "ask for fewer, or for all"
            )
        for parameter in chain.from_iterable(parts[-count:]):
            parameter.requires_grad_(True)
    trained = [any(p.requires_grad for p in block.parameters()) for block in network.blocks]
    return trained.index(True) if any(trained) else len(trained)


def rest_what_is_frozen(blocks: nn.Sequential) -> None:
    """Keep what is frozen of blocks at rest while they are in training mode.

    A frozen normalisation goes on using its running statistics, and dropout below the first
    trained layer stays off, so that frozen blocks give the same features in every epoch.
    """
    started = False
    for module in _inside_out(blocks):
        parameters = list(module.parameters())
        if any(p.requires_grad for p in parameters):
            started = True
        elif parameters or not started:
            module.training = False


def _inside_out(module: nn.Module) -> Iterator[nn.Module]:
    """Yield every module after those inside it, in the order in which they were made.

    So a block's own scale comes after its layers, which it scales.
    """
    for child in module.children():
        yield from _inside_out(child)
    yield module


def _is_weighted(module: nn.Module) -> bool:
    return isinstance(module, nn.Linear | nn.Conv1d | nn.Conv2d | nn.Conv3d)


def _blocks_with_weights(network: RadiographNetwork) -> list[list[nn.Parameter]]:
    return [parameters for block in network.blocks if (parameters := list(block.parameters()))]


def _layers(network: RadiographNetwork) -> list[list[nn.Parameter]]:
    """Return the parameters of each weighted layer with those that belong to it."""
    groups: list[list[nn.Parameter]] = [[]]
    for module in _inside_out(network.blocks):
        if _is_weighted(module) and groups[-1]:
            groups.append([])
        groups[-1] += module.parameters(recurse=False)
    return groups if groups[-1] else []
