"""Which radiographs go together: by view, age, sex, source, scanner, image size and finding."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hilum.cohort.table import Cohort
from hilum.errors import EvaluationError
from hilum.evaluation.predictions import Predictions
from hilum.findings import Finding

__all__ = ["Group", "subgroup_axes"]

Mask = NDArray[np.bool_]

_MOST_GROUPS = 8  # of one axis; the smallest of a long list of scanners go together
_OTHERS = "all others"
# Years from which an age band begins. Children of one to four are most of the Guangzhou set.
_AGE_BANDS = {
    0: "under 1",
    1: "1 to 4",
    5: "5 to 17",
    18: "18 to 39",
    40: "40 to 64",
    65: "65 and over",
}
_FINDING = "finding"
_AXES = ("view", "age", "sex", "source", "scanner", "image size", _FINDING)


@dataclass(frozen=True, slots=True, eq=False)
class Group:
    """A subgroup and what it is held against, masks of shape (n,).

    Each kind of pneumonia is held against all normal radiographs, so these are on both sides.
    """

    name: str
    inside: Mask
    outside: Mask


def subgroup_axes(predictions: Predictions, part: Cohort) -> list[tuple[str, list[Group], int]]:
    """Divide the radiographs on every axis.

    Args:
        predictions: Of the part.
        part: The cohort that knows what each radiograph is.

    Returns:
        For each axis its name, its groups (fewer than two where it divides nothing), and how many
        radiographs are in none because nothing says which.

    Raises:
        EvaluationError: If the cohort lacks a radiograph of the predictions.
    """
    found = []
    for axis, names in _named(predictions, part).items():
        unknown = sum(name is None for name in names)
        if axis == _FINDING:
            unknown -= int((~predictions.is_pneumonia).sum())  # normal is known, and in each group
        found.append((axis, _groups(names, predictions.is_pneumonia, axis), unknown))
    return found


def _named(predictions: Predictions, part: Cohort) -> dict[str, list[str | None]]:
    """Return the subgroup of each radiograph on each axis, None where nothing says it."""
    row_of = {name: row for row, name in enumerate(part.table["id"])}
    if missing := [name for name in predictions.ids.tolist() if name not in row_of]:
        raise EvaluationError(
            f"the cohort {part.name} has no radiograph {missing[0]}; give the part that was read"
        )
    table = part.table[[row_of[name] for name in predictions.ids.tolist()]]
    sides = np.minimum(table["rows"].to_numpy(), table["columns"].to_numpy())
    kinds = [None if x == Finding.NORMAL else str(x) for x in table["finding"]]
    named = [
        table["view"].to_list(),
        [None if age is None else _age_band(age) for age in table["age"]],
        table["sex"].to_list(),
        table["source"].to_list(),
        table["scanner"].to_list(),
        _thirds(sides),
        kinds,
    ]
    return dict(zip(_AXES, named, strict=True))


def _age_band(years: float) -> str:
    return _AGE_BANDS[max(start for start in _AGE_BANDS if start <= years)]


def _thirds(sides: NDArray[np.int64]) -> list[str | None]:
    """Name the third of the shorter sides, in pixels, that each lies in; ties share one."""
    cuts = np.unique(np.quantile(sides, (1 / 3, 2 / 3), method="lower"))
    cuts = cuts[cuts < sides.max()]
    third = np.searchsorted(cuts, sides, side="left")
    lows = [sides[third == i].min() for i in range(len(cuts) + 1)]
    highs = [sides[third == i].max() for i in range(len(cuts) + 1)]
    words = [
        f"{low} pixels" if low == high else f"{low} to {high} pixels"
        for low, high in zip(lows, highs, strict=True)
    ]
    return [words[i] for i in third]


def _groups(names: list[str | None], pneumonia: Mask, axis: str) -> list[Group]:
    """Return the groups of an axis, in the order of age or size, else by name."""
    known = np.array([name is not None for name in names])
    column = np.array([name or "" for name in names], dtype=object)
    words = sorted(set(column[known]), key=_order)
    if len(words) > _MOST_GROUPS:
        by_size = sorted(words, key=lambda word: (-int((column == word).sum()), word))
        column[np.isin(column, by_size[_MOST_GROUPS - 1 :])] = _OTHERS
        words = [*sorted(by_size[: _MOST_GROUPS - 1]), _OTHERS]
    shared = ~pneumonia if axis == _FINDING else np.zeros_like(known)
    return [
        Group(
            word,
            (known & (column == word)) | shared,
            (known & (column != word)) | shared,
        )
        for word in words
    ]


def _order(word: str) -> tuple[int, str]:
    bands = list(_AGE_BANDS.values())
    if word in bands:
        return bands.index(word), word
    number = word.split(" ")[0]
    return int(number) if number.isdecimal() and word.endswith(" pixels") else 0, word
