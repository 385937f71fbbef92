"""Radiographs that look alike, by their perceptual hashes."""

import numpy as np
from numpy.typing import NDArray

__all__ = ["ALIKE_BY_CHANCE", "NEAR_BITS", "near_hash_pairs", "near_hashes"]

# Copies at another size or quality mostly differ in 0 to 2 bits (at most 6 of 64 were seen); at 4
# and more, frontal chest radiographs of different patients are alike by chance.
NEAR_BITS = 2
# Share of radiographs that look like some other one by chance alone: between the validation and the
# train part of the Guangzhou set it is 0.8 %.
ALIKE_BY_CHANCE = 0.05
_HASHES_AT_ONCE = 256  # against all others; keeps the matrix of differences small


def near_hashes(hashes: NDArray[np.uint64], others: NDArray[np.uint64]) -> NDArray[np.bool_]:
    """Say which hashes have a near one among others.

    Args:
        hashes: Perceptual hashes, shape (n,).
        others: Shape (m,).

    Returns:
        Shape (n,), True where one of the others differs in at most `NEAR_BITS` bits.
    """
    near = np.zeros(len(hashes), np.bool_)
    if not len(others):
        return near
    for start in range(0, len(hashes), _HASHES_AT_ONCE):
        block = hashes[start : start + _HASHES_AT_ONCE, None]
        near[start : start + _HASHES_AT_ONCE] = (
            np.bitwise_count(block ^ others[None]).min(axis=1) <= NEAR_BITS
        )
    return near


def near_hash_pairs(hashes: NDArray[np.uint64]) -> NDArray[np.int64]:
    """Return the pairs that differ in at most `NEAR_BITS` bits, the smaller row first.

    Args:
        hashes: Perceptual hashes, shape (n,).

    Returns:
        Rows, shape (m, 2).
    """
    found = [np.empty((0, 2), np.int64)]
    for start in range(0, len(hashes), _HASHES_AT_ONCE):
        block = hashes[start : start + _HASHES_AT_ONCE, None]
        pairs = np.argwhere(np.bitwise_count(block ^ hashes[None]) <= NEAR_BITS)
        pairs[:, 0] += start
        found.append(pairs[pairs[:, 0] < pairs[:, 1]])
    return np.concatenate(found)
