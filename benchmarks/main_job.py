"""Time and memory of the main job as a user types it: build, train, evaluate, screen.

    python benchmarks/main_job.py DIR [--runs N] [--json]

DIR holds class folders in the layout of the Guangzhou set. Each command is a process of its own, run N
times from cold caches of hilum's own; medians of wall time and peak memory are printed. The validation
part is evaluated, so that measuring speed opens no test part.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HILUM = Path(sys.executable).with_name("hilum")


def run(arguments: list[str], environment: dict[str, str]) -> tuple[float, float]:
    """Run one command; return its wall time in seconds and its peak memory in MB."""
    start = time.perf_counter()
    process = subprocess.Popen(
        [HILUM, *arguments], env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - start
    # 1 means that it ran and some inputs were refused, which is an answer too.
    if os.waitstatus_to_exitcode(status) not in (0, 1):
        raise SystemExit(f"hilum {' '.join(arguments)} failed")
    return seconds, usage.ru_maxrss / 1000


def one_run(data: Path, folder: Path) -> dict[str, tuple[float, float]]:
    """Run the main job once with empty caches."""
    environment = {**os.environ, "XDG_CACHE_HOME": str(folder / "cache")}
    environment["XDG_DATA_HOME"] = str(folder / "data")
    cohort, model = str(folder / "c.parquet"), str(folder / "binary" / "model.hilum")
    one = str(next((data / "train").rglob("*.jpeg")))
    report, table = str(folder / "report"), str(folder / "readings.csv")
    jobs = {
        "cohort build": ["cohort", "build", str(data), "-o", cohort],
        "train instant": ["train", "instant", "-c", cohort, "-o", str(folder / "binary")],
        "train instant, three-class": [
            *["train", "instant", "--task", "three-class", "-c", cohort],
            *["-o", str(folder / "three")],
        ],
        "evaluate validation": [
            *["evaluate", model, "-c", cohort, "--part", "validation", "-o", report]
        ],
        "screen one file": ["screen", one, "-m", model],
        "screen the train folder": ["screen", str(data / "train"), "-m", model, "-o", table],
        "--help": ["--help"],
    }
    results = {name: run(arguments, environment) for name, arguments in jobs.items()}
    files = sum(1 for path in (data / "train").rglob("*") if path.is_file())
    results["screened per second"] = (files / results["screen the train folder"][0], 0.0)
    return results


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    runs = []
    for _ in range(options.runs):
        with tempfile.TemporaryDirectory() as folder:
            runs.append(one_run(options.data, Path(folder)))
    medians = {}
    for name in runs[0]:
        times, memories = zip(*(run[name] for run in runs), strict=True)
        medians[name] = round(statistics.median(times), 2), round(statistics.median(memories))
    if options.json:
        print(json.dumps({"runs": options.runs, "machine": platform.processor(), **medians}))
        return
    print(f"medians of {options.runs} runs on {len(os.sched_getaffinity(0))} cores")
    for name, (value, memory) in medians.items():
        unit = "radiographs/s" if name == "screened per second" else f"s   {memory} MB"
        print(f"{name:32} {value:8.2f} {unit}")


if __name__ == "__main__":
    main()
