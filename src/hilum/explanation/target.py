"""What is explained: the log-odds of one finding by scale and bias, of scores or of maps of scores.

Log-odds and not the probability, because a probability near 1 hardly moves whatever is hidden, and
because log-odds add up over the places of a class activation map. Where the calibration is a beta or
isotonic curve, these are the log-odds before the curve, which rises with them but need not cross 0
where they do.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hilum.errors import UsageError
from hilum.findings import Finding
from hilum.model.schema import Calibration, Labels

__all__ = ["Target", "target_of"]


@dataclass(frozen=True, slots=True)
class Target:
    """The log-odds of a finding against everything else.

    Attributes:
        finding: Its name; "pneumonia" means pneumonia of any kind.
        wanted: Indices of the labels that count as the finding.
        others: Indices of the labels that do not.
        calibration: Of the classifier.
    """

    finding: str
    wanted: tuple[int, ...]
    others: tuple[int, ...]
    calibration: Calibration

    def log_odds(self, scores: NDArray[np.float32]) -> NDArray[np.float64]:
        """Return log-odds (natural logarithm), before a beta or isotonic curve.

        Args:
            scores: Raw, shape (n, labels) or (n, labels, h, w).

        Returns:
            The same shape without the labels; above 0 where the finding is the more likely.
        """
        bias = np.asarray(self.calibration.bias, np.float64)
        bias = bias.reshape(1, -1, *[1] * (scores.ndim - 2))
        logits = self.calibration.scale * scores.astype(np.float64) + bias
        wanted = np.logaddexp.reduce(logits[:, list(self.wanted)], axis=1)
        others = np.logaddexp.reduce(logits[:, list(self.others)], axis=1)
        return np.asarray(wanted - others, dtype=np.float64)


def target_of(labels: Labels, calibration: Calibration, finding: str = "pneumonia") -> Target:
    """Return what to explain, by the name of a finding.

    Args:
        labels: Of the classifier.
        calibration: Of the classifier.
        finding: "pneumonia" for pneumonia of any kind, or a label such as "viral pneumonia", of
            which the first word is enough.

    Raises:
        UsageError: If the classifier does not tell that finding apart.
    """
    name = " ".join(finding.lower().split())
    if name == Finding.PNEUMONIA:
        wanted = tuple(i for i, label in enumerate(labels.findings) if label.is_pneumonia)
        return _target(str(Finding.PNEUMONIA), wanted, labels, calibration)
    for i, label in enumerate(labels.findings):
        if name in (label, label.split()[0]):
            return _target(str(label), (i,), labels, calibration)
    known = ", ".join(dict.fromkeys((str(Finding.PNEUMONIA), *map(str, labels.findings))))
    raise UsageError(f"the classifier does not tell '{finding}' apart; choose one of: {known}")


def _target(
    finding: str, wanted: tuple[int, ...], labels: Labels, calibration: Calibration
) -> Target:
    others = tuple(i for i in range(len(labels.findings)) if i not in wanted)
    return Target(finding, wanted, others, calibration)
