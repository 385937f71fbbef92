"""`hilum explain --trial`: whether explanations hold, as a table and as JSON."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from hilum.cli.console import cohort_part, emit_json, note, progress, research_use, table
from hilum.findings import Part

if TYPE_CHECKING:
    from hilum.evaluation.figures import Figure
    from hilum.explanation.methods import Options
    from hilum.explanation.trials import ExplanationTrial
    from hilum.explanation.trials_sanity import SanityCheck

__all__ = ["TRIAL_FILE", "try_methods"]

TRIAL_FILE = "trial.json"
_ALARM = {True: "ALARM", False: "quiet", None: "undecided"}

Show = Callable[["ExplanationTrial"], "Figure | None"]
_ERASED = {
    f"{kind}, over {against}": (kind, f"over_{against}")
    for kind in ("deletion", "insertion")
    for against in ("random", "centre")
}
_PLACED = {
    f"{what}, {side.replace('_', ' ')}": (what, side)
    for what in ("pointing", "energy", "overlap")
    for side in ("found", "over_chance")
}


def try_methods(
    model: Path,
    source: str,
    methods: list[str],
    output: Path,
    *,
    finding: str,
    layer: str | None,
    options: "Options",
    shuffled: list[Path],
    number: int,
    draws: int,
    command: str,
    as_json: bool,
) -> None:
    """Put each method on trial, write `trial.json`, and print what held."""
    from hilum.cohort import load_cohort
    from hilum.evaluation.openings import record_opening
    from hilum.explanation.attempt import attempt, drawn_from
    from hilum.explanation.methods import method_named
    from hilum.explanation.target import target_of
    from hilum.files import ensure_folder, write_text
    from hilum.model import load

    for method in methods:
        method_named(method)  # a typing error in the last costs no time of the first
    path, part = cohort_part(source, Part.VALIDATION)
    classifier, others = load(model), [load(each) for each in shuffled]
    target_of(classifier.file.labels, classifier.file.calibration, finding)
    chosen = drawn_from(path, part, number, options.seed)
    ensure_folder(output)
    digest = classifier.file.sha256
    openings = None
    if part is Part.TEST and not path.is_dir():
        openings = record_opening(load_cohort(path), digest)
    trials = []
    for method in methods:
        with progress(method, quiet=as_json):
            trials.append(
                attempt(
                    method,
                    classifier,
                    chosen,
                    finding=finding,
                    layer=layer,
                    options=options,
                    shuffled=others,
                    draws=draws,
                    seed=options.seed,
                )
            )
    document = {
        "command": command,
        "classifier_sha256": digest,
        "shuffled_sha256": [each.file.sha256 for each in others],
        "cohort": chosen.name,
        "cohort_sha256": chosen.digest(),  # of the radiographs that were drawn
        "part": None if path.is_dir() else str(part),
        "test_openings": openings,
        "finding": finding,
        "layer": layer,
        "options": options.model_dump(mode="json"),
        "trials": [each.model_dump(mode="json") for each in trials],
    }
    write_text(output / TRIAL_FILE, json.dumps(document, indent=2) + "\n")
    if as_json:
        emit_json(document)
    else:
        _print(trials)
        note(str(output / TRIAL_FILE))
        research_use()


def _print(trials: "list[ExplanationTrial]") -> None:
    from hilum.evaluation.wording import brief

    rows: dict[str, Show] = {
        "like with random weights (rank)": lambda t: _last(t.random_weights),
        "like with shuffled labels (rank)": lambda t: _last(t.random_labels),
    }
    for title, (kind, against) in _ERASED.items():
        rows[title] = lambda t, k=kind, a=against: getattr(getattr(t, k), a, None)  # type: ignore[misc]
    for title, (what, side) in _PLACED.items():
        rows[title] = lambda t, w=what, s=side: getattr(getattr(t.placement, w, None), s, None)  # type: ignore[misc]
    rows["outside the thorax"] = lambda t: t.outside.share if t.outside else None
    rows["outside the thorax, flat map"] = lambda t: t.outside.chance if t.outside else None
    shown = [(row, *(_cell(show(each), brief) for each in trials)) for row, show in rows.items()]
    for part in ("random_weights", "random_labels", "deletion", "insertion"):
        results = [getattr(getattr(each, part), "result", "") for each in trials]
        shown.append((f"{part.replace('_', ' ')}: result", *results))
    alarms = [_ALARM[each.outside.alarm] if each.outside else "" for each in trials]
    shown.append(("shortcut alarm", *alarms))
    first = trials[0]
    called = "" if first.called is None else f", {first.called} of them called pneumonia"
    table(
        f"trial on {first.radiographs} radiographs of {first.patients} patients{called}",
        ["", *(each.method for each in trials)],
        [row for row in shown if any(row[1:])],
    )
    for name, why in first.missing.items():
        note(f"not tried: {name.replace('_', ' ')}: {why}")


def _cell(figure: "Figure | None", brief: "Callable[[Figure], str]") -> str:
    return "" if figure is None else brief(figure)


def _last(check: "SanityCheck | None") -> "Figure | None":
    return check.steps[-1].rank if check else None
