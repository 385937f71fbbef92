"""Fuzz `hilum.imaging.read` with mutations of small files of every format and transfer syntax.

    python benchmarks/fuzz_read.py --count 20000 --seed 1

The mutations are read in a worker process, so that a crash of a codec written in C is noticed,
counted and laid down as a file, and the run goes on. Nothing but `RadiographError` may leave
`read`: anything else is counted as escaped. Exit status 1 if anything crashed, escaped or hung.
"""

import argparse
import json
import os
import resource
import select
import subprocess
import sys
import tempfile
import time
import zlib
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
HANG_SECONDS = 30  # a worker silent for so long is killed and counted
INTERESTING = (
    b"\0",
    b"\xff",
    b"\x7f",
    b"\x80",
    b"\xff\xff",
    b"\0\0",
    b"\x7f\xff",
    b"\xff\xff\xff\xff",
)


def mutate(file: bytes, rng: np.random.Generator) -> bytes:
    """Damage a file as disks, networks and attackers do: bits, bytes, cuts, copies, lengths."""
    data = bytearray(file)
    # Headers decide more than pixels do, so half of all damage goes to the first part.
    for _ in range(int(rng.choice([1, 1, 2, 4, 16]))):
        reach = len(data) if rng.random() < 0.5 else min(len(data), 700)
        at = int(rng.integers(reach)) if reach else 0
        match int(rng.integers(7)):
            case 0 if data:
                data[at] ^= 1 << int(rng.integers(8))
            case 1 if data:
                data[at] = int(rng.integers(256))
            case 2:
                value = INTERESTING[int(rng.integers(len(INTERESTING)))]
                data[at : at + len(value)] = value
            case 3 if rng.random() < 0.3:
                del data[at:]
            case 4:
                del data[at : at + int(rng.integers(1, 40))]
            case 5:
                start = int(rng.integers(reach)) if reach else 0
                data[at:at] = data[start : start + int(rng.integers(1, 80))]
            case 6 if len(data) > at + 4:
                old = int.from_bytes(data[at : at + 2], "little")
                data[at : at + 2] = ((old + int(rng.integers(-3, 4))) & 0xFFFF).to_bytes(
                    2, "little"
                )
            case _:
                pass
    if data[:4] == b"\x89PNG" and rng.random() < 0.7:
        repair_png(data)
    return bytes(data)


def repair_png(data: bytearray) -> None:
    """Make the checksums of a PNG fit again, so that damage reaches what lies behind them."""
    at = 8
    while at + 12 <= len(data):
        length = int.from_bytes(data[at : at + 4], "big")
        end = at + 8 + length
        if end + 4 > len(data):
            return
        data[end : end + 4] = zlib.crc32(data[at + 4 : end]).to_bytes(4, "big")
        at = end + 4


def work(folder: Path, seed: int, first: int, count: int, log: Path) -> None:
    """Read mutations `first` to `count - 1`, one line of JSON each; the parent watches."""
    sys.stderr = log.open("a")  # Python's own; what codecs print goes to the inherited descriptor
    from hilum.errors import RadiographError
    from hilum.imaging import read

    samples = [(path.stem, path.read_bytes()) for path in sorted(folder.glob("*.sample"))]
    for index in range(first, count):
        rng = np.random.default_rng([seed, index])
        name, file = samples[index % len(samples)]
        mutated = mutate(file, rng)
        (folder / "current").write_bytes(mutated)
        print(json.dumps({"start": index, "name": name}), flush=True)
        min_side = 16 if rng.random() < 0.3 else None
        begin = time.perf_counter()
        detail = ""
        try:
            read(mutated, min_side=min_side)
            outcome = "read"
        except RadiographError as error:
            outcome = "refused"
            if "cannot be decoded" in str(error):  # the last guard caught it
                detail = repr(error.__cause__)[:120]
        except BaseException as error:  # noqa: BLE001 - whatever escapes is what we look for
            outcome, detail = "escaped", repr(error)[:200]
        seconds = time.perf_counter() - begin
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(
            json.dumps({"outcome": outcome, "detail": detail, "s": seconds, "mb": peak}), flush=True
        )


def start_worker(folder: Path, seed: int, first: int, count: int, errors: Path) -> subprocess.Popen:
    """Start a process that reads mutations from `first` on."""
    command = [sys.executable, __file__, "--worker", str(folder), str(first)]
    command += ["--seed", str(seed), "--count", str(count)]
    with errors.open("ab") as sink:
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=sink)


def main() -> int:
    """Make the samples, watch the workers, print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=2000, help="mutations in all (default 2000)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", default="", help="only samples whose name contains this")
    parser.add_argument("--keep", type=Path, help="folder for files that crash, hang or escape")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--worker", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        folder, first = options.worker
        work(Path(folder), options.seed, int(first), options.count, Path(folder) / "python-errors")
        return 0

    sys.path.insert(0, str(ROOT))
    from tests.imaging.samples import every_sample

    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        for name, file in every_sample().items():
            if options.only.lower() in name.lower():
                (folder / f"{name}.sample").write_bytes(file)
        table, guarded = supervise(folder, options)
        printed = (folder / "errors").stat().st_size
    report(table, guarded, printed, options.json)
    bad = ("crashed", "escaped", "hung")
    return int(any(row[key] for row in table.values() for key in bad))


def supervise(folder: Path, options: argparse.Namespace) -> tuple[dict, dict]:
    """Run workers until all mutations are read; a worker that dies is replaced after its file."""
    table: dict[str, dict] = {}
    guarded: dict[str, int] = {}
    index = 0
    while index < options.count:
        worker = start_worker(folder, options.seed, index, options.count, folder / "errors")
        name = ""
        buffer = b""
        hung = False
        while True:
            ready, _, _ = select.select([worker.stdout], [], [], HANG_SECONDS)
            if not ready:
                hung = True
                worker.kill()
                break
            chunk = os.read(worker.stdout.fileno(), 1 << 16)
            if not chunk:
                break
            buffer += chunk
            *lines, buffer = buffer.split(b"\n")
            for line in map(json.loads, lines):
                if "start" in line:
                    name, index = line["name"], line["start"]
                    continue
                row = table.setdefault(name, new_row())
                row[line["outcome"]] += 1
                row["slowest"] = max(row["slowest"], line["s"])
                row["peak_mb"] = max(row["peak_mb"], line["mb"])
                if line["detail"]:
                    guarded[line["detail"]] = guarded.get(line["detail"], 0) + 1
                if line["outcome"] == "escaped" or line["s"] > 1:
                    keep(folder, options.keep, f"{line['outcome']}-{index}")
                name_done = index
                index = name_done + 1
        status = worker.wait()
        if index >= options.count:
            break
        row = table.setdefault(name, new_row())
        row["hung" if hung else "crashed"] += 1
        keep(folder, options.keep, f"{'hung' if hung else f'crash{status}'}-{index}")
        index += 1
    return table, guarded


def new_row() -> dict:
    """Return the empty counts of one sample."""
    return dict.fromkeys(("read", "refused", "escaped", "crashed", "hung"), 0) | {
        "slowest": 0.0,
        "peak_mb": 0.0,
    }


def keep(folder: Path, target: Path | None, name: str) -> None:
    """Lay down the file that was being read, where asked for."""
    if target:
        target.mkdir(parents=True, exist_ok=True)
        (target / name).write_bytes((folder / "current").read_bytes())


def report(table: dict, guarded: dict, printed: int, as_json: bool) -> None:
    """Print the counts, per sample and in all."""
    if as_json:
        print(json.dumps({"samples": table, "guarded": guarded, "bytes_on_stderr": printed}))
        return
    columns = ("read", "refused", "escaped", "crashed", "hung")
    print(f"{'sample':26}" + "".join(f"{c:>9}" for c in columns) + "  slowest s  peak MB")
    total = new_row()
    for name, row in [*sorted(table.items()), ("all", total)]:
        if row is not total:
            for key in columns:
                total[key] += row[key]
            for key in ("slowest", "peak_mb"):
                total[key] = max(total[key], row[key])
        print(
            f"{name:26}"
            + "".join(f"{row[c]:9d}" for c in columns)
            + f"{row['slowest']:11.3f}{row['peak_mb']:9.0f}"
        )
    print(f"\n{printed} bytes were printed to the error stream by codecs")
    print(f"{sum(guarded.values())} refusals came from the last guard or escaped:")
    for detail, count in sorted(guarded.items(), key=lambda item: -item[1])[:20]:
        print(f"  {count:6d}  {detail}")


if __name__ == "__main__":
    sys.exit(main())
