"""Tuning: search the fields that a recipe declares, by cross-validation inside the train part.

The validation and the test part are never read. The best of many trials is optimistic even so, since it
was chosen for its figure; what it is worth, `hilum train` and `hilum evaluate` tell.
"""

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import ValidationError

from hilum._version import __version__
from hilum.cohort.pixels import cached_pixels
from hilum.cohort.split import check_parts_apart, patient_folds, persons
from hilum.cohort.table import Cohort
from hilum.errors import MissingExtraError, RecipeError, UsageError
from hilum.files import ensure_folder
from hilum.findings import Part
from hilum.networks.registry import network_spec
from hilum.training.progress import Stage, silent
from hilum.training.recipe import Recipe, StagedRecipe
from hilum.training.stages import Range

if TYPE_CHECKING:
    from hilum.training._tune_report import Report
    from hilum.training._tune_study import StudyPlace
    from hilum.training._tune_worker import Job

__all__ = ["Trial", "TuneOptions", "TuneResult", "shown_storage", "tune"]

# Trials are compared by one figure on the same folds, which the other fields would change.
_SEARCHABLE = ("network", "stages", "loss", "augmentation", "precision")


@dataclass(frozen=True, slots=True)
class TuneOptions:
    """How a recipe is searched."""

    trials: int = 20  # in the whole study, those of earlier runs included
    folds: int = 3
    storage: str | None = None  # URL of the database; None: the file study.db among the results
    study: str | None = None  # its name there; None: the recipe's
    jobs: int = 1
    ray: bool = False
    force: bool = False  # forget what the study and the folder hold
    # Seconds between a running trial's signs of life; after four times as long it counts as killed.
    heartbeat: int = 15


@dataclass(frozen=True, slots=True)
class Trial:
    """A finished trial."""

    number: int
    value: float  # mean over the folds
    folds: tuple[float, ...]
    settings: dict[str, Any]  # by dotted path


@dataclass(frozen=True, slots=True)
class TuneResult:
    """What a search left behind."""

    recipe: StagedRecipe | None  # the best; None when no trial was finished
    path: Path  # best.toml
    monitor: str  # the figure that was searched for
    trials: tuple[Trial, ...]  # the finished ones, the best first
    counts: dict[str, int]  # trials by how they ended
    phantom: bool  # the radiographs are drawn


def tune(
    recipe: Recipe,
    cohort: Cohort,
    out: Path,
    options: TuneOptions,
    *,
    command: str,
    stage: Stage = silent,
) -> TuneResult:
    """Search a recipe's declared fields and write the best recipe and what led to it.

    A study that is there is taken up: what is finished counts, and what was killed is tried again.

    Args:
        recipe: Trained in stages, with fields to search.
        cohort: Its train part alone is read.
        out: The folder for `best.toml`, `trials.csv`, `tune.json`, `importance.json`, pictures and,
            unless told otherwise, `study.db`.
        options: How to search.
        command: As typed, for provenance; it must not hold a password.
        stage: Shows progress.

    Raises:
        RecipeError: If the recipe cannot be tuned or declares nothing that can be searched.
        CohortError: If there is no train part, patients are shared between parts, or there are too
            few for the folds.
        UsageError: If the folder, the study or the database holds or is something else.
        WeightsError: If starting weights cannot be had.
        MissingExtraError: If what tuning needs is not installed.
    """
    if not isinstance(recipe, StagedRecipe):
        raise RecipeError(
            f"{recipe.name} chooses its only setting itself while it trains; tune a recipe that is "
            "trained in stages, such as two-stage"
        )
    whole = _whole_numbers(recipe)
    try:
        from hilum.training._tune_report import Report
        from hilum.training._tune_study import (
            StudyPlace,
            counts,
            database,
            database_errors,
            open_study,
        )
    except ModuleNotFoundError as error:
        raise MissingExtraError("tuning", "train") from error
    place = StudyPlace(
        database(options.storage, ensure_folder(out)),
        options.study or recipe.name,
        options.heartbeat,
    )
    about = {
        "recipe_sha256": recipe.digest(),
        "cohort_sha256": cohort.digest(),
        "folds": options.folds,
    }
    job = _job(recipe, whole, cohort, place, options, out)
    _check_results(out, place, about, force=options.force)
    minimise = recipe.stages[-1].monitor == "loss"
    study = open_study(place, minimise=minimise, about=about, anew=options.force)
    said = {
        "version": __version__,
        "command": command,
        "recipe": recipe.name,
        "cohort": cohort.name,
        "phantom": cohort.phantom,
        "study": place.name,
        "seed": recipe.seed,
        "asked": options.trials,
        **about,
    }
    report = Report(study, recipe, out, said)
    _decode(job, stage)
    with database_errors(place):
        try:
            with stage("tune") as progress:
                _run(job, options, report, progress)
        finally:
            report.write_tables()
            report.write_pictures()
            if not counts(study)["running"]:
                shutil.rmtree(job.scratch, ignore_errors=True)
        return TuneResult(
            recipe=report.best_recipe(),
            path=out / "best.toml",
            monitor=report.monitor,
            trials=tuple(
                Trial(t.number, t.value or 0.0, tuple(t.user_attrs["folds"]), report.settings(t))
                for t in report.ranked()
            ),
            counts=counts(study),
            phantom=cohort.phantom,
        )


def shown_storage(storage: str) -> str:
    """Return a database's URL as it may be shown and written: without its password.

    Raises:
        UsageError: If it is no URL of SQLite or PostgreSQL.
        MissingExtraError: If what tuning needs is not installed.
    """
    try:
        from hilum.training._tune_study import database, shown
    except ModuleNotFoundError as error:
        raise MissingExtraError("tuning", "train") from error
    return shown(database(storage, Path()))


def _whole_numbers(recipe: StagedRecipe) -> frozenset[str]:
    """Return the searched paths that take whole numbers alone.

    Raises:
        RecipeError: If nothing is declared, a field cannot be searched, or it takes whole numbers
            and its range has others.
    """
    if not recipe.search:
        raise RecipeError(
            f"{recipe.name} declares nothing to search; add a table [search] to it, with lines such "
            'as "stages.0.optimiser.learning_rate" = { low = 1e-4, high = 1e-2, log = true }'
        )
    whole = set()
    for path, field in recipe.search.items():
        if path.split(".")[0] not in _SEARCHABLE:
            raise RecipeError(f"search: {path} cannot be searched; {', '.join(_SEARCHABLE)} can")
        if isinstance(field, Range) and _refuses_fractions(recipe, path):
            if any(number % 1 for number in (field.low, field.high, field.step or 1)):
                raise RecipeError(
                    f"search: {path} takes whole numbers; give it low, high and step so"
                )
            whole.add(path)
    return frozenset(whole)


def _refuses_fractions(recipe: StagedRecipe, path: str) -> bool:
    """Say whether a field takes whole numbers alone: try one that is not."""
    try:
        recipe.changed({path: 1.5})
    except RecipeError as error:
        cause = error.__cause__
        return isinstance(cause, ValidationError) and any(
            problem["type"] in ("int_from_float", "int_type") for problem in cause.errors()
        )
    return False


def _job(
    recipe: StagedRecipe,
    whole: frozenset[str],
    cohort: Cohort,
    place: "StudyPlace",
    options: TuneOptions,
    out: Path,
) -> "Job":
    from hilum.training._tune_worker import Job

    check_parts_apart(cohort)
    train, truth = cohort.part(Part.TRAIN).for_task(recipe.task)
    labels = np.array([str(recipe.task.labels[index]) for index in truth])
    return Job(
        recipe=recipe,
        whole=whole,
        train=train,
        truth=truth,
        fold=patient_folds(labels, persons(train.table), options.folds, recipe.seed),
        place=place,
        trials=options.trials,
        scratch=out.resolve() / ".hilum-scratch",
    )


def _check_results(out: Path, place: "StudyPlace", about: dict[str, Any], *, force: bool) -> None:
    """Refuse a folder that holds the results of another study."""
    try:
        left = json.loads((out / "tune.json").read_text())
    except (OSError, ValueError):
        return
    if not force and any(
        left.get(key) != said for key, said in [("study", place.name), *about.items()]
    ):
        raise UsageError(
            f"{out} holds the results of another study, recipe, cohort or number of folds; choose "
            "another folder, or add --force to replace them and forget the study's trials"
        )


def _decode(job: "Job", stage: Stage) -> None:
    """Fill the pixel cache once, before several workers would want to."""
    choice = job.recipe.network
    side = choice.size or network_spec(choice.name).size
    if side is not None and "network.size" not in job.recipe.search:
        with stage("decode") as progress:
            cached_pixels(job.train, side, progress=progress)


def _run(
    job: "Job", options: TuneOptions, report: "Report", progress: Callable[[int, int], None]
) -> None:
    """Run the workers, and write the tables whenever a trial was finished."""
    from hilum.training._tune_jobs import run_on_ray, run_processes
    from hilum.training._tune_study import counts
    from hilum.training._tune_worker import work

    before = -1

    def told() -> None:
        nonlocal before
        states = counts(report.study)
        done = states["finished"] + states["pruned"]
        progress(done, options.trials)
        if done != before:
            before = done
            report.write_tables()

    told()
    if options.ray:
        run_on_ray(job, options.jobs, told)
    elif options.jobs > 1:
        run_processes(job, options.jobs, told)
    else:
        work(job, told)
