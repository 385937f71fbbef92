"""What can be trained: the networks and where their starting weights come from."""

from hilum.networks.frozen import FROZEN_BASES, FrozenBase
from hilum.networks.head import join_linear_head

__all__ = ["FROZEN_BASES", "FrozenBase", "join_linear_head"]
