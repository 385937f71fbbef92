"""`hilum evaluate`: the evidence for a classifier on one part of a cohort."""

import re
from pathlib import Path
from typing import Annotated

import typer

from hilum.cli.console import cohort_part, command_line, emit_json, note, progress, research_use
from hilum.cli.train import print_figures
from hilum.findings import Part

__all__ = ["evaluate"]


def evaluate(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="A .hilum file.")],
    cohort: Annotated[Path, typer.Option("--cohort", "-c", help="A cohort's Parquet table.")],
    part: Annotated[Part, typer.Option(help="Which part; opening test is counted.")] = Part.TEST,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            help="Folder for metrics.json, report.html and predictions.csv; beside the model when not given.",
        ),
    ] = None,
    operating_point: Annotated[
        str | None, typer.Option(help="Name of an operating point; the default one when not given.")
    ] = None,
    prevalence: Annotated[
        list[float] | None,
        typer.Option(
            min=0.001, max=0.999, help="Say what a call means where this share is ill. Repeatable."
        ),
    ] = None,
    external: Annotated[
        list[str] | None,
        typer.Option(
            metavar="COHORT[:PART]",
            help="Hold it against another hospital's cohort; its test part when none is named. Repeatable.",
        ),
    ] = None,
    robustness: Annotated[
        bool,
        typer.Option("--robustness", help="Read a sample again under graded changes; a minute."),
    ] = False,
    neighbours: Annotated[
        bool,
        typer.Option(
            "--neighbours", help="Show the nearest training radiographs beside each mistake."
        ),
    ] = False,
    root: Annotated[
        Path | None, typer.Option(help="Where the cohort's files lie now, if they moved.")
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Replace evidence that is in the folder.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for programs.")] = False,
) -> None:
    """Measure a classifier: figures with intervals over patients, plots, and a report."""
    from hilum.cohort import load_cohort
    from hilum.evaluation import evaluate_classifier
    from hilum.evaluation.external import external_finding
    from hilum.files import check_new
    from hilum.model import load

    loaded = load_cohort(cohort, root=root)
    # The name comes from the cohort's file, which may be somebody else's.
    name = re.sub(r"[^\w-]+", "_", loaded.name)
    folder = output or model.parent / f"evidence-{name}-{part}"
    check_new(folder / "metrics.json", force=force)
    elsewhere = [cohort_part(text, Part.TEST) for text in external or []]
    evidence = evaluate_classifier(
        load(model),
        loaded,
        part,
        folder,
        operating_point=operating_point,
        prevalences=prevalence or [],
        external=[(load_cohort(path), part) for path, part in elsewhere],
        robustness=robustness,
        neighbours=neighbours,
        command=command_line(),
        stage=lambda name: progress(name, quiet=as_json),
    )
    if as_json:
        emit_json(evidence.model_dump(mode="json"))
        return
    print_figures(evidence.model_dump(mode="json"))
    for other in evidence.external:
        note(external_finding(other))
    if evidence.robustness:
        note(evidence.robustness.in_words)
    note(f"{folder / 'report.html'}\n{folder / 'metrics.json'}\n{folder / 'predictions.csv'}")
    research_use()
