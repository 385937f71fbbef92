"""Measure how many radiographs a second each augmentation takes.

    python benchmarks/augment.py "$HILUM_DATA/kermany-original"

Radiographs are read from a folder, or drawn as phantoms without one, and lie in memory as uint8 squares.
Each augmentation is timed alone at a usual strength, then all without JPEG, then all; they take turns
within each repeat, so that a busy machine slows all of them alike. Drawing is part of the time. Rates are
medians over the repeats.
"""

import argparse
import json
import statistics
import sys
import time
from itertools import cycle, islice
from pathlib import Path

import numpy as np
import torch

from hilum.cohort.phantom import draw_phantom
from hilum.findings import Finding
from hilum.imaging import read, squash
from hilum.training.augment import augment
from hilum.training.augmentation import Augmentation
from hilum.training.draws import draw

USUAL = {
    "rotate": 10.0,
    "shift": 0.1,
    "scale": 1.2,
    "aspect": 1.1,
    "flip": 0.5,
    "gamma": 0.3,
    "contrast": 0.3,
    "brightness": 0.1,
    "sharpness": 0.5,
    "blur": 1.0,
    "noise": 0.04,
    "border": 0.1,
    "erase": 0.2,
    "jpeg": 30,
}
DIFFERENT = 16  # phantoms that are drawn and then repeated


def radiographs(folder: Path | None, n: int, side: int) -> torch.Tensor:
    """Return n radiographs, uint8, shape (n, 1, side, side), repeated when there are fewer."""
    if folder is None:
        rng = np.random.default_rng(0)
        findings = islice(cycle((Finding.NORMAL, Finding.BACTERIAL, Finding.VIRAL)), DIFFERENT)
        drawn = [draw_phantom(finding, rng, rows=side, columns=side) for finding in findings]
        squares = [phantom.pixels for phantom in drawn]
    else:
        kinds = {".jpg", ".jpeg", ".png", ".dcm"}
        paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in kinds)[:n]
        squares = [squash(read(path, min_side=side), side) for path in paths]
    if not squares:
        raise SystemExit(
            f"{folder} holds no radiographs; give another folder, or none for phantoms"
        )
    return torch.from_numpy(np.stack(list(islice(cycle(squares), n)))[:, None].copy())


def settings() -> dict[str, Augmentation]:
    """Return what is timed, by name."""
    without = {name: value for name, value in USUAL.items() if name != "jpeg"}
    return {
        "none": Augmentation(),
        **{name: Augmentation.model_validate({name: value}) for name, value in USUAL.items()},
        "all without jpeg": Augmentation.model_validate(without),
        "all": Augmentation.model_validate(USUAL),
    }


def measure(pixels: torch.Tensor, batch: int, repeats: int) -> dict[str, float]:
    """Return radiographs a second, by name; the first round warms up and is not counted."""
    seconds: dict[str, list[float]] = {name: [] for name in settings()}
    for _ in range(repeats + 1):
        for name, augmentation in settings().items():
            begin = time.perf_counter()
            for number, part in enumerate(pixels.split(batch)):
                augment(part, draw(augmentation, len(part), seed=number), augmentation)
            if pixels.is_cuda:
                torch.cuda.synchronize()
            seconds[name].append(time.perf_counter() - begin)
    return {name: len(pixels) / statistics.median(taken[1:]) for name, taken in seconds.items()}


def main() -> int:
    """Find or draw the radiographs, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, nargs="?", help="of radiographs; phantoms without")
    parser.add_argument("--side", type=int, default=160, help="in pixels")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--number", type=int, default=512, help="of radiographs, repeated if fewer")
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    pixels = radiographs(options.folder, options.number, options.side).to(options.device)
    rates = measure(pixels, options.batch, options.repeats)
    if options.json:
        print(json.dumps({"options": vars(options), "per_second": rates}, indent=2, default=str))
        return 0
    print(f"{len(pixels)} radiographs of {options.side} x {options.side}, {options.batch} a batch,")
    print(f"{options.threads} threads, {options.device}, median of {options.repeats} repeats\n")
    print(f"{'augmentation':18} {'strength':>8} {'radiographs/s':>14}")
    for name, rate in rates.items():
        print(f"{name:18} {USUAL.get(name, ''):>8} {rate:14.0f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
