"""What `explanation.json` holds: which classifier was explained how, and what each map says."""

from typing import Any, Literal

from pydantic import Field

from hilum._version import __version__
from hilum.findings import RESEARCH_USE
from hilum.model.schema import Document, Probability

__all__ = [
    "ExplainedMap",
    "ExplainedRadiograph",
    "Explanation",
    "MethodUsed",
    "Peak",
    "ScaleFrom",
]

ScaleFrom = Literal["fixed in the classifier", "highest of the run", "99.5th percentile of the run"]


class Peak(Document):
    """Where a map is highest: the middle of its highest place.

    Shares are of the radiograph's height and width, from its upper left corner, [0, 1].
    """

    down: Probability
    across: Probability
    source_row: int = Field(ge=0)  # the same in pixels of the file
    source_column: int = Field(ge=0)


class MethodUsed(Document):
    """A method as it was used in a run."""

    name: str
    about: str
    unit: str
    layer: str | None  # None where the method looks at none
    parameters: dict[str, Any]
    asks_finding: bool  # False: the same map whatever finding is explained
    scale: float = Field(ge=0.0)  # value with the hottest colour in every picture of the run
    scale_from: ScaleFrom


class ExplainedMap(Document):
    """What one method says of one radiograph."""

    method: str
    picture: str  # file beside this document
    grid: tuple[int, int]  # rows and columns of the method's own map
    highest: float  # in the method's unit
    lowest: float
    peak: Peak | None  # None where nothing is above 0
    seconds: float = Field(ge=0.0)
    # Where a method promises what its map adds up to: that, and what it adds up to.
    should_add_up_to: float | None = None
    adds_up_to: float | None = None


class ExplainedRadiograph(Document):
    """One input: its reading and its maps, or why there are none."""

    file: str
    status: Literal["explained", "refused", "unreadable"]
    reason: str | None = None
    format: str | None = None
    sha256: str | None = None
    probability: Probability | None = None  # calibrated, of pneumonia of any kind
    probabilities: dict[str, Probability] = Field(default_factory=dict)  # by finding
    log_odds: float | None = None  # of the finding that is explained, in float32
    decision: str | None = None
    operating_point: str | None = None
    threshold: Probability | None = None
    maps: tuple[ExplainedMap, ...] = ()
    feature_maps: str | None = None  # the sheet's file


class Explanation(Document):
    """A run of `hilum explain`."""

    research_use: str = RESEARCH_USE
    hilum_version: str = __version__
    command: str
    classifier: str  # its file's name
    classifier_sha256: str
    network: str
    phantom: bool  # the classifier learned from drawn phantoms, so it says nothing of patients
    finding: str  # what is explained
    seed: int
    # Largest difference of a score of the network in torch from the file's; None where torch was
    # not needed.
    rebuilt_difference: float | None
    mirror: bool | None  # whether the network reads the mirror image too; None: as above
    methods: tuple[MethodUsed, ...]
    feature_layer: str | None = None
    filters: str | None = None  # the sheet's file
    radiographs: tuple[ExplainedRadiograph, ...]
