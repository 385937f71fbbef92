"""`hilum demo`: the main job from folder to report, in about a minute."""

import time
from pathlib import Path
from typing import Annotated

import typer

from hilum.cli.cohort import print_audit
from hilum.cli.console import command_line, note, out, progress, research_use, table
from hilum.cli.train import print_figures
from hilum.errors import UsageError

__all__ = ["demo"]

_PHANTOM_PATIENTS = 240


def demo(
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Folder for everything that the demo makes.")
    ] = Path("demo"),
    data: Annotated[
        Path | None,
        typer.Option(
            envvar="HILUM_DATA",
            help="Folder of real radiographs; without one, phantoms are drawn.",
        ),
    ] = None,
) -> None:
    """Run the whole flow: build, audit, train `instant`, evaluate, screen a DICOM radiograph.

    On real radiographs where HILUM_DATA, --data or a fetched cohort has some; else on drawn
    phantoms, and every result says so.
    """
    from hilum.audit.table import audit_cohort
    from hilum.cohort.build import BuildOptions, build_cohort
    from hilum.cohort.phantom import write_phantoms
    from hilum.cohort.split import split_parts
    from hilum.demo import example_radiograph, find_demo_data
    from hilum.evaluation import evaluate_classifier
    from hilum.findings import Part
    from hilum.model import load
    from hilum.screening import find_inputs, screen
    from hilum.screening.overlays import write_overlay
    from hilum.training import load_recipe, train

    start = time.perf_counter()
    found = find_demo_data(data)
    folder = found.folder
    if folder is None:
        folder = output / "phantoms"
        note(
            "No real radiographs: the demo draws PHANTOMS. Its results show that hilum works and "
            "say nothing of patients. For real ones: hilum cohort fetch pneumoniamnist, or set "
            "HILUM_DATA."
        )
        with progress("drawing phantoms") as advance:
            write_phantoms(folder, patients=_PHANTOM_PATIENTS, seed=0, progress=advance)

    with progress("building the cohort") as advance:
        cohort, _ = build_cohort(
            folder, BuildOptions(patients=found.patients, command=command_line()), advance
        )
    if str(Part.VALIDATION) not in set(cohort.table["part"]):
        has_test = str(Part.TEST) in set(cohort.table["part"])
        cohort = split_parts(cohort, validation=0.15, test=0.0 if has_test else 0.2)
    cohort_path = output / "cohort.parquet"
    cohort.save(cohort_path)
    table(
        f"cohort {cohort.name}" + (" (DRAWN PHANTOMS)" if cohort.phantom else ""),
        ["part", "finding", "radiographs", "patients"],
        cohort.readable.count("part", "finding").rows(),
    )
    print_audit(audit_cohort(cohort))

    result = train(
        load_recipe("instant"), cohort, output / "run", command=command_line(), stage=progress
    )
    print_figures(result.model.evidence)

    classifier = load(result.path)
    evidence = evaluate_classifier(
        classifier, cohort, Part.TEST, output / "evidence", command=command_line()
    )
    print_figures(evidence.model_dump(mode="json"))

    overlay = None
    try:
        example = example_radiograph()
    except UsageError as error:
        note(f"No DICOM radiograph is screened: {error}")
    else:
        for item in screen(classifier, find_inputs([str(example)]), pictures=True):
            reading = item.reading
            if reading and item.picture is not None and reading.probability is not None:
                overlay = write_overlay(
                    output / "overlays",
                    1,
                    item.name,
                    item.picture,
                    reading,
                    classifier.file.saliency.scale,
                )
                out.print(
                    f"{example.name}, a real chest CR of an adult: probability "
                    f"{reading.probability:.3f}, {reading.decision}. The classifier learned from "
                    f"{'drawn phantoms' if cohort.phantom else 'young children'}, so this shows "
                    "that DICOM is read, not what the adult has.",
                    markup=False,
                    soft_wrap=True,
                )
            else:
                note(f"{example.name}: {item.reason}")
    table(
        f"done in {time.perf_counter() - start:.0f} s",
        ["what", "where"],
        [
            ("cohort", cohort_path),
            ("classifier", result.path),
            ("report", output / "evidence" / "report.html"),
            ("figures", output / "evidence" / "metrics.json"),
            ("heat map", overlay),
        ],
    )
    research_use()
