"""Networks that start from scratch, after those that students build on paediatric radiographs.

Each function makes the blocks and says which head is the network's own; a recipe may ask for
another. Channels are fewer than in most of the originals, so that two processor cores train them.
"""

from dataclasses import dataclass

from torch import nn

from hilum.networks.layers import ACTIVATIONS, Normalise, initialise, normalisation
from hilum.networks.options import HeadOptions, Normalisation, ScratchOptions

__all__ = ["Body", "cnn_9", "cnn_14", "cnn_baseline", "cnn_dilated", "cnn_double", "mlp"]

# About the mean and deviation of a chest radiograph's grey levels in [0, 1]; what enters the first
# layer is then near mean 0 and deviation 1, as the initialisers assume.
_MEAN, _DEVIATION = 0.5, 0.25


@dataclass(frozen=True)
class Body:
    """What a network is below its head, and the head that is its own."""

    blocks: nn.Sequential
    head: HeadOptions


class _Maker:
    """Makes blocks with a recipe's options where it has any, and the network's own elsewhere."""

    def __init__(
        self,
        options: ScratchOptions,
        size: int,
        *,
        norm: Normalisation = "none",
        dropout: float = 0.0,
        dense_dropout: float = 0.0,
    ) -> None:
        self._options = options
        self._norm = options.normalisation or norm
        self._dropout = dropout if options.dropout is None else options.dropout
        self._dense_dropout = dense_dropout if options.dropout is None else options.dropout
        self._channels, self._side = 1, size
        self._blocks: list[nn.Module] = [Normalise((_MEAN,), (_DEVIATION,))]

    def _wide(self, channels: int) -> int:
        # Multiples of eight fill the processor's vectors.
        return max(8, round(channels * self._options.width / 8) * 8)

    def _after(self) -> list[nn.Module]:
        return [*normalisation(self._norm, self._channels), ACTIVATIONS[self._options.activation]()]

    def _drop(self) -> list[nn.Module]:
        # Dropout that keeps SELU's mean and variance (Klambauer et al., NeurIPS 2017).
        kind = nn.AlphaDropout if self._options.activation == "selu" else nn.Dropout
        return [kind(self._dropout)] if self._dropout else []

    def convolutions(
        self, channels: int, *, count: int = 1, dilation: int = 1, pool: bool = True
    ) -> None:
        """Add a block of 3 x 3 convolutions that keep the size, and a pooling that halves it."""
        layers: list[nn.Module] = []
        for _ in range(count):
            before, self._channels = self._channels, self._wide(channels)
            layers.append(
                nn.Conv2d(
                    before,
                    self._channels,
                    kernel_size=3,
                    padding=dilation,
                    dilation=dilation,
                    bias=self._norm == "none",
                )
            )
            layers += self._after()
        layers += self._drop()
        if pool:
            layers.append(nn.MaxPool2d(2))
            self._side //= 2
        self._blocks.append(nn.Sequential(*layers))

    def dense(self, size: int) -> None:
        """Add a dense layer whose output is one place with `size` channels."""
        before = self._channels * self._side**2
        self._channels, self._side = self._wide(size), 1
        linear = nn.Linear(before, self._channels, bias=self._norm == "none")
        shaped = nn.Unflatten(1, (self._channels, 1, 1))
        self._blocks.append(
            nn.Sequential(nn.Flatten(), linear, shaped, *self._after(), *self._drop())
        )

    def body(self, *, pool: str, dense: tuple[int, ...] = ()) -> Body:
        """Return the blocks, initialised, with the head that is the network's own."""
        blocks = nn.Sequential(*self._blocks)
        initialise(blocks, self._options.initializer)
        head = HeadOptions.model_validate(
            {
                "pool": pool,
                "dense": tuple(self._wide(size) for size in dense),
                "activation": self._options.activation,
                "dropout": self._dense_dropout,
            }
        )
        return Body(blocks, head)


def mlp(options: ScratchOptions, size: int) -> Body:
    """Dense layers of 256 and 128 on all pixels."""
    make = _Maker(options, size, dropout=0.2)
    make.dense(256)
    make.dense(128)
    return make.body(pool="flatten")


def cnn_baseline(options: ScratchOptions, size: int) -> Body:
    """Three blocks of convolution and pooling, and one dense layer."""
    make = _Maker(options, size, dense_dropout=0.5)
    for channels in (16, 32, 64):
        make.convolutions(channels)
    return make.body(pool="flatten", dense=(64,))


def cnn_9(options: ScratchOptions, size: int) -> Body:
    """Convolution and pooling in turn, seven layers, and two dense layers with the output."""
    make = _Maker(options, size, dense_dropout=0.3)
    for channels in (16, 32, 64):
        make.convolutions(channels)
    make.convolutions(64, pool=False)
    return make.body(pool="flatten", dense=(64,))


def cnn_14(options: ScratchOptions, size: int) -> Body:
    """Five convolutions, each with its pooling, and four dense layers with the output."""
    make = _Maker(options, size, dense_dropout=0.2)
    for channels in (16, 32, 64, 96, 128):
        make.convolutions(channels)
    return make.body(pool="flatten", dense=(128, 64, 32))


def cnn_double(options: ScratchOptions, size: int) -> Body:
    """Five blocks of two convolutions with batch normalisation, dropout and pooling, then dense."""
    make = _Maker(options, size, norm="batch", dropout=0.2, dense_dropout=0.5)
    for channels in (8, 16, 32, 64, 128):
        make.convolutions(channels, count=2)
    return make.body(pool="flatten", dense=(128, 64))


def cnn_dilated(options: ScratchOptions, size: int) -> Body:
    """Five dilated convolutions, four of them pooled; it gives class activation maps.

    With dilation 2, a place of the last maps sees 140 x 140 pixels: each convolution adds 4 and each pooling 1
    times the stride so far, 1 + 4 * (1 + 2 + 4 + 8 + 16) + (1 + 2 + 4 + 8). Without dilation it
    would see 78.
    """
    make = _Maker(options, size, norm="batch", dense_dropout=0.2)
    for channels in (16, 32, 64, 96):
        make.convolutions(channels, dilation=options.dilation)
    make.convolutions(128, dilation=options.dilation, pool=False)
    return make.body(pool="average")
