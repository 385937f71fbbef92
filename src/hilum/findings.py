"""The words that every room shares: findings, parts, tasks, and the research-use notice."""

from enum import StrEnum

__all__ = ["RESEARCH_USE", "Finding", "Part", "Task"]

RESEARCH_USE = "For research use only. hilum is not a medical device; do not use it for diagnosis."


class Finding(StrEnum):
    """What the reference standard says of one radiograph."""

    NORMAL = "normal"
    BACTERIAL = "bacterial pneumonia"
    VIRAL = "viral pneumonia"
    PNEUMONIA = "pneumonia"  # the kind is not specified

    @property
    def is_pneumonia(self) -> bool:
        """Whether the finding is pneumonia of any kind."""
        return self is not Finding.NORMAL


class Part(StrEnum):
    """The part of a cohort that a radiograph belongs to."""

    TRAIN = "train"
    VALIDATION = "validation"
    TEST = "test"


class Task(StrEnum):
    """What a classifier tells apart."""

    BINARY = "binary"
    THREE_CLASS = "three-class"

    @property
    def labels(self) -> tuple[Finding, ...]:
        """The findings in the order of the network's outputs; the first is always normal."""
        if self is Task.BINARY:
            return (Finding.NORMAL, Finding.PNEUMONIA)
        return (Finding.NORMAL, Finding.BACTERIAL, Finding.VIRAL)

    def label_of(self, finding: Finding) -> int | None:
        """Return the index of the label that a finding has in this task.

        Returns:
            The index, or None where the task cannot place the finding (pneumonia of an
            unspecified kind among three classes).
        """
        if self is Task.BINARY:
            return int(finding.is_pneumonia)
        return self.labels.index(finding) if finding in self.labels else None
