"""How long work says what it is doing."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

__all__ = ["Stage", "silent"]

# Shows a named stage while it runs and takes (done, total).
Stage = Callable[[str], AbstractContextManager[Callable[[int, int], None]]]


def silent(_: str) -> AbstractContextManager[Callable[[int, int], None]]:
    """Show nothing."""
    return nullcontext(lambda _done, _total: None)
