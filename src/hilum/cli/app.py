"""The `hilum` command: its groups, and how it ends.

Exit status: 0 done; 1 ran, and the answer is bad; 2 asked wrongly; 130 interrupted.
"""

import sys
from typing import Annotated

import typer

from hilum._version import __version__
from hilum.cli import (
    cohort,
    compare,
    demo,
    evaluate,
    explain,
    model,
    recipe,
    reproduce,
    screen,
    train,
    tune,
)
from hilum.cli.console import err
from hilum.errors import HilumError
from hilum.findings import RESEARCH_USE

__all__ = ["app", "main"]

_INTERRUPTED = 130  # how typer ends a command at Ctrl-C

app = typer.Typer(
    name="hilum",
    help=f"Reads chest radiographs for pneumonia, and shows whether the reading can be trusted.\n\n"
    f"{RESEARCH_USE}",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("demo")(demo.demo)
app.add_typer(cohort.app, name="cohort")
app.add_typer(recipe.app, name="recipe")
app.command("train")(train.train)
app.command("tune")(tune.tune)
app.command("reproduce")(reproduce.reproduce)
app.command("evaluate")(evaluate.evaluate)
app.command("compare")(compare.compare)
app.command("screen")(screen.screen)
app.command("explain")(explain.explain)
app.add_typer(model.app, name="model")


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"hilum {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    _: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    pass


def main() -> None:
    """Run the command line; a user's mistake ends with one sentence and status 2."""
    try:
        app()
    except HilumError as error:
        err.print(f"error: {error}", markup=False, soft_wrap=True)
        sys.exit(2)
    except SystemExit as ending:
        if ending.code == _INTERRUPTED:
            err.print("interrupted", markup=False)
        raise
    except OSError as error:
        # What no command foresaw: a folder without permission, a full disk, a name too long.
        where = f"{error.filename}: " if error.filename else ""
        err.print(f"error: {where}{error.strerror or error}", markup=False, soft_wrap=True)
        sys.exit(2)
