"""`hilum screen`: readings of new radiographs."""

import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated, Any

import typer

from hilum.cli.console import err, note, research_use, table

__all__ = ["screen"]

_ROWS_SHOWN = 50


def screen(
    inputs: Annotated[
        list[str],
        typer.Argument(
            metavar="FILE|DIR|GLOB|-...",
            help="Radiographs; - reads one radiograph or a list of paths from standard input.",
        ),
    ],
    model: Annotated[
        Path, typer.Option("--model", "-m", envvar="HILUM_MODEL", help="A .hilum file.")
    ],
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Table of readings: .csv, .jsonl or .parquet."),
    ] = None,
    overlays: Annotated[
        Path | None, typer.Option(help="Folder for PNGs of each radiograph with its heat map.")
    ] = None,
    operating_point: Annotated[
        str | None, typer.Option(help="Name of an operating point of the classifier.")
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Replace the table and overlays that exist.")
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print each reading as a line of JSON.")
    ] = False,
) -> None:
    """Read radiographs and say of each how likely pneumonia is and whether to refer.

    A file that cannot be read is a row with the reason; then the exit status is 1. Ctrl-C leaves
    what was done.
    """
    import json

    from hilum._version import __version__
    from hilum.errors import UsageError
    from hilum.files import ensure_folder
    from hilum.model import load
    from hilum.screening import find_inputs
    from hilum.screening.pipeline import screen as read_all
    from hilum.screening.writers import open_writer, row_of

    classifier = load(model, latency=len(inputs) == 1 and Path(inputs[0]).is_file())
    file = classifier.file
    findings = file.labels.findings
    # Everything that can be asked wrongly is known before the table is opened.
    point = file.operating_point(operating_point).name
    found = find_inputs(inputs, getattr(sys.stdin, "buffer", None))
    if overlays:
        from hilum.screening.overlays import write_overlay

        ensure_folder(overlays)
        if not classifier.draws_maps:
            raise UsageError(
                f"{file.provenance.network} as trained here has no class activation map (dense "
                "layers mix its places), so there is nothing to overlay; leave out --overlays"
            )
        if any(overlays.iterdir()) and not force:
            raise UsageError(f"{overlays} is not empty; choose another folder or add --force")
    if file.provenance.phantom:
        note("This classifier learned from drawn phantoms; its readings say nothing of patients.")
    counts = {"read": 0, "refused": 0, "unreadable": 0, "refer": 0}
    shown: list[dict[str, Any]] = []
    interrupted = False
    with ExitStack() as stack:
        writer = stack.enter_context(open_writer(output, findings, force=force)) if output else None
        status = stack.enter_context(err.status("reading", spinner="line"))
        items = read_all(classifier, found, operating_point=point, pictures=overlays is not None)
        try:
            for number, item in enumerate(items, start=1):
                drawn = None
                if overlays and item.picture is not None and item.reading and item.status == "read":
                    drawn = write_overlay(
                        overlays, number, item.name, item.picture, item.reading, file.saliency.scale
                    )
                row = row_of(item, findings, file.sha256, __version__, drawn)
                if writer:
                    writer.write(row)
                if as_json:
                    sys.stdout.write(json.dumps(row) + "\n")
                elif len(shown) < _ROWS_SHOWN:
                    shown.append(row)
                counts[item.status] += 1
                counts["refer"] += row["decision"] == "refer"
                status.update(f"read {number}")
        except KeyboardInterrupt:
            interrupted = True
    if not as_json:
        _print(shown, counts, output)
    if interrupted:
        note("stopped early; what was done is kept" + (f" in {output}" if output else ""))
        raise typer.Exit(130)
    if not any(counts.values()):
        note("nothing to read: nothing was listed, or no file has a radiograph's suffix or none")
        raise typer.Exit(1)
    if counts["unreadable"] or counts["refused"]:
        raise typer.Exit(1)


def _print(rows: list[dict[str, Any]], counts: dict[str, int], output: Path | None) -> None:
    table(
        "readings",
        ["radiograph", "probability of pneumonia", "decision", "operating point"],
        [
            (
                row["file"],
                row["status"] if row["probability"] is None else _shown(row["probability"]),
                row["reason"] if row["probability"] is None else row["decision"],
                row["operating_point"],
            )
            for row in rows
        ],
    )
    total = counts["read"] + counts["refused"] + counts["unreadable"]
    if total > len(rows):
        hint = "" if output else "; write all with -o readings.csv"
        note(f"the first {len(rows)} of {total} are shown{hint}")
    note(
        f"{counts['read']} read ({counts['refer']} to refer), {counts['refused']} refused, "
        f"{counts['unreadable']} unreadable" + (f"; all in {output}" if output else "")
    )
    research_use()


def _shown(probability: float) -> str:
    """Return a probability for people; none is certain."""
    if probability < 0.001:
        return "< 0.001"
    return "> 0.999" if probability > 0.999 else f"{probability:.3f}"
