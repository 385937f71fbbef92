"""Labelled radiographs: where they come from, who they belong to, which part they are in."""

from hilum.cohort.table import Cohort, load_cohort

__all__ = ["Cohort", "load_cohort"]
