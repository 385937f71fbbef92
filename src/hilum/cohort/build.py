"""Building a cohort: every candidate is read once, measured, and given a patient and a part."""

import contextlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import polars as pl

from hilum._version import __version__
from hilum.cohort.patients import NAME_PATTERNS, NamePattern, name_pattern, pseudonym
from hilum.cohort.phantom import is_phantom_folder
from hilum.cohort.sources import (
    Candidate,
    candidates_from_csv,
    candidates_from_folders,
    metadata_of,
)
from hilum.cohort.table import COLUMNS, METADATA, Cohort
from hilum.errors import CohortError, RadiographError
from hilum.files import printable
from hilum.findings import Finding, Part
from hilum.imaging import Radiograph, read, squash

__all__ = ["BuildOptions", "build_cohort"]

_HASH_SIDE = 64  # pixels; the perceptual hash works on 32 x 32, so this loses nothing
_THREADS = 4  # decoding releases the interpreter lock; more than the cores hides slow disks


@dataclass(frozen=True, slots=True)
class BuildOptions:
    """How a cohort is built.

    Attributes:
        patients: A pattern's name, `regex:...`, `dicom` (PatientID), or `auto`.
        part: The part of radiographs that nothing else gives one.
        findings: What further class names mean.
        columns: Which CSV column is which.
        root: The folder that a CSV's paths are relative to; its own folder when None.
        name: The cohort's name; the folder's or file's when None.
        command: For provenance.
    """

    patients: str = "auto"
    part: Part = Part.TRAIN
    findings: dict[str, Finding] = field(default_factory=dict)
    columns: dict[str, str] = field(default_factory=dict)
    root: Path | None = None
    name: str | None = None
    command: str = ""


def build_cohort(
    source: Path,
    options: BuildOptions,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[Cohort, list[str]]:
    """Build a cohort from class folders or a CSV table.

    Args:
        source: A folder of class folders, or a CSV file.
        options: How.
        progress: Called with how many files of how many are done.

    Returns:
        The cohort, in which unreadable files stay with their reason, and the folders that were
        left alone because their names mean nothing.

    Raises:
        CohortError: If there is nothing to build on, or patients cannot be told apart.
    """
    ignored: list[str] = []
    if source.is_file():
        root = options.root or source.parent
        if not root.is_dir():
            raise CohortError(f"the root {root} is no folder; say where the files lie with --root")
        candidates = candidates_from_csv(source, columns=options.columns, findings=options.findings)
    else:
        if options.columns or options.root:
            raise CohortError("--column and --root are for a CSV table, and a folder was given")
        root = source
        candidates, ignored = candidates_from_folders(root, findings=options.findings)
    pattern = _choose_pattern(options.patients, candidates)
    rows: list[dict[str, Any]] = []
    with ThreadPoolExecutor(_THREADS) as pool:
        measure = partial(_measure, root.resolve(), pattern, options.part)
        for row in pool.map(measure, candidates):
            rows.append(row)
            if progress:
                progress(len(rows), len(candidates))
    table = pl.DataFrame(rows, schema=COLUMNS)
    _check_patients_known(table)
    cohort = Cohort(
        table=table,
        root=root.resolve(),
        name=options.name or source.stem,
        phantom=is_phantom_folder(root),
        patients_from=_patients_from(pattern, candidates),
        made_by={"version": __version__, "command": options.command},
    )
    return cohort, ignored


def _patients_from(pattern: NamePattern | None, candidates: list[Candidate]) -> str:
    sources = []
    if any(candidate.patient for candidate in candidates):
        sources.append("the table")
    if not all(candidate.patient for candidate in candidates):
        sources.append(pattern.name if pattern else "DICOM PatientID")
    return " and ".join(sources)


def _choose_pattern(asked: str, candidates: list[Candidate]) -> NamePattern | None:
    if asked == "dicom" or (asked == "auto" and all(c.patient for c in candidates)):
        return None
    if asked != "auto":
        return name_pattern(asked)
    unknown = [c for c in candidates if not c.patient]
    for name in ("guangzhou", "phantom"):
        pattern = NAME_PATTERNS[name]
        # A stray file must not decide for the rest; what does not fit is reported below.
        fitting = sum(pattern.patient(Path(c.path).name, c.part) is not None for c in unknown)
        if fitting >= 0.95 * len(unknown):
            return pattern
    return None


def _measure(
    root: Path, pattern: NamePattern | None, default_part: Part, candidate: Candidate
) -> dict[str, Any]:
    name = printable(Path(candidate.path).name)
    part = candidate.part or default_part
    finding = candidate.finding
    if finding is Finding.PNEUMONIA and pattern:
        finding = pattern.finding(name) or finding
    row: dict[str, Any] = dict.fromkeys(COLUMNS)
    shown = printable(candidate.path)
    row.update(
        id=shown,
        path=shown,
        patient=candidate.patient or (pattern.patient(name, part) if pattern else None),
        finding=str(finding),
        part=str(part),
        source=printable(candidate.source),
        **{column: getattr(candidate, column) for column in METADATA},
    )
    if shown != candidate.path:
        row["unreadable"] = f"{shown} has a name that is no UTF-8; rename it"
        return row
    try:
        radiograph = read(root / candidate.path, min_side=_HASH_SIDE)
    except RadiographError as error:
        row["unreadable"] = str(error)
        return row
    origin = radiograph.provenance
    if row["patient"] is None and radiograph.identifiers.patient:
        row["patient"] = pseudonym(radiograph.identifiers.patient)
    row.update(
        format=origin.format,
        rows=origin.source_rows,
        columns=origin.source_columns,
        bytes=origin.file_bytes,
        sha256=origin.sha256,
        phash=_perceptual_hash(squash(radiograph, _HASH_SIDE)),
    )
    for column, value in _of_header(radiograph).items():
        if row[column] is None:  # a table outranks the header, since a person made it
            row[column] = value
    return row


def _of_header(radiograph: Radiograph) -> dict[str, str | float | None]:
    """Return the metadata that a DICOM header says; what it garbles is null."""
    origin, who = radiograph.provenance, radiograph.identifiers
    said = {"view": origin.view_position, "age": who.age, "sex": who.sex, "scanner": origin.scanner}
    found: dict[str, str | float | None] = {}
    for column, text in said.items():
        with contextlib.suppress(ValueError):
            found[column] = metadata_of(column, text)
    return found


def _perceptual_hash(pixels: Any) -> str:
    """Return the DCT hash of Zauner (2010) by the library `imagehash`, 16 hexadecimal digits."""
    import imagehash
    from PIL import Image

    return str(imagehash.phash(Image.fromarray(pixels)))


def _check_patients_known(table: pl.DataFrame) -> None:
    readable = table.filter(pl.col("unreadable").is_null())
    unknown = readable.filter(pl.col("patient").is_null())
    if unknown.height:
        raise CohortError(
            f"{unknown.height} of {readable.height} radiographs have no patient (first "
            f"{unknown['path'][0]}); say how to tell: --patients guangzhou, dicom, each (unknown), "
            "regex:EXPRESSION, or a column without gaps with --column patient=NAME"
        )
