"""Measure how fast JPEG radiographs are decoded, side by side with Pillow and OpenCV.

    python benchmarks/decode.py "$HILUM_DATA/kermany-original"

One thread, one process, files already in memory; the readers take turns within each repeat, so that
a busy machine slows all of them alike. Two tasks are timed: decoding alone (whatever scale a reader
then hands over), and decoding to a 224 x 224 area-resampled grey array, which is what a classifier
needs. `hilum` is the whole of `read`, with its checks and the SHA-256 of the file. Rates are medians
over the repeats; a ratio is the median of the repeats' own ratios.
"""

import argparse
import io
import json
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

SIZE = 224


def readers() -> dict[str, tuple[Callable[[bytes], object], Callable[[bytes], np.ndarray]]]:
    """By name: decode alone, and decode to the classifier's square."""
    import cv2
    from PIL import Image

    from hilum.imaging import read, squash

    cv2.setNumThreads(1)

    def pillow(data: bytes) -> Image.Image:
        return Image.open(io.BytesIO(data)).convert("L")

    def opencv(data: bytes) -> np.ndarray:
        return cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_GRAYSCALE)

    return {
        "Pillow": (
            pillow,
            lambda data: np.asarray(pillow(data).resize((SIZE, SIZE), Image.Resampling.BOX)),
        ),
        "OpenCV": (
            opencv,
            lambda data: cv2.resize(opencv(data), (SIZE, SIZE), interpolation=cv2.INTER_AREA),
        ),
        "hilum": (
            lambda data: read(data, min_side=SIZE),
            lambda data: squash(read(data, min_side=SIZE), SIZE),
        ),
    }


def measure(files: list[bytes], repeats: int) -> dict:
    """Time every reader on both tasks, and compare the squares."""
    table: dict = {}
    tasks = readers()
    squares = {
        name: [square(file).astype(int) for file in files] for name, (_, square) in tasks.items()
    }
    for position, task in enumerate(("decode alone", f"decode to {SIZE} x {SIZE}")):
        seconds: dict[str, list[float]] = {name: [] for name in tasks}
        for _ in range(repeats):
            for name, functions in tasks.items():
                begin = time.perf_counter()
                for file in files:
                    functions[position](file)
                seconds[name].append(time.perf_counter() - begin)
        rows = {}
        for name, taken in seconds.items():
            ratios = {
                peer: statistics.median(
                    p / own for p, own in zip(seconds[peer], taken, strict=True)
                )
                for peer in ("Pillow", "OpenCV")
            }
            rows[name] = {
                "per_second": len(files) / statistics.median(taken),
                "times_pillow": ratios["Pillow"],
                "times_opencv": ratios["OpenCV"],
            }
        table[task] = rows
    errors = [
        float(np.abs(ours - full).mean())
        for ours, full in zip(squares["hilum"], squares["Pillow"], strict=True)
    ]
    return {
        "files": len(files),
        "megapixels": _megapixels(files),
        "repeats": repeats,
        "tasks": table,
        "grey_levels_from_full_decode": {"mean": statistics.mean(errors), "worst": max(errors)},
    }


def _megapixels(files: list[bytes]) -> float:
    from PIL import Image

    sizes = [Image.open(io.BytesIO(file)).size for file in files]
    return statistics.mean(width * height for width, height in sizes) / 1e6


def main() -> int:
    """Find the files, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="folder of JPEG files, searched through")
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    paths = sorted(p for p in options.folder.rglob("*") if p.suffix.lower() in {".jpg", ".jpeg"})
    if not paths:
        print(f"{options.folder} holds no JPEG files; give another folder", file=sys.stderr)
        return 2
    result = measure([path.read_bytes() for path in paths], options.repeats)
    if options.json:
        print(json.dumps(result, indent=2))
        return 0
    print(f"{result['files']} files, {result['megapixels']:.2f} megapixels on average, one core,")
    print(f"median of {result['repeats']} interleaved repeats\n")
    for task, rows in result["tasks"].items():
        print(f"{task:24} images/s   x Pillow   x OpenCV")
        for name, row in rows.items():
            print(
                f"  {name:20} {row['per_second']:10.0f} {row['times_pillow']:10.2f} "
                f"{row['times_opencv']:10.2f}"
            )
        print()
    error = result["grey_levels_from_full_decode"]
    print(
        f"hilum differs from a full decode by {error['mean']:.2f} grey levels on average, "
        f"{error['worst']:.2f} in the worst file"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
