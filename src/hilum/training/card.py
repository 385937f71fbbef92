"""The model card in a `.hilum` file: what it is for, what it learned from, what it is worth.

The sections follow Mitchell et al., "Model Cards for Model Reporting", FAT* 2019. At the end stands what
the file answers of the checklists in `hilum.training.checklists`.
"""

from typing import Any

from hilum.evaluation.figures import FigureName
from hilum.findings import RESEARCH_USE
from hilum.model import ModelFile
from hilum.training.checklists import CLAIM, IN_PART, NOT_ANSWERED, TRIPOD_AI, Item, answered

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
            "place for their finding.",
            "",
            "## How often the test part was opened",
            "",
            f"Before this training, {origin.test_openings} times on the machine that trained it; what "
            "happened on other machines is not known. The more often a test part is looked at, the less "
            "of a test it is.",
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
            f"{evidence['radiographs']} radiographs of {evidence['patients']} patients; intervals by "
            "bootstrap over patients. The operating "
            f"point {point['point']['name']} (threshold {point['point']['threshold']:.4f}) was chosen "
            "on these same radiographs, so its rates are optimistic.",
            "",
            "| Figure | Value | 95 % interval |",
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
            "## What reporting guidelines ask",
            "",
            "Answered from this file alone. What is not answered is left to whoever publishes. Items "
            "about an article rather than a classifier are left out. The numbers are those of the "
            "guidelines; the words are hilum's.",
            "",
            *_checklist("TRIPOD+AI (BMJ 2024;385:e078378)", TRIPOD_AI, model),
            *_checklist("CLAIM 2024 (Radiol Artif Intell 2024;6:e240300)", CLAIM, model),
        ]
    )


def _checklist(title: str, checklist: tuple[Item, ...], model: ModelFile) -> list[str]:
    """Return a table of a checklist's items with their answers."""
    rows = answered(checklist, model)
    known = sum(answer != NOT_ANSWERED for _, answer in rows)
    partly = sum(answer.startswith(IN_PART) for _, answer in rows)
    return [
        f"### {title}: {known} of {len(rows)} answered, {partly} of them in part",
        "",
        "| Item | About | Answer |",
        "|---|---|---|",
        *(f"| {item.number} | {item.topic} | {_cell(answer)} |" for item, answer in rows),
        "",
    ]


def _cell(text: str) -> str:
    """Return text that cannot leave its cell; names come from outside."""
    return " ".join(text.split()).replace("|", "\\|")


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
    heading = FigureName(name).heading
    if figure["value"] is None:
        return f"| {heading} | undefined | {figure['reason']} |"
    interval = figure["interval"]
    limits = (
        f"{interval['lower']:.3f} to {interval['upper']:.3f}"
        if interval
        else f"none: {figure['no_interval']}"
    )
    return f"| {heading} | {figure['value']:.3f} | {limits} |"
