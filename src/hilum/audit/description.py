"""A cohort described: what is in it, from how many patients, and what its pictures look like.

What one looks at before anything is trained: balance, sizes, grey levels, the mean and the spread of the
pictures of each finding, and some of them. Pictures and grey levels leave the test part out, where there
are others: nobody should choose by it.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
from numpy.typing import NDArray
from pydantic import Field

from hilum._version import __version__
from hilum.cohort.pixels import cached_pixels
from hilum.cohort.table import Cohort
from hilum.evaluation.drawing import DASHES, SERIES, Plot, drawn_plot
from hilum.evaluation.gallery import embedded
from hilum.evaluation.report import rendered
from hilum.files import ensure_folder, write_text
from hilum.findings import RESEARCH_USE, Finding, Part
from hilum.model.schema import Document

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["Description", "Group", "Spread", "describe_cohort"]

SIZE = 224  # grid on which pictures are compared
EXAMPLES = 6  # of each finding
_BINS = 64  # of the histograms of grey levels


class Spread(Document):
    """How a number is spread over radiographs or patients."""

    lowest: float
    fifth: float  # 5th percentile
    median: float
    ninety_fifth: float
    highest: float


class Group(Document):
    """The radiographs of one part with one finding."""

    part: Part
    finding: Finding
    radiographs: int = Field(ge=1)
    patients: int = Field(ge=1)
    per_patient: Spread  # radiographs of one patient
    rows: Spread  # pixels
    columns: Spread
    aspect: Spread  # rows over columns
    kilobytes: Spread  # of the file
    brightness: Spread  # mean grey level of a picture, 0 to 255
    contrast: Spread  # standard deviation of its grey levels


class Description(Document):
    """What a cohort holds."""

    research_use: str = RESEARCH_USE
    hilum_version: str = __version__
    command: str
    cohort_name: str
    cohort_sha256: str
    phantom: bool
    patients_from: str  # how patients were told apart
    radiographs: int
    patients: int
    unreadable: int
    formats: dict[str, int]  # radiographs by file format
    groups: tuple[Group, ...]
    grey_levels: dict[Finding, tuple[float, ...]]  # share of pixels in equal bins over 0 to 255


def describe_cohort(
    cohort: Cohort,
    folder: Path,
    *,
    command: str = "",
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> Description:
    """Describe a cohort and write `description.json` and `description.html`.

    Args:
        cohort: Its readable radiographs are decoded at most once.
        folder: Made when it is not there.
        command: As typed, for provenance.
        seed: Which radiographs are shown.
        progress: Called with how many radiographs of how many are decoded.

    Raises:
        CohortError: If nothing is readable, or a file is gone or was changed.
        UsageError: If the folder cannot be written.
    """
    ensure_folder(folder)
    used = cohort.part(*Part)
    pixels = cached_pixels(used, SIZE, progress=progress)
    means = np.array([picture.mean() for picture in pixels])
    deviations = np.array([picture.std() for picture in pixels])
    table = used.table.with_columns(
        aspect=pl.col("rows") / pl.col("columns"),
        kilobytes=pl.col("bytes") / 1000,
        brightness=pl.Series(means),
        contrast=pl.Series(deviations),
    )
    order = {str(value): i for i, value in enumerate([*Part, *Finding])}
    groups = [
        _group(Part(part), Finding(finding), rows)
        for (part, finding), rows in sorted(
            table.group_by("part", "finding"), key=lambda each: [order[str(k)] for k in each[0]]
        )
    ]
    findings = [finding for finding in Finding if finding in set(used.findings)]
    shown = used.table["part"].to_numpy() != str(Part.TEST)
    shown = shown if shown.any() else ~shown
    every = {finding: np.array([f is finding for f in used.findings]) for finding in findings}
    of = {finding: rows & shown for finding, rows in every.items() if (rows & shown).any()}
    description = Description(
        command=command,
        cohort_name=cohort.name,
        cohort_sha256=cohort.digest(),
        phantom=cohort.phantom,
        patients_from=cohort.patients_from,
        radiographs=len(used),
        patients=used.table["patient"].n_unique(),
        unreadable=cohort.unreadable.height,
        formats=dict(sorted(used.table["format"].value_counts().iter_rows())),
        groups=tuple(groups),
        grey_levels={f: _grey_levels(pixels, rows) for f, rows in of.items()},
    )
    rng = np.random.default_rng(seed)
    pictures = [_pictures(finding, pixels, rows, used, rng) for finding, rows in of.items()]
    page = rendered(
        "description.html.j2",
        room="hilum.audit",
        description=description,
        pictures=pictures,
        plots=[_grey_plot(description), _brightness_plot(groups)],
    )
    write_text(folder / "description.html", page)
    write_text(folder / "description.json", description.model_dump_json(indent=2) + "\n")
    return description


def _spread(values: pl.Series) -> Spread:
    found = np.percentile(values.to_numpy().astype(np.float64), [0, 5, 50, 95, 100])
    return Spread(**dict(zip(Spread.model_fields, found.tolist(), strict=True)))


def _group(part: Part, finding: Finding, rows: pl.DataFrame) -> Group:
    names = ("rows", "columns", "aspect", "kilobytes", "brightness", "contrast")
    each = rows.group_by("patient").len()
    return Group(
        part=part,
        finding=finding,
        radiographs=len(rows),
        patients=len(each),
        per_patient=_spread(each["len"]),
        **{name: _spread(rows[name]) for name in names},
    )


def _grey_levels(pixels: NDArray[np.uint8], rows: NDArray[np.bool_]) -> tuple[float, ...]:
    counts = np.zeros(256, np.int64)
    for row in np.flatnonzero(rows):  # one by one, so that memory stays flat
        counts += np.bincount(pixels[row].ravel(), minlength=256)
    shares = counts.reshape(_BINS, -1).sum(axis=1) / counts.sum()
    return tuple(shares.tolist())


def _pictures(
    finding: Finding,
    pixels: NDArray[np.uint8],
    rows: NDArray[np.bool_],
    used: Cohort,
    rng: np.random.Generator,
) -> dict[str, object]:
    """Return the mean, the spread and examples of a finding as embedded pictures."""
    places = np.flatnonzero(rows)
    total, squares = np.zeros(pixels.shape[1:]), np.zeros(pixels.shape[1:])
    for row in places:
        grey = pixels[row].astype(np.float64)
        total += grey
        squares += grey**2
    mean = total / len(places)
    deviation = np.sqrt(np.maximum(squares / len(places) - mean**2, 0))
    chosen = np.sort(rng.permutation(places)[:EXAMPLES])
    ids = used.table["id"].to_list()
    return {
        "finding": finding,
        "mean": _shown(mean),
        # Stretched, for it is dark; the brightest place is named beside it.
        "deviation": _shown(deviation * (255 / max(deviation.max(), 1e-9))),
        "most": float(deviation.max()),
        "examples": [(ids[row], embedded(pixels[row])) for row in chosen],
    }


def _shown(grey: NDArray[np.float64]) -> str:
    return embedded(grey.round().clip(0, 255).astype(np.uint8), side=SIZE)


def _grey_plot(description: Description) -> Plot:
    centres = (np.arange(_BINS) + 0.5) * (256 / _BINS)

    def draw(axes: "Axes") -> None:
        for i, (finding, shares) in enumerate(description.grey_levels.items()):
            dashes = DASHES[i % len(DASHES)]
            axes.plot(centres, shares, label=str(finding), color=SERIES[i], linestyle=dashes)
        axes.set_xlabel("Grey level")
        axes.set_ylabel("Share of pixels")
        axes.legend(frameon=False, fontsize=8)

    means = {f: float(np.dot(centres, s)) for f, s in description.grey_levels.items()}
    told = "; ".join(f"{finding}: mean {mean:.0f}" for finding, mean in means.items())
    alt = f"Grey levels of all pictures, by finding. {told}."
    return drawn_plot("grey", "Grey levels", alt, draw)


def _brightness_plot(groups: Sequence[Group]) -> Plot:
    def draw(axes: "Axes") -> None:
        for place, group in enumerate(groups):
            spread = group.brightness
            colour = SERIES[list(Finding).index(group.finding) % len(SERIES)]
            axes.plot([spread.fifth, spread.ninety_fifth], [place, place], color=colour)
            axes.plot(spread.median, place, "o", color=colour)
        names = [f"{g.part}, {str(g.finding).removesuffix(' pneumonia')}" for g in groups]
        axes.set_yticks(range(len(groups)), names, fontsize=8)
        axes.invert_yaxis()
        axes.set_xlabel("Mean grey level of a picture")

    alt = "Mean grey level by part and finding: the median, and the range from 5 to 95 % of the pictures."
    return drawn_plot("brightness", "Brightness", alt, draw)
