"""The leaderboard: what each recipe gave on one cohort, as JSON, CSV, Markdown and a plot.

Rows stand in the order of their validation AUC of pneumonia against normal, which every task can
give; nothing is chosen by a figure of the test part.
"""

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hilum.evaluation import Evidence, Figure, FigureName
from hilum.files import atomic_path, write_text
from hilum.findings import RESEARCH_USE, Part, Task
from hilum.imaging import DRAWN_BY_HILUM
from hilum.model.schema import Document

__all__ = ["Leaderboard", "Measured", "Row", "figure_cell", "seconds_cell", "write_leaderboard"]

FIGURES = ("auc", "sensitivity", "specificity", "accuracy", "three_class_accuracy", "macro_auc")
QUICK = "quick: few epochs on small radiographs; it says nothing of the recipes' worth"
RANDOM = "random weights, few epochs: proves the path, says nothing of the source's result"
PHANTOM = "drawn phantoms: the figures say nothing of patients"

_FIGURE_COLUMNS = (
    "recipe", "reported by the source", "AUC, validation", "AUC, test", "operating point",
    "sensitivity, test", "specificity, test", "accuracy, test", "three classes: accuracy, test",
    "three classes: macro AUC, test", "remark",
)  # fmt: skip
_TRAINING_COLUMNS = (
    "recipe", "source", "network", "pixels", "task", "parameters", "epochs", "training",
    "radiographs per second",
)  # fmt: skip
_BLUE, _ORANGE = "#0072B2", "#D55E00"  # Okabe & Ito, as in the reports


class Measured(Document):
    """A classifier on one part, at its default operating point."""

    radiographs: int
    patients: int
    left_out: int  # whose finding the task cannot place
    operating_point: str
    threshold: float
    figures: dict[str, Figure]  # by the names in FIGURES; the last two for three classes only

    @classmethod
    def of(cls, evidence: Evidence) -> "Measured":
        """Take what the leaderboard shows from the evidence."""
        point = evidence.operating_point
        figures = {
            "auc": evidence.figures[FigureName.AUC],
            "sensitivity": point.figures[FigureName.SENSITIVITY],
            "specificity": point.figures[FigureName.SPECIFICITY],
            "accuracy": point.figures[FigureName.ACCURACY],
        }
        if evidence.labels.task is Task.THREE_CLASS:
            figures["three_class_accuracy"] = evidence.overall[FigureName.ACCURACY]
            figures["macro_auc"] = evidence.overall[FigureName.MACRO_AUC]
        return cls(
            radiographs=evidence.radiographs,
            patients=evidence.patients,
            left_out=evidence.left_out,
            operating_point=point.point.name,
            threshold=point.point.threshold,
            figures=figures,
        )


class Row(Document):
    """One recipe; what is not known, or was not reached, is null."""

    recipe: str
    quick: bool
    random_weights: bool = False  # instead of the recipe's, which could not be had
    failed: str | None = None  # why, in one sentence
    source: str | None  # the earlier system that the recipe rebuilds
    reported: str  # by the source, in its authors' words
    task: Task
    network: str
    weights: str | None = None  # where they started, and their licence
    size: int | None = None  # side of the input, pixels
    seed: int
    parameters: int | None = None
    head_only: bool = False  # whether `parameters` counts the head alone, on a frozen base
    epochs: tuple[int, ...] = ()  # trained in each stage
    training_seconds: float | None = None  # without decoding, calibration and evaluation
    radiographs_per_second: float | None = None  # through the network, decoded before
    machine: str | None = None  # that the reading speed was measured on
    recipe_sha256: str | None = None  # of the recipe as it was trained
    model_sha256: str | None = None
    validation: Measured | None = None
    test: Measured | None = None

    @property
    def label(self) -> str:
        """The recipe's name with its marks."""
        marks = ["quick"] * self.quick + ["random weights"] * self.random_weights
        return f"{self.recipe} ({', '.join(marks)})" if marks else self.recipe

    @property
    def remark(self) -> str:
        """What a reader must know of this row alone."""
        found = [f"failed: {self.failed}"] if self.failed else []
        found += [RANDOM] * self.random_weights
        for part, measured in ((Part.VALIDATION, self.validation), (Part.TEST, self.test)):
            if measured and measured.left_out:
                found.append(
                    f"{measured.left_out} radiographs of {part} are in no figure, because the task "
                    "has no place for their finding"
                )
        return "; ".join(found)

    @property
    def place(self) -> tuple[bool, bool, float]:
        """Key to sort by: comparable rows by validation AUC, then random weights, then failures."""
        auc = self.validation.figures["auc"].value if self.validation else None
        return (self.failed is not None or auc is None, self.random_weights, -(auc or 0.0))


class Leaderboard(Document):
    """All recipes of one command on one cohort."""

    research_use: str = RESEARCH_USE
    hilum_version: str
    created: str  # ISO 8601, UTC
    command: str
    cohort_name: str
    cohort_sha256: str
    phantom: bool
    quick: bool
    seed: int  # of the bootstrap; each row has its recipe's own
    ordered_by: str = "validation AUC of pneumonia against normal"
    opened_now: int  # how often this command opened the test part
    test_openings: int  # how often it was opened on this machine, ever
    waiting: tuple[str, ...]  # recipes that this command has not come to yet
    rows: tuple[Row, ...]

    @property
    def marks(self) -> list[str]:
        """What must be said beside the figures."""
        found = [QUICK] * self.quick + [PHANTOM] * self.phantom
        if any(row.random_weights for row in self.rows):
            found.append(RANDOM)
        if failed := sum(row.failed is not None for row in self.rows):
            found.append(f"failed: {failed} of {len(self.rows)} recipes; the table says why")
        if self.waiting:
            found.append(f"unfinished: {len(self.waiting)} recipes are still waiting")
        return found

    @property
    def openings(self) -> str:
        """How often the test part was opened, in one sentence."""
        return (
            f"The test part was opened {self.opened_now} times by this command, and "
            f"{self.test_openings} times on this machine in all."
        )


def write_leaderboard(board: Leaderboard, folder: Path) -> None:
    """Write `leaderboard.json`, `.csv`, `.md` and `.png` into a folder, each whole or not at all.

    Raises:
        UsageError: If the folder cannot be written.
    """
    write_text(folder / "leaderboard.json", board.model_dump_json(indent=2) + "\n")
    write_text(folder / "leaderboard.csv", _csv(board))
    write_text(folder / "leaderboard.md", _markdown(board))
    _draw(board, folder / "leaderboard.png")


def figure_cell(measured: Measured | None, name: str) -> str:
    """Say a figure shortly, such as "0.974 (0.953 to 0.988)"; empty where it was not measured."""
    figure = measured.figures.get(name) if measured else None
    if figure is None:
        return ""
    if figure.value is None:
        return "undefined"
    limits = figure.interval
    interval = f" ({limits.lower:.3f} to {limits.upper:.3f})" if limits else " (no interval)"
    return f"{figure.value:.3f}{interval}"


def seconds_cell(seconds: float | None) -> str:
    """Say a duration for people."""
    if seconds is None:
        return ""
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"


def _csv(board: Leaderboard) -> str:
    rows = []
    for row in board.rows:
        flat = row.model_dump(mode="json", exclude={"validation", "test", "epochs"})
        flat["epochs"] = "+".join(map(str, row.epochs))
        for part, measured in ((Part.VALIDATION, row.validation), (Part.TEST, row.test)):
            flat |= _flat(str(part), measured)
        rows.append({**flat, "phantom": board.phantom, "cohort_sha256": board.cohort_sha256})
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, list(rows[0]) if rows else ["recipe"], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return buffer.getvalue()


def _flat(part: str, measured: Measured | None) -> dict[str, Any]:
    plain = ("radiographs", "patients", "left_out", "operating_point", "threshold")
    flat = {f"{part}_{name}": getattr(measured, name, None) for name in plain}
    for name in FIGURES:
        figure = measured.figures.get(name) if measured else None
        interval = figure.interval if figure else None
        flat[f"{part}_{name}"] = figure.value if figure else None
        flat[f"{part}_{name}_lower"] = interval.lower if interval else None
        flat[f"{part}_{name}_upper"] = interval.upper if interval else None
    return flat


def _markdown(board: Leaderboard) -> str:
    machines = sorted({row.machine for row in board.rows if row.machine})
    return "\n".join(
        [
            f"`{board.command}`",
            "",
            f"**{board.research_use}**",
            "",
            *(f"**{mark[0].upper()}{mark[1:]}.**\n" for mark in board.marks),
            *_table(_FIGURE_COLUMNS, [_figure_cells(row) for row in board.rows]),
            "",
            *_table(_TRAINING_COLUMNS, [_training_cells(row) for row in board.rows]),
            "",
            f"hilum {board.hilum_version}, {board.created}; cohort {board.cohort_name}, SHA-256 "
            f"{board.cohort_sha256}. {board.openings} Rows stand in the order of the "
            f"{board.ordered_by}; nothing was chosen by a figure of the test part.",
            "",
            "- **AUC** is of pneumonia of any kind against normal for every recipe; one with three "
            "classes gives it by 1 - p(normal). In brackets: 95 % interval over patients. Figures on "
            "validation are optimistic, because epochs, calibration and thresholds are chosen there.",
            "- **Sensitivity, specificity, accuracy**: on the test part at the recipe's default "
            "operating point, which was chosen on validation.",
            "- **Reported by the source**: on radiographs and splits of its own, so it is no "
            "figure to rank by; “not known” where none has come down to us.",
            "- **Parameters** are the head's alone on a frozen base. **Training** is without "
            "decoding, calibration and evaluation. **Radiographs per second** go through the "
            f"network, decoded before ({'; '.join(machines) or 'not measured'}).",
            "- **Quick** and **random weights** mark what is no result of a recipe. Random weights "
            "stand below the others, and the test part is not opened for them.",
            "",
        ]
    )


def _figure_cells(row: Row) -> list[str]:
    return [
        row.label,
        row.reported,
        figure_cell(row.validation, "auc"),
        figure_cell(row.test, "auc"),
        row.validation.operating_point if row.validation else "",
        *(figure_cell(row.test, name) for name in FIGURES[1:]),
        row.remark,
    ]


def _training_cells(row: Row) -> list[str]:
    count = f"{row.parameters:,}" if row.parameters else ""
    return [
        row.label,
        row.source or "hilum's own",
        row.network,
        str(row.size or ""),
        str(row.task),
        f"{count} (head)" if count and row.head_only else count,
        " + ".join(map(str, row.epochs)),
        seconds_cell(row.training_seconds),
        f"{row.radiographs_per_second:.0f}" if row.radiographs_per_second else "",
    ]


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    # A bar or a line break in a cell, such as in an error's text, would end it.
    lines = [[" ".join(cell.replace("|", "\\|").split()) for cell in row] for row in rows]
    return [f"| {' | '.join(line)} |" for line in (columns, ["---"] * len(columns), *lines)]


def _draw(board: Leaderboard, path: Path) -> None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure as Canvas

    rows = [row for row in board.rows if row.validation]
    # Random weights are no result: beside results they would only stretch the scale.
    rows = [row for row in rows if not row.random_weights] or rows
    figure = Canvas(figsize=(10, 2.4 + 0.38 * len(rows)), dpi=100, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    lowest = 0.9
    # Validation above test in each row, so that their bars do not hide each other.
    for part, colour, marker, shift in (
        (Part.VALIDATION, _BLUE, "o", -0.14),
        (Part.TEST, _ORANGE, "D", 0.14),
    ):
        for place, row in enumerate(rows):
            measured = row.validation if part is Part.VALIDATION else row.test
            auc = measured.figures["auc"] if measured else None
            if auc is None or auc.value is None:
                continue
            if auc.interval:
                limits = [auc.interval.lower, auc.interval.upper]
                axes.plot(limits, [place + shift] * 2, color=colour, linewidth=2)
            lowest = min(lowest, auc.interval.lower if auc.interval else auc.value)
            face = "white" if row.random_weights else colour
            axes.plot([auc.value], [place + shift], marker, color=colour, markerfacecolor=face)
        axes.plot([], [], marker, color=colour, label=f"{part} (95 % interval)")
    axes.set_yticks(range(len(rows)), [row.label for row in rows])
    axes.set_ylim(max(len(rows), 1) - 0.5, -0.5)  # the best on top
    axes.set_xlim(lowest - 0.01, 1.002)
    axes.set_xlabel("AUC, pneumonia against normal")
    axes.grid(axis="x", color="#e4e4e4")
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    marks = [mark for mark in board.marks if mark != RANDOM or rows[0].random_weights]
    lines = [f"Recipes on {board.cohort_name}", *marks, board.research_use]
    axes.set_title("\n".join(lines), fontsize=11)
    figure.legend(loc="outside lower center", ncols=2, frameon=False)
    with atomic_path(path) as temporary:
        # So that reading the folder later refuses the plot instead of taking it for a radiograph.
        figure.savefig(temporary, metadata={DRAWN_BY_HILUM: RESEARCH_USE})
