"""Likely label errors, by confident learning (Northcutt, Jiang and Chuang, JAIR 2021;70:1373-1411).

A logistic regression on the embedding gives every radiograph probabilities by a model that never saw
its patient. A radiograph is suspected where these are, for another finding, above the mean that this finding's
own radiographs get. How far the list is to be trusted is measured on the cohort itself: some findings
are exchanged at random, and the list is asked for them. The test part is left alone, for whoever cleans it by
a classifier makes it easier for classifiers. The package cleanlab does this and much more; its licence
(AGPL) does not go with ours, so the few lines are written here from the paper.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from hilum.audit.table import AuditLine
from hilum.cohort.split import patient_folds
from hilum.cohort.table import Cohort
from hilum.findings import Part
from hilum.model.schema import Document

__all__ = [
    "Doubt",
    "LabelAudit",
    "LabelDoubt",
    "audit_labels",
    "components",
    "confident_joint",
    "out_of_fold",
    "suspected",
]

_FOLDS = 5  # of patients
_COMPONENTS = 128  # of the embedding
_ROWS_EACH = 5  # radiographs for each component: fewer would fit chance
# The weight of the logistic regression's data is this over their number, so that cohorts of any size are
# held back alike. On 4,173 radiographs of kermany224 0.001 in all had less log-loss than 0.0003 and 0.01.
_C = 4.0
# Of the radiographs of each finding this share is given another one, to see whether the list finds it.
PLANTED = 0.03
# A wrong finding must be so many times likelier to be listed than another for anyone to be sent to look: a
# positive likelihood ratio of 10 is what readers of tests call strong (Jaeschke, Guyatt and Sackett, JAMA
# 1994;271:703-707). Findings that pictures hardly tell apart stay below it.
_STRONG = 10.0
# Trials go on until about so many errors of each kind were planted, in small cohorts eight times.
_PLANTED_EACH, _MOST_TRIALS = 10, 8
_FEWEST_PLANTED = 5  # below it recall and precision are chance


class Doubt(Document):
    """One radiograph whose finding is doubted."""

    id: str
    part: str
    margin: float  # probability of its finding less the highest other; -1 is the gravest


class LabelDoubt(Document):
    """Radiographs of one finding that look like another."""

    given: str
    likely: str
    doubts: tuple[Doubt, ...]  # the gravest first
    estimated: float  # how many there are, by the confident joint, scaled to the given counts
    planted: int  # errors of this kind that were planted to try the list
    recall: float | None  # of the planted, how many were listed; None where too few were planted
    precision: float | None  # of the list at that trial, the share that was planted: more are right
    ratio: (
        float | None
    )  # how many times likelier a planted error is listed than what was left as is

    @property
    def worth_a_look(self) -> bool:
        """Whether the trial says that the list finds errors."""
        return bool(self.doubts) and self.ratio is not None and self.ratio >= _STRONG


class LabelAudit(Document):
    """What was found; pairs with the longest believable list first."""

    radiographs: int
    patients: int
    planted_share: float = PLANTED
    pairs: tuple[LabelDoubt, ...]

    def lines(self) -> list[AuditLine]:
        """Return one line of an audit. It is not serious: a classifier's doubt proves nothing."""
        sound = [pair for pair in self.pairs if pair.worth_a_look]
        vague = sum(len(pair.doubts) for pair in self.pairs if not pair.worth_a_look)
        told = "; ".join(
            f"{len(pair.doubts)} {pair.given} that look like {pair.likely} (of planted errors it "
            f"lists {pair.recall:.0%}, {pair.ratio:.0f} times as often as others)"
            for pair in sound
        )
        count = sum(len(pair.doubts) for pair in sound)
        gravest = sorted((doubt for pair in sound for doubt in pair.doubts), key=lambda d: d.margin)
        return [
            AuditLine(
                "likely label errors",
                serious=False,
                found=count,
                text=f"{count} of {self.radiographs} radiographs outside the test part may have a wrong "
                "finding" + (f": {told}" if told else "")
                + (f"; {vague} more between findings that pictures hardly tell apart" if vague else ""),
                remedy="have a radiologist read them, unaware of the finding; --json lists all, the gravest first",
                examples=tuple(doubt.id for doubt in gravest[:5]),
            )
        ]  # fmt: skip


def audit_labels(
    cohort: Cohort,
    features: NDArray[np.float32],
    progress: Callable[[int, int], None] | None = None,
) -> LabelAudit | None:
    """Suspect findings that pictures contradict.

    Args:
        cohort: Readable radiographs.
        features: Their embedding, shape (n, k), in the cohort's order.
        progress: Called with how many of how many fits are done.

    Returns:
        None where fewer than two findings have enough patients outside the test part.
    """
    part = cohort.table["part"].to_numpy()
    finding = cohort.table["finding"].to_numpy().astype(np.str_)
    patients = cohort.patients
    names, use = [], np.zeros(len(part), bool)
    for name in np.unique(finding):
        rows = (finding == name) & (part != str(Part.TEST))
        if len(np.unique(patients[rows])) >= 2 * _FOLDS:
            names.append(str(name))
            use |= rows
    if len(names) < 2:
        return None
    ids = cohort.table["id"].to_numpy()[use]
    truth = np.searchsorted(names, finding[use])
    people = patients[use]
    # Components are learned without findings, so they may be shared by all folds.
    x = components(features[use])
    fewest = int(np.bincount(truth).min()) * PLANTED / (len(names) - 1)
    trials = int(np.clip(np.ceil(_PLANTED_EACH / fewest), 1, _MOST_TRIALS))
    folds = patient_folds(truth, people, _FOLDS, seed=0)
    probabilities = out_of_fold(x, truth, folds)
    if progress:
        progress(1, 1 + trials)
    planted, listed, hits = np.zeros((3, len(names), len(names)), np.int64)
    kept = np.zeros(len(names), np.int64)
    rng = np.random.default_rng(0)
    for trial in range(trials):
        exchanged = _exchanged(truth, len(names), rng)
        found = suspected(out_of_fold(x, exchanged, folds), exchanged)
        wrong, doubted = exchanged != truth, (found >= 0) & (found != exchanged)
        np.add.at(planted, (exchanged[wrong], truth[wrong]), 1)
        np.add.at(listed, (exchanged[doubted], found[doubted]), 1)
        kept += np.bincount(truth[~wrong], minlength=len(names))
        right = wrong & (found == truth)
        np.add.at(hits, (exchanged[right], truth[right]), 1)
        if progress:
            progress(2 + trial, 1 + trials)
    likely = suspected(probabilities, truth)
    joint = confident_joint(probabilities, truth)
    margins = _margins(probabilities, truth)
    pairs = []
    for given in range(len(names)):
        for other in range(len(names)):
            if given == other:
                continue
            rows = np.flatnonzero((truth == given) & (likely == other))
            rows = rows[np.argsort(margins[rows], kind="stable")]
            cell = given, other
            enough = int(planted[cell]) >= _FEWEST_PLANTED
            recall = float(hits[cell] / planted[cell]) if enough else None
            # Half a radiograph more keeps the ratio finite where no other is listed.
            others = (int(listed[cell] - hits[cell]) + 0.5) / (int(kept[given]) + 1)
            pairs.append(
                LabelDoubt(
                    given=names[given],
                    likely=names[other],
                    doubts=tuple(
                        Doubt(
                            id=str(ids[row]), part=str(part[use][row]), margin=float(margins[row])
                        )
                        for row in rows
                    ),
                    estimated=float(joint[given, other]),
                    planted=int(planted[cell]),
                    recall=recall,
                    precision=float(hits[cell] / listed[cell]) if enough and listed[cell] else None,
                    ratio=None if recall is None else recall / others,
                )
            )
    pairs.sort(key=lambda pair: (not pair.worth_a_look, -len(pair.doubts)))
    return LabelAudit(radiographs=len(truth), patients=len(np.unique(people)), pairs=tuple(pairs))


def components(features: NDArray[np.float32]) -> NDArray[np.float64]:
    """Reduce standardised embeddings to principal components.

    Args:
        features: Shape (n, k).

    Returns:
        Shape (n, 128), float64; fewer columns where there are few radiographs.
    """
    from sklearn.decomposition import PCA

    deviation = features.std(axis=0)
    standard = (features - features.mean(axis=0)) / np.where(deviation > 0, deviation, 1.0)
    count = max(min(_COMPONENTS, len(features) // _ROWS_EACH, features.shape[1]), 1)
    reduced = PCA(count, svd_solver="randomized", random_state=0).fit_transform(standard)
    return np.asarray(reduced, np.float64)


def _exchanged(truth: NDArray[np.int64], count: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Give a share of each finding's radiographs another finding, all others alike."""
    changed = truth.copy()
    for label in range(count):
        rows = np.flatnonzero(truth == label)
        chosen = rng.choice(rows, max(round(PLANTED * len(rows)), 1), replace=False)
        changed[chosen] = (label + 1 + np.arange(len(chosen)) % (count - 1)) % count
    return changed


def out_of_fold(
    x: NDArray[np.float64], labels: NDArray[np.int64], folds: NDArray[np.int32]
) -> NDArray[np.float64]:
    """Return the probabilities of each label by models without the radiograph's fold.

    Args:
        x: Shape (n, k).
        labels: Shape (n,), in [0, c), each in two folds or more.
        folds: Of patients, shape (n,), from `patient_folds`.

    Returns:
        Shape (n, c), rows sum to 1.
    """
    from sklearn.linear_model import LogisticRegression

    probabilities = np.empty((len(labels), int(labels.max()) + 1))
    for fold in np.unique(folds):
        out = folds == fold
        model = LogisticRegression(C=_C / int((~out).sum()), solver="newton-cholesky").fit(
            x[~out], labels[~out]
        )
        probabilities[out] = model.predict_proba(x[out])
    return probabilities


def suspected(probabilities: NDArray[np.float64], labels: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the label that each radiograph confidently has; -1 where none.

    It is the most probable of those labels whose probability reaches the mean that radiographs given
    this label have (section 3.1 of the paper).

    Args:
        probabilities: Out of fold, shape (n, c).
        labels: As given, shape (n,).
    """
    count = probabilities.shape[1]
    threshold = np.array([probabilities[labels == k, k].mean() for k in range(count)])
    reached = np.where(probabilities >= threshold, probabilities, -1.0)
    return np.where(reached.max(axis=1) >= 0, reached.argmax(axis=1), -1)


def confident_joint(
    probabilities: NDArray[np.float64], labels: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Estimate how many radiographs have each given and each true label.

    Args:
        probabilities: Out of fold, shape (n, c).
        labels: As given, shape (n,).

    Returns:
        Shape (c, c): given, true. Each row sums to how many were given that label.
    """
    count = probabilities.shape[1]
    confident = suspected(probabilities, labels)
    joint = np.zeros((count, count))
    np.add.at(joint, (labels[confident >= 0], confident[confident >= 0]), 1.0)
    of_given = np.bincount(labels, minlength=count)
    total = joint.sum(axis=1)
    joint[total == 0] = np.eye(count)[total == 0]  # nobody is confident: all are taken as given
    scaled: NDArray[np.float64] = joint / joint.sum(axis=1, keepdims=True) * of_given[:, None]
    return scaled


def _margins(probabilities: NDArray[np.float64], labels: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the normalised margin: the probability of the given label less the highest other."""
    rows = np.arange(len(labels))
    others = probabilities.copy()
    others[rows, labels] = -np.inf
    margin: NDArray[np.float64] = probabilities[rows, labels] - others.max(axis=1)
    return margin
