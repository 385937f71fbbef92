"""The `.hilum` file: a zip with the network as ONNX and JSON documents, each with its SHA-256.

Loading runs no code: there is no pickle, and every document is checked against its closed schema.
The manifest lists each member's digest and size; a file that lacks a member, carries another, or
whose bytes differ is refused by name. Members are stored uncompressed with a fixed date, so the
same content gives the same file.
"""

import hashlib
import io
import json
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from hilum.errors import ModelError
from hilum.files import write_bytes
from hilum.model.schema import (
    Calibration,
    Gate,
    Labels,
    OperatingPoint,
    OperatingPoints,
    Preprocessing,
    Provenance,
    Saliency,
    TrainingRadiographs,
)

__all__ = ["SCHEMA_VERSION", "ModelFile", "load_model_file", "save_model_file"]

SCHEMA_VERSION = 1
_FORMAT = "hilum classifier"
_MANIFEST = "manifest.json"
_NETWORK = "network.onnx"
_EVIDENCE = "evidence.json"
_CARD = "card.md"
_DATE = (1980, 1, 1, 0, 0, 0)  # the zip format's earliest; makes equal content equal bytes
# Guards against a bomb in place of a model. VGG19, the largest network that hilum trains, is 575 MB.
_LARGEST_NETWORK = 1 << 30
_LARGEST_DOCUMENT = 1 << 26

_DOCUMENTS: dict[str, type[BaseModel]] = {
    "labels.json": Labels,
    "preprocessing.json": Preprocessing,
    "calibration.json": Calibration,
    "operating_points.json": OperatingPoints,
    "saliency.json": Saliency,
    "gate.json": Gate,
    "provenance.json": Provenance,
    "training_radiographs.json": TrainingRadiographs,
}
_MEMBERS = (_NETWORK, *_DOCUMENTS, _EVIDENCE, _CARD)


@dataclass(frozen=True, slots=True)
class ModelFile:
    """Everything in a `.hilum` file, verified, with the network still as bytes."""

    network: bytes  # ONNX; see `hilum.model.network` for its inputs and outputs
    labels: Labels
    preprocessing: Preprocessing
    calibration: Calibration
    operating_points: tuple[OperatingPoint, ...]  # the first is the default
    saliency: Saliency
    gate: Gate
    provenance: Provenance
    training_radiographs: TrainingRadiographs
    evidence: dict[str, Any]  # figures on the validation part; see `hilum.evaluation`
    card: str  # Markdown
    sha256: str = ""  # of the whole file; empty until it was written or read

    def operating_point(self, name: str | None = None) -> OperatingPoint:
        """Return an operating point by its name or aim, or the default one.

        Args:
            name: Such as "sensitivity-0.95" or "sensitivity>=0.95".

        Raises:
            ModelError: If there is none of that name.
        """
        if name is None:
            return self.operating_points[0]
        for point in self.operating_points:
            if "".join(name.split()) in (point.name, point.name.replace("-", ">=")):
                return point
        known = ", ".join(point.name for point in self.operating_points)
        raise ModelError(f"the classifier has no operating point '{name}'; it has: {known}")


def _documents(model: ModelFile) -> dict[str, bytes]:
    documents: dict[str, BaseModel] = {
        "labels.json": model.labels,
        "preprocessing.json": model.preprocessing,
        "calibration.json": model.calibration,
        "operating_points.json": OperatingPoints(points=model.operating_points),
        "saliency.json": model.saliency,
        "gate.json": model.gate,
        "provenance.json": model.provenance,
        "training_radiographs.json": model.training_radiographs,
    }
    members = {name: doc.model_dump_json(indent=2).encode() for name, doc in documents.items()}
    members[_NETWORK] = model.network
    members[_EVIDENCE] = json.dumps(model.evidence, indent=2, allow_nan=False).encode()
    members[_CARD] = model.card.encode()
    return members


def save_model_file(model: ModelFile, path: Path) -> str:
    """Write a `.hilum` file, whole or not at all.

    Returns:
        The SHA-256 of the file.

    Raises:
        UsageError: If the folder cannot be written.
    """
    members = _documents(model)
    manifest = {
        "format": _FORMAT,
        "schema": SCHEMA_VERSION,
        "members": {
            name: {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}
            for name, data in members.items()
        },
    }
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name, data in {_MANIFEST: json.dumps(manifest, indent=2).encode(), **members}.items():
            archive.writestr(zipfile.ZipInfo(name, _DATE), data)
    write_bytes(path, buffer.getvalue())
    return hashlib.sha256(buffer.getvalue()).hexdigest()


def _read_member(archive: zipfile.ZipFile, name: str, path: Path) -> bytes:
    limit = _LARGEST_NETWORK if name == _NETWORK else _LARGEST_DOCUMENT
    try:
        info = archive.getinfo(name)
    except KeyError:
        raise ModelError(f"{path} lacks its member {name}; get the file again") from None
    if info.compress_type != zipfile.ZIP_STORED:
        raise ModelError(f"{path}: {name} is compressed, as hilum never writes it; do not use it")
    if info.file_size > limit:
        raise ModelError(f"{path}: {name} is larger than {limit >> 20} MiB; this is no classifier")
    try:
        return archive.read(info)
    except (zipfile.BadZipFile, EOFError, OSError, NotImplementedError, RuntimeError) as error:
        raise ModelError(f"{path}: {name} is damaged ({error}); get the file again") from error


def _read_manifest(archive: zipfile.ZipFile, path: Path) -> dict[str, dict[str, Any]]:
    try:
        manifest = json.loads(_read_member(archive, _MANIFEST, path))
        known, schema, members = manifest["format"], manifest["schema"], manifest["members"]
        expected = {str(name): {**entry} for name, entry in members.items()}
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise ModelError(f"{path}: {_MANIFEST} is damaged; get the file again") from error
    if known != _FORMAT:
        raise ModelError(f"{path} is a zip, but no hilum classifier")
    if schema != SCHEMA_VERSION:
        raise ModelError(
            f"{path} has schema {schema!r}, this hilum reads {SCHEMA_VERSION}; "
            "use the version that made it, or train it again"
        )
    if odd := set(expected) ^ set(_MEMBERS):
        raise ModelError(f"{path}: {_MANIFEST} does not fit its schema at {', '.join(sorted(odd))}")
    if odd := set(archive.namelist()) - {*_MEMBERS, _MANIFEST}:
        raise ModelError(f"{path} carries what no classifier has: {', '.join(sorted(odd))}")
    return expected


def load_model_file(path: Path) -> ModelFile:
    """Read and verify a `.hilum` file; nothing in it is executed.

    Raises:
        ModelError: If the file is missing, truncated, tampered with, of another schema version,
            or says something that its schema does not allow.
    """
    try:
        if path.exists() and not path.is_file():
            raise ModelError(f"{path} is no file; give a .hilum file")
        if path.stat().st_size > 2 * _LARGEST_NETWORK:
            raise ModelError(f"{path} is larger than any classifier; give a .hilum file")
        data = path.read_bytes()
    except OSError as error:
        raise ModelError(f"the classifier {path} cannot be read ({error.strerror})") from error
    try:
        archive = zipfile.ZipFile(io.BytesIO(data))
    except (zipfile.BadZipFile, ValueError, NotImplementedError, OSError) as error:
        raise ModelError(f"{path} is truncated or no .hilum file; get it again") from error
    with archive:
        expected = _read_manifest(archive, path)
        members = {name: _read_member(archive, name, path) for name in _MEMBERS}
    for name, content in members.items():
        if hashlib.sha256(content).hexdigest() != expected[name].get("sha256"):
            raise ModelError(f"{path}: {name} was changed (its SHA-256 is wrong); do not use it")
    parsed: dict[str, Any] = {}
    for name, kind in _DOCUMENTS.items():
        try:
            parsed[name] = kind.model_validate_json(members[name])
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"])
            raise ModelError(f"{path}: {name} does not fit: {where} {first['msg']}") from error
    try:
        evidence = dict(json.loads(members[_EVIDENCE]))
        card = members[_CARD].decode()
    except (ValueError, TypeError, RecursionError) as error:
        raise ModelError(f"{path}: {_EVIDENCE} or {_CARD} cannot be understood") from error
    model = ModelFile(
        network=members[_NETWORK],
        labels=parsed["labels.json"],
        preprocessing=parsed["preprocessing.json"],
        calibration=parsed["calibration.json"],
        operating_points=parsed["operating_points.json"].points,
        saliency=parsed["saliency.json"],
        gate=parsed["gate.json"],
        provenance=parsed["provenance.json"],
        training_radiographs=parsed["training_radiographs.json"],
        evidence=evidence,
        card=card,
        sha256=hashlib.sha256(data).hexdigest(),
    )
    if len(model.calibration.bias) != len(model.labels.findings):
        raise ModelError(f"{path}: calibration.json has not one bias for each finding")
    return model
