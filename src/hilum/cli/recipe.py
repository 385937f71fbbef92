"""`hilum recipe`: list, show, start and judge recipes."""

from pathlib import Path
from typing import Annotated, Any

import typer

from hilum.cli.console import emit_json, note, out, table

__all__ = ["app"]

app = typer.Typer(
    help="Recipes: list, show, start your own, draw its augmentation.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
JsonFlag = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]
RecipeName = Annotated[
    str, typer.Argument(metavar="RECIPE", help="Name of a recipe, or a TOML file.")
]


@app.command("list")
def list_recipes(as_json: JsonFlag = False) -> None:
    """List the recipes that come with hilum."""
    from hilum.training import load_recipe, shipped_recipes

    recipes = [load_recipe(name) for name in shipped_recipes()]
    if as_json:
        emit_json([recipe.model_dump(mode="json") for recipe in recipes])
        return
    table(
        "recipes (train one with: hilum train NAME --cohort C --output DIR)",
        ["name", "task", "what", "source"],
        [
            (r.name, r.task, r.about, f"{r.source.project}: {r.source.system}" if r.source else "")
            for r in recipes
        ],
    )


@app.command()
def show(recipe: RecipeName, as_json: JsonFlag = False) -> None:
    """Show a recipe as it is written; with --json, with every default filled in."""
    from hilum.training import load_recipe
    from hilum.training.recipe import recipe_path

    loaded = load_recipe(recipe)
    if as_json:
        emit_json(loaded.model_dump(mode="json"))
        return
    out.print(recipe_path(recipe).read_text(encoding="utf-8"), markup=False, soft_wrap=True, end="")


@app.command()
def new(
    name: Annotated[str, typer.Argument(help="Of the new recipe.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="The TOML file to write.")],
    like: Annotated[str, typer.Option(help="The recipe to start from.")] = "two-stage",
    force: Annotated[bool, typer.Option("--force", help="Replace a file that is there.")] = False,
) -> None:
    """Write a recipe of your own, as a copy of another with its comments."""
    from hilum.files import check_new, write_text
    from hilum.training.recipe import copied_recipe

    check_new(output, force=force)
    text = copied_recipe(like, name)
    write_text(output, text)
    note(f"{output}: edit it, check it with `hilum recipe show {output}`, and train it")


@app.command()
def sheet(
    recipe: RecipeName,
    cohort: Annotated[Path, typer.Option("--cohort", "-c", help="A cohort's Parquet table.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="The PNG to write.")],
    count: Annotated[int, typer.Option(min=1, max=12, help="How many radiographs.")] = 4,
    root: Annotated[
        Path | None, typer.Option(help="Where the cohort's files lie now, if they moved.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Which radiographs and draws.")] = 0,
    force: Annotated[bool, typer.Option("--force", help="Replace a file that is there.")] = False,
) -> None:
    """Draw what a recipe's augmentation does to radiographs, so that a person can judge it."""
    import numpy as np

    from hilum.cohort import load_cohort
    from hilum.errors import MissingExtraError, RecipeError
    from hilum.files import check_new
    from hilum.findings import Part
    from hilum.imaging import read, squash
    from hilum.networks import network_spec
    from hilum.training import load_recipe
    from hilum.training.recipe import StagedRecipe

    check_new(output, force=force)
    loaded = load_recipe(recipe)
    if not isinstance(loaded, StagedRecipe):
        raise RecipeError(f"{loaded.name} augments nothing; choose a recipe trained in stages")
    try:
        from hilum.training.sheet import draw_sheet
    except ModuleNotFoundError as error:
        raise MissingExtraError("drawing an augmentation", "train") from error
    chosen = load_cohort(cohort, root=root).part(Part.TRAIN)
    side = loaded.network.size or network_spec(loaded.network.name).size or 224
    files: list[Any] = chosen.files()
    rows = np.random.default_rng(seed).permutation(len(files))[:count]
    pixels = np.stack([squash(read(files[row], min_side=side), side) for row in rows])
    draw_sheet(
        pixels, loaded.augmentation, output, seed=seed, name=loaded.name, phantom=chosen.phantom
    )
    note(str(output))
