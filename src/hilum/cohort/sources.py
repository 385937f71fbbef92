"""Where labelled radiographs come from: class folders and CSV tables become candidates.

A candidate is a file with its finding and part; nothing is opened yet.
"""

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hilum.cohort.table import METADATA
from hilum.errors import CohortError
from hilum.files import printable
from hilum.findings import Finding, Part

__all__ = ["Candidate", "candidates_from_csv", "candidates_from_folders", "metadata_of"]

_PART_WORDS = {
    "train": Part.TRAIN,
    "training": Part.TRAIN,
    "val": Part.VALIDATION,
    "valid": Part.VALIDATION,
    "validation": Part.VALIDATION,
    "test": Part.TEST,
    "testing": Part.TEST,
}
_FINDING_WORDS = {
    "normal": Finding.NORMAL,
    "no finding": Finding.NORMAL,
    "no findings": Finding.NORMAL,
    "healthy": Finding.NORMAL,
    "bacterial": Finding.BACTERIAL,
    "bacteria": Finding.BACTERIAL,
    "bacterial pneumonia": Finding.BACTERIAL,
    "viral": Finding.VIRAL,
    "virus": Finding.VIRAL,
    "viral pneumonia": Finding.VIRAL,
    "pneumonia": Finding.PNEUMONIA,
}
_SEX_WORDS = {
    "f": "female",
    "female": "female",
    "m": "male",
    "male": "male",
    "o": "other",
    "other": "other",
}
_NOTHING = {"", "?", "-", "na", "n/a", "nan", "none", "null", "unknown", "not known"}
# DICOM's age string: three digits with their unit (PS3.5, section 6.2, AS). Tables write plain years.
_AGE = re.compile(r"(\d+(?:\.\d+)?)([dwmy]?)")
_PER_YEAR = {"d": 365.25, "w": 365.25 / 7, "m": 12.0, "y": 1.0, "": 1.0}
_OLDEST = 130.0  # years; a higher number is a slip


@dataclass(frozen=True, slots=True)
class Candidate:
    """A file that a person says is a radiograph with a finding."""

    path: str  # relative to the root, with forward slashes
    finding: Finding
    part: Part | None  # None where nothing says
    patient: str | None  # None where nothing says yet
    source: str
    view: str | None = None  # this and the next as in `hilum.cohort.table.METADATA`
    age: float | None = None
    sex: str | None = None
    scanner: str | None = None


def metadata_of(field: str, text: str | None) -> str | float | None:
    """Read a cell of a metadata column, or a value of a DICOM header, as the cohort keeps it.

    Args:
        field: A key of `METADATA`.
        text: As written; empty, "unknown" and the like mean nothing.

    Returns:
        The view in upper case, the age in years, the sex in one of three words, or the scanner.

    Raises:
        ValueError: If an age or a sex is none.
    """
    trimmed = " ".join(printable(text or "").split())
    if trimmed.lower() in _NOTHING:
        return None
    if field == "age":
        found = _AGE.fullmatch(trimmed.lower())
        years = float(found[1]) / _PER_YEAR[found[2]] if found else None
        if years is None or years > _OLDEST:
            raise ValueError(f"'{trimmed}' is no age in years (write 61, or 061Y, 018M, 010D)")
        return years
    if field == "sex":
        if trimmed.lower() not in _SEX_WORDS:
            raise ValueError(f"'{trimmed}' is no sex (write F, M or O)")
        return _SEX_WORDS[trimmed.lower()]
    return trimmed.upper() if field == "view" else trimmed


def _word(text: str) -> str:
    return " ".join(text.lower().replace("_", " ").replace("-", " ").split())


def finding_of(text: str, extra: dict[str, Finding]) -> Finding | None:
    """Return the finding that a folder name or table cell means, or None."""
    return extra.get(text) or _FINDING_WORDS.get(_word(text))


def candidates_from_folders(
    root: Path, *, findings: dict[str, Finding]
) -> tuple[list[Candidate], list[str]]:
    """Find files in `root/CLASS/...` or `root/PART/CLASS/...`.

    Args:
        root: The folder.
        findings: What further folder names mean, beside the usual ones.

    Returns:
        The candidates, sorted by path, and the folders at the top that were left alone because
        their names are neither a part nor a finding.

    Raises:
        CohortError: If no class folder is found.
    """
    if not root.is_dir():
        raise CohortError(
            f"{root} is no folder or does not exist; give the folder that holds the class folders"
        )
    candidates: list[Candidate] = []
    ignored: list[str] = []
    for top in sorted(path for path in root.iterdir() if path.is_dir()):
        part = _PART_WORDS.get(_word(top.name))
        classes = sorted(path for path in top.iterdir() if path.is_dir()) if part else [top]
        for folder in classes:
            finding = finding_of(folder.name, findings)
            if finding is None:
                if not folder.name.startswith((".", "__MACOSX")):
                    ignored.append(folder.relative_to(root).as_posix())
                continue
            for path in _files(folder):
                _refuse_parts_below(path.relative_to(folder), folder)
                relative = path.relative_to(root).as_posix()
                candidates.append(Candidate(relative, finding, part, None, root.name))
    if unused := set(findings) - {Path(c.path).parts[1 if c.part else 0] for c in candidates}:
        raise CohortError(f"no class folder is named {', '.join(sorted(unused))}; check --finding")
    if not candidates:
        raise CohortError(
            f"{root} has no class folders with files; name them NORMAL, BACTERIAL, VIRAL or "
            "PNEUMONIA (alone or under train, val, test), or say what a name means with "
            "--finding NAME=normal|bacterial|viral|pneumonia"
        )
    return candidates, ignored


def _refuse_parts_below(path: Path, folder: Path) -> None:
    """Refuse CLASS/PART/..., whose parts would be lost and test radiographs trained on."""
    if words := [part for part in path.parts[:-1] if _word(part) in _PART_WORDS]:
        raise CohortError(
            f"{folder} holds a folder {words[0]}; put the parts above the classes "
            f"({words[0]}/{folder.name}/...), or rename it if it means no part"
        )


def _files(folder: Path) -> list[Path]:
    def refuse(error: OSError) -> None:
        raise CohortError(f"{error.filename} cannot be opened ({error.strerror})") from error

    found = []
    for parent, folders, names in os.walk(folder, onerror=refuse):
        folders[:] = [name for name in folders if not name.startswith(".")]
        found += [Path(parent, name) for name in names if not name.startswith(".")]
    return sorted(found)


def candidates_from_csv(
    table_path: Path, *, columns: dict[str, str], findings: dict[str, Finding]
) -> list[Candidate]:
    """Read candidates from a CSV table with a header.

    Args:
        table_path: The CSV, UTF-8.
        columns: Which column holds `path`, `finding`, `patient`, `part`, `source`, `view`, `age`,
            `sex`, `scanner`; the first two are needed, and each defaults to a column of its own name.
        findings: What the cells of the finding column mean, beside the usual words.

    Raises:
        CohortError: If the table cannot be read, a column is missing, or a cell means nothing.
    """
    import polars as pl

    try:
        table = pl.read_csv(table_path, infer_schema=False)
    except (pl.exceptions.PolarsError, OSError, UnicodeDecodeError) as error:
        raise CohortError(f"{table_path} cannot be read as CSV: {error}") from error
    if len(table.columns) == 1 and ";" in table.columns[0]:
        raise CohortError(f"{table_path} is separated by semicolons; save it with commas")
    fields = ("path", "finding", "patient", "part", "source", *METADATA)
    if odd := set(columns) - set(fields):
        raise CohortError(f"--column knows {', '.join(fields)}, not {', '.join(sorted(odd))}")
    names = {field: columns.get(field, field) for field in fields}
    needed = [names["path"], names["finding"], *columns.values()]
    if missing := [name for name in needed if name not in table.columns]:
        raise CohortError(
            f"{table_path} has no column {', '.join(dict.fromkeys(missing))}; it has "
            f"{', '.join(table.columns)}; say which is which with --column path=NAME"
        )
    candidates: list[Candidate] = []
    first_at: dict[str, int] = {}
    for number, row in enumerate(table.iter_rows(named=True), start=2):
        finding = finding_of(row[names["finding"]] or "", findings)
        if finding is None:
            raise CohortError(
                f"{table_path} line {number}: '{row[names['finding']]}' is no finding; say what it "
                "means with --finding NAME=normal|bacterial|viral|pneumonia"
            )
        if not row[names["path"]]:
            raise CohortError(f"{table_path} line {number} has no path")
        path = Path(row[names["path"]]).as_posix()
        if Path(path).is_absolute() or ".." in Path(path).parts:
            raise CohortError(
                f"{table_path} line {number}: {path} is no path below the root; write paths relative to a "
                "folder and name it with --root"
            )
        if first_at.setdefault(path, number) != number:
            raise CohortError(
                f"{table_path} line {number}: {path} is on line {first_at[path]} already; keep one"
            )
        part_text = row.get(names["part"])
        part = _PART_WORDS.get(_word(part_text)) if part_text else None
        if part_text and part is None:
            raise CohortError(f"{table_path} line {number}: '{part_text}' is no part")
        metadata: dict[str, Any] = {}
        for field in METADATA:
            try:
                metadata[field] = metadata_of(field, row.get(names[field]))
            except ValueError as error:
                raise CohortError(
                    f"{table_path} line {number}: {error}; mend the cell or leave it empty"
                ) from error
        candidates.append(
            Candidate(
                path=path,
                finding=finding,
                part=part,
                patient=row.get(names["patient"]),
                source=row.get(names["source"]) or table_path.stem,
                **metadata,
            )
        )
    if not candidates:
        raise CohortError(f"{table_path} has no rows")
    return candidates
