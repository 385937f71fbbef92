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

from hilum.cohort.table import Cohort
from hilum.errors import EvaluationError
from hilum.evaluation.comparison import Comparison, Difference, Reading, compare
from hilum.evaluation.drawing import DASHES, GREY, SERIES, Plot, drawn_plot, unit_square
from hilum.evaluation.evaluate import predict, thumbnail
from hilum.evaluation.figures import FigureName
from hilum.evaluation.openings import record_opening
from hilum.evaluation.report import rendered
from hilum.evaluation.verdict import figure_in_words
from hilum.files import atomic_path, ensure_folder, write_text
from hilum.findings import RESEARCH_USE, Part, Task
from hilum.model import Classifier

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["compare_classifiers"]

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
        The comparison. Radiographs that any of the classifiers' tasks cannot place are left out.

    Raises:
        CohortError: If the part is empty or its files changed.
        EvaluationError: If there are fewer than two classifiers, or no radiograph that all place.
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
    ensure_folder(folder)
    chosen = cohort.part(part)
    said: dict[str, dict[str, float]] = {}
    for number, (name, classifier) in enumerate(classifiers.items()):

        def advance(done: int, _: int, before: int = number * len(chosen)) -> None:
            if progress:
                progress(before + done, len(classifiers) * len(chosen))

        _, predictions, _ = predict(classifier, chosen, advance)
        said[name] = dict(
            zip(predictions.ids.tolist(), predictions.pneumonia.tolist(), strict=True)
        )
        if part is Part.TEST:
            record_opening(cohort, classifier.file.sha256)
    common = set.intersection(*(set(each) for each in said.values()))
    placed, labels = chosen.where(pl.col("id").is_in(list(common))).for_task(Task.BINARY)
    ids, truth = placed.table["id"].to_list(), labels > 0
    readings = [
        Reading(
            name=name,
            sha256=classifier.file.sha256,
            operating_point=points[name].name,
            threshold=points[name].threshold,
            pneumonia=tuple(said[name][each] for each in ids),
        )
        for name, classifier in classifiers.items()
    ]
    comparison = compare(
        readings,
        truth,
        placed.patients,
        cohort_name=cohort.name,
        cohort_sha256=cohort.digest(),
        part=part,
        phantom=cohort.phantom or any(c.file.provenance.phantom for c in classifiers.values()),
        command=command,
        seed=seed,
    )
    table = _disagreements(readings, placed)
    page = rendered(
        "comparison.html.j2",
        comparison=comparison,
        research_use=RESEARCH_USE,
        names=(FigureName.AUC, FigureName.SENSITIVITY, FigureName.SPECIFICITY),
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


def _verdict(difference: Difference) -> str:
    """Say in one sentence what a difference amounts to."""
    names = f"{difference.second} against {difference.first}, {difference.figure.heading}"
    if difference.difference is None or difference.p_corrected is None:
        return f"{names}: this sample cannot say."
    change = f"{difference.difference:+.3f} ({difference.lower:+.3f} to {difference.upper:+.3f})"
    if difference.p_corrected >= 0.05:
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
    from hilum.cohort.pixels import cached_pixels

    shown = table.head(_SHOWN)
    if not len(shown):
        return []
    some = placed.where(pl.col("id").is_in(shown["id"].to_list()))
    pictures = dict(zip(some.table["id"].to_list(), cached_pixels(some, 224), strict=True))
    return [
        {
            "id": row["id"],
            "truth": row["finding"],
            "thumbnail": thumbnail(pictures[row["id"]]),
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
        for i, (name, ((alarms, sensitivity), point)) in enumerate(curves.items()):
            colour, dashes = SERIES[i % len(SERIES)], DASHES[i % len(DASHES)]
            axes.plot(alarms, sensitivity, color=colour, linestyle=dashes, label=name)
            axes.plot(*point, "o", color=colour, zorder=4)
        axes.plot([0, 1], [0, 1], color=GREY, linestyle=":", linewidth=0.8)
        unit_square(axes, "1 - specificity", "Sensitivity")
        axes.legend(loc="lower right", frameon=False, fontsize=8)

    return drawn_plot("roc", "ROC curves", f"ROC curves with operating points. {areas}", draw)
