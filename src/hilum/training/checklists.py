"""What a `.hilum` file answers of two published checklists for reporting such work, item by item.

TRIPOD+AI (Collins et al., BMJ 2024;385:e078378) and CLAIM 2024 (Tejani et al., Radiology: Artificial
Intelligence 2024;6:e240300). The topics are named here in hilum's own words; the numbers lead to the
published text. An item that the file knows nothing of is said to be not answered, and one that it knows
a part of to be answered in part, so that whoever publishes sees what is left to write.
"""

from dataclasses import dataclass
from typing import Any, Final

from hilum.findings import Part
from hilum.model import ModelFile

__all__ = ["CLAIM", "IN_PART", "NOT_ANSWERED", "TRIPOD_AI", "Item", "answered"]

NOT_ANSWERED: Final = "not answered"
IN_PART: Final = "In part: "  # how such an answer begins


@dataclass(frozen=True, slots=True)
class Item:
    """One item of a checklist, with where its answer comes from."""

    number: str
    topic: str
    fact: str | None = None  # key of what `_facts` says; None where a file cannot know


# Left out, because they are about an article and not about a classifier: 1, 2, 9c.
TRIPOD_AI: Final = (
    Item("3a", "Why a classifier, and what exists"),
    Item("3b", "For whom, where in care, used by whom", "use"),
    Item("3c", "Known inequalities in health"),
    Item("4", "Aim of the work", "aim"),
    Item("5a", "Where the radiographs come from", "source"),
    Item("5b", "When they were taken"),
    Item("6a", "Kind of care, number and place of centres"),
    Item("6b", "Who could take part", "eligible"),
    Item("6c", "Treatments received"),
    Item("7", "Preparation and checks of the radiographs", "preparation"),
    Item("8a", "What is predicted, and how it was established", "outcome"),
    Item("8b", "Who established it"),
    Item("8c", "What they were blinded to"),
    Item("9a", "Choice of what is predicted from", "predictors"),
    Item("9b", "Definition of what is predicted from", "preparation"),
    Item("10", "Why this many", "size"),
    Item("11", "What is missing", "missing"),
    Item("12a", "How the radiographs were used", "parts"),
    Item("12b", "How inputs enter the network", "preparation"),
    Item("12c", "The network, how it was built and checked", "training"),
    Item("12d", "Differences between centres"),
    Item("12e", "Measures of performance", "measures"),
    Item("12f", "Changes after evaluation", "updating"),
    Item("12g", "How probabilities are computed", "prediction"),
    Item("13", "Imbalance of the findings", "balance"),
    Item("14", "Fairness"),
    Item("15", "What comes out, and the thresholds", "points"),
    Item("16", "How evaluation and training radiographs differ", "difference"),
    Item("17", "Approval by an ethics committee"),
    Item("18a", "Funding"),
    Item("18b", "Conflicts of interest"),
    Item("18c", "Protocol"),
    Item("18d", "Registration"),
    Item("18e", "Availability of the radiographs"),
    Item("18f", "Availability of the program", "program"),
    Item("19", "Part that patients and public had"),
    Item("20a", "Numbers through the work", "flow"),
    Item("20b", "Who the patients are"),
    Item("20c", "How evaluation and training patients compare"),
    Item("21", "Numbers in each analysis", "analysed"),
    Item("22", "The whole classifier, for others to use", "prediction"),
    Item("23a", "Performance with intervals", "performance"),
    Item("23b", "Performance by centre"),
    Item("24", "Results of changes", "updating"),
    Item("25", "What it means"),
    Item("26", "Limits", "limits"),
    Item("27a", "Inputs that are poor or missing", "gate"),
    Item("27b", "What users must do and know"),
    Item("27c", "What comes next"),
)

# Left out for the same reason: 1, 2.
CLAIM: Final = (
    Item("3", "Background, and the part the classifier plays", "role"),
    Item("4", "Aims and hypotheses", "aim"),
    Item("5", "Looking forward or back", "backwards"),
    Item("6", "Goal", "aim"),
    Item("7", "Where the radiographs come from", "source"),
    Item("8", "Whom the work includes and excludes", "eligible"),
    Item("9", "Preparation of the radiographs", "preparation"),
    Item("10", "Subsets that were chosen", "missing"),
    Item("11", "Removal of identities", "identities"),
    Item("12", "What is missing", "missing"),
    Item("13", "How the radiographs were taken"),
    Item("14", "How the truth was established"),
    Item("15", "Why it was established so"),
    Item("16", "Who established it"),
    Item("17", "How the test part was read"),
    Item("18", "Agreement between and within readers"),
    Item("19", "How parts were made", "made"),
    Item("20", "What keeps parts apart", "apart"),
    Item("21", "Why this many", "size"),
    Item("22", "The network", "network"),
    Item("23", "Programs and libraries", "program"),
    Item("24", "Where weights started", "weights"),
    Item("25", "Training", "training"),
    Item("26", "How the final network was chosen", "selection"),
    Item("27", "Several networks together", "ensemble"),
    Item("28", "Measures of performance", "measures"),
    Item("29", "Uncertainty", "uncertainty"),
    Item("30", "Robustness"),
    Item("31", "Explanations, and whether they were checked", "explanation"),
    Item("32", "Evaluation within the cohort", "within"),
    Item("33", "Evaluation elsewhere"),
    Item("34", "Registration of a trial"),
    Item("35", "Numbers included and excluded", "flow"),
    Item("36", "Who the patients are, in each part"),
    Item("37", "Performance", "within"),
    Item("38", "Diagnostic performance with intervals", "within"),
    Item("39", "Analysis of failures"),
    Item("40", "Limits", "limits"),
    Item("41", "What it means for practice", "use"),
    Item("42", "Protocol or further detail"),
    Item("43", "Availability of program, classifier and radiographs", "availability"),
    Item("44", "Funding"),
)


def answered(checklist: tuple[Item, ...], model: ModelFile) -> list[tuple[Item, str]]:
    """Return each item with what a file answers, or `NOT_ANSWERED`."""
    facts = _facts(model)
    return [(item, facts[item.fact] if item.fact else NOT_ANSWERED) for item in checklist]


def _facts(model: ModelFile) -> dict[str, str]:
    """Say what a file knows, one short answer for each question."""
    origin, evidence = model.provenance, model.evidence
    recipe: dict[str, Any] = origin.recipe
    size = model.preprocessing.size
    findings = ", ".join(model.labels.findings)
    weights = recipe.get("chosen", {}).get("parameters")
    loss, staged = recipe.get("loss") or {}, recipe.get("kind") == "staged"
    head = (recipe.get("head") or {}).get("balance", "none")
    left_out = sum(origin.left_out.values())
    points = "; ".join(f"{p.aim}: {p.threshold:.3g}" for p in model.operating_points)
    gate = model.gate
    return {
        "use": "For research only; see Intended use",
        "role": f"{IN_PART}for research only; see Intended use",
        "aim": "To develop a classifier; figures are of the validation part",
        "source": f"{IN_PART}cohort {origin.cohort_name}, named by its digest",
        "eligible": "Every readable radiograph of the cohort whose finding the task can place",
        "preparation": f"Each radiograph to {size} by {size} grey levels by area averaging, alike for all",
        "outcome": f"{IN_PART}the cohort's finding ({findings}) at the time of the radiograph",
        "predictors": "The picture alone; nothing else of the patient",
        "size": "What the cohort holds; no size was computed beforehand",
        "missing": f"Unreadable files and {left_out} radiographs whose finding has no place are left out",
        "parts": "Train is learned from; validation chooses "
        + ("epochs, calibration and thresholds" if staged else "calibration and thresholds")
        + "; test is not touched",
        "made": f"{IN_PART}as the cohort says; no patient and no file is in two parts",
        "apart": "Patients: none is in two parts, nor is any file",
        "network": f"{origin.network}" + (f", {weights:,} weights" if weights else ""),
        "training": f"{origin.network}, recipe {recipe.get('name', 'unnamed')} with seed "
        f"{origin.seed}, in full in provenance.json",
        "weights": origin.network_weights,
        "selection": "By the validation part, as the recipe says"
        if staged
        else "Shrinkage by cross-validation over patients of the train part",
        "ensemble": "None; one network",
        "measures": "Discrimination, calibration, rates at operating points",
        "uncertainty": f"95 % intervals by {evidence.get('replicates', 'some')} bootstrap replicates "
        "over patients",
        "updating": "None after calibration on the validation part",
        "prediction": "The network and its calibration are in this file; hilum screen runs them",
        "balance": f"Balancing: {loss['balance']}; calibrated afterwards"
        if "balance" in loss
        else f"Balancing: {head}; calibrated afterwards",
        "points": f"Calibrated probabilities. Thresholds by aim, chosen on validation: {points}",
        "difference": "Validation is of the same cohort; other hospitals were not looked at",
        "program": f"hilum {origin.hilum_version}, Apache-2.0",
        "availability": f"{IN_PART}hilum is free software (Apache-2.0)",
        "flow": _numbers(origin.radiographs, origin.patients) + f"; {left_out} left out",
        "analysed": _analysed(evidence),
        "performance": f"{IN_PART}see Figures; none by subgroup",
        "within": "See Figures",
        "limits": "See Limits",
        "gate": f"Refused below {gate.minimum_side} pixels a side, above {gate.maximum_aspect:g} to 1, "
        f"or with less contrast than {gate.minimum_contrast:g} grey levels",
        "backwards": "Looking back: the radiographs and findings were there before",
        "identities": f"{IN_PART}this file holds no picture and no identifier, only perceptual hashes",
        "explanation": "Class activation map; not checked here"
        if model.saliency.method != "none"
        else "None",
    }


def _numbers(radiographs: dict[str, int], patients: dict[str, int]) -> str:
    return ", ".join(
        f"{part}: {count} radiographs of {patients[part]} patients"
        for part, count in radiographs.items()
    )


def _analysed(evidence: dict[str, Any]) -> str:
    sizes = ", ".join(f"{each['radiographs']} {each['finding']}" for each in evidence["sizes"])
    return f"{evidence.get('part', Part.VALIDATION)}: {sizes}"
