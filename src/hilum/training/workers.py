"""How many processes train together, and which of them this is.

torchrun and its kin say so by environment variables; without them there is one.
"""

import os
from dataclasses import dataclass

__all__ = ["Workers", "this_worker"]


@dataclass(frozen=True, slots=True)
class Workers:
    """This process among those that train together."""

    rank: int = 0
    world: int = 1
    nodes: int = 1

    @property
    def is_first(self) -> bool:
        """Whether this one writes and speaks for all."""
        return self.rank == 0

    @property
    def per_node(self) -> int:
        """Processes on each machine."""
        return self.world // self.nodes


def this_worker() -> Workers:
    """Return which worker this process is, from the environment that its launcher made."""
    world = int(os.environ.get("WORLD_SIZE", "1"))
    local = int(os.environ.get("LOCAL_WORLD_SIZE", str(world)))
    return Workers(int(os.environ.get("RANK", "0")), world, max(world // local, 1))
