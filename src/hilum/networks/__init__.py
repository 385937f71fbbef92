"""What can be trained: the networks and where their starting weights come from.

Importing this needs no torch; `hilum.networks.weights` builds networks and `hilum.networks.export`
writes them, and those do.
"""

from hilum.networks.frozen import FROZEN_BASES, FrozenBase
from hilum.networks.head import join_linear_head
from hilum.networks.options import HeadOptions, ScratchOptions
from hilum.networks.registry import NETWORKS, NetworkSpec, network_spec

__all__ = [
    "FROZEN_BASES",
    "NETWORKS",
    "FrozenBase",
    "HeadOptions",
    "NetworkSpec",
    "ScratchOptions",
    "join_linear_head",
    "network_spec",
]
