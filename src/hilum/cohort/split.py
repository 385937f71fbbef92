"""Parts and folds, split by patient: nobody is on both sides.

Patients are dealt to folds so that each fold has about the same share of every finding
(scikit-learn's StratifiedGroupKFold, with the patient as the group).
"""

from dataclasses import replace

import numpy as np
import polars as pl
from numpy.typing import NDArray

from hilum.cohort.table import Cohort
from hilum.errors import CohortError
from hilum.findings import Finding, Part

__all__ = ["check_parts_apart", "patient_folds", "persons", "split_folds", "split_parts"]

# Parts are made of so many folds, so their shares are multiples of 1/20; of fewer in a cohort
# whose rarest finding has fewer patients.
_GRAIN = 20


def patient_folds(
    labels: NDArray[np.str_] | NDArray[np.int64], patients: NDArray[np.str_], k: int, seed: int
) -> NDArray[np.int32]:
    """Deal radiographs to folds by patient, stratified by label.

    Args:
        labels: What to stratify by, shape (n,).
        patients: Patient of each radiograph, shape (n,).
        k: Number of folds, at least 2.
        seed: Of the shuffle.

    Returns:
        The fold of each radiograph, shape (n,), in [0, k).

    Raises:
        CohortError: If a label has fewer patients than there are folds.
    """
    from sklearn.model_selection import StratifiedGroupKFold

    for label in np.unique(labels):
        count = len(np.unique(patients[labels == label]))
        if count < k:
            raise CohortError(
                f"'{label}' has {count} patients, too few for {k} folds; "
                "add radiographs or use fewer folds"
            )
    folds = np.empty(len(labels), np.int32)
    dealer = StratifiedGroupKFold(n_splits=k, shuffle=True, random_state=seed)
    for fold, (_, held_out) in enumerate(dealer.split(labels, labels, patients)):
        folds[held_out] = fold
    return folds


def check_parts_apart(cohort: Cohort) -> None:
    """Refuse a cohort in which a patient, or the same file, is in two parts.

    Raises:
        CohortError: Naming the parts and how many patients or files they share.
    """
    readable = cohort.readable.table
    shared = (
        readable.group_by("patient")
        .agg(parts=pl.col("part").unique().sort())
        .filter(pl.col("parts").list.len() > 1)
    )
    if shared.height:
        parts = ", ".join(sorted({part for row in shared["parts"] for part in row}))
        raise CohortError(
            f"{shared.height} patients of {cohort.name} are in more than one of {parts}, so results "
            "would be optimistic; list them: hilum cohort audit COHORT, "
            "or split anew: hilum cohort split COHORT --all -o NEW"
        )
    copies = readable.filter(pl.col("part").n_unique().over("sha256") > 1)
    if copies.height:
        raise CohortError(
            f"{copies.height} files of {cohort.name} have an exact copy in another part, so "
            "results would be optimistic; list them: hilum cohort audit COHORT, and remove one of "
            "each pair"
        )


def _strata(findings: NDArray[np.str_], people: NDArray[np.str_]) -> NDArray[np.str_]:
    """Return what to stratify by: the finding, or any pneumonia where a kind is too rare.

    A kind of pneumonia with fewer patients than normal and pneumonia each have would decide how
    finely everything can be split: two viral patients in a thousand would make each fold a half.
    """
    sick = np.array([Finding(finding).is_pneumonia for finding in findings])
    groups = [len(np.unique(people[mask])) for mask in (sick, ~sick) if mask.any()]
    enough = min(_GRAIN, *groups)
    strata = np.array(findings, dtype=object)
    for kind in np.unique(findings[sick]):
        if len(np.unique(people[findings == kind])) < enough:
            strata[sick] = str(Finding.PNEUMONIA)
    return strata.astype(np.str_)


def persons(rows: pl.DataFrame) -> NDArray[np.str_]:
    """Return who each radiograph shows, taking patients who share a file for one person."""
    same: dict[str, str] = {}

    def person(patient: str) -> str:
        while same.get(patient, patient) != patient:
            patient = same[patient]
        return patient

    copied = rows.filter(pl.len().over("sha256") > 1)
    for patients in copied.group_by("sha256").agg("patient")["patient"]:
        first = person(patients[0])
        for patient in patients:
            same[person(patient)] = first
    return np.array([person(patient) for patient in rows["patient"]], dtype=np.str_)


def split_parts(
    cohort: Cohort, *, validation: float, test: float = 0.0, seed: int = 0, anew: bool = False
) -> Cohort:
    """Make a validation part, and a test part if asked, out of the train part.

    Args:
        cohort: Its test part is kept as it is unless `anew`.
        validation: Share of the radiographs split, in (0, 1); about, since patients stay whole.
        test: Share for a new test part, in [0, 1).
        seed: Of the shuffle.
        anew: Split all radiographs, forgetting today's parts.

    Raises:
        CohortError: If a share is impossible, there are too few patients, or a patient would be
            on both sides because today's parts share one.
    """
    if not (0 < validation < 1 and 0 <= test < 1 and validation + test < 1):
        raise CohortError(
            f"validation {validation} and test {test} cannot be split off; use shares between 0 "
            "and 1 that leave something to train on"
        )
    if test and not anew and (cohort.table["part"] == str(Part.TEST)).any():
        raise CohortError(f"{cohort.name} has a test part already; split everything with --all")
    pool = pl.col("unreadable").is_null()
    if not anew:
        pool &= pl.col("part") != str(Part.TEST)
    chosen = cohort.table.select(pool).to_series()
    rows = cohort.table.filter(chosen)
    if not rows.height:
        raise CohortError(f"{cohort.name} has only a test part; split everything with --all")
    people = persons(rows)
    findings = _strata(rows["finding"].to_numpy(), people)
    fewest = min(len(np.unique(people[findings == finding])) for finding in np.unique(findings))
    grain = min(_GRAIN, fewest)
    steps = [max(round(share * grain), int(share > 0)) for share in (validation, test)]
    if sum(steps) >= grain:
        reason = (
            f"its rarest finding has {fewest} patients, too few for that; add radiographs"
            if fewest < _GRAIN
            else f"parts are multiples of 1/{_GRAIN}; use shares that leave something to train on"
        )
        raise CohortError(
            f"validation {validation} and test {test} cannot be split off {cohort.name}: {reason}"
        )
    folds = patient_folds(findings, people, grain, seed)
    parts = np.full(len(folds), str(Part.TRAIN), dtype=object)
    parts[folds < steps[0]] = str(Part.VALIDATION)
    parts[(folds >= steps[0]) & (folds < sum(steps))] = str(Part.TEST)
    column = cohort.table["part"].to_numpy().copy()
    column[chosen.to_numpy()] = parts
    table = cohort.table.with_columns(
        part=pl.Series(column.tolist(), dtype=pl.String), fold=pl.lit(None, pl.Int32)
    )
    result = replace(cohort, table=table)
    check_parts_apart(result)
    return result


def split_folds(cohort: Cohort, *, k: int, seed: int = 0) -> Cohort:
    """Number the radiographs of the train part with folds for cross-validation.

    Raises:
        CohortError: If a finding has fewer patients than folds, or parts share a patient.
    """
    if k < 2:
        raise CohortError(f"{k} folds cannot be made; use 2 or more")
    check_parts_apart(cohort)
    pool = pl.col("unreadable").is_null() & (pl.col("part") == str(Part.TRAIN))
    chosen = cohort.table.select(pool).to_series()
    rows = cohort.table.filter(chosen)
    folds = patient_folds(rows["finding"].to_numpy(), persons(rows), k, seed)
    column = np.full(cohort.table.height, None, dtype=object)
    column[chosen.to_numpy()] = folds.tolist()
    return replace(
        cohort, table=cohort.table.with_columns(fold=pl.Series(column.tolist(), dtype=pl.Int32))
    )
