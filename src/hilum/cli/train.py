"""`hilum train`: a recipe and a cohort become a classifier."""

from pathlib import Path
from typing import Annotated, Any

import typer

from hilum.cli.console import command_line, emit_json, note, progress, research_use, table
from hilum.findings import Task

__all__ = ["print_figures", "train"]


def train(
    recipe: Annotated[str, typer.Argument(help="Name of a recipe, or a TOML file.")],
    cohort: Annotated[Path, typer.Option("--cohort", "-c", help="A cohort's Parquet table.")],
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Folder for model.hilum and recipe.json.")
    ],
    task: Annotated[Task | None, typer.Option(help="Instead of the recipe's task.")] = None,
    aim: Annotated[
        list[str] | None,
        typer.Option(
            help="Aim of an operating point, instead of the recipe's; repeat for more. "
            "The forms: sensitivity>=S, specificity>=S, probability>=P, youden."
        ),
    ] = None,
    root: Annotated[
        Path | None, typer.Option(help="Where the cohort's files lie now, if they moved.")
    ] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Instead of the recipe's seed.")] = None,
    weights: Annotated[
        str | None,
        typer.Option(
            help="Starting weights instead of the recipe's: imagenet, random, or a .safetensors or "
            ".hilum file."
        ),
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="PATH=VALUE",
            help="Change a field of the recipe, such as stages.0.epochs=3; repeat for more.",
        ),
    ] = None,
    force: Annotated[
        bool,
        typer.Option(
            "--force", help="Replace a classifier, or an unfinished training, in the folder."
        ),
    ] = False,
    devices: Annotated[
        int | None,
        typer.Option(min=1, help="Workers on this machine: one for each GPU, or processes."),
    ] = None,
    nodes: Annotated[
        int | None,
        typer.Option(min=1, help="Machines that train together; give each the same command."),
    ] = None,
    ray_workers: Annotated[
        int | None, typer.Option(min=1, help="Workers on a Ray cluster, or on Ray here.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for programs.")] = False,
) -> None:
    """Train a classifier: the validation part calibrates and chooses, the test part stays shut.

    A training in stages that was interrupted goes on when the same command is given again.
    """
    from hilum.cohort import load_cohort
    from hilum.files import check_new
    from hilum.training import load_recipe, parse_setting
    from hilum.training.launch import train_in_workers
    from hilum.training.workers import one_voice, this_worker

    worker = this_worker()
    with one_voice(worker, lambda text: note(f"error: {text}")):
        check_new(output / "model.hilum", force=force)
        changes = dict(parse_setting(text) for text in settings or [])
        if weights:
            changes["network.weights"] = weights
        changed = load_recipe(recipe).changed(
            changes,
            task=str(task) if task else None,
            seed=seed,
            operating_point={"aims": aim} if aim else None,
        )
        result = train_in_workers(
            changed,
            load_cohort(cohort, root=root),
            output,
            devices=devices,
            nodes=nodes,
            ray_workers=ray_workers,
            command=command_line(),
            stage=lambda name: progress(name, quiet=as_json or not worker.is_first),
            anew=force,
        )
    if result is None:
        return
    if as_json:
        emit_json(
            {
                "model": str(result.path),
                "sha256": result.sha256,
                "seconds": result.seconds,
                "evidence": result.model.evidence,
            }
        )
        return
    print_figures(result.model.evidence)
    spent = ", ".join(f"{name} {seconds:.1f} s" for name, seconds in result.seconds.items())
    note(f"{result.path}  sha256 {result.sha256[:16]}  ({spent})")
    research_use()


def print_figures(evidence: dict[str, Any]) -> None:
    """Print the figures of an evidence document for people."""
    measured = evidence["operating_point"]
    part = evidence["part"]
    kind = "DRAWN PHANTOMS, " if evidence["phantom"] else ""
    table(
        f"{part}: {kind}{evidence['radiographs']} radiographs of {evidence['patients']} patients, "
        f"operating point {measured['point']['name']} "
        f"(threshold {measured['point']['threshold']:.3f})",
        ["figure", "value", "95 % interval"],
        [
            (f"{name}{suffix}", _value(figure), _interval(figure))
            for group, suffix in (
                (evidence["figures"], ""),
                (measured["figures"], ""),
                (evidence["overall"], ", all classes"),
            )
            for name, figure in group.items()
        ],
    )
    if evidence.get("test_openings"):
        note(f"this test part was opened {evidence['test_openings']} times on this machine")


def _value(figure: dict[str, Any]) -> str:
    return figure["reason"] if figure["value"] is None else f"{figure['value']:.3f}"


def _interval(figure: dict[str, Any]) -> str:
    interval = figure["interval"]
    return f"{interval['lower']:.3f} to {interval['upper']:.3f}" if interval else "none"
