"""Nuisances: each moves with what it is named after, and with nothing else."""

import numpy as np
import pytest
from scipy import ndimage

from hilum.cohort.nuisance import NUISANCES, nuisances


@pytest.fixture(scope="module")
def pixels():
    rng = np.random.default_rng(3)
    return np.clip(120 + 60 * ndimage.gaussian_filter(rng.normal(size=(150, 96, 96)), (0, 2, 2)) * 4
                   + rng.normal(0, 6, (150, 96, 96)), 0, 255).astype(np.uint8)  # fmt: skip


def column(pixels, name):
    return nuisances(pixels)[:, NUISANCES.index(name)]


def test_there_is_one_number_per_nuisance_and_none_depends_on_the_neighbours(pixels):
    whole = nuisances(pixels)
    assert whole.shape == (150, len(NUISANCES))
    assert np.isfinite(whole).all()
    np.testing.assert_array_equal(whole[97:98], nuisances(pixels[97:98]))


def test_flat_and_empty_radiographs_give_numbers():
    assert np.isfinite(nuisances(np.zeros((2, 32, 32), np.uint8))).all()
    assert nuisances(np.empty((0, 32, 32), np.uint8)).shape == (0, len(NUISANCES))


def test_blur_takes_detail_and_leaves_brightness(pixels):
    soft = ndimage.gaussian_filter(pixels, (0, 1, 1))
    assert (column(soft, "fine detail") < column(pixels, "fine detail") - 0.6).all()
    assert np.abs(column(soft, "brightness") - column(pixels, "brightness")).max() < 1.5


def test_a_border_is_seen_at_its_own_side(pixels):
    covered = pixels.copy()
    covered[:, :, :10] = 0
    assert (column(covered, "left border") < 1).all()
    np.testing.assert_array_equal(column(covered, "right border"), column(pixels, "right border"))
    assert (column(covered, "black border") > column(pixels, "black border") + 0.2).all()


def test_the_mirror_image_swaps_sides_only(pixels):
    here, there = nuisances(pixels), nuisances(np.ascontiguousarray(pixels[:, :, ::-1]))
    swapped = [
        {"left border": "right border", "right border": "left border"}.get(n, n) for n in NUISANCES
    ]
    np.testing.assert_allclose(there, here[:, [NUISANCES.index(n) for n in swapped]], atol=1e-3)


def test_progress_ends_with_all(pixels):
    told = []
    nuisances(pixels, lambda done, total: told.append((done, total)))
    assert told[-1] == (150, 150)
