"""The model card in a `.hilum` file: what it is for, what it learned from, what it is worth.

The sections follow Mitchell et al., "Model Cards for Model Reporting", FAT* 2019.
"""

from typing import Any

from hilum.findings import RESEARCH_USE
from hilum.model import ModelFile

__all__ = ["write_card"]


def write_card(model: ModelFile) -> str:
    """Return the card as Markdown, from the documents of the file alone."""
    origin, evidence = model.provenance, model.evidence
    point = evidence["operating_point"]
    counts = ", ".join(
        f"{origin.radiographs[part]} {part} ({origin.patients[part]} patients)"
        for part in origin.radiographs
    )
    return "\n".join(
        [
            f"# {origin.recipe['name']}: {', '.join(model.labels.findings)}",
            "",
            f"**{RESEARCH_USE}**",
            "",
            *(["**Trained on drawn phantoms: it says nothing of patients.**", ""] * origin.phantom),
            "## Intended use",
            "",
            "Research and teaching on frontal chest radiographs like those it was trained on. Not "
            "for diagnosis, and not for other ages, machines or views without evidence there.",
            "",
            "## Data",
            "",
            f"Cohort {origin.cohort_name} (SHA-256 {origin.cohort_sha256}): {counts}. "
            "Train and validation share no patient and no file. "
            f"{sum(origin.left_out.values())} radiographs were left out because the task has no "
            "place for their finding. Before this training the cohort's test part had "
            f"been opened {origin.test_openings} times on the machine that trained it.",
            "",
            "## Recipe",
            "",
            f"{origin.recipe['about']} Starting weights: {origin.network_weights}. "
            f"Seed {origin.seed}. Made by hilum {origin.hilum_version}, {origin.created}: "
            f"`{origin.command}`",
            "",
            *_stages(origin.recipe.get("chosen", {})),
            f"## Figures on the {evidence['part']} part",
            "",
            f"{evidence['radiographs']} radiographs of {evidence['patients']} patients. The operating "
            f"point {point['point']['name']} (threshold {point['point']['threshold']:.4f}) was chosen "
            "on these same radiographs, so its rates are optimistic.",
            "",
            "| figure | value | 95 % interval |",
            "|---|---|---|",
            *(
                _row(name, figure)
                for group in (evidence["figures"], point["figures"])
                for name, figure in group.items()
            ),
            "",
            "## Limits",
            "",
            "Figures on the part that chose the threshold do not carry over to other hospitals, and "
            "on the Guangzhou set not even to its own test folder. PPV and NPV hold only at the "
            "prevalence of the part. The heat map shows a region, not an outline.",
            "",
        ]
    )


def _stages(chosen: dict[str, Any]) -> list[str]:
    """Say what each stage of a staged training did; nothing for other recipes."""
    stages = chosen.get("stages", [])
    lines = [
        f"- {stage['name']}: {stage['trained_parameters']:,} of {chosen['parameters']:,} weights, "
        f"{stage['epochs']} epochs, kept the weights of epoch {stage['kept_epoch']}"
        for stage in stages
    ]
    return ["Stages:", "", *lines, ""] if lines else []


def _row(name: str, figure: dict[str, Any]) -> str:
    if figure["value"] is None:
        return f"| {name} | {figure['reason']} | |"
    interval = figure["interval"]
    limits = f"{interval['lower']:.3f} to {interval['upper']:.3f}" if interval else "none"
    return f"| {name} | {figure['value']:.3f} | {limits} |"
