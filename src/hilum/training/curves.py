"""Learning curves: one row per epoch, as CSV for programs and PNG for people."""

import csv
import io
from collections.abc import Sequence
from pathlib import Path

from hilum.files import atomic_path, write_text

__all__ = ["Epoch", "draw_curves", "write_table"]

# epoch (from 0), learning_rate, train_loss, and the validation figures by name.
Epoch = dict[str, float]

_PANELS = {"loss": ("train_loss", "loss"), "AUC": ("auc",), "accuracy": ("accuracy",)}
_NAMES = {
    "train_loss": "train",
    "loss": "validation",
    "auc": "validation",
    "accuracy": "validation",
}


def write_table(epochs: Sequence[Epoch], path: Path) -> None:
    """Write the epochs as CSV, whole or not at all."""
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, list(epochs[0]))
    writer.writeheader()
    writer.writerows(epochs)
    write_text(path, buffer.getvalue())


def draw_curves(epochs: Sequence[Epoch], path: Path, title: str) -> None:
    """Draw loss, AUC and accuracy over the epochs as a PNG, whole or not at all."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 3.2), layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(title)
    numbers = [epoch["epoch"] + 1 for epoch in epochs]
    for axes, (panel, columns) in zip(
        figure.subplots(1, len(_PANELS)), _PANELS.items(), strict=True
    ):
        for column in columns:
            axes.plot(numbers, [e[column] for e in epochs], marker=".", label=_NAMES[column])
        axes.set_xlabel("epoch")
        axes.set_title(panel)
        axes.grid(alpha=0.3)
        if len(columns) > 1:
            axes.legend()
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=110)
