"""The processes that train together: which of them this is, and how they stay of one mind.

torchrun and its kin name each by environment variables; without them there is one. The first worker alone
reads and writes the training's folder and tells the others what it found, so none of them meets a
file half done, and the folder need not look the same from every machine at every moment.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeVar

from hilum.errors import HilumError, MissingExtraError, RecipeError
from hilum.training.recipe import Recipe, StagedRecipe

if TYPE_CHECKING:
    from torch import Tensor, nn

__all__ = [
    "BACKEND",
    "PATIENCE",
    "LostWorkerError",
    "Workers",
    "check_shares",
    "gathered",
    "joined",
    "one_voice",
    "this_worker",
]

T = TypeVar("T")

# What lies in memory goes by gloo, what lies on a GPU by NCCL where there is one.
BACKEND = {False: "gloo", True: "cpu:gloo,cuda:nccl"}
# The first epoch waits for the slowest machine to decode the cohort. A worker that ends is noticed
# at once, whatever this says.
PATIENCE = timedelta(hours=2)
# How long a worker that failed waits to hear whether another knows the cause.
_HEARING = timedelta(seconds=5)


class LostWorkerError(HilumError):
    """Another worker ended, so that this one cannot go on."""

    def __init__(self, message: str = "") -> None:
        super().__init__(
            message
            or "another worker ended; run the same command again: training goes on from the last "
            "whole epoch"
        )


@dataclass(frozen=True, slots=True)
class Workers:
    """This process among those that train together."""

    rank: int = 0
    world: int = 1
    per_node: int = 1  # processes on this machine
    launched: bool = False  # whether a launcher started this process

    @property
    def is_first(self) -> bool:
        """Whether this one writes and speaks for all."""
        return self.rank == 0

    @property
    def nodes(self) -> int:
        """Machines, where all have equally many workers."""
        return max(self.world // self.per_node, 1)

    def share_of(self, rows: int) -> int:
        """Return how many of some rows are this worker's."""
        return len(range(self.rank, rows, self.world))

    def told(self, value: T) -> T:
        """Return what the first worker says here; the others wait for it."""
        if self.world == 1:
            return value
        import torch
        import torch.distributed as dist

        said = [value]
        dist.broadcast_object_list(said, device=torch.device("cpu"))
        return said[0]

    def share(self, network: "nn.Module") -> None:
        """Give every worker the first one's weights."""
        if self.world == 1:
            return
        import torch.distributed as dist

        for tensor in network.state_dict().values():
            # gloo refuses channels_last strides.
            sent = tensor.contiguous()
            dist.broadcast(sent, 0)
            tensor.copy_(sent)


def gathered(tensor: "Tensor", world: int) -> "Tensor":
    """Return a tensor of every worker, of equal shapes, stacked by rank."""
    import torch
    import torch.distributed as dist

    tensors = [torch.empty_like(tensor) for _ in range(world)]
    dist.all_gather(tensors, tensor.contiguous())
    return torch.stack(tensors)


def this_worker() -> Workers:
    """Return which worker this process is, from the environment that its launcher made."""
    if "RANK" not in os.environ:
        return Workers()
    world = int(os.environ.get("WORLD_SIZE", "1"))
    return Workers(
        rank=int(os.environ.get("RANK", "0")),
        world=world,
        per_node=int(os.environ.get("LOCAL_WORLD_SIZE", str(world))),
        launched="RANK" in os.environ,
    )


def check_shares(recipe: Recipe, world: int) -> None:
    """Refuse a recipe whose batches cannot be shared equally.

    Raises:
        RecipeError: Saying which stage.
    """
    if world == 1:
        return
    if not isinstance(recipe, StagedRecipe):
        raise RecipeError(f"the recipe {recipe.name} trains in one process; ask for one worker")
    for number, stage in enumerate(recipe.stages):
        if stage.batch % world:
            fitting = max(stage.batch // world, 1) * world
            raise RecipeError(
                f"stage {stage.name}: a batch of {stage.batch} cannot be shared by {world} workers "
                f"equally; say --set stages.{number}.batch={fitting}"
            )


@contextmanager
def joined(workers: Workers) -> Iterator[None]:
    """Connect the workers until the block ends.

    Raises:
        LostWorkerError: If another worker ended meanwhile.
    """
    if workers.world == 1:
        yield
        return
    try:
        import torch
        import torch.distributed as dist
    except ModuleNotFoundError as error:
        raise MissingExtraError("training in several workers", "train") from error
    try:
        if not dist.is_initialized():
            dist.init_process_group(BACKEND[torch.cuda.is_available()], timeout=PATIENCE)
        yield
    except RuntimeError as error:
        # gloo's own errors have no class.
        if isinstance(error, dist.DistError) or "gloo" in str(error):
            raise LostWorkerError from error
        raise
    finally:
        # NCCL's workers must part at the same time, so none keeps the connection for later.
        if dist.is_initialized():
            dist.destroy_process_group()


@contextmanager
def one_voice(workers: Workers, tell: Callable[[str], None]) -> Iterator[None]:
    """Let an error that ends several workers be told once, by one that knows its cause.

    Args:
        workers: Which process this is of how many.
        tell: Prints an error.

    Raises:
        SystemExit: With status 2 after an error among several workers, 1 after Ctrl-C, of which
            their launcher tells.
    """
    try:
        yield
    except KeyboardInterrupt:
        if workers.world == 1:
            raise
        raise SystemExit(1) from None
    except HilumError as error:
        if workers.world == 1:
            raise
        lost = isinstance(error, LostWorkerError)
        notes = _Notes()
        if workers.is_first and not lost:
            tell(str(error))
            notes.write("first", "failed")
        elif workers.is_first:
            notes.write("first", "lost")
            if not notes.read("other"):
                tell(str(error))
        elif not lost and notes.read("first") != "failed":
            tell(f"worker {workers.rank}: {error}")
            notes.write("other", "failed")
        raise SystemExit(2) from error


class _Notes:
    """What failing workers leave for each other in the launcher's store."""

    def __init__(self) -> None:
        self._store: Any = None
        # The launcher keeps its store when it starts the workers again.
        self._run = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")
        with suppress(ModuleNotFoundError, KeyError, RuntimeError):
            from torch.distributed import TCPStore  # type: ignore[attr-defined]

            host, port = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
            self._store = TCPStore(host, port, timeout=_HEARING)

    def write(self, name: str, text: str) -> None:
        if self._store:
            with suppress(RuntimeError):
                self._store.set(f"hilum/{self._run}/{name}", text)

    def read(self, name: str) -> str | None:
        """Return a note, or None where none comes for some seconds."""
        if self._store:
            with suppress(RuntimeError):
                return bytes(self._store.get(f"hilum/{self._run}/{name}")).decode()
        return None
