"""Make the cohort that a sanity check of explanations needs: findings dealt anew.

    python scripts/shuffle_findings.py COHORT NEW

What explains a classifier that learned from it must look different from what explains a real one
(Adebayo et al., NeurIPS 2018): `hilum explain MODEL --trial COHORT --shuffled MODEL`.
"""

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl

from hilum.cohort.table import load_cohort


def shuffle(source: Path, target: Path) -> None:
    """Write a cohort whose findings were dealt anew to the patients of each part."""
    cohort = load_cohort(source)
    rng = np.random.default_rng(0)
    table = cohort.table.with_columns(row=pl.int_range(pl.len()))
    findings = np.array(table["finding"].to_list(), dtype=object)
    for part in table["part"].unique().sort():
        rows = table.filter(pl.col("part") == part)
        # Whole patients, or two radiographs of one would still share what the labels say.
        order = [
            group["row"].to_numpy() for _, group in rows.group_by("patient", maintain_order=True)
        ]
        dealt = rng.permutation([findings[each[0]] for each in order])
        for each, finding in zip(order, dealt, strict=True):
            findings[each] = finding
    shuffled = cohort.table.with_columns(finding=pl.Series(findings.tolist(), dtype=pl.String))
    replace(cohort, table=shuffled, name=f"{cohort.name} with shuffled labels").save(target)


if __name__ == "__main__":
    shuffle(Path(sys.argv[1]), Path(sys.argv[2]))
