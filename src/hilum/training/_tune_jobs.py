"""Several workers of a study at once: processes on this machine, or tasks of a Ray cluster."""

import multiprocessing
import os
import signal
from collections.abc import Callable
from dataclasses import replace
from importlib import import_module
from multiprocessing.connection import wait
from typing import Any

from hilum.errors import HilumError, MissingExtraError, UsageError
from hilum.training._tune_worker import Job, work

__all__ = ["run_on_ray", "run_processes"]

_LOOK = 1.0  # seconds between two looks at how far the study is
_FAREWELL = 30.0  # seconds that a worker has to mark its trial before it is killed


def run_processes(job: Job, jobs: int, told: Callable[[], None]) -> None:
    """Let several processes of this machine work on a study until it is finished.

    Each takes its share of the cores, and of the GPUs in turn. What a killed one leaves is taken
    over by the others.

    Args:
        job: What to try.
        jobs: How many processes.
        told: Called every second.

    Raises:
        UsageError: If a worker met an error that a user can mend, or all were killed.
    """
    # The `spawn` method, because threads of torch and OpenVINO do not survive a fork.
    context = multiprocessing.get_context("spawn")
    errors = context.SimpleQueue()
    share = replace(job, threads=max((os.cpu_count() or 1) // jobs, 1))
    workers = [
        context.Process(target=_process, args=(share, gpu, errors), daemon=True)
        for gpu in _gpus_in_turn(jobs)
    ]
    # Ctrl-C reaches the whole process group; the workers leave it to this process.
    ours = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        for worker in workers:
            worker.start()
    finally:
        signal.signal(signal.SIGINT, ours)
    try:
        while errors.empty() and (alive := [w.sentinel for w in workers if w.is_alive()]):
            wait(alive, timeout=_LOOK)
            told()
    finally:
        for worker in workers:
            worker.terminate()
        for worker in workers:
            worker.join(_FAREWELL)
            worker.kill()
    if not errors.empty():
        raise UsageError(errors.get())
    codes = [worker.exitcode or 0 for worker in workers]
    if all(codes):
        ends = ", ".join(f"signal {-code}" if code < 0 else f"status {code}" for code in codes)
        raise UsageError(
            f"all {jobs} workers ended before the study did ({ends}; signal 9 is often too little "
            "memory); the same command goes on, with fewer --jobs if memory is short"
        )


def run_on_ray(job: Job, jobs: int, told: Callable[[], None]) -> None:
    """Let tasks of a Ray cluster work on a study until it is finished.

    The cluster is the one that RAY_ADDRESS names or that runs here, else one of this machine alone.

    Args:
        job: What to try; its database must be reachable and its radiographs lie at the same place
            on every machine.
        jobs: How many tasks at once.
        told: Called every second.

    Raises:
        MissingExtraError: If Ray is not installed.
        UsageError: If the database is a file and there are several machines, or all tasks died.
        HilumError: What a task met.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is reported anywhere
    try:
        ray: Any = import_module("ray")
    except ModuleNotFoundError as error:
        raise MissingExtraError("tuning with Ray", "scale") from error
    ours = not ray.is_initialized()
    if ours:
        ray.init(include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    try:
        machines = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        if len(machines) > 1 and job.place.url.startswith("sqlite"):
            raise UsageError(
                f"the {len(machines)} machines of this Ray cluster cannot share a study in a file; "
                "add --storage postgresql://USER@HOST/DATABASE"
            )
        total = ray.cluster_resources()
        smallest = min(machine.get("CPU", 1) for machine in machines)
        cores = max(int(min(total.get("CPU", 1) // jobs, smallest)), 1)
        share = replace(job, threads=cores)
        task = ray.remote(num_cpus=cores, num_gpus=min(total.get("GPU", 0) / jobs, 1))(work)
        running = [task.remote(share) for _ in range(jobs)]
        try:
            while running:
                done, running = ray.wait(running, timeout=_LOOK)
                told()
                ray.get(done)
        except ray.exceptions.RayTaskError as error:
            raise error.cause if isinstance(error.cause, HilumError) else error from error
        except ray.exceptions.RayError as error:
            raise UsageError(
                f"a task of Ray was lost ({type(error).__name__}); the same command goes on"
            ) from error
        finally:
            for task in running:
                ray.cancel(task)
            if running:
                ray.wait(running, num_returns=len(running), timeout=_FAREWELL)
    finally:
        if ours:
            ray.shutdown()


def _process(job: Job, gpu: str | None, errors: Any) -> None:
    """Work in a process of its own; what a user can mend is told to the one that started it."""
    signal.signal(signal.SIGTERM, _interrupt)
    if gpu is not None:
        os.environ["CUDA_VISIBLE_DEVICES"] = gpu
    try:
        work(job)
    except HilumError as error:
        errors.put(str(error))
    except KeyboardInterrupt:
        raise SystemExit(130) from None


def _interrupt(_signal: int, _frame: Any) -> None:
    # Once: a second signal would break off what the first one has to mark.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise KeyboardInterrupt


def _gpus_in_turn(jobs: int) -> list[str | None]:
    """Return the GPU of each worker as CUDA counts them; None where there is one or none."""
    import torch

    count = torch.cuda.device_count()
    if count < 2:
        return [None] * jobs
    named = os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")
    names = named if len(named) >= count else [str(number) for number in range(count)]
    return [names[number % count] for number in range(jobs)]
