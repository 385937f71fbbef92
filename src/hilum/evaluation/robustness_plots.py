"""The plots of robustness: the AUC against the amount of each corruption, all on one scale."""

import math
from typing import TYPE_CHECKING

from hilum.evaluation.area_changes import Area
from hilum.evaluation.corruptions import Strength
from hilum.evaluation.drawing import BLUE, GREY, ORANGE, Plot, drawn_plot
from hilum.evaluation.robustness_figures import Change, CorruptionCurve, Robustness

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["robustness_plots"]

# An amount as it stands on the axis, and the area there; the untouched radiographs have no change.
Point = tuple[str, Area, Change | None]


def robustness_plots(robustness: Robustness) -> tuple[Plot, ...]:
    """Draw one plot for each corruption; none where nothing was measured."""
    if robustness.auc is None:
        return ()
    untouched = robustness.auc
    lows = [
        each.auc.interval.lower if each.auc.interval else each.auc.value
        for curve in robustness.curves
        for each in curve.changes
    ]
    # One scale for all, so that a steep curve looks steep beside a flat one.
    floor = math.floor(10 * min(lows)) / 10
    return tuple(_plot(curve, untouched, floor) for curve in robustness.curves)


def _points(curve: CorruptionCurve, untouched: Area) -> list[Point]:
    """Return the grades by amount, with the untouched radiographs where they belong."""
    points: list[Point] = [(each.label, each.auc, each) for each in curve.changes]
    neutral = curve.neutral
    # Quality that falls has no amount that changes nothing: it lies beyond the highest.
    before = (
        len(points) if neutral is None else sum(each.amount < neutral for each in curve.changes)
    )
    points.insert(before, ("none", untouched, None))
    return points


def _plot(curve: CorruptionCurve, untouched: Area, floor: float) -> Plot:
    points = _points(curve, untouched)
    places = range(len(points))
    areas = [area.value for _, area, _ in points]
    # Where there is no interval the band closes on the curve.
    lower = [a.interval.lower if a.interval else a.value for _, a, _ in points]
    upper = [a.interval.upper if a.interval else a.value for _, a, _ in points]

    def draw(axes: "Axes") -> None:
        axes.fill_between(
            places, lower, upper, color=BLUE, alpha=0.2, linewidth=0, label="95 % interval"
        )
        axes.axhline(untouched.value, color=GREY, linestyle=":", label="untouched")
        axes.plot(places, areas, color=BLUE)
        looks = {
            "mild or plausible": ("o", BLUE, [i for i in places if _ordinary(points[i])]),
            "severe": ("s", ORANGE, [i for i in places if _severe(points[i])]),
        }
        for words, (marker, colour, where) in looks.items():
            if where:
                axes.plot(
                    where, [areas[i] for i in where], marker, color=colour, label=words, zorder=4
                )
        axes.set_xticks(places, [label for label, _, _ in points])
        axes.set_xlim(-0.4, len(points) - 0.6)
        axes.set_ylim(floor, 1.0 + 0.03 * (1.0 - floor))
        axes.set_xlabel(curve.unit[0].upper() + curve.unit[1:])
        axes.set_ylabel("AUC")
        axes.grid(visible=True, axis="y", color="#e4e4e4", linewidth=0.6)
        axes.set_axisbelow(True)
        axes.legend(loc="best", frameon=False, fontsize=8)

    told = "; ".join(f"{label}: {area.value:.3f}" for label, area, _ in points)
    name = "robustness-" + curve.corruption.lower().replace(" ", "-")
    title = curve.corruption[0].upper() + curve.corruption[1:]
    return drawn_plot(name, title, f"{curve.stands_for} AUC by {curve.unit}: {told}.", draw)


def _ordinary(point: Point) -> bool:
    return point[2] is not None and point[2].strength is not Strength.SEVERE


def _severe(point: Point) -> bool:
    return point[2] is not None and point[2].strength is Strength.SEVERE
