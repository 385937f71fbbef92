"""What a `.hilum` file says beside its network: closed, versioned documents, no code.

Every member is a frozen pydantic model that refuses unknown keys, so a file from another version
is refused by name instead of being half understood.
"""

from itertools import pairwise
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, PositiveFloat, model_validator

from hilum.findings import Finding, Task

__all__ = [
    "Calibration",
    "Counts",
    "Document",
    "Gate",
    "Labels",
    "OperatingPoint",
    "OperatingPoints",
    "Preprocessing",
    "Provenance",
    "Saliency",
    "TrainingRadiographs",
]

Probability = Annotated[float, Field(ge=0.0, le=1.0)]


class Document(BaseModel):
    """A closed, immutable JSON document; NaN and infinities are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Labels(Document):
    """What the network's outputs mean, in order; the first is always normal."""

    task: Task
    findings: tuple[Finding, ...]

    @model_validator(mode="after")
    def _fits_the_task(self) -> "Labels":
        if self.findings != self.task.labels:
            raise ValueError(f"the findings must be {[str(f) for f in self.task.labels]} in order")
        return self


class Preprocessing(Document):
    """How a radiograph becomes the network's input."""

    size: int = Field(ge=16, le=2048)  # the input is size x size grey levels, uint8, in [0, 255]
    resampling: Literal["area"] = "area"  # mean of the source pixels under each target pixel
    aspect: Literal["squash"] = "squash"  # both axes are scaled to `size`; nothing is cut away


class Calibration(Document):
    """Turns scores into probabilities: softmax(scale * score + bias), fitted on validation.

    With a scale alone this is temperature scaling (Guo et al., ICML 2017). With biases it is Platt
    scaling for two classes; for more, temperature scaling with a bias per class (Alexandari et al.,
    ICML 2020). For two classes a rising curve may stand in their place, so that no method changes
    the order of radiographs. Scale and bias are then the best ones without a curve, and heat maps
    are drawn by them alone.
    """

    method: Literal["none", "temperature", "scale-and-bias", "beta", "isotonic"] = "none"
    scale: float = Field(default=1.0, gt=0.0)
    bias: tuple[float, ...]  # one per label
    radiographs: int = Field(default=0, ge=0)  # how many it was fitted on
    # (a, b, c) of the log-odds c + a ln p - b ln(1 - p), where p is the softmax of the scores alone
    # (Kull et al., AISTATS 2017); a is the slope where p is near 0, b where it is near 1.
    beta: tuple[PositiveFloat, PositiveFloat, float] | None = None
    # (log-odds that scale and bias give, calibrated log-odds), both rising; straight lines between.
    knots: tuple[tuple[float, float], ...] = ()

    @model_validator(mode="after")
    def _has_its_curve(self) -> "Calibration":
        curves = {"beta": self.beta is not None, "isotonic": bool(self.knots)}
        for method, there in curves.items():
            if there != (self.method == method):
                raise ValueError(f"the method is {self.method}, which does not fit its curve")
        if any(curves.values()) and len(self.bias) != 2:
            raise ValueError(f"the method {self.method} is for two labels")
        for before, after in pairwise(self.knots):
            if before[0] >= after[0] or before[1] >= after[1]:
                raise ValueError("the knots do not rise")
        return self


class Counts(Document):
    """The two-by-two table of a decision against the reference standard; rates are derived."""

    true_positives: int = Field(ge=0)
    false_positives: int = Field(ge=0)
    true_negatives: int = Field(ge=0)
    false_negatives: int = Field(ge=0)


class OperatingPoint(Document):
    """A threshold with its stated aim: refer when the probability of pneumonia reaches it."""

    name: str = Field(min_length=1)  # such as "sensitivity-0.95"
    aim: str = Field(min_length=1)  # for people
    threshold: Probability  # refer when the probability of pneumonia is >= threshold
    chosen_on: str  # the part, such as "validation"
    counts: Counts  # on the radiographs that it was chosen on


class OperatingPoints(Document):
    """The operating points of a classifier, with distinct names; the first is the default."""

    points: tuple[OperatingPoint, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _names_differ(self) -> "OperatingPoints":
        names = [point.name for point in self.points]
        if len(set(names)) != len(names):
            raise ValueError("two operating points have the same name")
        return self


class Saliency(Document):
    """How the class activation map is drawn: the local log-odds of pneumonia, from 0 to `scale`.

    A fixed scale keeps a normal radiograph's map dark; stretching each map to its own maximum
    would light up something on every radiograph.
    """

    # "none": the network's scores are no mean over places (dense layers mix them), so that there is
    # no map that adds up to the score.
    method: Literal["class-activation-map", "none"] = "class-activation-map"
    scale: float = Field(gt=0.0)  # local log-odds drawn as the hottest colour


class Gate(Document):
    """What an input must be so that the classifier may read it."""

    minimum_side: int = Field(default=64, ge=1)  # pixels, of the source
    # Longer side over shorter side; children's films of the Guangzhou set reach 3.2.
    maximum_aspect: float = Field(default=4.0, gt=1.0)
    minimum_contrast: float = Field(default=8.0, ge=0.0)  # grey levels, 5th to 95th percentile


class TrainingRadiographs(Document):
    """What the classifier learned from, so that copies are noticed when it is evaluated."""

    # Perceptual hashes of the train part, 16 hexadecimal digits each; no picture can be made of one.
    perceptual_hashes: tuple[Annotated[str, Field(pattern="^[0-9a-f]{16}$")], ...]


class Provenance(Document):
    """Which program, recipe, radiographs and command made the file."""

    hilum_version: str
    created: str  # ISO 8601, UTC
    command: str
    recipe: dict[str, Any]  # the resolved recipe
    seed: int
    cohort_sha256: str
    cohort_name: str
    radiographs: dict[str, int]  # part -> how many were used
    patients: dict[str, int]  # part -> how many were used
    left_out: dict[str, int]  # part -> how many have a finding that the task cannot place
    phantom: bool  # True: trained on drawn phantoms, so it says nothing of real radiographs
    network: str
    network_weights: str  # where the starting weights came from, and their licence
    test_openings: int = 0  # how often the test part was opened, as far as this file knows
