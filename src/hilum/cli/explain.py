"""`hilum explain`: where a classifier looked."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hilum.cli.console import command_line, emit_json, note, progress, research_use, table
from hilum.cli.explain_trial import try_methods

if TYPE_CHECKING:
    from hilum.explanation.documents import Explanation
    from hilum.model import Classifier

__all__ = ["explain"]

_ALL = "all"


def explain(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="A .hilum file.")],
    inputs: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="FILE|DIR|GLOB|-...",
            help="Radiographs; - reads one radiograph or a list of paths from standard input.",
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", help="Folder for pictures, explanation.json and index.html."
        ),
    ] = None,
    method: Annotated[
        list[str] | None,
        typer.Option(
            help="How to explain; repeat for more: class-activation-map (the default where the "
            "classifier has one), occlusion, rise; with the extra `train` also grad-cam, "
            "grad-cam++, hirescam, layer-cam, eigen-cam, integrated-gradients, smoothgrad; or all."
        ),
    ] = None,
    finding: Annotated[
        str, typer.Option(help="What to explain: pneumonia of any kind, or one of its findings.")
    ] = "pneumonia",
    layer: Annotated[
        str | None,
        typer.Option(help="The layer that grad-cam and its kin look at; the last block if not."),
    ] = None,
    feature_maps: Annotated[
        str | None,
        typer.Option(metavar="LAYER", help="Draw this layer's maps of each radiograph, too."),
    ] = None,
    filters: Annotated[
        bool, typer.Option("--filters", help="Draw the filters of the first convolution, too.")
    ] = False,
    layers: Annotated[
        bool, typer.Option("--layers", help="List the layers that have maps, and end.")
    ] = False,
    trial: Annotated[
        str | None,
        typer.Option(
            metavar="COHORT[:PART]|PHANTOMS",
            help="Do the methods hold? Try them on radiographs of a cohort (its validation part when "
            "none is named) or on a folder of phantoms; writes trial.json.",
        ),
    ] = None,
    number: Annotated[int, typer.Option(min=1, help="Of radiographs in a trial.")] = 100,
    draws: Annotated[
        int, typer.Option(min=0, help="Of random weights in a trial; 0 leaves that check out.")
    ] = 2,
    shuffled: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="MODEL", help="For a trial: a classifier that learned from shuffled labels."
        ),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of whatever is drawn.")] = 0,
    masks: Annotated[int, typer.Option(min=1, max=100_000, help="How many rise draws.")] = 1000,
    force: Annotated[bool, typer.Option("--force", help="Write into a folder in use.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for programs.")] = False,
) -> None:
    """Draw where a classifier looked on radiographs, by one method or several.

    A file that cannot be read or that the gate refuses is said so and skipped; then the exit status
    is 1.
    """
    from hilum.errors import UsageError
    from hilum.explanation import METHODS, Options
    from hilum.explanation.run import PAGE_FILE, Request, explain_radiographs
    from hilum.model import load
    from hilum.screening import find_inputs

    if layers:
        _list_layers(load(model), as_json=as_json)
        return
    if output is None:
        raise UsageError("explain needs a folder to write to; name one with -o")
    if not inputs and not filters and trial is None:
        raise UsageError(
            "nothing to explain: name radiographs, or ask for --filters, --layers or --trial"
        )
    if trial is not None and (inputs or filters or feature_maps):
        raise UsageError(
            "--trial draws its own radiographs; leave files, --filters and --feature-maps out"
        )
    if output.exists() and (not output.is_dir() or any(output.iterdir())) and not force:
        raise UsageError(f"{output} is not empty; choose another folder or add --force")
    classifier = load(model)
    asked: tuple[str, ...]
    if not inputs and trial is None:
        asked = ()
    elif method and _ALL in method:
        asked = tuple(
            name for name in METHODS if classifier.draws_maps or name != "class-activation-map"
        )
    else:
        default = "class-activation-map" if classifier.draws_maps else "occlusion"
        asked = tuple(dict.fromkeys(method or [default]))
    if trial is not None:
        try_methods(
            model,
            trial,
            list(asked),
            output,
            finding=finding,
            layer=layer,
            options=Options(seed=seed, masks=masks),
            shuffled=shuffled or [],
            number=number,
            draws=draws,
            command=command_line(),
            as_json=as_json,
        )
        return
    request = Request(
        methods=asked,
        finding=finding,
        layer=layer,
        feature_maps=feature_maps,
        filters=filters,
        options=Options(seed=seed, masks=masks),
    )
    found = find_inputs(inputs or [], getattr(sys.stdin, "buffer", None))
    if classifier.file.provenance.phantom:
        note("This classifier learned from drawn phantoms; its readings say nothing of patients.")
    with progress("explaining", quiet=as_json) as advance:
        explanation = explain_radiographs(
            classifier,
            found,
            output,
            request,
            name=model.name,
            command=command_line(),
            progress=advance,
        )
    if as_json:
        emit_json(explanation.model_dump(mode="json"))
    else:
        _print(explanation, output / PAGE_FILE)
    if inputs and not explanation.radiographs:
        note("nothing to read: nothing was listed, or no file has a radiograph's suffix or none")
        raise typer.Exit(1)
    if any(each.status != "explained" for each in explanation.radiographs):
        raise typer.Exit(1)


def _list_layers(classifier: "Classifier", *, as_json: bool) -> None:
    from dataclasses import asdict

    from hilum.explanation.methods import rebuilt_of

    rebuilt = rebuilt_of(classifier, "listing layers")
    from hilum.explanation.layers import layers

    found = layers(rebuilt.network)
    if as_json:
        emit_json([asdict(layer) for layer in found])
        return
    table(
        f"layers of {rebuilt.network.name} that have maps, from input to output",
        ["layer", "kind", "channels", "rows x columns", ""],
        [
            (
                layer.name,
                layer.kind,
                layer.channels,
                f"{layer.rows} x {layer.columns}",
                "the default" if layer.default else "",
            )
            for layer in found
        ],
    )


def _print(explanation: "Explanation", page: Path) -> None:
    unit = {method.name: method.unit for method in explanation.methods}
    table(
        f"explanations: {explanation.finding}",
        ["radiograph", "probability of pneumonia", "method", "highest", "where (down, across)"],
        [
            (
                "" if place else each.file,
                "" if place else f"{each.probability:.3f}",
                found.method,
                f"{found.highest:.3g} {unit[found.method]}",
                f"{found.peak.down:.0%}, {found.peak.across:.0%}" if found.peak else "nowhere",
            )
            for each in explanation.radiographs
            for place, found in enumerate(each.maps)
        ],
    )
    for each in explanation.radiographs:
        if each.status != "explained":
            note(f"{each.file}: {each.status}: {each.reason}")
    note(str(page))
    research_use()
