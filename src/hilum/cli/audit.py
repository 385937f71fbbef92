"""What `hilum cohort audit` runs and prints; the command itself is in `hilum.cli.cohort`."""

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from hilum.cli.console import note, progress, table
from hilum.errors import CohortError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from hilum.audit.labels import LabelAudit
    from hilum.audit.pictures import PictureAudit
    from hilum.audit.shift import CohortShift
    from hilum.audit.shortcuts import ShortcutAudit
    from hilum.audit.table import AuditLine
    from hilum.cohort.table import Cohort

__all__ = ["Audit", "embedder", "print_audit", "print_found", "run_audit"]

_EXAMPLES = 5


@dataclass(slots=True)
class Audit:
    """Everything that was found, and what could not be looked for."""

    lines: "list[AuditLine]"
    pictures: "PictureAudit | None" = None
    labels: "LabelAudit | None" = None
    shortcuts: "ShortcutAudit | None" = None
    against: "CohortShift | None" = None
    gone: list[CohortError] = field(default_factory=list)

    @property
    def serious(self) -> bool:
        """Whether results on the cohort would mislead."""
        return any(line.serious for line in self.lines)

    def document(self) -> dict[str, Any]:
        """Return the audit for programs."""
        kept = {
            "pictures": self.pictures,
            "labels": self.labels,
            "shortcuts": self.shortcuts,
            "against": self.against,
        }
        found = {name: each.model_dump(mode="json") for name, each in kept.items() if each}
        return {"serious": self.serious, "lines": [asdict(line) for line in self.lines], **found}


def run_audit(
    cohort: "Cohort", other: "Cohort | None" = None, *, quick: bool = False, quiet: bool = False
) -> Audit:
    """Audit a cohort, and compare it with another.

    Args:
        cohort: What to audit.
        other: Compared with it; None for no comparison.
        quick: Look at the table alone.
        quiet: Show no progress.

    Returns:
        With `gone` where files could not be read or cohorts not be compared; what else was found is there.

    """
    from hilum.audit.table import audit_cohort

    if quick:
        return Audit(audit_cohort(cohort))
    audit = Audit(audit_cohort(cohort, by_hash=False))
    from hilum.audit.labels import audit_labels
    from hilum.audit.pictures import audit_pictures, take_in
    from hilum.audit.shortcuts import audit_shortcuts

    embed = embedder()
    try:
        with progress("looking", quiet=quiet) as advance:
            pictures = take_in(cohort, embed, advance)
        with progress("comparing", quiet=quiet) as advance:
            audit.pictures = audit_pictures(pictures, advance)
        with progress("doubting", quiet=quiet) as advance:
            audit.labels = audit_labels(pictures.cohort, pictures.features, advance)
        with progress("measuring", quiet=quiet) as advance:
            audit.shortcuts = audit_shortcuts(cohort, advance)
    except CohortError as error:
        # What the table alone tells is shown before this ends the command.
        return Audit(audit_cohort(cohort), gone=[*audit.gone, error])
    if other is not None:
        from hilum.audit.shift import compare_cohorts

        try:
            with progress("looking", quiet=quiet) as advance:
                others = take_in(other, embed, advance, turn=False)
            with progress("telling apart", quiet=quiet) as advance:
                audit.against = compare_cohorts(pictures, others, advance)
        except CohortError as error:
            audit.gone.append(error)
    for each in (audit.pictures, audit.labels, audit.shortcuts, audit.against):
        audit.lines += each.lines() if each else []
    return audit


def embedder() -> "Callable[[NDArray[np.uint8]], NDArray[np.float32]]":
    """Return what embeds pictures: the frozen base that ships with hilum, without torch."""
    from hilum.networks import FROZEN_BASES
    from hilum.training.frozen import embed

    base = FROZEN_BASES["efficientnet-lite0"]
    return lambda pixels: embed(base, pixels)


def print_found(audit: Audit) -> None:
    """Print an audit for people."""
    print_audit(audit.lines)
    if audit.labels:
        doubted = [pair for pair in audit.labels.pairs if pair.worth_a_look]
        if doubted:
            table(
                "findings that pictures contradict, the gravest first",
                ["given", "looks like", "how many", "radiographs"],
                [
                    (pair.given, pair.likely, len(pair.doubts),
                     ", ".join(doubt.id for doubt in pair.doubts[:_EXAMPLES]))
                    for pair in doubted
                ],
            )  # fmt: skip
    if audit.shortcuts:
        _print_telltales(audit.shortcuts)
    elif audit.pictures:
        note("too few patients in the train part to look for shortcuts")


def print_audit(lines: "list[AuditLine]") -> None:
    """Print audit lines for people."""
    table(
        "audit",
        ["", "check", "found", "what to do"],
        [
            (
                "SERIOUS" if line.serious else "look" if line.found else "ok",
                line.check,
                line.text + (f": {', '.join(line.examples)}" if line.examples else ""),
                line.remedy if line.found else "",
            )
            for line in lines
        ],
    )


def _print_telltales(shortcuts: "ShortcutAudit") -> None:
    from hilum.evaluation.wording import brief

    table(
        "what tells pneumonia from normal with little or no anatomy: AUC",
        ["measure", "train, cross-validated", "validation"],
        [
            (
                each.name,
                brief(each.train),
                "" if each.validation is None else f"{each.validation:.3f}",
            )
            for each in shortcuts.telltales
        ],
    )
