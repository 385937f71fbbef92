"""The audit of pictures: near copies, and pictures that do not belong in a cohort.

It sees every radiograph once, as an embedding and as a thumbnail. The network that embeds is handed in,
since this room knows none. Findings are only asked for where two files show one radiograph.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from hilum.audit.copies import Match, embedding_neighbours, near_copies, thumbnails
from hilum.audit.odd import (
    FAR,
    FEWEST_POSED,
    SURE,
    Pose,
    pose_probabilities,
    posed,
    strangeness,
)
from hilum.audit.table import AuditLine
from hilum.cohort.hashes import near_hash_pairs
from hilum.cohort.pixels import cached_pixels
from hilum.cohort.table import Cohort
from hilum.errors import CohortError
from hilum.evaluation.figures import Figure
from hilum.evaluation.intervals import clopper_pearson
from hilum.findings import Part
from hilum.model.gate import refusal_by_picture
from hilum.model.schema import Document, Gate

__all__ = [
    "Embed",
    "NearCopy",
    "OddPicture",
    "PictureAudit",
    "Pictures",
    "audit_pictures",
    "take_in",
]

SIZE = 224  # grid on which pictures are embedded
_POSED = 300  # radiographs that are turned and inverted; more found no more
_AT_ONCE = 1024  # radiographs, so that progress is seen

Embed = Callable[[NDArray[np.uint8]], NDArray[np.float32]]
Progress = Callable[[int, int], None]


class NearCopy(Document):
    """Two files that show one radiograph, or may."""

    ids: tuple[str, str]
    parts: tuple[str, str]
    findings: tuple[str, str]
    same_patient: bool
    found_by: str  # "pixels", "perceptual hash" or "embedding"
    how: str  # in the best fit: "upright", "mirrored", "turned" or "cropped"
    correlation: float  # of thumbnails in that fit, in [-1, 1]
    confirmed: bool  # by pixels


class OddPicture(Document):
    """A picture that does not belong, or may not."""

    id: str
    part: str
    kind: str  # "unfit", "strange", or how it lies (a value of `Pose`)
    reason: str


class PictureAudit(Document):
    """What was found."""

    radiographs: int
    near_copies: tuple[NearCopy, ...]  # the most alike first
    odd: tuple[OddPicture, ...]
    # Of turned and inverted copies of this cohort's own radiographs, the share that was found.
    pose_hits: dict[str, Figure]  # empty where there were too few patients to learn from

    def lines(self) -> list[AuditLine]:
        """Return the findings as lines of an audit."""
        sure = [pair for pair in self.near_copies if pair.confirmed]
        across = [pair for pair in sure if pair.parts[0] != pair.parts[1]]
        within = [pair for pair in sure if pair.parts[0] == pair.parts[1]]
        two = [pair for pair in sure if pair.findings[0] != pair.findings[1]]
        maybe = len(self.near_copies) - len(sure)
        unfit, strange = self._of("unfit"), self._of("strange")
        lying = [each for each in self.odd if each not in unfit and each not in strange]
        hits = "; ".join(
            f"finds {figure.value:.0%} of radiographs {kind}"
            for kind, figure in self.pose_hits.items()
            if figure.value is not None
        )
        return [
            _pairs(
                "near copies in two parts", across, True,
                f"{len(across)} pairs of files in two parts show one radiograph ({_ways(across)})",
                "remove one of each pair, or split anew with both under one patient",
            ),
            _pairs(
                "near copies with two findings", two, True,
                f"{len(two)} pairs of files show one radiograph under two findings ({_ways(two)})",
                "decide which finding is right",
            ),
            _pairs(
                "near copies within a part", within, False,
                f"{len(within)} pairs of files in one part, exact copies apart, show one radiograph ({_ways(within)}); "
                f"{maybe} more pairs anywhere look alike, but not by their pixels",
                "keep one of each; copies count twice in every figure",
            ),
            _odd(
                "turned or inverted", lying,
                f"{len(lying)} radiographs seem turned or inverted" + (f" (the check {hits})" if hits
                else " (not looked for: too few patients)"),
                "look at them; turn them back, or mend their polarity",
            ),
            _odd(
                "tiny, blank or out of shape", unfit,
                f"{len(unfit)} pictures are too small, too long or without contrast",
                "remove them, or export them again",
            ),
            _odd(
                "no chest radiograph?", strange,
                f"{len(strange)} pictures are far from all others and may be no chest radiographs",
                "look at them; remove what is no frontal chest radiograph",
            ),
        ]  # fmt: skip

    def _of(self, kind: str) -> list[OddPicture]:
        return [each for each in self.odd if each.kind == kind]


def _ways(pairs: list[NearCopy]) -> str:
    ways = [pair.how for pair in pairs]
    return ", ".join(f"{ways.count(way)} {way}" for way in dict.fromkeys(ways)) or "none"


def _pairs(check: str, pairs: list[NearCopy], serious: bool, text: str, remedy: str) -> AuditLine:
    examples = tuple(" = ".join(pair.ids) for pair in pairs[:5])
    return AuditLine(check, serious and bool(pairs), len(pairs), text, remedy, examples)


def _odd(check: str, pictures: list[OddPicture], text: str, remedy: str) -> AuditLine:
    examples = tuple(each.id for each in pictures[:5])
    return AuditLine(check, False, len(pictures), text, remedy, examples)


@dataclass(frozen=True, slots=True)
class Pictures:
    """What the audit keeps of every radiograph.

    Attributes:
        cohort: Readable radiographs, part by part.
        features: Embedding, shape (n, k), float32.
        small: Thumbnails, shape (n, 64, 64), float32.
        unfit: Why a picture cannot be read whatever it shows, by row.
        turned: Rows that were turned and inverted, one of a patient, shape (m,).
        copies: Embeddings of these copies, each (m, k).
    """

    cohort: Cohort
    features: NDArray[np.float32]
    small: NDArray[np.float32]
    unfit: dict[int, str]
    turned: NDArray[np.int64]
    copies: dict[Pose, NDArray[np.float32]]


def take_in(
    cohort: Cohort, embed: Embed, progress: Progress | None = None, *, turn: bool = True
) -> Pictures:
    """Look at every readable radiograph once.

    Args:
        cohort: Decoded at most once (see `cached_pixels`).
        embed: From (n, 224, 224), uint8, to (n, k), float32.
        progress: Called with how many embeddings of how many are done.
        turn: Whether some are turned and inverted, to learn what that looks like.

    Raises:
        CohortError: If no radiograph is readable, or a file is gone or was changed.
    """
    table = cohort.readable.table
    used = [cohort.part(part) for part in Part if (table["part"] == str(part)).any()]
    if not used:
        raise CohortError(f"no radiograph of {cohort.name} is readable; build the cohort again")
    whole = Cohort(
        pl.concat([each.table for each in used]),
        cohort.root, cohort.name, cohort.phantom, cohort.patients_from, cohort.made_by,
    )  # fmt: skip
    rng = np.random.default_rng(0)
    patients = whole.patients
    order = rng.permutation(len(patients))
    first = order[np.unique(patients[order], return_index=True)[1]]
    enough = turn and len(first) >= FEWEST_POSED
    turned = np.sort(rng.permutation(first)[:_POSED]) if enough else first[:0]
    total = len(whole) + len(turned) * (len(Pose) - 1)
    features, small, unfit = [], [], {}
    originals = np.empty((len(turned), SIZE, SIZE), np.uint8)
    done = 0
    for each in used:
        pixels = cached_pixels(each, SIZE)
        sides = each.table.select("rows", "columns").rows()
        for start in range(0, len(each), _AT_ONCE):
            block = np.asarray(pixels[start : start + _AT_ONCE])
            features.append(embed(block))
            small.append(thumbnails(block))
            for row, picture in enumerate(block):
                rows, columns = sides[start + row]
                if why := refusal_by_picture(Gate(), rows, columns, picture):
                    unfit[done + row] = why
            here = (turned >= done) & (turned < done + len(block))
            originals[here] = block[turned[here] - done]
            done += len(block)
            if progress:
                progress(done, total)
    copies = {}
    for pose, pixels in posed(originals).items() if len(turned) else ():
        copies[pose] = embed(pixels)
        done += len(turned)
        if progress:
            progress(done, total)
    return Pictures(whole, np.concatenate(features), np.concatenate(small), unfit, turned, copies)


def audit_pictures(pictures: Pictures, progress: Progress | None = None) -> PictureAudit:
    """Find near copies and pictures that do not belong.

    Args:
        pictures: From `take_in`.
        progress: Called with how many comparisons of how many are done.
    """
    table = pictures.cohort.table
    hashes = np.array([int(text, 16) for text in table["phash"]], dtype=np.uint64)
    suspects = {
        "embedding": embedding_neighbours(pictures.features),
        "perceptual hash": near_hash_pairs(hashes),
    }
    digests = table["sha256"].to_numpy().astype(np.str_)
    plain = np.array([row not in pictures.unfit for row in range(len(table))])
    matches = near_copies(pictures.small, digests, suspects, progress)
    odd = [_named(table, row, "unfit", why) for row, why in sorted(pictures.unfit.items())]
    patients = pictures.cohort.patients
    strange = strangeness(pictures.features, patients)
    odd += [
        _named(table, row, "strange", f"{strange[row]:.1f} deviations farther than usual")
        for row in np.flatnonzero(plain & (strange >= FAR)).tolist()
    ]
    plain &= strange < FAR
    hits = {}
    if len(pictures.turned):
        judged, of_copies = pose_probabilities(
            pictures.features, patients, pictures.turned, pictures.copies
        )
        for column, pose in enumerate(Pose):
            if pose is Pose.UPRIGHT:
                continue
            odd += [
                _named(table, row, str(pose), f"probability {judged[row, column]:.2f}")
                for row in np.flatnonzero(plain & (judged[:, column] >= SURE)).tolist()
            ]
            hits[str(pose)] = _share(of_copies[pose][:, column] >= SURE)
    pairs = tuple(_near_copy(table, match) for match in matches)
    return PictureAudit(radiographs=len(table), near_copies=pairs, odd=tuple(odd), pose_hits=hits)


def _named(table: pl.DataFrame, row: int, kind: str, reason: str) -> OddPicture:
    return OddPicture(id=table["id"][row], part=table["part"][row], kind=kind, reason=reason)


def _share(found: NDArray[np.bool_]) -> Figure:
    """Return a share of patients, each with one radiograph."""
    count = len(found)
    return Figure(
        value=float(found.mean()),
        interval=clopper_pearson(int(found.sum()), count),
        radiographs=count,
        patients=count,
    )


def _near_copy(table: pl.DataFrame, match: Match) -> NearCopy:
    def both(column: str) -> tuple[str, str]:
        return table[column][match.first], table[column][match.second]

    one, other = both("patient")
    return NearCopy(
        ids=both("id"),
        parts=both("part"),
        findings=both("finding"),
        same_patient=one == other,
        found_by=match.found_by,
        how=match.how,
        correlation=max(match.correlation, -1.0),
        confirmed=match.confirmed,
    )
