"""Where a training runs: in this process, in several that torch's launcher starts, or on Ray.

Workers on one machine or more are started by giving each the same command again. Where another
launcher (torchrun) already did that, there is nothing to start.
"""

import logging
import os
import signal
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from hilum.cohort.table import Cohort
from hilum.errors import HilumError, MissingExtraError, RecipeError, UsageError
from hilum.training.progress import Stage
from hilum.training.recipe import Recipe, StagedRecipe
from hilum.training.train import TrainingResult, take_part, train
from hilum.training.workers import check_shares, this_worker

__all__ = ["launch", "train_in_workers"]

_SHUTDOWN = 10  # seconds that the others have to end when one worker ended


def train_in_workers(
    recipe: Recipe,
    cohort: Cohort,
    out: Path,
    *,
    devices: int | None,
    nodes: int | None,
    ray_workers: int | None,
    command: str,
    stage: Stage,
    anew: bool,
) -> TrainingResult | None:
    """Train as `train` does, in the workers that were asked for.

    Args:
        recipe: What to train and how.
        cohort: With a train and a validation part that share no patient.
        out: The folder, which all workers share.
        devices: Workers on this machine; None: one, or what a launcher decided.
        nodes: Machines; None: one, or what a launcher decided.
        ray_workers: Workers on Ray instead.
        command: As typed, for provenance.
        stage: Shows progress.
        anew: Forget what an interrupted training left in the folder.

    Returns:
        What was made; None where it was made by another process than this.

    Raises:
        HilumError: As `train` does, or if the workers cannot be had as asked.
        SystemExit: If a worker that was started here failed, with its status.
    """
    worker = this_worker()
    asked = (devices or 1) * (nodes or 1)
    if ray_workers:
        if asked > 1 or worker.launched:
            raise UsageError("Ray starts the workers itself; give --ray-workers alone")
        if not isinstance(recipe, StagedRecipe):
            raise RecipeError(f"the recipe {recipe.name} trains in one process, not on Ray")
        from hilum.training.cluster import train_on_ray

        return train_on_ray(
            recipe, cohort, out, workers=ray_workers, command=command, stage=stage, anew=anew
        )
    if worker.launched and (devices or nodes) and asked != worker.world:
        raise UsageError(
            f"a launcher started {worker.world} workers where --devices and --nodes ask for {asked}"
        )
    check_shares(recipe, max(asked, worker.world))
    if asked > 1 and not worker.launched:
        launch(devices or 1, nodes or 1, sys.argv[1:])
        return None
    if worker.is_first:
        return train(recipe, cohort, out, command=command, stage=stage, anew=anew)
    assert isinstance(recipe, StagedRecipe)
    take_part(recipe, cohort, out, anew=anew)
    return None


def launch(devices: int, nodes: int, arguments: Sequence[str]) -> None:
    """Run hilum in several workers until all have ended.

    Args:
        devices: Workers on this machine.
        nodes: Machines; on each the same command is given.
        arguments: Of the command, such as ["train", "two-stage", ...].

    Raises:
        UsageError: If there are too few GPUs, or the machines have no place to meet.
        HilumError: If a worker was ended by a signal.
        SystemExit: If a worker failed, which has said why, or this process was asked to end.
    """
    place = _meeting_place(nodes)
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")
    try:
        from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs, SignalException
        from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
        from torch.distributed.elastic.rendezvous import RendezvousError
        from torch.distributed.launcher.api import LaunchConfig, elastic_launch
    except ModuleNotFoundError as error:
        raise MissingExtraError("training in several workers", "train") from error
    _check_devices(devices)
    # What the launcher reports is for those who write launchers; each of its loggers has a level.
    for name in list(logging.root.manager.loggerDict):
        if name.startswith("torch.distributed."):
            logging.getLogger(name).setLevel(logging.CRITICAL)
    # torch would let each worker have one processor, whatever is there.
    os.environ.setdefault("OMP_NUM_THREADS", str(max(len(os.sched_getaffinity(0)) // devices, 1)))
    with tempfile.TemporaryDirectory(prefix="hilum-") as logs:
        config = LaunchConfig(
            min_nodes=nodes,
            max_nodes=nodes,
            nproc_per_node=devices,
            rdzv_backend="c10d",
            rdzv_endpoint=place,
            run_id=f"hilum-{place}",
            local_addr="127.0.0.1" if nodes == 1 else None,
            max_restarts=0,
            logs_specs=DefaultLogsSpecs(log_dir=logs),
            shutdown_timeout=_SHUTDOWN,
        )
        try:
            # -P: a module in the current folder must not shadow ours.
            elastic_launch(config, sys.executable)("-P", "-m", "hilum", *arguments)
        except ChildFailedError as error:
            rank, failure = error.get_first_failure()
            if failure.exitcode >= 0:
                sys.exit(failure.exitcode)
            name = signal.Signals(-failure.exitcode).name
            guess = ", perhaps for want of memory" if name == "SIGKILL" else ""
            raise HilumError(
                f"worker {rank} was ended by {name}{guess}; run the same command again: training "
                "goes on from the last whole epoch"
            ) from error
        except RendezvousError as error:
            raise UsageError(
                f"the {nodes} machines did not meet at {place} ({error}); give each the same "
                "command, MASTER_ADDR and MASTER_PORT"
            ) from error
        except SignalException as error:
            # As shells count; 130 is Ctrl-C.
            sys.exit(128 + int(error.sigval))


def _meeting_place(nodes: int) -> str:
    """Return where the machines meet, as host:port."""
    if nodes == 1:
        return "127.0.0.1:0"
    host, port = os.environ.get("MASTER_ADDR"), os.environ.get("MASTER_PORT", "")
    if not host or not port.isdigit():
        raise UsageError(
            f"--nodes {nodes} needs a place where the machines meet: set MASTER_ADDR to the name of "
            "one of them and MASTER_PORT to a free port there, the same on all"
        )
    return f"{host}:{port}"


def _check_devices(devices: int) -> None:
    import torch

    there = torch.cuda.device_count()
    if torch.cuda.is_available() and devices > there:
        raise UsageError(f"--devices {devices}: this machine has {there} GPUs; ask for no more")
