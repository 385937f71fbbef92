"""Training on a Ray cluster: Ray Train starts the workers, and each does what torchrun's would.

Ray names the workers by the same environment variables and connects them; from there on the road is
the one of `hilum.training.train`. Every machine must see the training's folder, the cohort's files
and what the recipe names at the same paths.
"""

import contextlib
import os
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import Any, cast

from hilum.cohort.table import Cohort
from hilum.errors import HilumError, MissingExtraError, UsageError
from hilum.model import load_model_file
from hilum.training.progress import Stage
from hilum.training.recipe import StagedRecipe
from hilum.training.train import TrainingResult, take_part, train
from hilum.training.workers import BACKEND, PATIENCE, LostWorkerError, check_shares, this_worker

__all__ = ["processors_each", "train_on_ray"]


@dataclass(frozen=True)
class _Task:
    """What each worker is sent."""

    recipe: StagedRecipe
    cohort: Cohort
    out: Path
    command: str
    anew: bool
    place: Path  # where the command was given


def train_on_ray(
    recipe: StagedRecipe,
    cohort: Cohort,
    out: Path,
    *,
    workers: int,
    command: str,
    stage: Stage,
    anew: bool = False,
) -> TrainingResult:
    """Train as `train` does, in the workers of a Ray cluster.

    The cluster is the one that RAY_ADDRESS names or that already runs here, else one that is started
    for as long as the training lasts.

    Args:
        recipe: What to train and how.
        cohort: With a train and a validation part that share no patient.
        out: The folder, at the same path on all machines.
        workers: How many; each has a GPU where there are enough, else an equal share of processors.
        command: As typed, for provenance.
        stage: Shows that training is under way.
        anew: Forget what an interrupted training left in the folder.

    Raises:
        HilumError: As `train` does, or if a worker was lost.
        MissingExtraError: If Ray is not installed.
    """
    check_shares(recipe, workers)
    # Nothing is reported anywhere, and relative paths mean the same in the workers as here. From a
    # shared disk that others use, a worker's modules may take minutes to load.
    os.environ |= {
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_CHDIR_TO_TRIAL_DIR": "0",
        "RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S": "600",
    }
    try:
        ray, ray_train, ray_torch = map(import_module, ("ray", "ray.train", "ray.train.torch"))
    except ModuleNotFoundError as error:
        raise MissingExtraError("training on Ray", "scale") from error
    task = _Task(
        recipe,
        replace(cohort, root=cohort.root.resolve()),
        out.resolve(),
        command,
        anew,
        Path.cwd(),
    )
    with stage(f"train in {workers} Ray workers"), _cluster(ray):
        gpu = ray.cluster_resources().get("GPU", 0) >= workers
        processors = [node["Resources"].get("CPU", 0) for node in ray.nodes() if node["Alive"]]
        trainer = ray_torch.TorchTrainer(
            _work,
            train_loop_config={"task": task},
            torch_config=ray_torch.TorchConfig(
                BACKEND[gpu], timeout_s=int(PATIENCE.total_seconds())
            ),
            scaling_config=ray_train.ScalingConfig(
                num_workers=workers,
                use_gpu=gpu,
                resources_per_worker={"CPU": processors_each(processors, workers), "GPU": int(gpu)},
            ),
            run_config=ray_train.RunConfig(name=".hilum-ray", storage_path=str(task.out)),
        )
        try:
            seconds = trainer.fit().return_value
        except ray_train.TrainingFailedError as error:
            raise _cause(error) from error
        finally:
            # Ray's own bookkeeping; what matters lies beside it.
            shutil.rmtree(task.out / ".hilum-ray", ignore_errors=True)
    model = load_model_file(out / "model.hilum")
    return TrainingResult(out / "model.hilum", model.sha256, model, seconds)


@contextlib.contextmanager
def _cluster(ray: Any) -> Iterator[None]:
    """Connect to the cluster, or start one, unless the caller did."""
    if ray.is_initialized():
        yield
        return
    try:
        ray.init(include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    except ConnectionError as error:
        raise UsageError(
            f"no Ray cluster answers at RAY_ADDRESS={os.environ.get('RAY_ADDRESS')}; start it, or "
            "unset RAY_ADDRESS to use this machine"
        ) from error
    try:
        yield
    finally:
        ray.shutdown()


def processors_each(processors: Sequence[float], workers: int) -> int:
    """Return how many processors each worker can have, given those of each machine.

    Raises:
        UsageError: If there is not one for each.
    """
    for share in range(int(sum(processors) // workers), 0, -1):
        if sum(count // share for count in processors) >= workers:
            return share
    raise UsageError(
        f"the Ray cluster has {sum(processors):.0f} processors for {workers} workers; ask for fewer, "
        "or add machines first"
    )


def _work(config: dict[str, _Task]) -> dict[str, float] | None:
    """Train in one worker; the first one returns the wall time of each step."""
    task = config["task"]
    with contextlib.suppress(OSError):
        os.chdir(task.place)
    try:
        if this_worker().is_first:
            made = train(task.recipe, task.cohort, task.out, command=task.command, anew=task.anew)
            return made.seconds
        take_part(task.recipe, task.cohort, task.out, anew=task.anew)
    except LostWorkerError:
        raise
    except HilumError as error:
        # What travels between processes must be built from its text alone.
        raise UsageError(str(error)) from error
    return None


def _cause(error: Any) -> Exception:
    """Return what ended a training: an error that a worker told, or that one was lost."""
    failures = [failure for _, failure in sorted(getattr(error, "worker_failures", {}).items())]
    told = [f for f in failures if not isinstance(f, LostWorkerError)]
    ours = [f for f in told if isinstance(f, HilumError)]
    if ours:
        return ours[0]
    # Ray's own exceptions say that a worker's process is gone.
    if failures and all(type(f).__module__.startswith("ray.") for f in told):
        return LostWorkerError()
    return cast(Exception, error)
