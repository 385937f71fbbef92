"""Explaining by hiding: what a score looks at is found, and nothing else."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hilum.explanation.perturbation import covered, occlusion, rise

SIDE = 32


def looks_at(top, left, size):
    """A score that is the brightness of one block, and nothing else."""

    def score(batches):
        return np.concatenate(
            [
                batch[:, top : top + size, left : left + size].mean(axis=(1, 2)) / 10.0
                for batch in batches
            ]
        )

    return score


def with_block(top, left, size):
    pixels = np.full((SIDE, SIDE), 90, np.uint8)
    pixels[top : top + size, left : left + size] = 250
    return pixels


places = st.tuples(st.integers(0, SIDE - 6), st.integers(0, SIDE - 6))


@settings(deadline=None, max_examples=40)
@given(place=places, cover=st.sampled_from(["blur", "mean"]))
def test_occlusion_finds_the_only_block_that_counts(place, cover):
    top, left = place
    found = occlusion(looks_at(top, left, 6), with_block(top, left, 6), cover, patch=6, stride=3)
    row, column = np.unravel_index(found.argmax(), found.shape)
    # A patch lies on the block as well as it can to within a stride.
    assert top - 3 <= row < top + 9
    assert left - 3 <= column < left + 9
    far = np.ones_like(found, bool)
    far[max(top - 6, 0) : top + 12, max(left - 6, 0) : left + 12] = False
    assert (found[far] == 0).all()  # no patch on these pixels touches the block
    assert found.max() > 1.0


@pytest.mark.parametrize(("patch", "stride"), [(8, 8), (8, 4), (16, 2)])
def test_occlusion_is_captums(rng, patch, stride):
    from captum.attr import Occlusion

    pixels = rng.integers(0, 256, (SIDE, SIDE), dtype=np.uint8)
    weights = rng.normal(0, 1e-3, (SIDE, SIDE))

    def score(batches):
        return np.concatenate([(batch * weights).sum(axis=(1, 2)) for batch in batches])

    theirs = Occlusion(lambda x: (x[:, 0].double() * torch.from_numpy(weights)).sum((1, 2)))
    wanted = theirs.attribute(
        torch.from_numpy(pixels)[None, None].float(),
        sliding_window_shapes=(1, patch, patch),
        strides=(1, stride, stride),
        baselines=torch.from_numpy(covered(pixels[None], "blur"))[None].float(),
    )
    ours = occlusion(score, pixels, "blur", patch=patch, stride=stride)
    np.testing.assert_allclose(ours, wanted[0, 0].numpy(), atol=1e-4)


def test_every_pixel_is_covered_also_where_the_patch_does_not_divide_the_side(rng):
    pixels = rng.integers(0, 256, (31, 31), dtype=np.uint8)
    seen = np.zeros((31, 31), bool)

    def score(batches):
        found = []
        for batch in batches:
            seen[(batch != pixels).any(axis=0)] = True
            found.append(np.zeros(len(batch)))
        return np.concatenate(found)

    found = occlusion(score, pixels, "mean", patch=7, stride=5)
    assert np.isfinite(found).all()
    mean = round(float(pixels.mean()))
    assert (seen == (pixels != mean)).all()


@settings(deadline=None, max_examples=25)
@given(place=places, seed=st.integers(0, 2**32 - 1))
def test_rise_finds_the_block_that_counts(place, seed):
    top, left = place
    found = rise(
        looks_at(top, left, 6),
        with_block(top, left, 6),
        "mean",
        masks=200,
        cells=6,
        kept=0.5,
        seed=seed,
    )
    row, column = np.unravel_index(found.argmax(), found.shape)
    # The masks' cells have 6 pixels, and their edges are soft.
    assert top - 6 <= row < top + 12
    assert left - 6 <= column < left + 12


def test_rise_repeats_by_its_seed_and_says_nothing_of_a_constant_score(rng):
    pixels = rng.integers(0, 256, (SIDE, SIDE), dtype=np.uint8)
    told = {"masks": 70, "cells": 4, "kept": 0.4}
    score = looks_at(3, 5, 8)
    first = rise(score, pixels, "blur", seed=1, **told)
    np.testing.assert_array_equal(first, rise(score, pixels, "blur", seed=1, **told))
    assert not np.array_equal(first, rise(score, pixels, "blur", seed=2, **told))

    def constant(batches):
        return np.concatenate([np.full(len(batch), 2.5) for batch in batches])

    np.testing.assert_allclose(rise(constant, pixels, "blur", seed=1, **told), 0, atol=1e-6)


def test_what_covers_has_the_grey_of_its_surroundings_or_the_mean():
    pixels = np.zeros((1, SIDE, SIDE), np.uint8)
    pixels[:, :, SIDE // 2 :] = 200
    blurred, mean = covered(pixels, "blur")[0], covered(pixels, "mean")[0]
    assert (mean == 100).all()
    assert blurred[:, 0].max() < 60
    assert blurred[:, -1].min() > 140
    assert np.abs(np.diff(blurred.astype(int), axis=1)).max() < 20


@pytest.mark.parametrize(("patch", "stride"), [(0, 1), (33, 1), (4, 5), (4, 0)])
def test_a_patch_that_leaves_pixels_out_is_refused(patch, stride):
    with pytest.raises(ValueError, match="does not cover"):
        occlusion(
            looks_at(0, 0, 2), np.zeros((SIDE, SIDE), np.uint8), "mean", patch=patch, stride=stride
        )


@pytest.mark.parametrize("wrong", [{"masks": 0}, {"cells": 33}, {"kept": 1.0}])
def test_masks_that_cannot_be_drawn_are_refused(wrong):
    told = {"masks": 5, "cells": 4, "kept": 0.5, **wrong}
    with pytest.raises(ValueError, match="cannot be drawn"):
        rise(looks_at(0, 0, 2), np.zeros((SIDE, SIDE), np.uint8), "mean", seed=0, **told)
