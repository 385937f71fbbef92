"""`hilum compare`: several classifiers on the same radiographs."""

from pathlib import Path
from typing import Annotated

import typer

from hilum.cli.console import command_line, emit_json, note, progress, research_use, table
from hilum.errors import UsageError
from hilum.findings import Part

__all__ = ["compare"]


def compare(
    models: Annotated[
        list[Path], typer.Argument(metavar="MODEL...", help="Two .hilum files or more.")
    ],
    cohort: Annotated[Path, typer.Option("--cohort", "-c", help="A cohort's Parquet table.")],
    output: Annotated[
        Path,
        typer.Option(
            "--output", "-o", help="Folder for comparison.json, comparison.html, disagreements.csv."
        ),
    ],
    part: Annotated[
        Part, typer.Option(help="Which part; opening test is counted for each classifier.")
    ] = Part.VALIDATION,
    operating_point: Annotated[
        str | None,
        typer.Option(help="Name of an operating point; each one's default when not given."),
    ] = None,
    root: Annotated[
        Path | None, typer.Option(help="Where the cohort's files lie now, if they moved.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace what is in the folder.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for programs.")] = False,
) -> None:
    """Say whether classifiers differ or chance can explain it, and on which radiographs."""
    from hilum.cohort import load_cohort
    from hilum.evaluation.comparing import compare_classifiers, difference_in_words
    from hilum.evaluation.figures import FigureName
    from hilum.evaluation.wording import brief
    from hilum.files import check_new
    from hilum.model import load

    for name in ("comparison.json", "comparison.html", "disagreements.csv"):
        check_new(output / name, force=force)
    loaded = load_cohort(cohort, root=root)
    classifiers = dict(zip(_names(models), map(load, models), strict=True))
    with progress("reading", quiet=as_json) as advance:
        found = compare_classifiers(
            classifiers,
            loaded,
            part,
            output,
            operating_point=operating_point,
            command=command_line(),
            progress=advance,
        )
    if as_json:
        emit_json(found.model_dump(mode="json"))
        return
    figures = (FigureName.AUC, FigureName.SENSITIVITY, FigureName.SPECIFICITY)
    table(
        f"{found.radiographs} radiographs of {found.patients} patients, {found.part} part",
        ["classifier", "operating point", *(str(name) for name in figures)],
        [
            (each.name, each.operating_point, *(brief(each.figures[f]) for f in figures))
            for each in found.contenders
        ],
    )
    table(
        "differences, second less first",
        ["first", "second", "figure", "difference", "p", "corrected"],
        [
            (
                each.first,
                each.second,
                str(each.figure),
                difference_in_words(each),
                "" if each.p is None else f"{each.p:.3g}",
                "" if each.p_corrected is None else f"{each.p_corrected:.3g}",
            )
            for each in found.differences
        ],
    )
    note("\n".join(str(output / name) for name in ("comparison.html", "disagreements.csv")))
    research_use()


def _names(models: list[Path]) -> list[str]:
    """Call each classifier by the shortest end of its path that tells it from the others."""
    ends = [Path(str(path.resolve()).removesuffix(".hilum")) for path in models]
    whole = [path.parts for path in ends]
    if len(set(whole)) != len(whole):
        raise UsageError("the same classifier is named twice; leave one out")
    for depth in range(1, max(map(len, whole)) + 1):
        names = ["/".join(parts[-depth:]) for parts in whole]
        if len(set(names)) == len(names):
            break
    # Where all end in the same name, such as "model", it says nothing.
    last = {name.rsplit("/", 1)[-1] for name in names}
    if depth > 1 and len(last) == 1:
        names = [name.rsplit("/", 1)[0] for name in names]
    return names
