"""Reading a part of a cohort with several classifiers, and writing how they compare.

Written are `comparison.json`, `comparison.html`, one self-contained page, and `disagreements.csv`, the
radiographs that they call differently.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
from numpy.typing import NDArray
from sklearn.metrics import roc_curve

from hilum.cohort.pixels import cached_pixels
from hilum.cohort.table import Cohort
from hilum.errors import EvaluationError
from hilum.evaluation.comparison import Comparison, Difference, Reading, compare
from hilum.evaluation.drawing import DASHES, GREY, SERIES, Plot, drawn_plot, unit_square
from hilum.evaluation.evaluate import unreadable
from hilum.evaluation.figures import FigureName
from hilum.evaluation.gallery import embedded
from hilum.evaluation.openings import record_opening
from hilum.evaluation.reading import scores_of
from hilum.evaluation.report import rendered
from hilum.evaluation.wording import figure_in_words
from hilum.files import atomic_path, ensure_folder, write_text
from hilum.findings import Part, Task
from hilum.model import Classifier

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.lines import Line2D

__all__ = ["compare_classifiers", "difference_in_words"]

# False-positive rates and sensitivities.
Curve = tuple[NDArray[np.float64], NDArray[np.float64]]

_SHOWN = 24  # disagreements with a picture


def compare_classifiers(
    classifiers: dict[str, Classifier],
    cohort: Cohort,
    part: Part,
    folder: Path,
    *,
    operating_point: str | None = None,
    command: str = "",
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> Comparison:
    """Read a part with each classifier, compare them on normal against any pneumonia, and write it.

    Opening a test part is recorded once for each classifier.

    Args:
        classifiers: By the names to call them.
        cohort: The cohort.
        part: Which part.
        folder: Where to write; made when it is not there.
        operating_point: Name of the one that all decide by; each one's default when None.
        command: As typed, for provenance.
        seed: Of the bootstrap.
        progress: Called with how many radiographs of how many are read.

    Returns:
        The comparison.

    Raises:
        CohortError: If the part is empty or its files changed.
        EvaluationError: If there are fewer than two classifiers, or names that are alike.
        ModelError: If a classifier has no operating point of that name.
        UsageError: If the folder cannot be written.
    """
    if len(classifiers) < 2:
        raise EvaluationError(
            "a comparison needs two classifiers or more; name another .hilum file"
        )
    points = {
        name: each.file.operating_point(operating_point) for name, each in classifiers.items()
    }
    placed, labels = cohort.part(part).for_task(Task.BINARY)
    ensure_folder(folder)
    truth = labels > 0
    readings, openings = [], None
    for number, (name, classifier) in enumerate(classifiers.items()):
        pixels = cached_pixels(placed, classifier.size)

        def advance(done: int, total: int, before: int = number) -> None:
            if progress:
                progress(before * total + done, len(classifiers) * total)

        scores = scores_of(classifier, pixels, advance)
        if part is Part.TEST:
            openings = record_opening(cohort, classifier.file.sha256)
        normal = classifier.probabilities(scores)[:, 0]
        readings.append(
            Reading(
                name=name,
                sha256=classifier.file.sha256,
                operating_point=points[name].name,
                threshold=points[name].threshold,
                pneumonia=tuple(np.clip(1.0 - normal, 0.0, 1.0).tolist()),
            )
        )
    comparison = compare(
        readings,
        truth,
        placed.patients,
        cohort_name=cohort.name,
        cohort_sha256=cohort.digest(),
        part=part,
        phantom=cohort.phantom or any(c.file.provenance.phantom for c in classifiers.values()),
        unreadable=unreadable(cohort, part),
        test_openings=openings,
        command=command,
        seed=seed,
    )
    table = _disagreements(readings, placed)
    page = rendered(
        "comparison.html.j2",
        comparison=comparison,
        names=(FigureName.AUC, FigureName.SENSITIVITY, FigureName.SPECIFICITY),
        caveats=_caveats(comparison),
        verdicts=[_verdict(each) for each in comparison.differences],
        plot=_overlay(comparison, readings, truth),
        disagreements=len(table),
        gallery=_gallery(table, readings, placed),
    )
    with atomic_path(folder / "disagreements.csv") as temporary:
        table.write_csv(temporary)
    write_text(folder / "comparison.html", page)
    write_text(folder / "comparison.json", comparison.model_dump_json(indent=2) + "\n")
    return comparison


def _caveats(comparison: Comparison) -> list[str]:
    """Say what a reader must know before believing the figures."""
    found = []
    if comparison.phantom:
        found.append("These are drawn phantoms: this says nothing about real radiographs.")
    if comparison.part is Part.TRAIN:
        found.append(
            "Classifiers may have learned from this part, so every figure is far too good."
        )
    if comparison.part is Part.VALIDATION:
        found.append(
            "Epochs, calibration and thresholds were chosen on the validation part, so figures on it "
            "are optimistic, and more so for whoever chose more."
        )
    if comparison.unreadable:
        found.append(
            f"{comparison.unreadable} files of this part cannot be read and are in no figure."
        )
    if comparison.test_openings is not None:
        found.append(
            f"This test part was opened {comparison.test_openings} times on this machine; choosing by it "
            "makes it a validation part."
        )
    return found


def difference_in_words(difference: Difference) -> str:
    """Say a difference with its interval, such as "+0.010 (-0.004 to +0.023)"."""
    if difference.difference is None:
        return "undefined"
    if difference.interval is None:
        return f"{difference.difference:+.3f}"
    low, high = difference.interval.lower, difference.interval.upper
    return f"{difference.difference:+.3f} ({low:+.3f} to {high:+.3f})"


def _verdict(difference: Difference) -> str:
    """Say in one sentence what a difference amounts to; test and interval must agree."""
    names = f"{difference.second} against {difference.first}, {difference.figure.heading}"
    change = difference_in_words(difference)
    if difference.difference is None or difference.p_corrected is None:
        return f"{names}: {change}; this sample cannot say more ({difference.reason or 'no variance'})."
    interval = difference.interval
    if difference.p_corrected >= 0.05 or interval is None or interval.lower <= 0 <= interval.upper:
        return f"{names}: {change}, which chance can explain."
    better = difference.second if difference.difference > 0 else difference.first
    return f"{names}: {change}; {better} is better here."


def _disagreements(readings: list[Reading], placed: Cohort) -> pl.DataFrame:
    """Return the radiographs that are called differently, the farthest apart first."""
    scores = np.array([reading.pneumonia for reading in readings])
    called = scores >= np.array([[reading.threshold] for reading in readings])
    mixed = called.any(axis=0) & ~called.all(axis=0)
    columns = {
        f"{what} {reading.name}": values[row]
        for row, reading in enumerate(readings)
        for what, values in (("probability", scores), ("called pneumonia", called))
    }
    table = placed.table.select("id", "finding").with_columns(
        apart=pl.Series(np.ptp(scores, axis=0)), **{k: pl.Series(v) for k, v in columns.items()}
    )
    return table.filter(pl.Series(mixed)).sort("apart", descending=True)


def _gallery(
    table: pl.DataFrame, readings: list[Reading], placed: Cohort
) -> list[dict[str, object]]:
    shown = table.head(_SHOWN)
    if not len(shown):
        return []
    some = placed.where(pl.col("id").is_in(shown["id"].to_list()))
    pictures = dict(zip(some.table["id"].to_list(), cached_pixels(some, 224), strict=True))
    return [
        {
            "id": row["id"],
            "truth": row["finding"],
            "thumbnail": embedded(pictures[row["id"]]),
            "readings": [
                (r.name, row[f"probability {r.name}"], row[f"called pneumonia {r.name}"])
                for r in readings
            ],
        }
        for row in shown.iter_rows(named=True)
    ]


def _overlay(
    comparison: Comparison, readings: list[Reading], truth: NDArray[np.bool_]
) -> Plot | None:
    if truth.all() or not truth.any():
        return None
    curves = {}
    for reading, contender in zip(readings, comparison.contenders, strict=True):
        alarms, sensitivity, _ = roc_curve(truth, reading.pneumonia)
        figures = contender.figures
        point = (
            1 - (figures[FigureName.SPECIFICITY].value or 0.0),
            figures[FigureName.SENSITIVITY].value or 0.0,
        )
        curves[reading.name] = ((alarms, sensitivity), point)
    areas = "; ".join(
        f"{each.name}: {figure_in_words(each.figures[FigureName.AUC])}"
        for each in comparison.contenders
    )
    return _roc_overlay(curves, f"Areas: {areas}.")


def _roc_overlay(curves: Mapping[str, tuple[Curve, tuple[float, float]]], areas: str) -> Plot:
    """Draw the ROC curves of several classifiers, each with its operating point.

    Args:
        curves: By name: the curve as (false-positive rates, sensitivities), and where its operating
            point lies on it.
        areas: Their areas in words, for those who do not see it.
    """

    def draw(axes: "Axes") -> None:
        lines: list[Line2D] = []
        for i, ((alarms, sensitivity), point) in enumerate(curves.values()):
            colour, dashes = SERIES[i % len(SERIES)], DASHES[i % len(DASHES)]
            lines += axes.plot(alarms, sensitivity, color=colour, linestyle=dashes)
            axes.plot(*point, "o", color=colour, zorder=4)
        axes.plot([0, 1], [0, 1], color=GREY, linestyle=":", linewidth=0.8)
        unit_square(axes, "1 - specificity", "Sensitivity")
        # Given apart, because a name that begins with _ would be left out of the legend.
        axes.legend(lines, list(curves), loc="lower right", frameon=False, fontsize=8)

    return drawn_plot("roc", "ROC curves", f"ROC curves with operating points. {areas}", draw)
