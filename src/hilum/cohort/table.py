"""The cohort: one Parquet table that says who, what and which part, one row per file.

Files that could not be read stay in the table with the reason in `unreadable`, so that nothing is
dropped in silence. The table's own metadata carries where the files lie, whether they are drawn
phantoms, and the command that made it.
"""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from hilum.errors import CohortError
from hilum.files import atomic_path
from hilum.findings import Finding, Part, Task

__all__ = ["COLUMNS", "METADATA", "Cohort", "load_cohort"]

SCHEMA_VERSION = 1
# SHA-256 of the file's own bytes, which stands in them; taken while it was all zeros.
_SEAL = "seal"
_UNSEALED = "0" * 64
_KEY = "hilum.cohort"

# What a source may say of a radiograph beside its finding; null where it does not. No label and no
# part hangs on these, so the digest leaves them out, and a file without them is a cohort all the same.
METADATA: dict[str, Any] = {
    "view": pl.String,  # upper case, such as PA, AP, LL
    "age": pl.Float64,  # of the patient, in years, in [0, 130]
    "sex": pl.String,  # female, male or other
    "scanner": pl.String,  # maker and model
}
COLUMNS: dict[str, Any] = {
    "id": pl.String,  # unique; the path relative to the root
    "path": pl.String,  # relative to the root, with forward slashes
    "patient": pl.String,  # unique to a person within the cohort; a pseudonym where from DICOM
    "finding": pl.String,  # a value of Finding
    "part": pl.String,  # a value of Part
    "fold": pl.Int32,  # of the train part under cross-validation, from 0; null elsewhere
    "source": pl.String,  # where the radiograph comes from, such as the hospital or folder
    "format": pl.String,
    "rows": pl.Int32,
    "columns": pl.Int32,
    "bytes": pl.Int64,
    "sha256": pl.String,  # of the file
    "phash": pl.String,  # perceptual hash, 16 hexadecimal digits
    "unreadable": pl.String,  # the reason, or null for a readable radiograph
    **METADATA,
}


@dataclass(frozen=True, slots=True)
class Cohort:
    """Labelled radiographs with their patients and parts.

    Attributes:
        table: One row per file; see `COLUMNS`.
        root: The folder that paths are relative to.
        name: For people and provenance.
        phantom: True where the radiographs are drawn; their results say nothing of patients.
        patients_from: How patients were told apart.
        made_by: hilum's version and the command, for provenance.
    """

    table: pl.DataFrame
    root: Path
    name: str
    phantom: bool
    patients_from: str
    made_by: dict[str, str]

    @property
    def readable(self) -> "Cohort":
        """The cohort without the files that could not be read."""
        return self.where(pl.col("unreadable").is_null())

    @property
    def unreadable(self) -> pl.DataFrame:
        """The files that could not be read: columns path and unreadable (the reason)."""
        rows = self.table.filter(pl.col("unreadable").is_not_null())
        return rows.select("path", "unreadable")

    @property
    def patients(self) -> NDArray[np.str_]:
        """Patient of each row, shape (n,)."""
        return np.array(self.table["patient"].to_list(), dtype=np.str_)

    @property
    def findings(self) -> list[Finding]:
        """Finding of each row."""
        return [Finding(value) for value in self.table["finding"]]

    def __len__(self) -> int:
        """Number of files, readable or not."""
        return self.table.height

    def where(self, condition: pl.Expr) -> "Cohort":
        """Return the rows that meet a condition."""
        return replace(self, table=self.table.filter(condition))

    def part(self, *parts: Part) -> "Cohort":
        """Return the readable radiographs of one or more parts.

        Raises:
            CohortError: If there are none.
        """
        chosen = self.readable.where(pl.col("part").is_in([str(part) for part in parts]))
        if not len(chosen):
            names = " or ".join(str(part) for part in parts)
            there = sorted(set(self.readable.table["part"]))
            advice = f"it has {', '.join(there)}; name one of them" if there else "it has none"
            if Part.TEST in parts:
                advice += ", or hold some back (hilum cohort split COHORT --test 0.15 -o NEW) and train again"
            elif Part.VALIDATION in parts or Part.TRAIN in parts:
                advice += ", or make one with: hilum cohort split COHORT -o NEW"
            raise CohortError(f"the cohort {self.name} has no {names} part; {advice}")
        return chosen

    def for_task(
        self, task: Task, *, every_finding: bool = True
    ) -> tuple["Cohort", NDArray[np.int64]]:
        """Return the radiographs that a task can place, with the index of the label of each.

        Args:
            task: What tells findings apart.
            every_finding: Whether each of its findings must occur, as training needs.

        Raises:
            CohortError: If none is left, or a finding that must occur does not.
        """
        labels = [task.label_of(finding) for finding in self.findings]
        kept = replace(self, table=self.table.filter(pl.Series([x is not None for x in labels])))
        truth = np.array([x for x in labels if x is not None], dtype=np.int64)
        missing = [str(f) for i, f in enumerate(task.labels) if not (truth == i).any()]
        if not len(truth):
            raise CohortError(
                f"the cohort {self.name} has no radiograph whose finding the task '{task}' can place; "
                "use a classifier of the binary task"
            )
        if missing and every_finding:
            raise CohortError(
                f"the cohort {self.name} has no radiograph with {' nor '.join(missing)} "
                f"where the task '{task}' needs some"
            )
        return kept, truth

    def files(self) -> list[Path]:
        """Return the path of each row's file."""
        return [self.root / path for path in self.table["path"]]

    def count(self, *by: str) -> pl.DataFrame:
        """Count radiographs and patients by columns, sorted."""
        return (
            self.table.group_by(by)
            .agg(radiographs=pl.len(), patients=pl.col("patient").n_unique())
            .sort(by)
        )

    def digest(self) -> str:
        """Return the SHA-256 of what the cohort says: digests, patients, findings and parts.

        It does not depend on the order of rows or on where the files lie.
        """
        rows = self.table.select("id", "sha256", "patient", "finding", "part", "fold").sort("id")
        text = json.dumps(rows.rows(), ensure_ascii=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()

    def save(self, path: Path) -> None:
        """Write the Parquet table, whole or not at all.

        Raises:
            UsageError: If the folder cannot be written.
        """
        about = {
            "schema": SCHEMA_VERSION,
            "name": self.name,
            "root": str(self.root),
            "phantom": self.phantom,
            "patients_from": self.patients_from,
            "made_by": self.made_by,
            _SEAL: _UNSEALED,
        }
        with atomic_path(path) as temporary:
            self.table.write_parquet(temporary, metadata={_KEY: json.dumps(about)})
            content = temporary.read_bytes()
            place = _place_of_seal(content)
            seal = hashlib.sha256(content).hexdigest().encode()
            temporary.write_bytes(content[:place] + seal + content[place + len(seal) :])


def load_cohort(path: Path, *, root: Path | None = None) -> Cohort:
    """Read a cohort that `hilum cohort build` wrote.

    Args:
        path: The Parquet table.
        root: Where the files lie now, if they moved.

    Raises:
        CohortError: If the file is missing, no Parquet, or no cohort of this version.
    """
    if not path.is_file():
        raise CohortError(
            f"there is no cohort {path}; make it with: hilum cohort build DIR -o {path}"
        )
    damage = (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError, ValueError)
    try:
        _check_seal(path)
        about = json.loads(pl.read_parquet_metadata(path)[_KEY])
        table = _with_metadata(pl.read_parquet(path))
        if about["schema"] != SCHEMA_VERSION or dict(table.schema) != COLUMNS:
            raise CohortError(f"{path} is a cohort of another version of hilum; build it again")
        cohort = Cohort(
            table=table,
            root=root or Path(about["root"]),
            name=str(about["name"]),
            phantom=bool(about["phantom"]),
            patients_from=str(about["patients_from"]),
            made_by=dict(about["made_by"]),
        )
    except (*damage, KeyError, TypeError) as error:
        raise CohortError(f"{path} is no cohort of hilum, or it is damaged") from error
    _check_values(path, table)
    return cohort


def _with_metadata(table: pl.DataFrame) -> pl.DataFrame:
    """Add the metadata columns that a file lacks, as null."""
    return table.with_columns(
        pl.lit(None, kind).alias(name)
        for name, kind in METADATA.items()
        if name not in table.columns
    )


def _place_of_seal(content: bytes) -> int:
    """Return where the seal of a cohort's bytes begins.

    Raises:
        ValueError: If there is none.
    """
    before = f'"{_SEAL}": "'.encode()
    return content.rindex(before) + len(before)


def _check_seal(path: Path) -> None:
    """Refuse damaged bytes before polars sees them: it may end the whole process on them.

    Raises:
        ValueError: If the file has no seal, or it does not fit.
    """
    content = path.read_bytes()
    place, length = _place_of_seal(content), len(_UNSEALED)
    bare = content[:place] + _UNSEALED.encode() + content[place + length :]
    if hashlib.sha256(bare).hexdigest().encode() != content[place : place + length]:
        raise ValueError("the seal does not fit")


def _check_values(path: Path, table: pl.DataFrame) -> None:
    allowed: dict[str, Iterable[str]] = {"finding": Finding, "part": Part}
    for column, words in allowed.items():
        known = pl.col(column).is_in([str(word) for word in words]).fill_null(False)
        odd = table.filter(~known)
        if odd.height:
            raise CohortError(f"{path}: '{odd[column][0]}' is no {column} that hilum knows")
    if table["id"].n_unique() != table.height:
        raise CohortError(f"{path}: two rows have the same id")
