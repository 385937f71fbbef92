"""Which training holds on other radiographs: train variants, judge them on validation, open the test once.

    python benchmarks/generalisation.py train COHORT FOLDER [VARIANT...]   resumable, one after another
    python benchmarks/generalisation.py judge COHORT FOLDER                on the validation part alone
    python benchmarks/generalisation.py open COHORT FOLDER                 on the test part; counted

The variants are in generalisation.toml: changes to the recipe `two-stage` by dotted path. `judge`
gives the ordinary validation AUC and the selection score of each classifier below the folder; `open` adds its test
figures, and how well either score ranks the classifiers as the test does. Nothing may be chosen after it.
"""

import argparse
import json
import tomllib
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy.stats import spearmanr
from sklearn.metrics import roc_auc_score

from hilum.cohort.nuisance import nuisances
from hilum.cohort.pixels import cached_pixels
from hilum.cohort.table import Cohort, load_cohort
from hilum.evaluation import predict
from hilum.evaluation.openings import record_opening
from hilum.evaluation.shortcuts import ShortcutPairs, shortcut_log_odds
from hilum.findings import Part, Task
from hilum.model import Classifier, load
from hilum.training import load_recipe, train
from hilum.training.figures import validation_figures
from hilum.training.selection import Selection

# One grid for all, so that classifiers of any size are judged on the same pairs.
NUISANCE_SIDE = 224
REPLICATES = 2000


def main() -> None:
    """Do what is asked."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=["train", "judge", "open"])
    parser.add_argument("cohort", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("variants", nargs="*", help="names; all when none is given")
    parser.add_argument(
        "--seed", type=int, default=0, help="of training; above 0 the folder says so"
    )
    asked = parser.parse_args()
    cohort = load_cohort(asked.cohort)
    if asked.what == "train":
        train_variants(cohort, asked.folder, asked.variants, asked.seed)
        return
    rows = judge(cohort, asked.folder)
    if asked.what == "open":
        open_test(cohort, asked.folder, rows)
    table = pl.DataFrame(rows).sort("selection", descending=True)
    table.write_csv(asked.folder / f"{asked.what}.csv")
    with pl.Config(tbl_rows=-1, tbl_cols=-1, float_precision=4, tbl_width_chars=200):
        print(table)
    if asked.what == "open":
        ranks(table)


def train_variants(cohort: Cohort, folder: Path, names: list[str], seed: int) -> None:
    """Train what is not yet there."""
    variants = tomllib.loads(Path(__file__).with_suffix(".toml").read_text())
    base = variants.pop("base")
    for name, settings in variants.items():
        place = folder / (f"{name}-seed-{seed}" if seed else name)
        if (names and name not in names) or (place / "model.hilum").is_file():
            continue
        recipe = load_recipe("two-stage").changed({**base, **settings, "name": name, "seed": seed})
        result = train(
            recipe, cohort, place, command=f"generalisation.py train {name} --seed {seed}"
        )
        stages = result.model.provenance.recipe["chosen"]["stages"]
        print(name, json.dumps(stages[-1]["figures"]), flush=True)


def judge(cohort: Cohort, folder: Path) -> list[dict[str, float | str]]:
    """Return the validation figures of every classifier below the folder."""
    learning, learned = cohort.part(Part.TRAIN).for_task(Task.BINARY)
    validation, truth = cohort.part(Part.VALIDATION).for_task(Task.BINARY)
    kinds = np.array([Task.THREE_CLASS.label_of(f) or 0 for f in validation.findings])
    measured = [nuisances(cached_pixels(part, NUISANCE_SIDE)) for part in (learning, validation)]
    log_odds = shortcut_log_odds(measured[0], learned > 0, measured[1])
    pairs = ShortcutPairs.of(log_odds, truth > 0)
    print(
        f"nuisances alone: validation AUC {roc_auc_score(truth, log_odds):.3f}; "
        f"{pairs.equal.sum()} equal and {pairs.opposed.sum()} opposed of {pairs.equal.size} pairs"
    )
    rows: list[dict[str, float | str]] = []
    for path in sorted(folder.rglob("model.hilum")):
        classifier = load(path)
        pixels = cached_pixels(validation, classifier.size)
        selection = Selection.of(pixels, truth > 0, log_odds)
        scores = raw_scores(classifier, np.concatenate([pixels, selection.extra]))
        binary = np.stack([scores[:, 0], np.logaddexp.reduce(scores[:, 1:], axis=1)], axis=1)
        plain = validation_figures(binary[: len(truth)], truth)
        rows.append(
            {
                "classifier": str(path.parent.relative_to(folder)),
                "validation auc": plain["auc"],
                "kinds": kinds_auc(scores[: len(truth)], kinds),
                **selection.figures(scores),
            }
        )
    return rows


def kinds_auc(scores: NDArray[np.float64], kinds: NDArray[np.int64]) -> float:
    """Return how well viral is told from bacterial pneumonia; NaN where a network has no kinds."""
    if scores.shape[1] < 3:
        return float("nan")
    ill = kinds > 0
    return float(roc_auc_score(kinds[ill] == 2, scores[ill, 2] - scores[ill, 1]))


def raw_scores(classifier: Classifier, pixels: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Return scores before calibration, shape (n, labels)."""
    blocks = (pixels[i : i + 16] for i in range(0, len(pixels), 16))
    return np.concatenate(list(classifier.network.stream(blocks, "scores"))).astype(np.float64)


def open_test(cohort: Cohort, folder: Path, rows: list[dict[str, float | str]]) -> None:
    """Add the test AUC to each row, and write down that the test part was opened."""
    for row in rows:
        classifier = load(folder / str(row["classifier"]) / "model.hilum")
        _, predictions, _ = predict(classifier, cohort.part(Part.TEST))
        record_opening(cohort, classifier.file.sha256)
        labels = (predictions.truth > 0).astype(np.int64)
        score = predictions.pneumonia
        figures = validation_figures(np.log(np.stack([1 - score, score], axis=1) + 1e-12), labels)
        row["test auc"] = figures["auc"]


def ranks(table: pl.DataFrame) -> None:
    """Print how well each score ranks the classifiers as the test does, with intervals over them."""
    rng = np.random.default_rng(0)
    test = table["test auc"].to_numpy()
    for name in ("validation auc", "selection", "across", "worst", "equal", "opposed"):
        score = table[name].to_numpy()
        drawn = rng.integers(0, len(table), (REPLICATES, len(table)))
        found = [spearmanr(score[d], test[d]).statistic for d in drawn]
        low, high = np.nanpercentile(found, [2.5, 97.5])
        print(
            f"{name}: rank correlation with the test AUC {spearmanr(score, test).statistic:.2f} ({low:.2f} to {high:.2f})"
        )


if __name__ == "__main__":
    main()
