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
    PARTIAL_AUC = "partial_auc"
    SPECIFICITY_AT_SENSITIVITY_90 = "specificity_at_sensitivity_0.90"
    SPECIFICITY_AT_SENSITIVITY_95 = "specificity_at_sensitivity_0.95"
    SPECIFICITY_AT_SENSITIVITY_99 = "specificity_at_sensitivity_0.99"
    SENSITIVITY_AT_SPECIFICITY_90 = "sensitivity_at_specificity_0.90"
    SENSITIVITY_AT_SPECIFICITY_95 = "sensitivity_at_specificity_0.95"
    SENSITIVITY_AT_SPECIFICITY_99 = "sensitivity_at_specificity_0.99"
    CALIBRATION_SLOPE = "calibration_slope"
    CALIBRATION_INTERCEPT = "calibration_intercept"

    @property
    def heading(self) -> str:
        """For people."""
        return DEFINITIONS[self][0]

    @property
    def definition(self) -> str:
        """What it means, in one or two sentences."""
        return DEFINITIONS[self][1]


_FIXED_SENSITIVITIES = (
    FigureName.SPECIFICITY_AT_SENSITIVITY_90,
    FigureName.SPECIFICITY_AT_SENSITIVITY_95,
    FigureName.SPECIFICITY_AT_SENSITIVITY_99,
)
_FIXED_SPECIFICITIES = (
    FigureName.SENSITIVITY_AT_SPECIFICITY_90,
    FigureName.SENSITIVITY_AT_SPECIFICITY_95,
    FigureName.SENSITIVITY_AT_SPECIFICITY_99,
)
# Both rates are read off the ROC curve of the part itself.
_CHOSEN_HERE = (
    "The threshold is chosen on these same radiographs, so this says what the classifier could do "
    "here; what a threshold chosen elsewhere does is said by the operating point."
)


def _specificity_at(name: FigureName) -> tuple[str, str]:
    wanted = name.rpartition("_")[2]
    return (
        f"Specificity at a sensitivity of {wanted}",
        f"The highest specificity of any threshold with a sensitivity of at least {wanted}. "
        + _CHOSEN_HERE,
    )


def _sensitivity_at(name: FigureName) -> tuple[str, str]:
    wanted = name.rpartition("_")[2]
    return (
        f"Sensitivity at a specificity of {wanted}",
        f"The highest sensitivity of any threshold with a specificity of at least {wanted}. "
        + _CHOSEN_HERE,
    )


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
    FigureName.PARTIAL_AUC: (
        "Partial AUC at a sensitivity of at least 0.9",
        "Mean specificity over all sensitivities from 0.9 to 1: the area under that part of the ROC "
        "curve, divided by the largest possible one. Guessing gives 0.05.",
    ),
    **{name: _specificity_at(name) for name in _FIXED_SENSITIVITIES},
    **{name: _sensitivity_at(name) for name in _FIXED_SPECIFICITIES},
    FigureName.CALIBRATION_SLOPE: (
        "Calibration slope",
        "By how much the log-odds of pneumonia rise where those of the probability rise by 1. 1 is "
        "best; below 1 the probabilities are too extreme, above 1 too cautious.",
    ),
    FigureName.CALIBRATION_INTERCEPT: (
        "Calibration intercept",
        "What must be added to the log-odds of all probabilities so that on average they come true. "
        "0 is best; above 0 pneumonia is commoner than the probabilities say.",
    ),
}


class Interval(Document):
    """An interval at 95 % confidence, with how it was made."""

    lower: float
    upper: float
    level: float = Field(default=LEVEL, gt=0.0, lt=1.0)
    method: Literal[
        "patient bootstrap",
        "Clopper-Pearson over patients",
        "Wilson over patients",
        "DeLong over patients",
    ]
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
