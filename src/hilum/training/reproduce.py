"""Many recipes on one cohort and split: train each, measure all alike, and rank them.

A run that was interrupted goes on where it stopped, and what is finished is neither trained nor
measured again. One recipe's failure stands in the table and does not stop the others.
"""

import json
import os
import time
import traceback
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from hilum._version import __version__
from hilum.cohort.pixels import cached_pixels
from hilum.cohort.split import check_parts_apart
from hilum.cohort.table import Cohort
from hilum.errors import HilumError, ModelError, UsageError, WeightsError
from hilum.evaluation import Evidence, evaluate_classifier, openings_of
from hilum.files import ensure_folder, write_text
from hilum.findings import Part
from hilum.model import Classifier, ModelFile, load, load_model_file
from hilum.model.network import BATCH
from hilum.networks import FROZEN_BASES
from hilum.networks.registry import network_spec
from hilum.training.leaderboard import Leaderboard, Measured, Row, figure_cell, write_leaderboard
from hilum.training.progress import Stage
from hilum.training.recipe import FrozenRecipe, Recipe, StagedRecipe, load_recipe
from hilum.training.train import train
from hilum.training.workers import this_worker

__all__ = ["QUICK_EPOCHS", "QUICK_SIDE", "Wishes", "reproduce"]

QUICK_EPOCHS = 2  # of each stage, at most
QUICK_SIDE = 96  # pixels, at most
_PATH_SIDE = 80  # pixels, to prove a path; Inception V3 needs the most of all networks, 75

_MODEL = "model.hilum"  # as `train` names it
_SEED = 0  # of every bootstrap, so that intervals compare
_SPEED_RADIOGRAPHS, _SPEED_PASSES = 512, 3


@dataclass(frozen=True, slots=True)
class Wishes:
    """How recipes are reproduced."""

    quick: bool = False  # few epochs on small radiographs, in the folder "quick"
    test: bool = True  # whether the test part is opened, once for each classifier
    # Where a recipe's weights cannot be had, train it once, quick, from random ones.
    random_weights: bool = False
    settings: Mapping[str, Any] | None = None  # of every recipe, by dotted path
    force: bool = False  # replace what the folder holds of another recipe, cohort or version


def reproduce(
    recipes: Sequence[str],
    cohort: Cohort,
    out: Path,
    wishes: Wishes,
    *,
    command: str,
    stage: Stage,
    tell: Callable[[str], None],
) -> Leaderboard:
    """Train and measure recipes, and write the leaderboard anew after each.

    Args:
        recipes: Names of recipes, or paths of TOML files.
        cohort: With parts that share no patient.
        out: The folder; each recipe has one in it, or in its folder `quick`.
        wishes: How.
        command: As typed, for provenance.
        stage: Shows the steps of each recipe.
        tell: Takes a line about each recipe as it begins and ends.

    Returns:
        The leaderboard; a recipe that failed has the reason in its row.

    Raises:
        RecipeError: If there is no such recipe.
        CohortError: If a part is missing, or parts share patients or files.
        UsageError: If the folder cannot be written, two recipes have the same name, or several
            processes were started.
    """
    if this_worker().world > 1:
        raise UsageError("recipes are reproduced by one process; start hilum without torchrun")
    loaded = {Path(name).stem: load_recipe(name) for name in recipes}
    if len(loaded) < len(recipes):
        raise UsageError("two recipes have the same name, so their folders would be one")
    check_parts_apart(cohort)
    for part in (Part.TRAIN, Part.VALIDATION, *([Part.TEST] if wishes.test else [])):
        cohort.part(part)
    bench = _Bench(cohort, out / "quick" if wishes.quick else out, wishes, command, stage, tell)
    ensure_folder(bench.folder)
    rows: list[Row] = []
    for number, (name, recipe) in enumerate(loaded.items(), start=1):
        tell(f"[{number}/{len(loaded)}] {name}")
        row = bench.row_of(name, recipe)
        tell(f"{row.label}: {row.failed or 'validation AUC ' + figure_cell(row.validation, 'auc')}")
        rows.append(row)
        board = bench.leaderboard(rows, waiting=list(loaded)[number:])
        write_leaderboard(board, bench.folder)
    return board


class _Bench:
    """Trains and measures recipes on one cohort."""

    def __init__(
        self,
        cohort: Cohort,
        folder: Path,
        wishes: Wishes,
        command: str,
        stage: Stage,
        tell: Callable[[str], None],
    ) -> None:
        self.folder = folder
        self._cohort, self._digest = cohort, cohort.digest()
        self._wishes, self._command = wishes, command
        self._stage, self._tell = stage, tell
        self._opened = 0

    def leaderboard(self, rows: Sequence[Row], waiting: Sequence[str]) -> Leaderboard:
        """Return the rows in their order, with what they have in common."""
        return Leaderboard(
            hilum_version=__version__,
            created=datetime.now(UTC).isoformat(timespec="seconds"),
            command=self._command,
            cohort_name=self._cohort.name,
            cohort_sha256=self._digest,
            phantom=self._cohort.phantom,
            quick=self._wishes.quick,
            seed=_SEED,
            opened_now=self._opened,
            test_openings=openings_of(self._cohort),
            waiting=tuple(waiting),
            rows=tuple(sorted(rows, key=lambda row: row.place)),
        )

    def row_of(self, name: str, recipe: Recipe) -> Row:
        """Train and measure a recipe; what goes wrong stands in the row."""
        row = _begun(name, recipe, quick=self._wishes.quick)
        folder = self.folder / name
        try:
            recipe = recipe.changed(self._wishes.settings)
            if self._wishes.quick:
                recipe = _quick(recipe)
            try:
                seconds = self._train(name, recipe, folder)
            except WeightsError as error:
                if not self._wishes.random_weights or isinstance(recipe, FrozenRecipe):
                    raise
                self._tell(f"{name}: {error}; going on with random weights")
                # In a folder of its own, so that the weights may still come one day.
                folder = self.folder / "random-weights" / name
                recipe = _from_random(recipe)
                seconds = self._train(name, recipe, folder)
                row = row.model_copy(update={"random_weights": True})
            classifier = load(folder / _MODEL)
            timings = self._timings(name, classifier, folder, seconds)
            row = row.model_copy(update={**_facts(recipe, classifier.file), **timings})
            found = self._measured(name, classifier, Part.VALIDATION, folder)
            row = row.model_copy(update={"validation": found})
            # Random weights only prove the path, and that is no reason to open a test part.
            if self._wishes.test and not row.random_weights:
                found = self._measured(name, classifier, Part.TEST, folder)
                row = row.model_copy(update={"test": found})
            return row
        except HilumError as error:
            return row.model_copy(update={"failed": str(error)})
        except Exception as error:  # noqa: BLE001  # a bug in one must not cost the others' night
            write_text(folder / "error.txt", traceback.format_exc())
            reason = f"{type(error).__name__} in hilum itself; see {folder / 'error.txt'}"
            return row.model_copy(update={"failed": reason})

    def _train(self, name: str, recipe: Recipe, folder: Path) -> float | None:
        """Train unless it is done; return how long a frozen recipe learned, as its file does not say."""
        path = folder / _MODEL
        if path.is_file():
            if self._is_of(path, recipe):
                self._tell(f"{name}: trained before")
                return None
            if not self._wishes.force:
                raise UsageError(
                    f"{folder} holds a classifier of another recipe, cohort or version; choose "
                    "another folder, or add --force to train anew there"
                )
        result = train(
            recipe,
            self._cohort,
            folder,
            command=self._command,
            stage=self._shown(name),
            anew=self._wishes.force,
        )
        return sum(result.seconds.get(step, 0.0) for step in ("embed", "fit"))

    def _is_of(self, path: Path, recipe: Recipe) -> bool:
        try:
            origin = load_model_file(path).provenance
        except ModelError:
            return False
        said = {key: value for key, value in origin.recipe.items() if key != "chosen"}
        known = (said, origin.cohort_sha256, origin.hilum_version)
        return known == (recipe.model_dump(mode="json"), self._digest, __version__)

    def _measured(self, name: str, classifier: Classifier, part: Part, folder: Path) -> Measured:
        """Measure a part, unless its evidence is there already."""
        place = folder / f"evidence-{part}"
        try:
            evidence = Evidence.model_validate_json((place / "metrics.json").read_bytes())
            known = (evidence.classifier_sha256, evidence.cohort_sha256, evidence.part)
            if known == (classifier.file.sha256, self._digest, part):
                return Measured.of(evidence)
        except (OSError, ValueError):
            pass  # none yet, or one cut short
        self._opened += part is Part.TEST
        return Measured.of(
            evaluate_classifier(
                classifier,
                self._cohort,
                part,
                place,
                command=self._command,
                seed=_SEED,
                stage=lambda _: self._shown(name)(f"measure {part}"),
            )
        )

    def _timings(
        self, name: str, classifier: Classifier, folder: Path, seconds: float | None
    ) -> dict[str, Any]:
        """Return how long training took and how fast the classifier reads, measured once."""
        path = folder / "timings.json"
        try:
            known: dict[str, Any] = json.loads(path.read_bytes())
            if known.pop("model_sha256") == classifier.file.sha256:
                return known
        except (OSError, ValueError, KeyError):
            pass
        chosen = classifier.file.provenance.recipe["chosen"]
        with self._shown(name)("reading speed"):
            speed = _radiographs_per_second(classifier, self._cohort.part(Part.VALIDATION))
        timings = {
            "training_seconds": chosen.get("training_seconds", seconds),
            "radiographs_per_second": round(speed, 1),
            "machine": f"{len(os.sched_getaffinity(0))} cores, {classifier.network.precision}",
        }
        about = {"model_sha256": classifier.file.sha256, **timings}
        write_text(path, json.dumps(about, indent=2) + "\n")
        return timings

    def _shown(self, name: str) -> Stage:
        return lambda step: self._stage(f"{name}: {step}")


def _radiographs_per_second(classifier: Classifier, part: Cohort) -> float:
    placed, _ = part.for_task(classifier.file.labels.task)
    pixels = np.array(cached_pixels(placed, classifier.size)[:_SPEED_RADIOGRAPHS])
    seconds = []
    for _ in range(_SPEED_PASSES):
        batches = (pixels[first : first + BATCH] for first in range(0, len(pixels), BATCH))
        start = time.perf_counter()
        deque(classifier.network.stream(batches, "scores"), maxlen=0)
        seconds.append(time.perf_counter() - start)
    return len(pixels) / median(seconds)


def _begun(name: str, recipe: Recipe, *, quick: bool) -> Row:
    source, frozen = recipe.source, isinstance(recipe, FrozenRecipe)
    return Row(
        recipe=name,
        quick=quick,
        source=f"{source.project}: {source.system}" if source else None,
        reported=(source.reported or "not known") if source else "no source",
        task=recipe.task,
        network=recipe.network if isinstance(recipe, FrozenRecipe) else recipe.network.name,
        head_only=frozen,
        seed=recipe.seed,
    )


def _facts(recipe: Recipe, file: ModelFile) -> dict[str, Any]:
    """Return what the file says of its training."""
    chosen = file.provenance.recipe["chosen"]
    if isinstance(recipe, FrozenRecipe):
        parameters = (FROZEN_BASES[recipe.network].channels + 1) * len(recipe.task.labels)
    else:
        parameters = chosen["parameters"]
    return {
        "task": recipe.task,
        "seed": recipe.seed,
        "network": file.provenance.network,
        "weights": file.provenance.network_weights,
        "size": file.preprocessing.size,
        "parameters": parameters,
        "epochs": tuple(stage["epochs"] for stage in chosen.get("stages", ())),
        "recipe_sha256": recipe.digest(),
        "model_sha256": file.sha256,
    }


def _quick(recipe: Recipe) -> Recipe:
    """Return a recipe that is over soon; its name says so wherever the classifier goes."""
    changes: dict[str, Any] = {"name": f"{recipe.name} (quick)"}
    if not isinstance(recipe, FrozenRecipe):
        choice = recipe.network
        side = choice.size or network_spec(choice.name).size or QUICK_SIDE
        changes["network.size"] = min(side, QUICK_SIDE)
        for number, stage in enumerate(recipe.stages):
            changes[f"stages.{number}.epochs"] = min(stage.epochs, QUICK_EPOCHS)
            changes[f"stages.{number}.stopping"] = None
    return recipe.changed(changes)


def _from_random(recipe: Recipe) -> Recipe:
    """Return a recipe that proves its path without weights, and says so."""
    name = f"{recipe.name.removesuffix(' (quick)')} (random weights, quick)"
    changes: dict[str, Any] = {"network.weights": "random", "name": name}
    if isinstance(recipe, StagedRecipe):
        # One epoch on fewer pixels proves the path as well.
        changes |= {f"stages.{number}.epochs": 1 for number in range(len(recipe.stages))}
        changes["network.size"] = _PATH_SIDE
    return _quick(recipe).changed(changes)
