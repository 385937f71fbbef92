"""Training: a recipe and a cohort become a classifier in one `.hilum` file, with its evidence.

The train part is learned from; the validation part chooses epochs, calibrates, chooses the operating
points and gives the evidence inside the file. The test part is not touched.
"""

import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hilum._version import __version__
from hilum.cohort.pixels import cached_pixels
from hilum.cohort.split import check_parts_apart
from hilum.cohort.table import Cohort
from hilum.errors import MissingExtraError
from hilum.evaluation import openings_of
from hilum.files import ensure_folder, write_text
from hilum.findings import Part
from hilum.model import ModelFile, load_model_file, save_model_file
from hilum.model.schema import (
    Calibration,
    Gate,
    Labels,
    Preprocessing,
    Provenance,
    Saliency,
    TrainingRadiographs,
)
from hilum.networks import FROZEN_BASES, join_linear_head
from hilum.training.folder import taken_up
from hilum.training.frozen import embed, fit_head
from hilum.training.progress import Stage, silent
from hilum.training.prove import Validation, prove
from hilum.training.recipe import FrozenRecipe, Recipe, StagedRecipe
from hilum.training.workers import check_shares, joined, this_worker

if TYPE_CHECKING:
    from hilum.networks.network import RadiographNetwork
    from hilum.training.staged import StageReport

__all__ = ["TrainingResult", "take_part", "train"]


@dataclass(frozen=True, slots=True)
class TrainingResult:
    """What a training left behind."""

    path: Path  # the .hilum file
    sha256: str
    model: ModelFile
    seconds: dict[str, float]  # wall time of each stage


@dataclass(frozen=True, slots=True)
class _Parts:
    """The radiographs of a cohort that a recipe's task can place."""

    cohort: Cohort
    learning: Cohort
    learning_truth: NDArray[np.int64]
    validation: Cohort
    truth: NDArray[np.int64]
    left_out: dict[str, int]


@dataclass(frozen=True, slots=True)
class _Fitted:
    """A trained network with what the file says of it."""

    network: bytes  # ONNX
    size: int
    name: str
    weights: str  # where they started
    chosen: dict[str, Any]  # what training decided, for the resolved recipe
    gives_maps: bool


class _Clock:
    """Runs the steps of a training, shows each and keeps how long it took."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self.seconds: dict[str, float] = {}

    def __call__(self, name: str, work: Callable[[Callable[[int, int], None]], Any]) -> Any:
        start = time.perf_counter()
        with self._stage(name) as progress:
            result = work(progress)
        self.seconds[name] = round(time.perf_counter() - start, 2)
        return result

    def decode(self, parts: _Parts, size: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """Return the pixels of the train and the validation part."""
        learning, validation = self(
            "decode",
            lambda p: [
                cached_pixels(used, size, progress=p) for used in (parts.learning, parts.validation)
            ],
        )
        return learning, validation


def train(
    recipe: Recipe,
    cohort: Cohort,
    out: Path,
    *,
    command: str,
    stage: Stage = silent,
    anew: bool = False,
) -> TrainingResult:
    """Train a classifier and write `model.hilum` and `recipe.json` into a folder.

    A training in stages also leaves its curves, logs and weights there, and takes up what an
    interrupted one left.

    Args:
        recipe: What to train and how.
        cohort: With a train and a validation part that share no patient.
        out: The folder; made when it is not there.
        command: As typed, for provenance.
        stage: Shows progress.
        anew: Forget what an interrupted training left in the folder.

    Raises:
        CohortError: If a part is missing, patients are shared, or a finding is too rare.
        UsageError: If the folder cannot be written, or holds another unfinished training.
        WeightsError: If the starting weights cannot be had.
        MissingExtraError: If the recipe needs torch and it is not installed.
    """
    ensure_folder(out)
    check_parts_apart(cohort)
    parts = _parts(recipe, cohort)
    clock = _Clock(stage)
    if isinstance(recipe, FrozenRecipe):
        fitted, held_out = _fit_frozen(recipe, parts, clock)
    else:
        fitted, held_out = _fit_staged(recipe, parts, out, clock, stage, anew=anew)
    draft = _draft(recipe, parts, fitted, command)
    model = clock(
        "validate",
        lambda p: prove(
            draft, recipe, Validation(parts.validation, parts.truth, held_out), command, p
        ),
    )
    path = out / "model.hilum"
    save_model_file(model, path)
    write_text(out / "recipe.json", recipe.model_dump_json(indent=2))
    written = load_model_file(path)
    return TrainingResult(path, written.sha256, written, clock.seconds)


def take_part(recipe: StagedRecipe, cohort: Cohort, out: Path, *, anew: bool = False) -> None:
    """Do a further worker's share of what `train` does in the first one, and write nothing.

    Args:
        recipe: As the first worker has it.
        cohort: As the first worker has it.
        out: The same folder, shared by all workers.
        anew: As the first worker has it.

    Raises:
        HilumError: As `train` does.
    """
    check_parts_apart(cohort)
    _train_together(recipe, _parts(recipe, cohort), out, _Clock(silent), silent, anew=anew)


def _parts(recipe: Recipe, cohort: Cohort) -> _Parts:
    chosen = {part: cohort.part(part) for part in (Part.TRAIN, Part.VALIDATION)}
    learning, learning_truth = chosen[Part.TRAIN].for_task(recipe.task)
    validation, truth = chosen[Part.VALIDATION].for_task(recipe.task)
    left_out = {
        str(part): len(chosen[part]) - len(used)
        for part, used in ((Part.TRAIN, learning), (Part.VALIDATION, validation))
    }
    return _Parts(cohort, learning, learning_truth, validation, truth, left_out)


def _fit_frozen(
    recipe: FrozenRecipe, parts: _Parts, clock: _Clock
) -> tuple[_Fitted, NDArray[np.uint8]]:
    base = FROZEN_BASES[recipe.network]
    pixels, held_out = clock.decode(parts, base.size)
    features = clock("embed", lambda p: embed(base, pixels, p))
    head = clock(
        "fit",
        lambda p: fit_head(
            features, parts.learning_truth, parts.learning.patients, recipe.head, recipe.seed, p
        ),
    )
    fitted = _Fitted(
        network=join_linear_head(base.path.read_bytes(), head.weights, head.bias),
        size=base.size,
        name=base.name,
        weights=base.weights,
        chosen={"c": head.c, "log_loss": {str(c): v for c, v in head.log_losses.items()}},
        gives_maps=True,
    )
    return fitted, held_out


def _fit_staged(
    recipe: StagedRecipe, parts: _Parts, out: Path, clock: _Clock, stage: Stage, *, anew: bool
) -> tuple[_Fitted, NDArray[np.uint8]]:
    network, weights, reports, held_out = _train_together(
        recipe, parts, out, clock, stage, anew=anew
    )
    from hilum.networks.export import export_network

    fitted = _Fitted(
        network=clock("export", lambda _: export_network(network, mirror=recipe.network.mirror)),
        size=network.size,
        name=recipe.network.name,
        weights=weights,
        chosen={
            "parameters": sum(p.numel() for p in network.parameters()),
            "stages": [asdict(report) for report in reports],
            "training_seconds": round(sum(report.seconds for report in reports), 2),
            "workers": this_worker().world,
        },
        gives_maps=network.head.gives_maps,
    )
    return fitted, held_out


def _train_together(
    recipe: StagedRecipe, parts: _Parts, out: Path, clock: _Clock, stage: Stage, *, anew: bool
) -> tuple["RadiographNetwork", str, list["StageReport"], NDArray[np.uint8]]:
    """Train the network, with the other workers where there are any.

    Returns:
        The network, where its weights started, what each stage did, and the validation part's
        pixels.
    """
    workers = this_worker()
    check_shares(recipe, workers.world)
    try:
        from hilum.training.staged import Radiographs, starting_network, train_stages
    except ModuleNotFoundError as error:
        raise MissingExtraError(f"the recipe {recipe.name}", "train") from error
    folder = taken_up(recipe, parts.cohort, out, anew=anew) if workers.is_first else nullcontext()
    with folder, joined(workers):
        workers.told(None)  # what lies in the folder changed until here
        network, weights = starting_network(recipe)
        pixels, held_out = clock.decode(parts, network.size)
        start = time.perf_counter()
        reports = train_stages(
            network,
            recipe,
            Radiographs.of(parts.learning, parts.learning_truth, pixels),
            Radiographs.of(parts.validation, parts.truth, held_out),
            out,
            workers=workers,
            stage=stage,
        )
    clock.seconds["train"] = round(time.perf_counter() - start, 2)
    return network, weights, reports, held_out


def _earlier(recipe: Recipe) -> ModelFile | None:
    """Return the classifier that a training started from, if it did."""
    if isinstance(recipe, FrozenRecipe) or not recipe.network.weights.endswith(".hilum"):
        return None
    return load_model_file(Path(recipe.network.weights))


def _draft(recipe: Recipe, parts: _Parts, fitted: _Fitted, command: str) -> ModelFile:
    labels = Labels(task=recipe.task, findings=recipe.task.labels)
    used = {Part.TRAIN: parts.learning, Part.VALIDATION: parts.validation}
    earlier = _earlier(recipe)
    return ModelFile(
        network=fitted.network,
        labels=labels,
        preprocessing=Preprocessing(size=fitted.size),
        calibration=Calibration(bias=(0.0,) * len(labels.findings)),
        operating_points=(),
        saliency=Saliency(
            method="class-activation-map" if fitted.gives_maps else "none", scale=1.0
        ),
        gate=Gate(),
        provenance=Provenance(
            hilum_version=__version__,
            created=datetime.now(UTC).isoformat(timespec="seconds"),
            command=command,
            recipe={**recipe.model_dump(mode="json"), "chosen": fitted.chosen},
            seed=recipe.seed,
            cohort_sha256=parts.cohort.digest(),
            cohort_name=parts.cohort.name,
            radiographs={str(part): len(cohort) for part, cohort in used.items()},
            patients={str(part): len(np.unique(c.patients)) for part, c in used.items()},
            left_out=parts.left_out,
            phantom=parts.cohort.phantom or bool(earlier and earlier.provenance.phantom),
            network=fitted.name,
            network_weights=fitted.weights,
            test_openings=openings_of(parts.cohort),
        ),
        training_radiographs=TrainingRadiographs(
            # What the starting classifier had learned from, this one has learned from too.
            perceptual_hashes=(
                *parts.learning.table["phash"],
                *(earlier.training_radiographs.perceptual_hashes if earlier else ()),
            )
        ),
        evidence={},
        card="",
    )
