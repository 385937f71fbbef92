"""`hilum tune`: search the fields that a recipe declares."""

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hilum.cli.console import emit_json, note, progress, research_use, table

if TYPE_CHECKING:
    from hilum.training.tune import TuneResult

__all__ = ["tune"]

_SHOWN = 10  # of the finished trials


def tune(
    recipe: Annotated[
        str, typer.Argument(help="Name of a recipe, or a TOML file, with a table [search].")
    ],
    cohort: Annotated[Path, typer.Option("--cohort", "-c", help="A cohort's Parquet table.")],
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Folder for best.toml and what led to it.")
    ],
    trials: Annotated[
        int, typer.Option(min=1, help="In the whole study; those of earlier runs count.")
    ] = 20,
    folds: Annotated[int, typer.Option(min=2, max=20, help="Of the cross-validation.")] = 3,
    storage: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            envvar="HILUM_STORAGE",
            help="Database of the study instead of study.db in the folder, such as "
            "postgresql://USER@HOST/DATABASE, so that several machines share it.",
        ),
    ] = None,
    study: Annotated[
        str | None, typer.Option(metavar="NAME", help="Of the study; the recipe's if not given.")
    ] = None,
    jobs: Annotated[int, typer.Option("--jobs", "-j", min=1, help="Trials at once.")] = 1,
    ray: Annotated[
        bool, typer.Option("--ray", help="Run the jobs on a Ray cluster, or on Ray here.")
    ] = False,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="PATH=VALUE",
            help="Change a field of the recipe, such as stages.0.epochs=3; repeat for more.",
        ),
    ] = None,
    root: Annotated[
        Path | None, typer.Option(help="Where the cohort's files lie now, if they moved.")
    ] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Instead of the recipe's seed.")] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Forget what the study and the folder hold.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for programs.")] = False,
) -> None:
    """Search a recipe's declared fields by cross-validation inside the train part.

    The same command goes on after an interruption, and with more --trials it goes further. The
    validation and the test part stay shut.
    """
    from hilum.cohort import load_cohort
    from hilum.training import load_recipe, parse_setting
    from hilum.training.tune import TuneOptions, shown_storage
    from hilum.training.tune import tune as tune_recipe

    typed = sys.argv[1:]
    if storage is not None:
        # What is typed is written beside the results, a password not.
        public = shown_storage(storage)
        typed = [argument.replace(storage, public) for argument in typed]
    result = tune_recipe(
        load_recipe(recipe).changed(
            dict(parse_setting(text) for text in settings or []), seed=seed
        ),
        load_cohort(cohort, root=root),
        output,
        TuneOptions(
            trials=trials,
            folds=folds,
            storage=storage,
            study=study,
            jobs=jobs,
            ray=ray,
            force=force,
        ),
        command=shlex.join(["hilum", *typed]),
        stage=lambda name: progress(name, quiet=as_json),
    )
    if as_json:
        emit_json(
            {
                "best": str(result.path) if result.recipe else None,
                "monitor": result.monitor,
                "trials": [
                    {"trial": t.number, "value": t.value, "folds": t.folds, "settings": t.settings}
                    for t in result.trials
                ],
                "counts": result.counts,
            }
        )
    else:
        _print(result, output)
    if result.recipe is None:
        raise typer.Exit(1)


def _print(result: "TuneResult", output: Path) -> None:
    ended = ", ".join(f"{count} {state}" for state, count in result.counts.items() if count)
    if result.recipe is None:
        note(f"no trial was finished ({ended}); {output / 'trials.csv'} says why")
        return
    kind = "DRAWN PHANTOMS, " if result.phantom else ""
    shown = result.trials[:_SHOWN]
    table(
        f"{kind}{len(shown)} best trials by {result.monitor}, cross-validated inside the train part "
        f"({ended})",
        ["trial", result.monitor, "of each fold", *_short(list(result.trials[0].settings))],
        [
            (
                trial.number,
                f"{trial.value:.4f}",
                " ".join(f"{figure:.3f}" for figure in trial.folds),
                *(_cell(value) for value in trial.settings.values()),
            )
            for trial in shown
        ],
    )
    note(
        f"the best of {len(result.trials)} finished trials is optimistic, because it was chosen for "
        f"its figure; measure it on other radiographs: hilum train {result.path} -c COHORT -o DIR"
    )
    note(f"{result.path}, with trials.csv, importance.json and history.png beside it")
    research_use()


def _short(paths: list[str]) -> list[str]:
    """Return the last word of each path, or all of it where two have the same."""
    last = [path.rsplit(".", 1)[-1] for path in paths]
    return [word if last.count(word) == 1 else path for path, word in zip(paths, last, strict=True)]


def _cell(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
