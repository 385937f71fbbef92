"""Phantoms: drawn frontal chest radiographs, to try every road of hilum without a patient's data.

A phantom has the anatomy that a reader expects (ribs, heart, diaphragm, lungs), and pneumonia as the
textbook draws it: a focal lobar consolidation when bacterial, patchy haze in both lungs when viral.
Each opacity comes with its mask, so saliency can be checked against the truth. Exposure, noise, frame
and marker are drawn apart from the finding, so the only way to tell the classes is to look at the
lungs. Figures measured on phantoms say that the software works, and nothing about patients.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hilum._version import __version__
from hilum.cohort._phantom_parameters import (
    Anatomy,
    Exposure,
    Focus,
    Opacity,
    draw_anatomy,
    draw_exposure,
    draw_opacity,
)
from hilum.cohort._phantom_render import Drawing, render
from hilum.errors import CohortError, UsageError
from hilum.files import ensure_folder, write_text
from hilum.findings import RESEARCH_USE, Finding, Part

__all__ = [
    "FEWEST_PATIENTS",
    "PHANTOM_MARKER",
    "Anatomy",
    "Drawing",
    "Exposure",
    "Focus",
    "Opacity",
    "Phantom",
    "draw_anatomy",
    "draw_exposure",
    "draw_opacity",
    "draw_phantom",
    "is_phantom_folder",
    "render",
    "write_phantoms",
]

PHANTOM_MARKER = "PHANTOM.json"
FEWEST_PATIENTS = 6  # one patient of each finding in the training part, and one in the test part

_FOLDERS = {Finding.NORMAL: "NORMAL", Finding.BACTERIAL: "BACTERIAL", Finding.VIRAL: "VIRAL"}
_SMALLEST, _LARGEST = 64, 4096  # pixels per side; anatomy is lost below, memory is above
_MOST_RADIOGRAPHS = 3  # per patient
_LEVELS_UP = 3  # parent folders in which a marker still counts
_PNG_EFFORT = 1  # noise hardly compresses; the fastest level costs a few per cent of size


@dataclass(frozen=True, slots=True)
class Phantom:
    """A drawn radiograph and the truth about it.

    Attributes:
        pixels: Display polarity, bone bright, uint8, shape (rows, columns).
        mask: True where an opacity lies, shape (rows, columns); all False when normal.
        finding: Normal, bacterial pneumonia or viral pneumonia.
    """

    pixels: NDArray[np.uint8]
    mask: NDArray[np.bool_]
    finding: Finding


def draw_phantom(
    finding: Finding, rng: np.random.Generator, *, rows: int = 512, columns: int = 512
) -> Phantom:
    """Draw one phantom of a new patient.

    Args:
        finding: What the phantom shall show.
        rng: The only source of chance: the same state gives the same pixels.
        rows: Height in pixels, 64 to 4096.
        columns: Width in pixels, 64 to 4096.

    Raises:
        CohortError: If the finding is pneumonia of an unspecified kind, or a side is out of range.
    """
    return _phantom(draw_anatomy(rng), finding, rng, rows, columns)


def write_phantoms(
    folder: Path,
    *,
    patients: int,
    seed: int,
    rows: int = 512,
    columns: int = 512,
    masks: bool = True,
    progress: Callable[[int, int], None] | None = None,
) -> int:
    """Write a folder of phantoms that a cohort can be built from.

    Radiographs lie in `folder/<part>/<CLASS>/phantom-<patient>-<number>.png`, part being train or
    test (a quarter of the patients) and CLASS being NORMAL, BACTERIAL or VIRAL. Masks lie in
    `folder/masks/<part>/<CLASS>/` under the same names, 255 inside an opacity. A third of the patients
    have each finding. A patient has one to three radiographs, all of the same anatomy and finding and in
    one part. Each patient has an own stream of chance, so patient 7 looks the same among 10 as among
    10,000.

    `PHANTOM.json` is written first as incomplete, so that even an interrupted folder is known to hold
    phantoms, and last with the counts.

    Args:
        folder: A new or empty folder, or one that holds phantoms of the same seed and size.
        patients: How many, at least 6.
        seed: Of the whole folder, not negative.
        rows: Height of each radiograph in pixels.
        columns: Width of each radiograph in pixels.
        masks: Whether to write the masks as well.
        progress: Called after each patient with the patients done and their total.

    Returns:
        The number of radiographs.

    Raises:
        CohortError: If there are too few patients, a side is out of range, the seed is negative, or
            the folder already holds something else.
        UsageError: If the folder cannot be written.
    """
    if patients < FEWEST_PATIENTS:
        raise CohortError(
            f"{patients} patients cannot fill three classes in a training and a test part; "
            f"ask for at least {FEWEST_PATIENTS}"
        )
    if seed < 0:
        raise CohortError(f"the seed {seed} is negative; give 0 or a positive whole number")
    _check_size(rows, columns)
    plan: dict[str, object] = {
        "phantom": True,
        "seed": seed,
        "patients": patients,
        "rows": rows,
        "columns": columns,
        "masks": masks,
        "version": __version__,
    }
    _claim(folder, plan)
    counts: dict[str, dict[str, int]] = {}
    for number in range(patients):
        finding = list(_FOLDERS)[number % len(_FOLDERS)]
        # Counting in rounds of the three findings puts a quarter of each class into the test part.
        part = Part.TEST if number // len(_FOLDERS) % 4 == 1 else Part.TRAIN
        place = Path(part, _FOLDERS[finding])
        drawn = _write_patient(folder, place, number, finding, seed, rows, columns, masks)
        of_part = counts.setdefault(str(part), {})
        of_part[_FOLDERS[finding]] = of_part.get(_FOLDERS[finding], 0) + drawn
        if progress is not None:
            progress(number + 1, patients)
    _write_marker(folder, plan | {"complete": True, "radiographs": counts})
    return sum(sum(of_part.values()) for of_part in counts.values())


def is_phantom_folder(folder: Path) -> bool:
    """Say whether a folder, or a parent of it at most three levels up, is marked as phantoms.

    A marker that cannot be read counts: a doubtful radiograph must not pass for a patient's.
    """
    resolved = folder.resolve()
    return any(
        (place / PHANTOM_MARKER).is_file() for place in [resolved, *resolved.parents[:_LEVELS_UP]]
    )


def _phantom(
    anatomy: Anatomy, finding: Finding, rng: np.random.Generator, rows: int, columns: int
) -> Phantom:
    _check_size(rows, columns)
    # The exposure is drawn before the opacity: it cannot depend on the finding, not even by way of
    # how many numbers an opacity takes from the generator.
    exposure = draw_exposure(rng)
    opacity = draw_opacity(finding, rng)
    drawing = render(anatomy, exposure, opacity, rows=rows, columns=columns)
    return Phantom(pixels=drawing.pixels, mask=drawing.mask, finding=finding)


def _write_patient(
    folder: Path,
    place: Path,
    number: int,
    finding: Finding,
    seed: int,
    rows: int,
    columns: int,
    masks: bool,
) -> int:
    """Write the radiographs of one patient and return how many there are."""
    rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(number,)))
    anatomy = draw_anatomy(rng)
    count = int(rng.integers(1, _MOST_RADIOGRAPHS + 1))
    for index in range(1, count + 1):
        phantom = _phantom(anatomy, finding, rng, rows, columns)
        name = f"phantom-{number:05d}-{index}.png"
        _write_png(folder / place / name, phantom.pixels)
        if masks:
            _write_png(folder / "masks" / place / name, phantom.mask.astype(np.uint8) * 255)
    return count


def _write_png(target: Path, pixels: NDArray[np.uint8]) -> None:
    from PIL import Image

    ensure_folder(target.parent)
    try:
        # No atomic rename for each file: the marker says whether the folder is whole.
        Image.fromarray(pixels).save(target, format="PNG", compress_level=_PNG_EFFORT)
    except OSError as error:
        raise UsageError(
            f"{target} cannot be written ({error.strerror}); free space or choose another folder"
        ) from error


def _claim(folder: Path, plan: dict[str, object]) -> None:
    """Mark a folder as the place of these phantoms, or refuse it."""
    ensure_folder(folder)
    marker = folder / PHANTOM_MARKER
    if marker.is_file():
        try:
            found = json.loads(marker.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            found = None
        if not isinstance(found, dict) or any(found.get(key) != plan[key] for key in plan):
            raise CohortError(
                f"{folder} holds phantoms of another seed, size or version; "
                "choose an empty folder, or delete this one first"
            )
    elif any(folder.iterdir()):
        raise CohortError(
            f"{folder} is not empty, and phantoms must not mix with other radiographs; "
            "choose an empty folder"
        )
    _write_marker(folder, plan | {"complete": False})


def _write_marker(folder: Path, content: dict[str, object]) -> None:
    text = json.dumps(content | {"notice": RESEARCH_USE}, indent=2, sort_keys=True)
    write_text(folder / PHANTOM_MARKER, text + "\n")


def _check_size(rows: int, columns: int) -> None:
    if not (_SMALLEST <= rows <= _LARGEST and _SMALLEST <= columns <= _LARGEST):
        raise CohortError(
            f"a phantom of {rows} x {columns} pixels cannot be drawn; "
            f"give sides from {_SMALLEST} to {_LARGEST}"
        )
