"""Which training holds on other radiographs: train variants, judge them on validation, open the test once.

    python benchmarks/generalisation.py train COHORT FOLDER [VARIANT...]   resumable, one after another
    python benchmarks/generalisation.py judge COHORT FOLDER                on the validation part alone
    python benchmarks/generalisation.py apart COHORT FOLDER [VARIANT...]   without what contradicts shortcuts
    python benchmarks/generalisation.py open COHORT FOLDER                 on the test part; counted

The variants are in generalisation.toml: changes to the recipe `two-stage` by dotted path. `judge`
gives the ordinary validation AUC and the selection score of each classifier below the folder; `open` adds its test
figures, and how well either score ranks the classifiers as the test does. Nothing may be chosen after it.
`apart` trains variants anew without the fifth of each label whose nuisances look most like the other
label's, nor their patients, and judges them on exactly these: another domain out of the training folder.
"""

import argparse
import json
import tomllib
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy.special import log_softmax
from scipy.stats import spearmanr
from sklearn.metrics import roc_auc_score

from hilum.cohort.build import BuildOptions, build_cohort
from hilum.cohort.nuisance import nuisances
from hilum.cohort.pixels import cached_pixels
from hilum.cohort.table import Cohort, load_cohort
from hilum.errors import CohortError
from hilum.evaluation.intervals import patient_weights, percentiles
from hilum.evaluation.openings import record_opening
from hilum.evaluation.operating_points import choose_operating_point, parse_aim
from hilum.evaluation.reading import scores_of
from hilum.evaluation.shortcuts import (
    ShortcutPairs,
    out_of_fold_log_odds,
    shortcut_log_odds,
)
from hilum.findings import Part, Task
from hilum.model import Classifier, load
from hilum.training import load_recipe, train
from hilum.training.figures import pneumonia_scores, validation_figures
from hilum.training.selection import Selection

# One grid for all, so that classifiers of any size are judged on the same pairs.
NUISANCE_SIDE = 224
REPLICATES = 2000
BINS = 10  # of equal mass, for the calibration error
AIM = parse_aim("sensitivity>=0.97")
CONTRARY = 0.2  # share of each label that `apart` keeps out of training
TOGETHER = (2, 4, 8)  # how many of the best are also averaged
Row = dict[str, float | str | None]


def main() -> None:
    """Do what is asked."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=["train", "judge", "apart", "open"])
    parser.add_argument("cohort", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("variants", nargs="*", help="names; all when none is given")
    parser.add_argument(
        "--seed", type=int, default=0, help="of training; above 0 the folder says so"
    )
    parser.add_argument("--copies", type=Path, help="folder with other copies of radiographs")
    asked = parser.parse_args()
    cohort = load_cohort(asked.cohort)
    if asked.what == "train":
        train_variants(cohort, asked.folder, asked.variants, asked.seed)
        return
    if asked.what == "apart":
        train_apart(cohort, asked.folder, asked.variants, asked.seed)
        return
    rows = judge(cohort, asked.folder, asked.copies)
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
    if unknown := set(names) - set(variants):
        raise SystemExit(
            f"there is no variant {', '.join(sorted(unknown))}; see generalisation.toml"
        )
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


def train_apart(cohort: Cohort, folder: Path, names: list[str], seed: int) -> None:
    """Train without what contradicts shortcuts, and judge on it."""
    both, truth = cohort.part(Part.TRAIN, Part.VALIDATION).for_task(Task.BINARY)
    measured = nuisances(cached_pixels(both, NUISANCE_SIDE))
    log_odds = out_of_fold_log_odds(measured, truth > 0, both.patients)
    contrary = np.zeros(len(truth), bool)
    for label, against in ((0, log_odds), (1, -log_odds)):
        rows = np.flatnonzero(truth == label)
        contrary[rows[np.argsort(-against[rows])[: round(CONTRARY * len(rows))]]] = True
    ids = both.table["id"].filter(pl.Series(contrary)).to_list()
    patients = both.table["patient"].filter(pl.Series(contrary)).unique().to_list()
    judged = both.where(pl.col("id").is_in(ids))
    agreeing = both.where(~pl.col("patient").is_in(patients))
    positive = kinds_of(judged) > 0
    shortcut = roc_auc_score(positive, log_odds[contrary])
    print(
        f"learned from {len(agreeing)} radiographs, judged on {(~positive).sum()} normal and "
        f"{positive.sum()} with pneumonia, on which nuisances alone have an AUC of {shortcut:.3f}"
    )
    train_variants(agreeing, folder, names, seed)
    for path in sorted(folder.glob("*/model.hilum")):
        classifier = load(path)
        scores = scores_of(classifier, cached_pixels(judged, classifier.size))
        pneumonia = pneumonia_scores(scores.astype(np.float64))
        print(f"{path.parent.name}: AUC {roc_auc_score(positive, pneumonia):.4f}", flush=True)


def judge(cohort: Cohort, folder: Path, copies: Path | None) -> list[Row]:
    """Return the validation figures of every classifier below the folder."""
    learning, learned = cohort.part(Part.TRAIN).for_task(Task.BINARY)
    validation, truth = cohort.part(Part.VALIDATION).for_task(Task.BINARY)
    kinds = kinds_of(validation)
    measured = [nuisances(cached_pixels(part, NUISANCE_SIDE)) for part in (learning, validation)]
    log_odds = shortcut_log_odds(measured[0], learned > 0, measured[1])
    pairs = ShortcutPairs.of(log_odds, truth > 0)
    print(
        f"nuisances alone: validation AUC {roc_auc_score(truth, log_odds):.3f}; "
        f"{pairs.equal.sum()} equal and {pairs.opposed.sum()} opposed of {pairs.equal.size} pairs"
    )
    others = Copies.of(validation, copies) if copies else None
    if others:
        print(f"{len(others.ours)} validation radiographs have another copy")
    rows: list[Row] = []
    said: list[tuple[float, NDArray[np.float64]]] = []
    for path in sorted(folder.rglob("model.hilum")):
        classifier = load(path)
        pixels = cached_pixels(validation, classifier.size)
        selection = Selection.of(pixels, truth > 0, log_odds)
        raw = scores_of(classifier, np.concatenate([pixels, selection.extra]))
        scores = raw.astype(np.float64)
        binary = np.stack([scores[:, 0], np.logaddexp.reduce(scores[:, 1:], axis=1)], axis=1)
        plain = validation_figures(binary[: len(truth)], truth)
        # Two operating points: on validation as it is, and on it with all that is worn.
        pneumonia = 1 - classifier.probabilities(raw)[:, 0]
        worn = np.concatenate([truth > 0, np.tile(truth[selection.rows] > 0, len(selection.views))])
        figures = selection.figures(scores)
        said.append((figures["selection"], binary))
        rows.append(
            {
                "classifier": str(path.parent.relative_to(folder)),
                "validation auc": plain["auc"],
                "kinds": kinds_auc(scores[: len(truth)], kinds),
                **figures,
                **(others.figures(classifier) if others else {}),
                "threshold": threshold(pneumonia[: len(truth)], truth > 0),
                "threshold worn": threshold(pneumonia, worn),
            }
        )
    said.sort(key=lambda each: -each[0])
    for count in TOGETHER:
        mean = np.mean([log_softmax(binary, axis=1) for _, binary in said[:count]], axis=0)
        auc = roc_auc_score(truth, pneumonia_scores(mean[: len(truth)]))
        score = selection.figures(mean)["selection"]
        print(f"the {count} best together: validation AUC {auc:.4f}, selection {score:.4f}")
    return rows


def kinds_of(part: Cohort) -> NDArray[np.int64]:
    """Return 0 for normal, 1 for bacterial and 2 for viral pneumonia, shape (n,).

    Raises:
        CohortError: If the cohort does not say of which kind a pneumonia is.
    """
    kinds = [Task.THREE_CLASS.label_of(finding) for finding in part.findings]
    if None in kinds:
        raise CohortError(
            f"the cohort {part.name} has pneumonia of unknown kind; use one that says whether each "
            "is bacterial or viral, such as kermany224"
        )
    return np.array(kinds, dtype=np.int64)


def threshold(pneumonia: NDArray[np.float64], positive: NDArray[np.bool_]) -> float:
    """Return the operating point of highest specificity that reaches the wanted sensitivity."""
    return choose_operating_point(AIM, pneumonia, positive, "validation").threshold


def kinds_auc(scores: NDArray[np.float64], kinds: NDArray[np.int64]) -> float | None:
    """Return how well viral is told from bacterial pneumonia; None where a network has no kinds."""
    if scores.shape[1] < 3:
        return None
    ill = kinds > 0
    return float(roc_auc_score(kinds[ill] == 2, scores[ill, 2] - scores[ill, 1]))


@dataclass(frozen=True)
class Copies:
    """Validation radiographs that another folder holds in another resolution."""

    ours: Cohort
    theirs: Cohort

    @classmethod
    def of(cls, validation: Cohort, folder: Path) -> "Copies":
        """Find the radiographs of the validation part in a folder, by file name."""
        found, _ = build_cohort(folder, BuildOptions())
        stems = {Path(path).stem for path in validation.table["path"]}
        both = stems & {Path(path).stem for path in found.table["path"]}

        def those(cohort: Cohort) -> Cohort:
            table = cohort.table.with_columns(
                stem=pl.Series([Path(path).stem for path in cohort.table["path"]])
            )
            kept = table.filter(pl.col("stem").is_in(both)).unique("stem").sort("stem")
            return replace(cohort, table=kept.drop("stem"))

        return cls(those(validation), those(found))

    def figures(self, classifier: Classifier) -> Row:
        """Return the area on either copy and how many probabilities of two copies are close."""
        read = []
        for cohort in (self.ours, self.theirs):
            scores = scores_of(classifier, cached_pixels(cohort, classifier.size))
            read.append(1 - classifier.probabilities(scores)[:, 0])
        positive = kinds_of(self.ours) > 0
        return {
            "auc of copies here": float(roc_auc_score(positive, read[0])),
            "auc of copies": float(roc_auc_score(positive, read[1])),
            "within 0.05": float((np.abs(read[0] - read[1]) < 0.05).mean()),
        }


def open_test(cohort: Cohort, folder: Path, rows: list[Row]) -> None:
    """Add the test figures to each row, and write down that the test part was opened."""
    test = cohort.part(Part.TEST)
    kinds, patients = kinds_of(test), test.patients
    for row in rows:
        classifier = load(folder / str(row["classifier"]) / "model.hilum")
        probabilities = classifier.probabilities(
            scores_of(classifier, cached_pixels(test, classifier.size))
        )
        record_opening(cohort, classifier.file.sha256)
        rng = np.random.default_rng(0)
        drawn = np.concatenate(list(patient_weights(patients, rng, REPLICATES)))
        weights = np.concatenate([np.ones((1, len(kinds))), drawn])
        found = [test_figures(probabilities, kinds, weight, row) for weight in weights]
        for name in found[0]:
            values = np.array([figures[name] for figures in found], dtype=np.float64)
            row[f"test {name}"] = found[0][name]
            row[f"test {name} low"], row[f"test {name} high"] = percentiles(values[1:]).tolist()


def test_figures(
    probabilities: NDArray[np.float64],
    kinds: NDArray[np.int64],
    weights: NDArray[np.float64],
    row: Row,
) -> dict[str, float]:
    """Return the figures of the test part, with each radiograph counted as often as weighed."""
    ill = kinds > 0
    pneumonia = 1 - probabilities[:, 0]
    figures = {"auc": float(roc_auc_score(ill, pneumonia, sample_weight=weights))}
    for name, key in (("", "threshold"), (" worn", "threshold worn")):
        called = pneumonia >= float(row[key] or 0)
        figures[f"sensitivity{name}"] = float(np.average(called[ill], weights=weights[ill]))
        figures[f"specificity{name}"] = float(np.average(~called[~ill], weights=weights[~ill]))
    bins = np.array_split(np.argsort(pneumonia, kind="stable"), BINS)
    gaps = [abs(float((weights[b] * (pneumonia[b] - ill[b])).sum())) for b in bins]
    figures["ece"] = sum(gaps) / float(weights.sum())
    if probabilities.shape[1] > 2:
        figures["three-class accuracy"] = float(
            np.average(probabilities.argmax(axis=1) == kinds, weights=weights)
        )
        viral = probabilities[ill, 2] > probabilities[ill, 1]
        figures["kinds accuracy"] = float(
            np.average(viral == (kinds[ill] == 2), weights=weights[ill])
        )
        margin = np.log(probabilities[ill, 2]) - np.log(probabilities[ill, 1])
        figures["kinds auc"] = float(
            roc_auc_score(kinds[ill] == 2, margin, sample_weight=weights[ill])
        )
    return figures


def ranks(table: pl.DataFrame) -> None:
    """Print how well each score ranks the classifiers as the test does, with intervals over them."""
    rng = np.random.default_rng(0)
    test = table["test auc"].to_numpy()
    for name in ("validation auc", "selection", "hardest", "equal", "opposed"):
        if name not in table.columns:
            continue  # a small cohort has too few of these pairs
        score = table[name].to_numpy()
        drawn = rng.integers(0, len(table), (REPLICATES, len(table)))
        found = [spearmanr(score[d], test[d]).statistic for d in drawn]
        low, high = np.nanpercentile(found, [2.5, 97.5])
        print(
            f"{name}: rank correlation with the test AUC "
            f"{spearmanr(score, test).statistic:.2f} ({low:.2f} to {high:.2f})"
        )


if __name__ == "__main__":
    main()
