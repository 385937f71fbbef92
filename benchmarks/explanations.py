"""Put methods of explanation on trial with one classifier, and print what held.

    python benchmarks/explanations.py COHORT|PHANTOMS MODEL [--method NAME ...] [--shuffled MODEL ...]

From a cohort's validation part, or from a whole folder of phantoms (draw one with another seed than the
classifier learned from), radiographs are drawn by chance. Phantoms bring the place of their opacities.
`--shuffled` names classifiers that learned from shuffled labels; `shuffle` makes the cohort for one:

    python benchmarks/explanations.py shuffle COHORT NEW
"""

import argparse
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from hilum.cohort.build import BuildOptions, build_cohort
from hilum.cohort.pixels import cached_pixels
from hilum.cohort.table import Cohort, load_cohort
from hilum.errors import HilumError
from hilum.evaluation.figures import Figure
from hilum.evaluation.wording import brief
from hilum.explanation import METHODS, explainer, target_of
from hilum.explanation.exact import ExactNetwork
from hilum.explanation.trials import ExplanationTrial, try_explanation
from hilum.explanation.trials_erasing import Erasing
from hilum.explanation.trials_randomised import cascade
from hilum.explanation.trials_sanity import SanityCheck
from hilum.files import write_text
from hilum.findings import Part
from hilum.imaging import read, squash
from hilum.model import Classifier, load

ROWS = {
    "random weights: rank correlation": lambda t: _last(t.random_weights, "rank"),
    "random weights: structure": lambda t: _last(t.random_weights, "structure"),
    "  between radiographs: rank": lambda t: t.random_weights and t.random_weights.between_radiographs.rank,
    "  between radiographs: structure": lambda t: t.random_weights and t.random_weights.between_radiographs.structure,
    "shuffled labels: rank correlation": lambda t: _last(t.random_labels, "rank"),
    "shuffled labels: structure": lambda t: _last(t.random_labels, "structure"),
    "deletion: room": lambda t: t.deletion and t.deletion.room,
    "deletion over random": lambda t: t.deletion and t.deletion.over_random,
    "deletion over centre": lambda t: t.deletion and t.deletion.over_centre,
    "insertion: room": lambda t: t.insertion and t.insertion.room,
    "insertion over random": lambda t: t.insertion and t.insertion.over_random,
    "insertion over centre": lambda t: t.insertion and t.insertion.over_centre,
    "pointing": lambda t: t.placement and t.placement.pointing.found,
    "pointing over chance": lambda t: t.placement and t.placement.pointing.over_chance,
    "pointing over centre": lambda t: t.placement and t.placement.pointing.over_centre,
    "energy inside": lambda t: t.placement and t.placement.energy.found,
    "energy over chance": lambda t: t.placement and t.placement.energy.over_chance,
    "energy over centre": lambda t: t.placement and t.placement.energy.over_centre,
    "overlap": lambda t: t.placement and t.placement.overlap.found,
    "overlap over chance": lambda t: t.placement and t.placement.overlap.over_chance,
    "overlap over centre": lambda t: t.placement and t.placement.overlap.over_centre,
    "outside the thorax": lambda t: t.outside and t.outside.share,
    "  of a flat map": lambda t: t.outside and t.outside.chance,
}  # fmt: skip


def main() -> int:
    """Try each method and print the table."""
    if sys.argv[1:2] == ["shuffle"]:
        return shuffle(Path(sys.argv[2]), Path(sys.argv[3]))
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("radiographs", type=Path, help="a cohort, or a folder of phantoms")
    parser.add_argument("model", type=Path)
    parser.add_argument("--method", action="append", help="all without torch when none is given")
    parser.add_argument("--shuffled", type=Path, action="append", default=[])
    parser.add_argument("--number", type=int, default=100, help="of radiographs")
    parser.add_argument("--draws", type=int, default=2, help="of random weights; 0: none")
    parser.add_argument("--steps", type=int, default=16)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, help="write the whole trials there")
    options = parser.parse_args()
    classifier = load(options.model)
    chosen = radiographs(options.radiographs, options.number, options.seed)
    methods = options.method or [name for name, each in METHODS.items() if not each.needs_torch]
    trials = [attempt(name, classifier, chosen, options) for name in methods]
    show(trials)
    if options.json:
        write_text(
            options.json,
            "[" + ",\n".join(each.model_dump_json(indent=1) for each in trials) + "]\n",
        )
    return 0


def radiographs(source: Path, number: int, seed: int) -> Cohort:
    """Return some radiographs of a cohort's validation part, or of a folder of phantoms."""
    if source.is_dir():
        cohort = build_cohort(source, BuildOptions())[0].readable
        if not cohort.phantom:
            raise SystemExit(f"{source} holds no phantoms; build a cohort of it and give that")
    else:
        cohort = load_cohort(source).part(Part.VALIDATION)
    rows = np.random.default_rng(seed).permutation(len(cohort))[:number]
    return replace(cohort, table=cohort.table[np.sort(rows).tolist()])


def masks_of(cohort: Cohort, side: int) -> NDArray[np.bool_] | None:
    """Return where the opacities of phantoms lie, shape (n, side, side); None without masks."""
    if not cohort.phantom:
        return None
    paths = [cohort.root / "masks" / path for path in cohort.table["path"]]
    if not all(path.is_file() for path in paths):
        return None
    return np.stack([squash(read(path), side) >= 128 for path in paths])


def attempt(
    name: str, classifier: Classifier, chosen: Cohort, options: argparse.Namespace
) -> ExplanationTrial:
    """Put one method on trial."""
    began = time.perf_counter()
    pixels = np.array(cached_pixels(chosen, classifier.size))
    target = target_of(classifier.file.labels, classifier.file.calibration)
    network = ExactNetwork(classifier)

    def of_others(others: list[Classifier]) -> list[Callable]:
        return [explainer(other, name) for other in others]

    forgetful = None
    try:
        if options.draws:
            steps = cascade(classifier.file, draws=options.draws)
            forgetful = {step: of_others(others) for step, others in steps.items()}
    except HilumError as error:
        print(f"{name}: no random weights: {error}", file=sys.stderr)
    trial = try_explanation(
        name,
        explainer(classifier, name),
        pixels,
        chosen.patients,
        score=lambda some: network.log_odds([some], target),
        masks=masks_of(chosen, classifier.size),
        randomised=forgetful,
        shuffled_labels=of_others([load(path) for path in options.shuffled]),
        steps=options.steps,
        seed=options.seed,
    )
    print(f"{name}: {time.perf_counter() - began:.0f} s", file=sys.stderr)
    return trial


def _last(check: SanityCheck | None, what: str) -> Figure | None:
    return getattr(check.steps[-1], what) if check else None


def show(trials: list[ExplanationTrial]) -> None:
    """Print a column for each method."""
    first = trials[0]
    print(
        f"{first.radiographs} radiographs of {first.patients} patients, {first.called} called "
        f"pneumonia, {first.side} x {first.side}; means with 95 % intervals over patients\n"
    )
    width = 28
    print(" " * 36 + "".join(f"{trial.method:>{width}}" for trial in trials))
    for row, figure in ROWS.items():
        found = [figure(trial) for trial in trials]
        if any(found):
            cells = "".join(f"{brief(each) if each else '-':>{width}}" for each in found)
            print(f"{row:36}{cells}")
    for part in ("random_weights", "random_labels", "deletion", "insertion"):
        results = [getattr(trial, part) for trial in trials]
        words = [
            each.result if isinstance(each, SanityCheck | Erasing) else "-" for each in results
        ]
        print(f"{part.replace('_', ' '):36}" + "".join(f"{word:>{width}}" for word in words))
    alarms = [(trial.outside and {True: "ALARM", False: "quiet", None: "undecided"}[trial.outside.alarm]) or "-" for trial in trials]  # fmt: skip
    print(f"{'shortcut alarm':36}" + "".join(f"{word:>{width}}" for word in alarms))
    for name, why in first.missing.items():
        print(f"not tried: {name.replace('_', ' ')}: {why}")


def shuffle(source: Path, target: Path) -> int:
    """Write a cohort whose findings were dealt anew to the patients of each part."""
    cohort = load_cohort(source)
    rng = np.random.default_rng(0)
    table = cohort.table.with_columns(row=pl.int_range(pl.len()))
    findings = np.array(table["finding"].to_list(), dtype=object)
    for part in table["part"].unique().sort():
        rows = table.filter(pl.col("part") == part)
        # Whole patients, or two radiographs of one would still share what the labels say.
        order = [
            group["row"].to_numpy() for _, group in rows.group_by("patient", maintain_order=True)
        ]
        dealt = rng.permutation([findings[each[0]] for each in order])
        for each, finding in zip(order, dealt, strict=True):
            findings[each] = finding
    shuffled = cohort.table.with_columns(finding=pl.Series(findings.tolist(), dtype=pl.String))
    replace(cohort, table=shuffled, name=f"{cohort.name} with shuffled labels").save(target)
    return 0


if __name__ == "__main__":
    sys.exit(main())
