"""`hilum cohort`: build, split, audit, show, fetch, and draw phantoms."""

from pathlib import Path
from typing import Annotated

import typer

from hilum.cli.audit import print_audit
from hilum.cli.console import command_line, emit_json, note, out, progress, research_use, table
from hilum.errors import CohortError, UsageError
from hilum.files import check_new, ensure_folder
from hilum.findings import Finding, Part

__all__ = ["app", "print_audit"]

app = typer.Typer(
    help="Labelled radiographs: build, split, audit, fetch.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

JsonFlag = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]
CohortFile = Annotated[Path, typer.Argument(metavar="COHORT", help="A cohort's Parquet table.")]
Output = Annotated[Path, typer.Option("--output", "-o", help="The Parquet table to write.")]
Force = Annotated[bool, typer.Option("--force", help="Replace the table if it exists.")]
Seed = Annotated[int, typer.Option(min=0, help="Seed of the shuffle.")]

_SHORT_FINDINGS = {
    "normal": Finding.NORMAL,
    "bacterial": Finding.BACTERIAL,
    "viral": Finding.VIRAL,
    "pneumonia": Finding.PNEUMONIA,
}


def _check_output(path: Path, force: bool) -> None:
    """Refuse what cannot or must not be written before the work starts."""
    if path.suffix != ".parquet":
        raise UsageError(f"a cohort is a Parquet table; let {path} end in .parquet")
    check_new(path, force=force)
    ensure_folder(path.parent)


def _pairs(options: list[str], flag: str) -> dict[str, str]:
    pairs = {}
    for option in options:
        left, equals, right = option.partition("=")
        if not (left and equals and right):
            raise UsageError(f"{flag} {option} is not understood; write {flag} NAME=VALUE")
        pairs[left] = right
    return pairs


def _findings(options: list[str]) -> dict[str, Finding]:
    pairs = _pairs(options, "--finding")
    if odd := [value for value in pairs.values() if value not in _SHORT_FINDINGS]:
        raise UsageError(f"'{odd[0]}' is no finding; use {', '.join(_SHORT_FINDINGS)}")
    return {name: _SHORT_FINDINGS[value] for name, value in pairs.items()}


@app.command()
def build(
    source: Annotated[
        Path, typer.Argument(help="A folder with class folders, or a CSV table.", metavar="DIR|CSV")
    ],
    output: Output,
    patients: Annotated[
        str,
        typer.Option(
            help="How to tell patients apart: auto, guangzhou, phantom, each (unknown), dicom, "
            "or regex:EXPRESSION with a group (?P<patient>...)."
        ),
    ] = "auto",
    finding: Annotated[
        list[str] | None,
        typer.Option(help="What a class name means, such as Sick=pneumonia; repeat as needed."),
    ] = None,
    column: Annotated[
        list[str] | None,
        typer.Option(
            help="Which CSV column is path, finding, patient, part, source, view, age, sex or scanner."
        ),
    ] = None,
    root: Annotated[
        Path | None, typer.Option(help="Folder that a CSV's paths are relative to.")
    ] = None,
    part: Annotated[
        Part, typer.Option(help="Part of radiographs that no folder or column gives one.")
    ] = Part.TRAIN,
    validation: Annotated[
        float,
        typer.Option(
            min=0.0,
            max=0.9,
            help="Share of the train part for a validation part, by patient, where there is none; "
            "0 for none.",
        ),
    ] = 0.15,
    seed: Seed = 0,
    name: Annotated[str | None, typer.Option(help="Name of the cohort.")] = None,
    force: Force = False,
    as_json: JsonFlag = False,
) -> None:
    """Make a cohort: one row per radiograph with its patient, finding and part.

    Files that cannot be read stay in the table with the reason; then the exit status is 1.
    """
    from hilum.cohort.build import BuildOptions, build_cohort
    from hilum.cohort.split import split_parts

    options = BuildOptions(
        patients=patients,
        part=part,
        findings=_findings(finding or []),
        columns=_pairs(column or [], "--column"),
        root=root,
        name=name,
        command=command_line(),
    )
    _check_output(output, force)
    with progress("reading", quiet=as_json) as advance:
        cohort, ignored = build_cohort(source, options, advance)
    parts = set(cohort.readable.table["part"])
    if validation and str(Part.TRAIN) in parts and str(Part.VALIDATION) not in parts:
        try:
            cohort = split_parts(cohort, validation=validation, seed=seed)
        except CohortError as error:
            note(f"no validation part was made: {error}")
    cohort.save(output)
    for folder in ignored:
        note(f"left alone: {folder} (its name is neither a part nor a finding)")
    _show(output, as_json)
    if cohort.unreadable.height:
        raise typer.Exit(1)


@app.command()
def split(
    cohort_file: CohortFile,
    output: Output,
    validation: Annotated[float, typer.Option(help="Share for validation.")] = 0.15,
    test: Annotated[float, typer.Option(help="Share for a new test part.")] = 0.0,
    folds: Annotated[
        int | None,
        typer.Option(help="Number the train part with folds for a cross-validation of your own."),
    ] = None,
    anew: Annotated[
        bool, typer.Option("--all", help="Forget today's parts, the test part included.")
    ] = False,
    force: Force = False,
    seed: Seed = 0,
    as_json: JsonFlag = False,
) -> None:
    """Split a cohort by patient, stratified by finding; nobody is on both sides."""
    from hilum.cohort import load_cohort
    from hilum.cohort.split import split_folds, split_parts

    if folds is not None and (test or anew):
        raise UsageError("--folds moves nobody, so it goes with neither --test nor --all")
    _check_output(output, force)
    cohort = load_cohort(cohort_file)
    if folds is not None:
        result = split_folds(cohort, k=folds, seed=seed)
    else:
        result = split_parts(cohort, validation=validation, test=test, seed=seed, anew=anew)
    result.save(output)
    _show(output, as_json)


@app.command()
def show(cohort_file: CohortFile, as_json: JsonFlag = False) -> None:
    """Show a cohort's parts, findings and unreadable files."""
    _show(cohort_file, as_json)


def _show(path: Path, as_json: bool) -> None:
    from hilum.cohort import load_cohort

    cohort = load_cohort(path)
    counts = cohort.readable.count("part", "finding")
    unreadable = cohort.unreadable
    if as_json:
        emit_json(
            {
                "cohort": str(path),
                "name": cohort.name,
                "sha256": cohort.digest(),
                "phantom": cohort.phantom,
                "patients_from": cohort.patients_from,
                "radiographs": len(cohort.readable),
                "counts": counts.to_dicts(),
                "unreadable": unreadable.to_dicts(),
            }
        )
        return
    kind = "drawn phantoms, no real radiographs" if cohort.phantom else "radiographs"
    table(
        f"{cohort.name}: {len(cohort.readable)} {kind}",
        ["part", "finding", "radiographs", "patients"],
        counts.rows(),
    )
    if unreadable.height:
        table("unreadable", ["file", "reason"], unreadable.rows())
    note(f"{path}  sha256 {cohort.digest()[:16]}  patients from {cohort.patients_from}")


@app.command()
def describe(
    cohort_file: CohortFile,
    output: Annotated[
        Path,
        typer.Option("--output", "-o", help="Folder for description.json and description.html."),
    ],
    root: Annotated[
        Path | None, typer.Option(help="Where the cohort's files lie now, if they moved.")
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Replace the description if it exists.")
    ] = False,
    as_json: JsonFlag = False,
) -> None:
    """Describe a cohort: balance, patients, sizes, grey levels, mean pictures and examples."""
    from hilum.audit.description import describe_cohort
    from hilum.cohort import load_cohort

    check_new(output / "description.json", force=force)
    cohort = load_cohort(cohort_file, root=root)
    with progress("reading", quiet=as_json) as advance:
        found = describe_cohort(cohort, output, command=command_line(), progress=advance)
    if as_json:
        emit_json(found.model_dump(mode="json"))
        return
    table(
        f"{found.cohort_name}: {found.radiographs} radiographs of {found.patients} patients",
        ["part", "finding", "radiographs", "patients", "rows", "columns", "mean grey"],
        [
            (g.part, g.finding, g.radiographs, g.patients, f"{g.rows.median:.0f}",
             f"{g.columns.median:.0f}", f"{g.brightness.median:.0f}")
            for g in found.groups
        ],
    )  # fmt: skip
    note(str(output / "description.html"))


@app.command()
def audit(
    cohort_file: CohortFile,
    against: Annotated[
        Path | None,
        typer.Option(metavar="COHORT", help="Another cohort: how far its radiographs differ."),
    ] = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="Look at the table alone, not at the pictures.")
    ] = False,
    root: Annotated[
        Path | None, typer.Option(help="Where the cohort's files lie now, if they moved.")
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """Hunt leaks, copies, wrong findings, odd pictures, shortcuts and shift; status 1 when serious."""
    from hilum.cli.audit import print_found, run_audit
    from hilum.cohort import load_cohort

    if quick and against:
        raise UsageError("--quick looks at no picture, so it goes without --against")
    cohort = load_cohort(cohort_file, root=root)
    other = load_cohort(against) if against else None
    found = run_audit(cohort, other, quick=quick, quiet=as_json)
    if as_json:
        emit_json(found.document())
    else:
        print_found(found)
    for error in found.gone:
        raise CohortError(
            f"pictures were not looked at: {error} (--quick leaves them out)"
        ) from error
    if found.serious:
        raise typer.Exit(1)


@app.command()
def fetch(
    name: Annotated[str, typer.Argument(help="kermany, kaggle, pneumoniamnist or rsna.")],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Folder; ./NAME when not given.")
    ] = None,
    size: Annotated[
        int | None, typer.Option(help="Of pneumoniamnist: 28, 64, 128 or 224 (the default).")
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """Download a public data set, with its licence shown, its digest checked, and resume."""
    from hilum.cohort import fetch as fetching

    about = fetching.describe(name, size=size)
    note(f"{about.title} ({about.size})\nLicence: {about.licence}\nCite: {about.citation}")
    with progress("downloading", quiet=as_json) as advance:
        fetched = fetching.fetch(about, output or Path(name), progress=advance, unpacking=advance)
    if as_json:
        emit_json({"name": name, "source": str(fetched.source), "next": fetched.hint})
    else:
        out.print(f"{fetched.source}\n{fetched.hint}", markup=False, soft_wrap=True)


@app.command()
def phantom(
    folder: Annotated[Path, typer.Argument(help="Folder to write.")],
    patients: Annotated[int, typer.Option(min=8, help="How many patients to draw.")] = 200,
    seed: Seed = 0,
    as_json: JsonFlag = False,
) -> None:
    """Draw phantoms: chest radiographs with opacities whose place is known. Never real results."""
    from hilum.cohort.phantom import write_phantoms

    with progress("drawing", quiet=as_json) as advance:
        count = write_phantoms(folder, patients=patients, seed=seed, progress=advance)
    if as_json:
        emit_json({"folder": str(folder), "radiographs": count})
    else:
        out.print(f"{count} phantoms in {folder}", markup=False, soft_wrap=True)
        research_use()
