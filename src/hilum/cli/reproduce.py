"""`hilum reproduce`: many recipes on one cohort, measured alike, in one leaderboard."""

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hilum.cli.console import command_line, emit_json, note, progress, research_use, table

if TYPE_CHECKING:
    from hilum.training.leaderboard import Leaderboard

__all__ = ["WithoutWeights", "reproduce"]


class WithoutWeights(StrEnum):
    """What becomes of a recipe whose starting weights cannot be had."""

    SKIP = "skip"
    RANDOM = "random"


def reproduce(
    cohort: Annotated[Path, typer.Option("--cohort", "-c", help="A cohort's Parquet table.")],
    output: Annotated[
        Path,
        typer.Option(
            "--output", "-o", help="Folder for the leaderboard, with one folder for each recipe."
        ),
    ],
    recipes: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="RECIPE", help="Names of recipes, or TOML files; all when none is given."
        ),
    ] = None,
    quick: Annotated[
        bool,
        typer.Option(
            "--quick", help="Few epochs on small radiographs, in the folder DIR/quick, and marked."
        ),
    ] = False,
    test: Annotated[
        bool, typer.Option("--test/--no-test", help="Open the test part once for each classifier.")
    ] = True,
    without_weights: Annotated[
        WithoutWeights,
        typer.Option(
            help="Where starting weights cannot be had: skip the recipe, or train it once, quick, "
            "from random weights, only to prove the path."
        ),
    ] = WithoutWeights.SKIP,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="PATH=VALUE",
            help="Change a field of every recipe, such as seed=1; repeat for more.",
        ),
    ] = None,
    root: Annotated[
        Path | None, typer.Option(help="Where the cohort's files lie now, if they moved.")
    ] = None,
    force: Annotated[
        bool,
        typer.Option(
            "--force",
            help="Train anew where a folder holds another recipe, cohort or version, or an "
            "unfinished training.",
        ),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for programs.")] = False,
) -> None:
    """Train recipes on one cohort, measure them alike, and rank them by validation.

    The same command goes on after an interruption; what is finished is neither trained nor measured
    again. A recipe that fails stands in the table with the reason, and the exit status is then 1.
    """
    from hilum.cohort import load_cohort
    from hilum.training import parse_setting, shipped_recipes
    from hilum.training.reproduce import Wishes
    from hilum.training.reproduce import reproduce as reproduce_recipes

    board = reproduce_recipes(
        recipes or list(shipped_recipes()),
        load_cohort(cohort, root=root),
        output,
        Wishes(
            quick=quick,
            test=test,
            random_weights=without_weights is WithoutWeights.RANDOM,
            settings=dict(parse_setting(text) for text in settings or []),
            force=force,
        ),
        command=command_line(),
        stage=lambda name: progress(name, quiet=as_json),
        tell=note,
    )
    if as_json:
        emit_json(board.model_dump(mode="json"))
    else:
        _print(board)
        note(str(output / ("quick/" if quick else "") / "leaderboard.md"))
    if any(row.failed for row in board.rows):
        raise typer.Exit(1)


def _print(board: "Leaderboard") -> None:
    from hilum.training.leaderboard import figure_cell, seconds_cell

    table(
        "; ".join([f"{board.cohort_name}, by {board.ordered_by}", *board.marks]),
        [
            "recipe",
            "AUC, validation",
            "AUC, test",
            "sensitivity, test",
            "specificity, test",
            "training",
            "failed",
        ],
        [
            (
                row.label,
                figure_cell(row.validation, "auc"),
                *(figure_cell(row.test, name) for name in ("auc", "sensitivity", "specificity")),
                seconds_cell(row.training_seconds),
                row.failed,
            )
            for row in board.rows
        ],
    )
    note(board.openings)
    research_use()
