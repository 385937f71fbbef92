"""A worker of a study: try settings by cross-validation on the train part until there are enough.

Any number of workers, in any process on any machine, run this on the same study.
"""

import multiprocessing
import os
import platform
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import torch
from numpy.typing import NDArray
from optuna.samplers import TPESampler
from optuna.trial import TrialState

from hilum.cohort.pixels import cached_pixels
from hilum.cohort.table import Cohort
from hilum.errors import HilumError, RecipeError
from hilum.files import ensure_folder
from hilum.training._tune_study import (
    FINISHED,
    StudyPlace,
    database_errors,
    load_study,
    quiet,
)
from hilum.training.batches import derived_seed
from hilum.training.progress import silent
from hilum.training.recipe import StagedRecipe
from hilum.training.staged import Radiographs, starting_network, train_stages
from hilum.training.stages import Choices
from hilum.training.workers import Workers

__all__ = ["Job", "settings_of", "work"]

_STAGE_SPAN = 10_000  # epochs that a stage may have, so that each has its own step for the pruner
_DIGITS = 10  # of stepped numbers, which would end in ...0000004 otherwise


@dataclass(frozen=True, slots=True)
class Job:
    """What a worker needs to know; it travels to other processes and machines."""

    recipe: StagedRecipe
    whole: frozenset[str]  # the searched paths that take whole numbers
    train: Cohort  # the train part alone
    truth: NDArray[np.int64]  # label index of each of its radiographs
    fold: NDArray[np.int32]  # fold of each
    place: StudyPlace
    trials: int  # wanted in the whole study
    scratch: Path
    threads: int | None = None  # of torch; None: as many as it likes


def work(job: Job, told: Callable[[], None] = lambda: None) -> None:
    """Try settings until the study has as many finished trials as wanted.

    Args:
        job: What to try.
        told: Called after each trial.

    Raises:
        UsageError: If the database stops answering or the disk is full.
        CohortError: If a radiograph cannot be read.
        WeightsError: If starting weights cannot be had.
    """
    if job.threads:
        torch.set_num_threads(job.threads)
    with quiet(), database_errors(job.place):
        study = load_study(job.place)
        objective = _Objective(job)
        while (ready := _ready(study, job.trials)) is not None:
            if ready:
                _run_one(study, objective)
                told()
            else:
                # Others have the last trials; this worker takes over what they leave.
                time.sleep(job.place.heartbeat / 3)
            _end_with_parent()


def settings_of(recipe: StagedRecipe, parameters: dict[str, Any]) -> dict[str, Any]:
    """Return the settings of a trial by dotted path, from its parameters as Optuna has them."""
    return {
        path: round(value, _DIGITS) if getattr(recipe.search[path], "step", None) else value
        for path, value in parameters.items()
    }


class _SurplusError(Exception):
    """Another worker took the last trial at the same moment."""


class _Objective:
    """Cross-validates one trial's recipe; the pixels stay mapped from trial to trial."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self.raised: Exception | None = None  # by the newest trial
        self._pixels: dict[int, NDArray[np.uint8]] = {}  # by side

    def __call__(self, trial: optuna.Trial) -> float:
        """Return the mean over the folds of the last stage's kept figure."""
        self.raised = None
        try:
            return self._figure(trial)
        except Exception as error:
            self.raised = error
            raise

    def _figure(self, trial: optuna.Trial) -> float:
        self._seed(trial)
        trial.set_user_attr("worker", f"{platform.node()}:{os.getpid()}")
        trial.set_user_attr("folds", [])
        drawn = {path: self._suggest(trial, path) for path in self.job.recipe.search}
        recipe = self.job.recipe
        try:
            return self._cross_validate(trial, recipe.changed(settings_of(recipe, drawn)))
        except (RecipeError, torch.OutOfMemoryError) as error:
            reason = str(error) if isinstance(error, RecipeError) else "too little GPU memory"
            trial.set_user_attr("reason", reason)
            raise optuna.TrialPruned(reason) from error
        except HilumError as error:
            trial.set_user_attr("reason", str(error))
            raise
        except KeyboardInterrupt:
            trial.set_user_attr("reason", "interrupted; queued again")
            trial.study.enqueue_trial(trial.params)
            raise

    def _seed(self, trial: optuna.Trial) -> None:
        """Draw by the seed and the trial's place, so that a study taken up goes on as it would have.

        Raises:
            _SurplusError: If the study has as many trials as wanted without this one.
        """
        place = sum(
            other.number < trial.number and other.state is not TrialState.FAIL
            for other in trial.study.get_trials(deepcopy=False)
        )
        if place >= self.job.trials:
            trial.set_user_attr("surplus", True)
            raise _SurplusError
        seed = derived_seed(self.job.recipe.seed, "trial", place) % 2**32
        trial.study.sampler = TPESampler(seed=seed)

    def _suggest(self, trial: optuna.Trial, path: str) -> Any:
        field = self.job.recipe.search[path]
        if isinstance(field, Choices):
            return trial.suggest_categorical(path, field.choices)
        if path in self.job.whole:
            step = int(field.step or 1)
            return trial.suggest_int(
                path, int(field.low), int(field.high), step=step, log=field.log
            )
        return trial.suggest_float(path, field.low, field.high, step=field.step, log=field.log)

    def _cross_validate(self, trial: optuna.Trial, recipe: StagedRecipe) -> float:
        figures: list[float] = []
        for fold in range(int(self.job.fold.max()) + 1):
            figures.append(self._fold(trial, recipe, fold, figures))
            trial.set_user_attr("folds", figures)
        return float(np.mean(figures))

    def _fold(
        self, trial: optuna.Trial, recipe: StagedRecipe, fold: int, before: list[float]
    ) -> float:
        """Return the figure of one fold; `before` has those of the folds before it."""
        monitor = self.job.recipe.stages[-1].monitor
        names = [stage.name for stage in recipe.stages]

        def watch(stage: str, epoch: int, figures: dict[str, float]) -> None:
            _end_with_parent()
            if monitor not in figures:
                return  # an earlier stage, which is judged by another figure
            step = (fold * len(names) + names.index(stage)) * _STAGE_SPAN + epoch
            trial.report(float(np.mean([*before, figures[monitor]])), step)
            if trial.should_prune():
                place = f"fold {fold + 1}, stage {stage}, epoch {epoch + 1}"
                reason = f"worse than the median of earlier trials at {place}"
                trial.set_user_attr("reason", reason)
                raise optuna.TrialPruned(reason)

        network, _ = starting_network(recipe)
        held_out = self.job.fold == fold
        folder = ensure_folder(self.job.scratch)
        with tempfile.TemporaryDirectory(prefix=f"{trial.number}-{fold}-", dir=folder) as scratch:
            reports = train_stages(
                network,
                recipe,
                self._radiographs(~held_out, network.size),
                self._radiographs(held_out, network.size),
                Path(scratch),
                workers=Workers(),
                stage=silent,
                watch=watch,
            )
        return reports[-1].figures[monitor]

    def _radiographs(self, rows: NDArray[np.bool_], side: int) -> Radiographs:
        if side not in self._pixels:
            self._pixels[side] = cached_pixels(self.job.train, side)
        table = self.job.train.table
        return Radiographs(
            self._pixels[side][rows],
            self.job.truth[rows],
            table["sha256"].to_numpy()[rows].tolist(),
            self.job.train.patients[rows],
        )


def _run_one(study: optuna.Study, objective: _Objective) -> None:
    try:
        study.optimize(objective, n_trials=1, catch=(_SurplusError,))
    except (ValueError, optuna.exceptions.UpdateFinishedTrialError) as error:
        # From Optuna itself: this worker was silent for so long, as in a suspended machine, that
        # another one has given the trial up and queued it again.
        if error is objective.raised:
            raise


def _ready(study: optuna.Study, wanted: int) -> bool | None:
    """Say whether another trial may start; None when enough are finished."""
    optuna.storages.fail_stale_trials(study)
    states = [trial.state for trial in study.get_trials(deepcopy=False)]
    finished = sum(states.count(state) for state in FINISHED)
    if finished >= wanted:
        return None
    return finished + states.count(TrialState.RUNNING) < wanted


def _end_with_parent() -> None:
    """Stop when the process that started this worker was killed."""
    parent = multiprocessing.parent_process()
    if parent is not None and not parent.is_alive():
        raise KeyboardInterrupt
