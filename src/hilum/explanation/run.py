"""Explaining radiographs: each is read as screening reads it, and each method draws its map.

The colours of a method have one scale for the whole run, so that pictures can be compared: a map that
is stretched to its own highest value lights up something on every radiograph.
"""

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from hilum.errors import HilumError
from hilum.explanation.documents import ExplainedRadiograph, Explanation
from hilum.explanation.drawing import picture_name, write_picture
from hilum.explanation.exact import ExactNetwork
from hilum.explanation.methods import Explainer, Options, explainer, method_named, rebuilt_of
from hilum.explanation.page import Card, write_page
from hilum.explanation.results import Explained, Found, method_used, write_explained
from hilum.explanation.target import Target, target_of
from hilum.files import ensure_folder, write_text
from hilum.imaging import read
from hilum.model import Classifier
from hilum.model.gate import refusal
from hilum.screening import Input
from hilum.screening.overlays import picture_of

if TYPE_CHECKING:
    from hilum.explanation.rebuild import Rebuilt

__all__ = ["EXPLANATION_FILE", "FILTERS_FILE", "PAGE_FILE", "Request", "explain_radiographs"]

EXPLANATION_FILE = "explanation.json"
PAGE_FILE = "index.html"
FILTERS_FILE = "filters.png"


@dataclass(frozen=True, slots=True)
class Request:
    """What is asked of a run."""

    methods: tuple[str, ...]
    finding: str = "pneumonia"
    layer: str | None = None  # of the methods that look at a layer; None: the network's default
    feature_maps: str | None = None  # a layer whose maps are drawn for each radiograph
    filters: bool = False  # draw the filters of the first convolution
    options: Options = field(default_factory=Options)

    @property
    def needs_torch(self) -> list[str]:
        """What of it needs torch, in words."""
        found = [f"the method {name}" for name in self.methods if method_named(name).needs_torch]
        found += ["drawing feature maps"] if self.feature_maps else []
        return found + (["drawing filters"] if self.filters else [])


@dataclass(frozen=True, slots=True)
class _Tools:
    """What is made once for all radiographs of a run."""

    classifier: Classifier
    exact: ExactNetwork
    target: Target
    explainers: list[Explainer]
    rebuilt: "Rebuilt | None"


def explain_radiographs(
    classifier: Classifier,
    inputs: Iterable[Input],
    folder: Path,
    request: Request,
    *,
    name: str = "",
    command: str = "",
    progress: Callable[[int, int | None], None] | None = None,
) -> Explanation:
    """Explain a classifier's readings and write pictures, `explanation.json` and `index.html`.

    Maps are kept until all radiographs are explained, some hundred kilobytes for each.

    Args:
        classifier: A loaded one.
        inputs: What to read; a file that is unreadable or refused by the gate is told and skipped.
        folder: Made when it is not there; files of the same names are replaced.
        request: What to do.
        name: Of the classifier's file.
        command: As typed, for provenance.
        progress: Called with how many radiographs are done, and None for of how many.

    Raises:
        UsageError: If a method, finding or layer is not there, or the folder cannot be written.
        MissingExtraError: If torch or captum is needed and not installed.
        ModelError: If the network must be rebuilt in torch and cannot be.
    """
    tools = _tools(classifier, request)
    ensure_folder(folder)
    if request.filters and tools.rebuilt:
        from hilum.explanation.sheets import draw_filters

        write_picture(folder / FILTERS_FILE, draw_filters(tools.rebuilt.network))
    rows: list[Explained | ExplainedRadiograph] = []
    for number, item in enumerate(inputs, start=1):
        rows.append(_explain(tools, item, number, folder, request.feature_maps))
        if progress:
            progress(number, None)
    done = [row for row in rows if isinstance(row, Explained)]
    used = [
        method_used(classifier, each, [row.found[place].values for row in done])
        for place, each in enumerate(tools.explainers)
    ]
    cards: list[Card] = []
    radiographs = []
    for row in rows:
        if isinstance(row, Explained):
            written, of_this = write_explained(row, used, tools.target.finding, folder)
            cards += of_this
            radiographs.append(written)
        else:
            radiographs.append(row)
    provenance = classifier.file.provenance
    explanation = Explanation(
        command=command,
        classifier=name,
        classifier_sha256=classifier.file.sha256,
        network=provenance.network,
        phantom=provenance.phantom,
        finding=tools.target.finding,
        seed=request.options.seed,
        rebuilt_difference=tools.rebuilt.difference if tools.rebuilt else None,
        mirror=tools.rebuilt.mirror if tools.rebuilt else None,
        methods=tuple(used),
        feature_layer=request.feature_maps,
        filters=FILTERS_FILE if request.filters else None,
        radiographs=tuple(radiographs),
    )
    write_page(explanation, cards, folder / PAGE_FILE)
    # Last, so that where it lies, everything that it names does.
    write_text(folder / EXPLANATION_FILE, explanation.model_dump_json(indent=2) + "\n")
    return explanation


def _tools(classifier: Classifier, request: Request) -> _Tools:
    """Make everything ready that can be asked wrongly, before a file is read or written."""
    target = target_of(classifier.file.labels, classifier.file.calibration, request.finding)
    needed = request.needs_torch
    rebuilt = rebuilt_of(classifier, needed[0]) if needed else None
    if rebuilt and request.feature_maps:
        from hilum.explanation.layers import layer_named

        layer_named(rebuilt.network, request.feature_maps)
    explainers = [
        explainer(
            classifier,
            name,
            finding=request.finding,
            layer=request.layer,
            options=request.options,
            rebuilt=rebuilt,
        )
        for name in request.methods
    ]
    return _Tools(classifier, ExactNetwork(classifier), target, explainers, rebuilt)


def _explain(
    tools: _Tools, item: Input, number: int, folder: Path, feature_maps: str | None
) -> Explained | ExplainedRadiograph:
    classifier = tools.classifier
    try:
        radiograph = read(item.source, min_side=classifier.size)
    except HilumError as error:
        return ExplainedRadiograph(file=item.name, status="unreadable", reason=str(error))
    pixels = classifier.pixels_of(radiograph)
    origin = radiograph.provenance
    if refused := refusal(classifier.file.gate, radiograph, pixels):
        return ExplainedRadiograph(
            file=item.name,
            status="refused",
            reason=refused,
            format=origin.format,
            sha256=origin.sha256,
        )
    (reading,) = classifier.read_prepared([pixels], [None], classifier.file.operating_point())
    sheet = None
    if tools.rebuilt and feature_maps:
        from hilum.explanation.sheets import draw_feature_maps

        sheet = picture_name(number, item.name, f"features-{feature_maps}")
        write_picture(
            folder / sheet, draw_feature_maps(tools.rebuilt.network, feature_maps, pixels)
        )
    return Explained(
        file=item.name,
        number=number,
        provenance=origin,
        picture=picture_of(radiograph),
        reading=reading,
        log_odds=float(tools.exact.log_odds([pixels[None]], tools.target)[0]),
        found=tuple(_find(each, pixels[None]) for each in tools.explainers),
        feature_maps=sheet,
    )


def _find(explain: Explainer, pixels: NDArray[np.uint8]) -> Found:
    start = time.perf_counter()
    (values,) = explain.native(pixels)
    seconds = round(time.perf_counter() - start, 3)
    if explain.total is None:
        return Found(values, seconds, None)
    sums = float(explain.total(pixels)[0]), float(values.sum(dtype=np.float64))
    return Found(values, seconds, sums)
