"""`hilum model`: show and verify classifiers."""

from pathlib import Path
from typing import Annotated

import typer

from hilum.cli.console import emit_json, out, research_use, table

__all__ = ["app"]

app = typer.Typer(
    help="Classifiers as files: show, verify.", no_args_is_help=True, rich_markup_mode=None
)
ModelPath = Annotated[Path, typer.Argument(metavar="MODEL", help="A .hilum file.")]
JsonFlag = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]


@app.command()
def show(
    path: ModelPath,
    card: Annotated[bool, typer.Option("--card", help="Print its model card (Markdown).")] = False,
    as_json: JsonFlag = False,
) -> None:
    """Show what a classifier says of itself."""
    from hilum.model import load_model_file

    model = load_model_file(path)
    if card:
        out.print(model.card, markup=False, soft_wrap=True)
        return
    if as_json:
        emit_json(
            {
                "file": str(path),
                "sha256": model.sha256,
                "labels": model.labels.model_dump(mode="json"),
                "preprocessing": model.preprocessing.model_dump(mode="json"),
                "calibration": model.calibration.model_dump(mode="json"),
                "operating_points": [p.model_dump(mode="json") for p in model.operating_points],
                "gate": model.gate.model_dump(mode="json"),
                "provenance": model.provenance.model_dump(mode="json"),
                "evidence": model.evidence,
            }
        )
        return
    origin = model.provenance
    used = ", ".join(f"{count} {part}" for part, count in origin.radiographs.items())
    table(
        str(path),
        ["what", "value"],
        [
            ("findings", ", ".join(model.labels.findings)),
            ("input", f"{model.preprocessing.size} x {model.preprocessing.size} grey levels"),
            ("network", origin.network),
            ("starting weights", origin.network_weights),
            ("radiographs", used + (" (DRAWN PHANTOMS)" if origin.phantom else "")),
            ("cohort", f"{origin.cohort_name}, sha256 {origin.cohort_sha256[:16]}"),
            ("made by", f"hilum {origin.hilum_version}, {origin.created}: {origin.command}"),
            ("sha256", model.sha256),
        ],
    )
    table(
        "operating points (the first is the default)",
        ["name", "aim", "threshold", "chosen on"],
        [(p.name, p.aim, f"{p.threshold:.4f}", p.chosen_on) for p in model.operating_points],
    )
    research_use()


@app.command()
def verify(path: ModelPath, as_json: JsonFlag = False) -> None:
    """Check a classifier's digests and schema, and that its network loads; status 2 if not."""
    from hilum.model import Classifier, load_model_file

    model = load_model_file(path)
    classifier = Classifier(model)
    if as_json:
        emit_json(
            {"file": str(path), "sha256": model.sha256, "precision": classifier.network.precision}
        )
    else:
        out.print(f"{path} is whole: sha256 {model.sha256}", markup=False, soft_wrap=True)
