"""A figure: one number with its interval, its sample size, and the reason where there is none."""

from enum import StrEnum
from typing import Literal

from pydantic import Field, model_validator

from hilum.model.schema import Document

__all__ = ["DEFINITIONS", "LEVEL", "Figure", "FigureName", "Interval"]

LEVEL = 0.95  # confidence of every interval in hilum


class FigureName(StrEnum):
    """The figures that hilum reports."""

    SENSITIVITY = "sensitivity"
    SPECIFICITY = "specificity"
    PPV = "ppv"
    NPV = "npv"
    F1 = "f1"
    BALANCED_ACCURACY = "balanced_accuracy"
    ACCURACY = "accuracy"
    AUC = "auc"
    AVERAGE_PRECISION = "average_precision"
    BRIER = "brier"
    MACRO_AUC = "macro_auc"

    @property
    def heading(self) -> str:
        """For people."""
        return DEFINITIONS[self][0]

    @property
    def definition(self) -> str:
        """What it means, in one or two sentences."""
        return DEFINITIONS[self][1]


DEFINITIONS: dict[FigureName, tuple[str, str]] = {
    FigureName.SENSITIVITY: (
        "Sensitivity",
        "Of the radiographs with pneumonia, the fraction that was called pneumonia: TP / (TP + FN). "
        "Also named recall. It does not depend on how common pneumonia is.",
    ),
    FigureName.SPECIFICITY: (
        "Specificity",
        "Of the normal radiographs, the fraction that was called normal: TN / (TN + FP). "
        "It does not depend on how common pneumonia is.",
    ),
    FigureName.PPV: (
        "Positive predictive value (PPV)",
        "Of the radiographs called pneumonia, the fraction that has it: TP / (TP + FP). Also named "
        "precision. It holds only at the prevalence of this part.",
    ),
    FigureName.NPV: (
        "Negative predictive value (NPV)",
        "Of the radiographs called normal, the fraction that is: TN / (TN + FN). It holds only at "
        "the prevalence of this part.",
    ),
    FigureName.F1: (
        "F1",
        "Harmonic mean of sensitivity and positive predictive value: 2 TP / (2 TP + FP + FN). "
        "It ignores true negatives and holds only at this prevalence.",
    ),
    FigureName.BALANCED_ACCURACY: (
        "Balanced accuracy",
        "Mean of the sensitivities of all classes; for two, of sensitivity and specificity. "
        "Guessing gives one over the number of classes.",
    ),
    FigureName.ACCURACY: (
        "Accuracy",
        "Fraction of radiographs called rightly. Where one class is common, always calling it "
        "scores high, so read it only beside the other figures.",
    ),
    FigureName.AUC: (
        "Area under the ROC curve (AUC)",
        "Chance that a radiograph with the finding gets a higher probability than one without it, "
        "a tie counting half. It uses no threshold; 0.5 is guessing.",
    ),
    FigureName.AVERAGE_PRECISION: (
        "Average precision",
        "Area under the precision-recall curve as a step function. Guessing gives the prevalence, "
        "so it compares only within one part.",
    ),
    FigureName.BRIER: (
        "Brier score",
        "Mean squared difference between the probability of pneumonia and what was found (0 or 1). "
        "Lower is better; it rewards both ranking and calibration.",
    ),
    FigureName.MACRO_AUC: (
        "Macro AUC",
        "Plain mean of the AUC of each class against all others.",
    ),
}


class Interval(Document):
    """An interval at 95 % confidence, with how it was made."""

    lower: float
    upper: float
    level: float = Field(default=LEVEL, gt=0.0, lt=1.0)
    method: Literal["patient bootstrap", "Clopper-Pearson over patients", "Wilson over patients"]
    replicates: int = Field(default=0, ge=0)  # that were used; 0 where nothing was resampled
    dropped: int = Field(default=0, ge=0)  # in which the figure was undefined

    @model_validator(mode="after")
    def _ascends(self) -> "Interval":
        if self.lower > self.upper:
            raise ValueError("the lower limit lies above the upper limit")
        return self


class Figure(Document):
    """One number. `value` is null where it is undefined, and `reason` then says why."""

    value: float | None
    reason: str | None = None
    interval: Interval | None = None
    no_interval: str | None = None  # why a defined value has no interval
    radiographs: int = Field(ge=0)  # that it was computed on
    patients: int = Field(ge=0)  # that these radiographs show

    @model_validator(mode="after")
    def _says_why(self) -> "Figure":
        if (self.value is None) != (self.reason is not None):
            raise ValueError("an undefined figure needs a reason, a defined one has none")
        if (self.interval is None) != (self.no_interval is not None):
            raise ValueError("either an interval or the reason for its absence is needed")
        return self
