"""The report: evidence as one HTML page that loads nothing, beside the same as JSON."""

from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Any

from hilum.evaluation.evidence import Evidence
from hilum.evaluation.figures import Figure
from hilum.evaluation.gallery import GalleryItem
from hilum.evaluation.plots import plots
from hilum.evaluation.terms import with_contents, with_definitions
from hilum.evaluation.verdict import caveats, verdict
from hilum.evaluation.wording import percent
from hilum.files import write_text

__all__ = ["METRICS_FILE", "REPORT_FILE", "render_report", "rendered", "write_evidence"]

METRICS_FILE = "metrics.json"
REPORT_FILE = "report.html"


def _value(figure: Figure) -> str:
    return "undefined" if figure.value is None else f"{figure.value:.3f}"


def _interval(figure: Figure) -> str:
    if figure.interval is None:
        return f"none: {figure.reason or figure.no_interval}"
    return f"{figure.interval.lower:.3f} to {figure.interval.upper:.3f}"


def _method(figure: Figure) -> str:
    if figure.interval is None:
        return ""
    if figure.interval.dropped:
        return f"{figure.interval.method}, {figure.interval.dropped} replicates dropped"
    return figure.interval.method


def rendered(template: str, *, room: str = "hilum.evaluation", **values: Any) -> str:
    """Return a page as HTML.

    Everything is inside: no script, no font, no image from elsewhere. Text from outside, such as the
    ids of radiographs, is escaped. The frame, `page.html.j2`, adds contents and definitions.

    Args:
        template: Name of its Jinja file.
        room: The package that holds it; what it includes may lie here.
        values: What the template asks for.
    """
    from jinja2 import Environment, FunctionLoader, StrictUndefined
    from markupsafe import Markup

    def source(name: str) -> str:
        there = resources.files(room).joinpath(name)
        here = resources.files("hilum.evaluation").joinpath(name)
        return (there if there.is_file() else here).read_text(encoding="utf-8")

    environment = Environment(
        loader=FunctionLoader(source),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        value=_value,
        interval=_interval,
        method=_method,
        percent=percent,
        with_contents=with_contents,
        with_definitions=with_definitions,
        # Only for SVG that hilum.evaluation.drawing drew; it escapes what it is given.
        drawn=Markup,
    )
    return environment.get_template(template).render(**values)


def render_report(
    evidence: Evidence,
    gallery: Sequence[GalleryItem] = (),
    unsure: Sequence[GalleryItem] = (),
    **sections: Any,
) -> str:
    """Return the report as HTML, drawn from the evidence and the gallery alone.

    Args:
        evidence: What to show.
        gallery: The mistakes to list.
        unsure: The least certain radiographs to list.
        sections: What the sections in files of their own ask for beside the evidence.
    """
    return rendered(
        "report.html.j2",
        evidence=evidence,
        verdict=verdict(evidence),
        caveats=caveats(evidence),
        points=(evidence.operating_point, *evidence.other_operating_points),
        plots=plots(evidence),
        gallery=tuple(gallery),
        unsure=tuple(unsure),
        **sections,
    )


def write_evidence(
    evidence: Evidence,
    folder: Path,
    gallery: Sequence[GalleryItem] = (),
    unsure: Sequence[GalleryItem] = (),
    **sections: Any,
) -> tuple[Path, Path]:
    """Write `metrics.json` and `report.html`, each whole or not at all.

    Args:
        evidence: What to write.
        folder: Made where it is missing; files of these names are replaced.
        gallery: The mistakes to list, such as from `confident_mistakes`.
        unsure: Those to list as least certain, such as from `least_certain`.
        sections: As in `render_report`.

    Returns:
        Both paths.

    Raises:
        UsageError: If the folder cannot be written.
    """
    # Before the first file, so that a failure leaves none.
    page = render_report(evidence, gallery, unsure, **sections)
    metrics, report = folder / METRICS_FILE, folder / REPORT_FILE
    write_text(metrics, evidence.model_dump_json(indent=2) + "\n")
    write_text(report, page)
    return metrics, report
