"""How well the finding can be told with little or no anatomy, and how far the parts of a cohort differ.

A cohort in which sharpness or borders tell pneumonia from normal rewards classifiers that look at
these. Here simple measures are put on trial, each alone and together: cross-validated on the train
part with patients kept whole, and then asked about the validation part. The test part's findings are
not looked at; only whether its pictures look like the others'. With few patients a cross-validated area
of pure noise lies below 0.5, and its interval knows nothing of fitting anew.
"""

import contextlib
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

from hilum.audit.acquisition import (
    THUMBNAIL,
    TRACES,
    coarse,
    corners,
    frame,
    traces,
)
from hilum.audit.table import AuditLine
from hilum.cohort.nuisance import NUISANCES, nuisances
from hilum.cohort.pixels import cached_pixels
from hilum.cohort.table import Cohort
from hilum.errors import CohortError
from hilum.evaluation.figures import Figure
from hilum.evaluation.shortcuts import out_of_fold_log_odds, shortcut_log_odds
from hilum.evaluation.telling_apart import (
    APART,
    MeasureShift,
    area_of,
    measure_shifts,
    surely,
    told_apart,
)
from hilum.evaluation.wording import brief
from hilum.findings import Part
from hilum.model.schema import Document

__all__ = [
    "MEASURES",
    "SIZE",
    "PartShift",
    "ShortcutAudit",
    "Telltale",
    "acquisition_of",
    "audit_shortcuts",
]

SIZE = 224  # grid on which nuisances are measured
# From here on a picture's acquisition tells so much that a classifier can live on it.
STRONG = 0.7
MEASURES = ("file size", "rows", "columns", "aspect ratio", "bytes per pixel", *NUISANCES, *TRACES)
ALL = "all measures together"
CORNERS = f"corners of a {THUMBNAIL} x {THUMBNAIL} thumbnail"
FRAME = f"frame of a {THUMBNAIL} x {THUMBNAIL} thumbnail"
WHOLE = f"{THUMBNAIL} x {THUMBNAIL} thumbnail (coarse anatomy)"


class Telltale(Document):
    """How well something that is no anatomy tells pneumonia from normal."""

    name: str
    train: Figure  # AUC, cross-validated over patients
    validation: float | None  # AUC there after learning on the train part; None without that part


class PartShift(Document):
    """How well a picture's measures tell which of two parts it is from."""

    parts: tuple[str, str]
    area: Figure  # AUC, cross-validated over patients; 0.5 is no difference
    driver: str  # the measure whose means lie farthest apart
    distance: float  # of these means, in standard deviations
    measures: tuple[MeasureShift, ...]  # all of them, the farthest apart first


class ShortcutAudit(Document):
    """What was found."""

    telltales: tuple[Telltale, ...]  # the strongest first
    shifts: tuple[PartShift, ...]

    def lines(self) -> list[AuditLine]:
        """Return the findings as lines of an audit. None is serious: a cohort is what it is."""
        found = {each.name: each for each in self.telltales}
        strong = [
            each
            for each in self.telltales
            if each.name in MEASURES and (each.train.value or 0) >= STRONG
        ]
        together = found[ALL].train
        most = "; ".join(f"{each.name} {each.train.value:.2f}" for each in strong[:4])
        lines = [
            AuditLine(
                "shortcuts",
                serious=False,
                found=len(strong),
                text=f"with hardly any anatomy pneumonia is told with an AUC of {brief(together)}"
                + (f"; most by {most}" if strong else ""),
                remedy="trust no figure that was measured on this cohort alone: validation has the same "
                "shortcuts; measure on radiographs from elsewhere (docs/generalisation.md)",
            )
        ]
        for shift in self.shifts:
            one, other = shift.parts
            apart = surely(shift.area, APART)
            lines.append(
                AuditLine(
                    f"{one} against {other}",
                    serious=False,
                    found=int(apart),
                    text=f"how a radiograph was taken tells {one} from {other} with an AUC of "
                    f"{brief(shift.area)}; farthest apart: {shift.driver}, by "
                    f"{shift.distance:.2f} standard deviations",
                    remedy="expect figures to differ between them; ask how each was collected",
                )
            )
        return lines


def audit_shortcuts(
    cohort: Cohort, progress: Callable[[int, int], None] | None = None
) -> ShortcutAudit | None:
    """Put everything that is no anatomy on trial.

    Args:
        cohort: Readable radiographs are decoded at most once (see `cached_pixels`).
        progress: Called with how many radiographs of how many are measured.

    Returns:
        None where the train part has too few patients with and without pneumonia to learn from.

    Raises:
        CohortError: If a file is gone or was changed.
    """
    there = set(cohort.readable.table["part"])
    parts = [part for part in Part if str(part) in there]
    if Part.TRAIN not in parts:
        return None
    used = {part: cohort.part(part) for part in parts}
    done, total = 0, sum(len(each) for each in used.values())
    measures: dict[Part, NDArray[np.float64]] = {}
    thumbnails: dict[Part, NDArray[np.float64]] = {}
    for part, each in used.items():
        pixels = cached_pixels(each, SIZE)
        measures[part] = acquisition_of(each, pixels, _later(progress, done, total))
        thumbnails[part] = coarse(pixels)
        done += len(each)
    rng = np.random.default_rng(0)
    try:
        telltales = _telltales(used, measures, thumbnails, rng)
    except CohortError:
        return None
    shifts = []
    for i, one in enumerate(parts):
        for other in parts[i + 1 :]:
            with contextlib.suppress(CohortError):  # a part with a handful of patients says nothing
                shifts.append(_shift(used, measures, one, other, rng))
    telltales.sort(key=lambda each: -(each.train.value or 0))
    return ShortcutAudit(telltales=tuple(telltales), shifts=tuple(shifts))


def acquisition_of(
    part: Cohort,
    pixels: NDArray[np.uint8],
    progress: Callable[[int, int], None] | None = None,
) -> NDArray[np.float64]:
    """Measure how radiographs were taken, processed and stored.

    Args:
        part: Readable radiographs.
        pixels: Of them, shape (n, 224, 224).
        progress: Called with how many radiographs of how many are measured.

    Returns:
        Shape (n, len(MEASURES)), float64; NaN where JPEG quality is missing.
    """
    table = part.table.select("bytes", "rows", "columns").to_numpy().astype(np.float64)
    size, rows, columns = table.T
    header = [size, rows, columns, rows / columns, size / (rows * columns)]
    return np.column_stack([*header, nuisances(pixels, progress), traces(pixels, part.files())])


def _later(
    progress: Callable[[int, int], None] | None, before: int, total: int
) -> Callable[[int, int], None] | None:
    return (lambda done, _: progress(before + done, total)) if progress else None


def _telltales(
    used: dict[Part, Cohort],
    measures: dict[Part, NDArray[np.float64]],
    thumbnails: dict[Part, NDArray[np.float64]],
    rng: np.random.Generator,
) -> list[Telltale]:
    # No measure is ever 0 where it is there, so trees can tell what is missing.
    filled = {part: np.nan_to_num(each) for part, each in measures.items()}
    views: dict[str, dict[Part, NDArray[np.float64]]] = {
        name: {part: each[:, [i]] for part, each in filled.items()}
        for i, name in enumerate(MEASURES)
    }
    views[ALL] = filled
    views[CORNERS] = {part: corners(each) for part, each in thumbnails.items()}
    views[FRAME] = {part: frame(each) for part, each in thumbnails.items()}
    views[WHOLE] = {part: each.reshape(len(each), -1) for part, each in thumbnails.items()}
    learning = used[Part.TRAIN]
    positive, patients = _positive(learning), learning.patients
    held_out = used.get(Part.VALIDATION)
    truth = _positive(held_out) if held_out is not None else None
    telltales = []
    for name, view in views.items():
        scores = out_of_fold_log_odds(view[Part.TRAIN], positive, patients)
        area = area_of(scores, positive, patients, rng)
        there = None
        if truth is not None and truth.any() and not truth.all():
            learned = shortcut_log_odds(view[Part.TRAIN], positive, view[Part.VALIDATION])
            there = float(roc_auc_score(truth, learned))
        telltales.append(Telltale(name=name, train=area, validation=there))
    return telltales


def _positive(part: Cohort) -> NDArray[np.bool_]:
    return np.array([finding.is_pneumonia for finding in part.findings])


def _shift(
    used: dict[Part, Cohort],
    measures: dict[Part, NDArray[np.float64]],
    one: Part,
    other: Part,
    rng: np.random.Generator,
) -> PartShift:
    patients = used[one].patients, used[other].patients
    area, driver, distance = told_apart((measures[one], measures[other]), patients, MEASURES, rng)
    return PartShift(
        parts=(str(one), str(other)),
        area=area,
        driver=driver,
        distance=distance,
        measures=measure_shifts(measures[one], measures[other], MEASURES),
    )
