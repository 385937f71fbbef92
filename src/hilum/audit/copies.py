"""Near copies: one radiograph in two files, saved again, resized, cropped, brightened, mirrored or turned.

A digest finds only files that are equal to the byte. Here pictures are compared as thumbnails without
their slow changes of brightness, so that exposure drops out and the outline that all chests share
counts little: every one with every other on 16 x 16, as it is, mirrored, turned by quarters and with
its margin cut off; what is alike there, on 64 x 64. Neighbours in an embedding and like perceptual
hashes are suspects; only alike pixels confirm them. The work grows with the square of the number
of radiographs.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["CONFIRMED", "FINE", "Match", "embedding_neighbours", "near_copies", "thumbnails"]

FINE, COARSE = 64, 16  # sides of the thumbnails, in pixels
# Correlation on 64 x 64 from which two files show one radiograph. On the train and validation parts of
# kermany224 (13.6 million pairs) the highest of two patients is 0.889, the next 0.830; mirrored, 0.878.
# Of 300 planted copies the lowest is 0.993 when saved at quality 30 and 0.965 at another gamma. How many
# of each kind are confirmed stands in docs/cohorts.md.
CONFIRMED = 0.92
# On 16 x 16, to be looked at on 64 x 64: about one pair of kermany224 in 10,000 reaches it.
_WORTH_A_LOOK = 0.85
# Cosine of centred embeddings. Pairs of two patients in kermany224 reach 0.814, of one patient 0.858.
_NEIGHBOURS = 0.85
_SMOOTH = 4.0  # deviation of the Gaussian that is taken away, in pixels of the fine thumbnail
_CROPS = (0.97, 0.94, 0.91, 0.88, 0.85, 0.82, 0.79)  # shares of the side that are left
_ROWS = 1024  # of the matrix of correlations, so that it stays small

Thumbnails = NDArray[np.float32]  # (n, side, side), [0, 255]
Pairs = NDArray[np.int64]  # (m, 2), rows of a cohort


@dataclass(frozen=True, slots=True)
class Match:
    """Two rows that show one radiograph, or may."""

    first: int
    second: int  # larger than the first
    found_by: str  # "pixels", or who suspected it
    how: str  # the one that must be shown so to fit best: "upright", "mirrored", "turned" or "cropped"
    correlation: float  # of thumbnails without slow changes, in that fit, in [-1, 1]

    @property
    def confirmed(self) -> bool:
        """Whether the pixels say that it is one radiograph."""
        return self.correlation >= CONFIRMED


def thumbnails(pixels: NDArray[np.uint8]) -> Thumbnails:
    """Shrink radiographs by area averaging.

    Args:
        pixels: Shape (n, s, s), uint8.

    Returns:
        Shape (n, 64, 64), float32, [0, 255].
    """
    from PIL import Image

    small = np.empty((len(pixels), FINE, FINE), np.float32)
    for row, each in enumerate(pixels):
        shrunk = Image.fromarray(np.asarray(each)).resize((FINE, FINE), Image.Resampling.BOX)
        small[row] = np.asarray(shrunk)
    return small


def near_copies(
    small: Thumbnails,
    digests: NDArray[np.str_],
    suspects: Mapping[str, Pairs],
    progress: Callable[[int, int], None] | None = None,
) -> list[Match]:
    """Find pairs of files that show one radiograph.

    Args:
        small: From `thumbnails`, shape (n, 64, 64).
        digests: Of the files, shape (n,); pairs of equal digest are exact copies and left out.
        suspects: Pairs that stay in the answer whatever their pixels say, by who suspects them.
        progress: Called with how many comparisons of how many are done.

    Returns:
        The most alike first. A picture without any detail is like no other.
    """
    detail = _detail(small)
    coarse = _shown(detail, _POOL)
    by = {
        (int(min(pair)), int(max(pair))): name for name, pairs in suspects.items() for pair in pairs
    }
    asked = np.array(sorted(by), np.int64).reshape(-1, 2)
    best: dict[tuple[int, int], tuple[float, str]] = {}
    for done, view in enumerate(_VIEWS):
        alike = _above(coarse, _shown(detail, _POOL @ view.cut, view), _WORTH_A_LOOK)
        pairs = np.concatenate([alike, asked, asked[:, ::-1]])
        pairs = pairs[digests[pairs[:, 0]] != digests[pairs[:, 1]]]
        for pair, value in zip(pairs.tolist(), _correlations(small, view, pairs), strict=True):
            key = (min(pair), max(pair))
            if value > best.get(key, (-2.0,))[0]:
                best[key] = (value, view.how)
        if progress:
            progress(done + 1, len(_VIEWS))
    found = [
        Match(*key, by[key] if key in by and value < CONFIRMED else "pixels", how, min(value, 1.0))
        for key, (value, how) in best.items()
        if value >= CONFIRMED or key in by
    ]
    return sorted(found, key=lambda each: (-each.correlation, each.first, each.second))


def embedding_neighbours(features: NDArray[np.float32]) -> Pairs:
    """Return pairs whose embeddings point the same way, seen from the middle of the cohort.

    Args:
        features: Shape (n, k), float32.

    Returns:
        Shape (m, 2), the smaller row first.
    """
    centred = features - features.mean(axis=0)
    length = np.linalg.norm(centred, axis=1, keepdims=True)
    unit = centred / np.where(length > 0, length, 1.0)
    pairs = _above(unit, unit, _NEIGHBOURS)
    return pairs[pairs[:, 0] < pairs[:, 1]]


def _detail(small: Thumbnails) -> Thumbnails:
    """Take the slow changes away."""
    from scipy import ndimage

    detail: Thumbnails = small - ndimage.gaussian_filter(small, (0, _SMOOTH, _SMOOTH))
    return detail


def _shown(
    detail: Thumbnails, matrix: NDArray[np.float32], view: "_View | None" = None
) -> NDArray[np.float32]:
    """Resample both axes, show it as a view does, and standardise: dot products are correlations."""
    pictures = matrix @ detail @ matrix.T
    if view is not None:
        pictures = np.rot90(pictures[:, :, ::-1] if view.mirrored else pictures, view.turns, (1, 2))
    rows = pictures.reshape(len(pictures), -1)
    centred = rows - rows.mean(axis=1, keepdims=True)
    length = np.linalg.norm(centred, axis=1, keepdims=True)
    # What has no detail (below a thousandth of a grey level is rounding) is like nothing.
    standard: NDArray[np.float32] = centred / np.where(length > 1e-3 * FINE, length, np.inf)
    return standard


def _above(ones: NDArray[np.float32], others: NDArray[np.float32], least: float) -> Pairs:
    """Return the pairs of different rows with a dot product of at least `least`, shape (m, 2)."""
    found = [np.empty((0, 2), np.int64)]
    for start in range(0, len(ones), _ROWS):
        rows, columns = np.nonzero(ones[start : start + _ROWS] @ others.T >= least)
        different = rows + start != columns
        found.append(np.stack([rows[different] + start, columns[different]], axis=1))
    return np.concatenate(found)


def _correlations(small: Thumbnails, view: "_View", pairs: Pairs) -> list[float]:
    """Correlate the first of each pair, as it is, with the second in a view."""
    values: list[float] = []
    for start in range(0, len(pairs), _ROWS):
        here = pairs[start : start + _ROWS]
        ones = _shown(_detail(small[here[:, 0]]), _WHOLE)
        # What is slow depends on the scale, so a picture is cut before its slow changes are taken away.
        cut = np.asarray(view.cut @ small[here[:, 1]] @ view.cut.T, np.float32)
        others = _shown(_detail(cut), _WHOLE, view)
        values += np.einsum("ij,ij->i", ones, others).tolist()
    return values


def _cut(share: float) -> NDArray[np.float32]:
    """Return the matrix that cuts the margin off an axis and stretches the rest, shape (64, 64)."""
    place = np.clip((np.arange(FINE) + 0.5) * share + FINE * (1 - share) / 2 - 0.5, 0, FINE - 1)
    matrix: NDArray[np.float32] = np.clip(
        1 - np.abs(place[:, None] - np.arange(FINE)[None]), 0, None
    ).astype(np.float32)  # linear interpolation
    return matrix


@dataclass(frozen=True, slots=True)
class _View:
    """One way to show a thumbnail."""

    how: str
    cut: NDArray[np.float32]
    mirrored: bool = False
    turns: int = 0  # by 90 degrees


_WHOLE = _cut(1.0)
_POOL = np.kron(np.eye(COARSE), np.full((1, FINE // COARSE), COARSE / FINE)).astype(np.float32)
_VIEWS = (
    _View("upright", _WHOLE),
    _View("mirrored", _WHOLE, mirrored=True),
    *(_View("turned", _WHOLE, m, t) for m in (False, True) for t in (1, 2, 3)),
    *(_View("cropped", _cut(share)) for share in _CROPS),
)
