"""Readings as a table: CSV, JSON lines or Parquet, written row by row as they come.

Rows go to a file ending in `.part`, whole after every row, which becomes the table when the run
ends, also by an error or Ctrl-C; a killed run leaves the part. Parquet cannot grow, so its part is
JSON lines, which polars converts in a stream at the end.
"""

import csv
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol, TextIO

from hilum.errors import UsageError
from hilum.files import atomic_path, check_new, ensure_folder
from hilum.findings import RESEARCH_USE, Finding
from hilum.screening.pipeline import ScreenedRadiograph

__all__ = ["RowWriter", "columns", "open_writer", "row_of"]

_COMMON = ("file", "status", "probability", "decision", "operating_point", "threshold")
_LAST = ("reason", "overlay", "format", "sha256", "classifier_sha256", "hilum", "research_use")


def _column(finding: Finding) -> str:
    return f"probability_{str(finding).replace(' ', '_')}"


def columns(findings: tuple[Finding, ...]) -> list[str]:
    """Return the columns of a table of readings, in order."""
    return [*_COMMON, *(_column(finding) for finding in findings), *_LAST]


def row_of(
    item: ScreenedRadiograph,
    findings: tuple[Finding, ...],
    classifier_sha256: str,
    version: str,
    overlay: Path | None = None,
) -> dict[str, Any]:
    """Return one row; what does not apply is None."""
    reading = item.reading
    row: dict[str, Any] = dict.fromkeys(columns(findings))
    row.update(
        file=item.name,
        status=item.status,
        reason=item.reason,
        overlay=str(overlay) if overlay else None,
        format=item.format,
        sha256=item.sha256,
        classifier_sha256=classifier_sha256,
        hilum=version,
        research_use=RESEARCH_USE,
    )
    if reading:
        row.update(
            probability=reading.probability,
            decision=reading.decision,
            operating_point=reading.operating_point,
            threshold=reading.threshold,
        )
        for finding in findings:
            row[_column(finding)] = reading.probabilities.get(str(finding))
    return row


class RowWriter(Protocol):
    """Takes rows one at a time."""

    def write(self, row: dict[str, Any]) -> None:
        """Add one row; it is on its way to the disk when this returns."""


class _Csv:
    def __init__(self, target: TextIO, names: list[str]) -> None:
        self._target = target
        self._writer = csv.DictWriter(target, names)
        self._writer.writeheader()

    def write(self, row: dict[str, Any]) -> None:
        self._writer.writerow(row)
        self._target.flush()


class _JsonLines:
    def __init__(self, target: TextIO) -> None:
        self._target = target

    def write(self, row: dict[str, Any]) -> None:
        self._target.write(json.dumps(row) + "\n")
        self._target.flush()


@contextmanager
def open_writer(
    path: Path, findings: tuple[Finding, ...], *, force: bool = False
) -> Iterator[RowWriter]:
    """Open a table for readings; the suffix says which kind.

    When the block ends, for whatever reason, the table holds every row that was written.

    Args:
        path: Ends in .csv, .jsonl or .parquet.
        findings: Of the classifier, for the columns.
        force: Replace a table that is there.

    Raises:
        UsageError: If the suffix is another, the file is there, or it cannot be written.
    """
    suffix = path.suffix.lower()
    if suffix not in {".csv", ".jsonl", ".parquet"}:
        raise UsageError(f"{path} has no suffix that hilum writes; use .csv, .jsonl or .parquet")
    check_new(path, force=force)
    ensure_folder(path.parent)
    part = path.with_name(f"{path.name}.part")
    try:
        if force:
            part.unlink(missing_ok=True)
        target = part.open("x", encoding="utf-8", newline="")
    except FileExistsError as error:
        raise UsageError(
            f"{part} is there from a run that was killed or still runs; keep it under another name, "
            "or add --force to replace it"
        ) from error
    except OSError as error:
        raise UsageError(f"{path} cannot be written ({error.strerror})") from error
    names = columns(findings)
    try:
        with target:
            yield _Csv(target, names) if suffix == ".csv" else _JsonLines(target)
    finally:
        if suffix == ".parquet":
            _to_parquet(part, path, names)
        else:
            part.replace(path)


def _to_parquet(part: Path, path: Path, names: list[str]) -> None:
    import polars as pl

    numeric = {name for name in names if name.startswith("probability")} | {"threshold"}
    schema: dict[str, Any] = {name: pl.Float64 if name in numeric else pl.String for name in names}
    with atomic_path(path) as temporary:
        if part.stat().st_size:
            pl.scan_ndjson(part, schema=schema).sink_parquet(temporary)
        else:
            pl.DataFrame(schema=schema).write_parquet(temporary)
    part.unlink()
