"""Plots as SVG text to stand inside a page: no files, no pyplot, no state of the process.

Text stays text, so that it can be searched, read aloud and scaled. Colours are those of Okabe & Ito
(Color Universal Design, 2008), which people with any colour vision can tell apart; curves differ in
their dashes, too. The page gives plots a white card in light and in dark mode. A legend that would
cover a curve moves below the plot, and long names in it are shortened.
"""

import io
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.legend import Legend

__all__ = [
    "BLUE",
    "DASHES",
    "GREY",
    "ORANGE",
    "SERIES",
    "Plot",
    "drawn_plot",
    "shortened",
    "unit_square",
]

# For curves side by side, each with dashes of its own.
SERIES = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")
DASHES = ("-", "--", "-.", ":")
BLUE, ORANGE, GREY = SERIES[0], SERIES[1], "#6b6b6b"
_SIDE = 4.2  # inches; with 10 pt text it stays readable 320 pixels wide
_LONGEST = 40  # characters of a name in a legend; more would leave no room for the plot


@dataclass(frozen=True, slots=True)
class Plot:
    """A drawn plot."""

    name: str
    title: str
    alt: str  # what it shows, for those who do not see it
    svg: str  # without XML header, namespaces, width and height


def unit_square(axes: "Axes", x: str, y: str) -> None:
    """Set axes from 0 to 1 in both directions, with names."""
    axes.set_xlim(-0.02, 1.02)
    axes.set_ylim(-0.02, 1.02)
    axes.set_aspect("equal", adjustable="box")
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    axes.grid(visible=True, color="#e4e4e4", linewidth=0.6)
    axes.set_axisbelow(True)


def drawn_plot(name: str, title: str, alt: str, draw: Callable[["Axes"], None]) -> Plot:
    """Draw one plot as SVG.

    Args:
        name: Short, for the ids inside.
        title: Above it.
        alt: What it shows, for those who do not see it.
        draw: Draws on the axes it is given.
    """
    from matplotlib import rc_context
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    with rc_context(
        {
            "svg.fonttype": "none",  # text as text
            "text.parse_math": False,  # names may hold dollar signs
            "svg.hashsalt": name,  # the same evidence gives the same page
            "font.family": "sans-serif",
            "font.size": 10.0,
            "axes.spines.top": False,
            "axes.spines.right": False,
        }
    ):
        figure = Figure(figsize=(_SIDE, _SIDE), layout="constrained")
        FigureCanvasSVG(figure)
        axes = figure.add_subplot()
        draw(axes)
        if (legend := axes.get_legend()) is not None:
            _fit(legend, axes, figure)
        buffer = io.StringIO()
        nothing = {"Date": None, "Creator": None, "Format": None, "Type": None}
        figure.savefig(buffer, format="svg", transparent=True, metadata=nothing)
    return Plot(name, title, alt, _inlined(buffer.getvalue(), name, alt))


def shortened(names: Sequence[str], longest: int = _LONGEST) -> list[str]:
    """Shorten long names in their middle, so that names that differ stay different.

    Args:
        names: Such as those of classifiers.
        longest: How many characters stay, 8 or more.

    Returns:
        As many names; what would become alike, though it is not, gets its number in front.
    """
    head, tail = (longest - 1) // 2, (longest - 1) - (longest - 1) // 2
    short = [
        name if len(name) <= longest else f"{name[:head]}…{name[len(name) - tail :]}"
        for name in names
    ]
    clashes = {
        text
        for text in short
        if len({n for n, s in zip(names, short, strict=True) if s == text}) > 1
    }
    return [
        f"{place}: {text}" if text in clashes else text for place, text in enumerate(short, start=1)
    ]


def _fit(legend: "Legend", axes: "Axes", figure: "Figure") -> None:
    """Shorten the names in a legend, and move it below the plot where it would cover a curve."""
    texts = legend.get_texts()
    for text, name in zip(texts, shortened([each.get_text() for each in texts]), strict=True):
        text.set_text(name)
    figure.draw_without_rendering()  # places everything
    box = legend.get_window_extent()
    drawn = [line.get_path().transformed(line.get_transform()) for line in axes.get_lines()]
    if not any(
        box.count_contains(path.vertices) or path.intersects_bbox(box, filled=False)
        for path in drawn
    ):
        return
    # The figure grows by what the legend needs, so that the plot keeps its size.
    figure.set_size_inches(_SIDE, _SIDE + box.height / figure.dpi)
    legend.set_loc("upper center")
    legend.set_bbox_to_anchor((0.5, -0.16), transform=axes.transAxes)


def _inlined(document: str, name: str, alt: str) -> str:
    """Fit an SVG document into a page that holds others, too."""
    svg = document[document.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r"<style[^>]*>.*?</style>", "", svg, flags=re.DOTALL)  # it would style the page
    svg = re.sub(r"<!--.*?-->", "", svg, flags=re.DOTALL)
    svg = re.sub(r'\sxmlns(:\w+)?="[^"]*"', "", svg)  # an HTML parser knows them
    svg = re.sub(r'\sid="([^"]+)"', rf' id="{name}-\1"', svg)
    svg = re.sub(r'href="#([^"]+)"', rf'href="#{name}-\1"', svg)
    svg = re.sub(r"url\(#([^)]+)\)", rf"url(#{name}-\1)", svg)
    root, rest = svg.split(">", 1)
    root = re.sub(r'\s(width|height|version)="[^"]*"', "", root)
    return f'{root} class="plot" role="img" aria-label="{escape(alt)}">{rest}'
