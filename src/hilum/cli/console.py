"""How commands talk: tables for people, JSON for programs, progress and errors on standard error."""

import json
import shlex
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from hilum.findings import RESEARCH_USE, Part

__all__ = ["cohort_part", "command_line", "emit_json", "err", "note", "out", "progress", "table"]

out = Console(highlight=False)
err = Console(stderr=True, highlight=False)


def command_line() -> str:
    """Return the command as it was typed, for provenance."""
    return shlex.join(["hilum", *sys.argv[1:]])


def cohort_part(text: str, default: Part) -> tuple[Path, Part]:
    """Take COHORT[:PART] apart."""
    path, _, name = text.rpartition(":")
    return (Path(path), Part(name)) if path and name in set(Part) else (Path(text), default)


def emit_json(value: Any) -> None:
    """Print one JSON document to standard output."""
    sys.stdout.write(json.dumps(value, indent=2, default=str) + "\n")


def table(title: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """Print a table for people."""
    shown = Table(title=Text(title, style="bold"), title_justify="left")
    for column in columns:
        shown.add_column(column, overflow="fold")
    for row in rows:
        # Text, because file names may hold what rich takes for markup.
        shown.add_row(*(Text("" if cell is None else str(cell)) for cell in row))
    out.print(shown)


def note(text: str) -> None:
    """Print a sentence to standard error, so that standard output stays for results."""
    err.print(text, markup=False, soft_wrap=True)


def research_use() -> None:
    """Print the notice that belongs under every result."""
    out.print(RESEARCH_USE, style="dim", markup=False, soft_wrap=True)


@contextmanager
def progress(what: str, *, quiet: bool = False) -> Iterator[Callable[[int, int | None], None]]:
    """Show a progress bar on standard error while the block runs.

    Yields:
        A function of (done, total); the total is None where unknown.
    """
    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=err,
        transient=True,
        disable=quiet or not err.is_terminal,
    )
    with bar:
        task = bar.add_task(what, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
