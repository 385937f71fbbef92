"""The plots of the evidence for one classifier."""

from typing import TYPE_CHECKING

import numpy as np

from hilum.evaluation.drawing import BLUE, GREY, ORANGE, Plot, drawn_plot, unit_square
from hilum.evaluation.evidence import Evidence
from hilum.evaluation.figures import FigureName
from hilum.evaluation.wording import figure_in_words

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["plots"]


def plots(evidence: Evidence) -> tuple[Plot, ...]:
    """Draw the plots that the evidence carries.

    Returns:
        ROC and precision-recall where both classes are there; reliability; confusion matrix; net
        benefit where both classes are there.
    """
    drawn: list[Plot] = []
    if evidence.curves.roc:
        drawn.append(_roc(evidence))
        drawn.append(_precision_recall(evidence))
    drawn.append(_reliability(evidence))
    drawn.append(_confusion(evidence))
    if evidence.decision_curve:
        drawn.append(_net_benefit(evidence))
    return tuple(drawn)


def _roc(evidence: Evidence) -> Plot:
    curve, band = evidence.curves.roc, evidence.curves.band
    figures = evidence.operating_point.figures
    sensitivity = figures[FigureName.SENSITIVITY].value or 0.0
    alarms = 1.0 - (figures[FigureName.SPECIFICITY].value or 0.0)

    def draw(axes: "Axes") -> None:
        if band is not None:
            axes.fill_between(
                band.false_positive_rate,
                band.lower,
                band.upper,
                color=BLUE,
                alpha=0.2,
                linewidth=0,
                label="95 % band, pointwise",
            )
        axes.plot(
            [point.false_positive_rate for point in curve],
            [point.sensitivity for point in curve],
            color=BLUE,
            label="ROC curve",
        )
        axes.plot([0, 1], [0, 1], color=GREY, linestyle=":", label="guessing")
        axes.plot([alarms], [sensitivity], "o", color=ORANGE, label="operating point", zorder=4)
        unit_square(axes, "1 - specificity", "Sensitivity")
        axes.legend(loc="lower right", frameon=False)

    area = figure_in_words(evidence.figures[FigureName.AUC])
    alt = (
        f"ROC curve. Area under the curve {area}. The operating point has sensitivity "
        f"{sensitivity:.3f} at a false-positive rate of {alarms:.3f}."
    )
    return drawn_plot("roc", "ROC curve", alt, draw)


def _precision_recall(evidence: Evidence) -> Plot:
    curve = evidence.curves.precision_recall
    figures = evidence.operating_point.figures
    recall, precision = figures[FigureName.SENSITIVITY].value, figures[FigureName.PPV].value

    def draw(axes: "Axes") -> None:
        axes.plot(
            [point.recall for point in curve],
            [point.precision for point in curve],
            color=BLUE,
            drawstyle="steps-post",
            label="precision-recall curve",
        )
        axes.axhline(evidence.prevalence, color=GREY, linestyle=":", label="guessing")
        if recall is not None and precision is not None:
            axes.plot([recall], [precision], "o", color=ORANGE, label="operating point", zorder=4)
        unit_square(axes, "Recall (sensitivity)", "Precision (PPV)")
        axes.legend(loc="lower left", frameon=False)

    area = figure_in_words(evidence.figures[FigureName.AVERAGE_PRECISION])
    alt = (
        f"Precision-recall curve. Average precision {area}. Guessing would give a precision of "
        f"{evidence.prevalence:.3f}."
    )
    return drawn_plot("precision-recall", "Precision and recall", alt, draw)


def _reliability(evidence: Evidence) -> Plot:
    table = evidence.calibration
    observed = np.array([each.observed for each in table.bins])
    lower = np.array([each.interval.lower for each in table.bins])
    upper = np.array([each.interval.upper for each in table.bins])

    def draw(axes: "Axes") -> None:
        axes.plot([0, 1], [0, 1], color=GREY, linestyle=":", label="perfect calibration")
        axes.errorbar(
            [each.mean_probability for each in table.bins],
            observed,
            yerr=np.maximum([observed - lower, upper - observed], 0.0),
            fmt="o",
            color=BLUE,
            capsize=3,
            label="bin with 95 % interval",
        )
        normal, ill = np.array(table.histogram_normal), np.array(table.histogram_pneumonia)
        edges = np.linspace(0.0, 1.0, len(normal) + 1)
        # The histogram hangs below zero, a sixth of the plot high, so that it hides no bin.
        height = 0.16 / max(1, int((normal + ill).max()))
        widths = np.diff(edges)
        floor = -0.2
        axes.bar(
            edges[:-1], normal * height, widths, floor, align="edge", color=BLUE, alpha=0.5,
            label="normal (histogram)",
        )  # fmt: skip
        axes.bar(
            edges[:-1], ill * height, widths, floor + normal * height, align="edge",
            color=ORANGE, alpha=0.7, label="pneumonia (histogram)",
        )  # fmt: skip
        unit_square(axes, "Probability of pneumonia", "Fraction with pneumonia")
        axes.set_ylim(floor, 1.02)
        axes.set_yticks(np.linspace(0.0, 1.0, 6))  # the histogram has no scale of its own
        axes.legend(loc="upper left", frameon=False, fontsize=8)

    alt = (
        f"Reliability. In {table.binning}, probabilities lie on average "
        f"{table.expected_calibration_error:.3f} from the fraction that has pneumonia. Below, a "
        "histogram of the probabilities by finding."
    )
    return drawn_plot("reliability", "Reliability of the probabilities", alt, draw)


def _confusion(evidence: Evidence) -> Plot:
    matrix = np.array(evidence.confusion.counts, dtype=np.int64)
    names = [str(finding) for finding in evidence.confusion.findings]
    totals = matrix.sum(axis=1, keepdims=True)
    share = np.divide(matrix, totals, out=np.zeros(matrix.shape), where=totals > 0)

    def draw(axes: "Axes") -> None:
        axes.pcolormesh(share, cmap="Blues", vmin=0.0, vmax=1.0, edgecolors="white", linewidth=2)
        axes.invert_yaxis()  # the first finding on top, as in the table
        axes.set_aspect("equal")
        for (row, column), count in np.ndenumerate(matrix):
            axes.text(
                column + 0.5,
                row + 0.5,
                f"{count}\n{100 * share[row, column]:.0f} %",
                ha="center",
                va="center",
                # White on the darker half of the scale keeps a contrast above 4.5 to 1.
                color="white" if share[row, column] > 0.55 else "black",
            )
        short = [name.replace(" pneumonia", "") if len(names) > 2 else name for name in names]
        centres = np.arange(len(names)) + 0.5
        axes.set_xticks(centres, short)
        axes.set_yticks(centres, short, rotation=90, va="center")
        axes.set_xlabel("Called")
        axes.set_ylabel("True finding")

    cells = "; ".join(
        f"of {int(totals[row, 0])} {name}, "
        + ", ".join(f"{matrix[row, c]} called {other}" for c, other in enumerate(names))
        for row, name in enumerate(names)
    )
    return drawn_plot("confusion", "Confusion matrix", f"Confusion matrix: {cells}.", draw)


def _net_benefit(evidence: Evidence) -> Plot:
    points = evidence.decision_curve
    thresholds = [each.threshold for each in points]
    prevalence = evidence.prevalence

    def draw(axes: "Axes") -> None:
        axes.plot(thresholds, [p.classifier for p in points], color=BLUE, label="classifier")
        axes.plot(
            thresholds, [p.refer_all for p in points], color=ORANGE, linestyle="--",
            label="refer everybody",
        )  # fmt: skip
        axes.axhline(0.0, color=GREY, linestyle=":", label="refer nobody")
        axes.set_xlim(0, 1)
        axes.set_ylim(-0.1 * prevalence, 1.1 * prevalence)
        axes.set_xlabel("Threshold probability")
        axes.set_ylabel("Net benefit")
        axes.grid(visible=True, color="#e4e4e4", linewidth=0.6)
        axes.legend(loc="lower left", frameon=False, fontsize=8)

    better = [p.threshold for p in points if p.classifier > max(p.refer_all, 0.0)]
    where = f"at {len(better)} of {len(points)}"
    where += f", the lowest {better[0]:.2f} and the highest {better[-1]:.2f}" if better else ""
    alt = (
        f"Net benefit against the threshold probability, at the prevalence of this part. Of the thresholds "
        f"shown, acting on the classifier beats referring everybody and nobody {where}."
    )
    return drawn_plot("net-benefit", "Decision curve", alt, draw)
