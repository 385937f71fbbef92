"""The audit: what is wrong with a cohort before anything is learned from it.

It hunts leaks (a patient or the same file on both sides of a split), the same file with two findings,
unreadable files, and parts too small to support a claim, all from the table alone. What needs the
pictures is in the other modules of this room.
"""

from dataclasses import dataclass

import numpy as np
import polars as pl

from hilum.cohort.hashes import NEAR_BITS, near_hashes
from hilum.cohort.table import Cohort
from hilum.evaluation.intervals import clopper_pearson
from hilum.findings import Finding

__all__ = ["AuditLine", "audit_cohort"]

# With n patients and no error seen, the 95 % interval of the error rate ends at about 3.7 / n (Hanley
# and Lippman-Hand, JAMA 1983); below 30 even a perfect result allows more than 11 % errors.
SMALLEST_CLASS = 30


@dataclass(frozen=True, slots=True)
class AuditLine:
    """One thing that was checked."""

    check: str
    serious: bool  # True: results on this cohort would mislead
    found: int  # how many radiographs or patients; 0 when all is well
    text: str  # what was found, in one sentence
    remedy: str = ""
    examples: tuple[str, ...] = ()  # identifiers of radiographs, at most five


def audit_cohort(cohort: Cohort, *, by_hash: bool = True) -> list[AuditLine]:
    """Check a cohort; a line with `serious` means that its results would mislead.

    Args:
        cohort: The cohort.
        by_hash: Look for copies by perceptual hashes; not where `pictures` looks by the pixels.
    """
    table = cohort.readable.table
    return [
        _unreadable(cohort),
        _shared_patients(table),
        _same_file_across_parts(table),
        *([_look_alikes_across_parts(table)] if by_hash else []),
        _same_file_two_patients(table),
        _same_file_two_findings(table),
        _repeated_within_part(table),
        *_small_classes(table),
    ]


def _examples(ids: pl.Series) -> tuple[str, ...]:
    return tuple(ids.sort().head(5))


def _unreadable(cohort: Cohort) -> AuditLine:
    rows = cohort.unreadable
    return AuditLine(
        "unreadable files",
        serious=False,
        found=rows.height,
        text=f"{rows.height} of {len(cohort)} files cannot be read as a radiograph",
        remedy="mend or remove them; hilum cohort show lists each with its reason",
        examples=_examples(rows["path"]),
    )


def _across(table: pl.DataFrame, key: str, column: str) -> pl.DataFrame:
    """Return the rows whose `key` occurs with more than one value of `column`."""
    return table.filter(pl.col(column).n_unique().over(key) > 1)


def _shared_patients(table: pl.DataFrame) -> AuditLine:
    rows = _across(table, "patient", "part")
    patients = rows["patient"].n_unique()
    return AuditLine(
        "patients in two parts",
        serious=patients > 0,
        found=patients,
        text=f"{patients} patients are in more than one part ({rows.height} radiographs)",
        remedy="split anew by patient: hilum cohort split COHORT --all -o NEW",
        examples=_examples(rows["id"]),
    )


def _same_file_across_parts(table: pl.DataFrame) -> AuditLine:
    rows = _across(table, "sha256", "part")
    return AuditLine(
        "same file in two parts",
        serious=rows.height > 0,
        found=rows.height,
        text=f"{rows.height} files have an exact copy in another part",
        remedy="remove one of each pair",
        examples=_examples(rows["id"]),
    )


def _look_alikes_across_parts(table: pl.DataFrame) -> AuditLine:
    exact = set(_across(table, "sha256", "part")["id"])
    ids, parts = table["id"].to_numpy(), table["part"].to_numpy()
    hashes = np.array([int(text, 16) for text in table["phash"]], dtype=np.uint64)
    found: set[str] = set()
    for part in np.unique(parts):
        here, there = parts == part, parts != part
        alike = near_hashes(hashes[here], hashes[there])
        found |= set(ids[here][alike]) - exact
    return AuditLine(
        "look-alikes in two parts",
        serious=False,
        found=len(found),
        text=f"{len(found)} radiographs look much like one in another part (perceptual hashes "
        f"differ in at most {NEAR_BITS} of 64 bits); some may be copies at another size or quality",
        remedy="look at the pairs, or audit without --quick, which compares their pixels; remove copies",
        examples=tuple(sorted(found)[:5]),
    )


def _same_file_two_patients(table: pl.DataFrame) -> AuditLine:
    rows = _across(table, "sha256", "patient")
    return AuditLine(
        "one file, two patients",
        serious=False,
        found=rows.height,
        text=f"{rows.height} files have an exact copy under another patient",
        remedy="decide whose it is; splitting keeps such patients together",
        examples=_examples(rows["id"]),
    )


def _same_file_two_findings(table: pl.DataFrame) -> AuditLine:
    rows = _across(table, "sha256", "finding")
    return AuditLine(
        "one file, two findings",
        serious=rows.height > 0,
        found=rows.height,
        text=f"{rows.height} files have an exact copy with another finding",
        remedy="decide which finding is right",
        examples=_examples(rows["id"]),
    )


def _repeated_within_part(table: pl.DataFrame) -> AuditLine:
    rows = table.filter(pl.len().over("sha256", "part") > 1)
    return AuditLine(
        "repeated files",
        serious=False,
        found=rows.height,
        text=f"{rows.height} files have an exact copy in their own part",
        remedy="keep one of each; copies count twice in every figure",
        examples=_examples(rows["id"]),
    )


def _small_classes(table: pl.DataFrame) -> list[AuditLine]:
    normal = pl.col("finding") == str(Finding.NORMAL)
    counts = table.group_by("part", normal=normal).agg(patients=pl.col("patient").n_unique())
    lines = []
    for part in sorted(counts["part"].unique()):
        here = dict(counts.filter(pl.col("part") == part).select("normal", "patients").iter_rows())
        smallest = min(here.get(True, 0), here.get(False, 0))
        lines.append(
            AuditLine(
                f"size of {part}",
                serious=False,
                found=int(smallest < SMALLEST_CLASS) * smallest or int(smallest == 0),
                text=f"{part} has {here.get(True, 0)} normal patients and {here.get(False, 0)} with "
                f"pneumonia; {_what_it_carries(smallest)}",
                remedy="make the part larger" if smallest < SMALLEST_CLASS else "",
            )
        )
    return lines


def _what_it_carries(patients: int) -> str:
    """Say what results on so many patients would be worth."""
    if not patients:
        return "nothing can be said of errors on the finding that is missing"
    right = round(0.9 * patients)
    perfect, good = clopper_pearson(patients, patients), clopper_pearson(right, patients)
    return (
        f"on the smaller even a perfect result would have an interval from {perfect.lower:.3f}, so errors "
        f"up to {1 - perfect.lower:.1%} could hide, and {right} of {patients} right "
        f"({right / patients:.2f}) one of {good.lower:.2f} to {good.upper:.2f}"
    )
