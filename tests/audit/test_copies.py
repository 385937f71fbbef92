"""Near copies are found however they were made, and strangers are not."""

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from hilum.audit.copies import embedding_neighbours, near_copies, thumbnails
from hilum.audit.odd import strangeness

COUNT = 30


@pytest.fixture(scope="module")
def pictures():
    """Smooth random pictures over one outline, as chests are: shape (30, 128, 128)."""
    rng = np.random.default_rng(0)
    shared = ndimage.gaussian_filter(rng.normal(size=(128, 128)), 20)
    own = np.stack([ndimage.gaussian_filter(rng.normal(size=(128, 128)), 3) for _ in range(COUNT)])
    mixed = shared / shared.std() + own / own.std()
    return np.clip(128 + 40 * mixed, 0, 255).astype(np.uint8)


def cropped(picture):
    cut = Image.fromarray(picture[6:-6, 6:-6])
    return np.array(cut.resize((128, 128), Image.Resampling.BICUBIC))


CHANGES = {
    "upright": lambda p: np.clip(p * 0.7 + 20, 0, 255).astype(np.uint8),
    "mirrored": lambda p: p[:, ::-1],
    "turned": lambda p: np.rot90(p),
    "cropped": cropped,
}


@pytest.mark.parametrize("how", CHANGES)
def test_a_changed_copy_is_found_with_the_change(pictures, how):
    copy = np.ascontiguousarray(CHANGES[how](pictures[7]))
    small = thumbnails(np.concatenate([pictures, copy[None]]))
    [match] = near_copies(small, np.arange(COUNT + 1).astype(str), {})
    assert (match.first, match.second, match.how) == (7, COUNT, how)
    assert match.confirmed
    assert match.found_by == "pixels"


def test_strangers_exact_copies_and_blank_pictures_are_no_near_copies(pictures):
    blank = np.full((2, 128, 128), 77, np.uint8)
    small = thumbnails(np.concatenate([pictures, pictures[:1], blank]))
    digests = np.arange(len(small)).astype(str)
    digests[COUNT] = digests[0]
    assert near_copies(small, digests, {}) == []


def test_a_suspect_stays_unless_the_pixels_agree(pictures):
    suspects = {"embedding": np.array([[3, 4], [9, 2]])}
    found = near_copies(thumbnails(pictures), np.arange(COUNT).astype(str), suspects)
    assert {(match.first, match.second) for match in found} == {(3, 4), (2, 9)}
    assert not any(match.confirmed for match in found)
    assert {match.found_by for match in found} == {"embedding"}


def test_neighbours_point_the_same_way(rng):
    features = rng.normal(size=(50, 40)).astype(np.float32)
    features[20] = features[10] + 0.05 * rng.normal(size=40)
    assert embedding_neighbours(features).tolist() == [[10, 20]]


def test_what_is_far_from_all_others_is_strange_though_one_patient_has_two(rng):
    features = rng.normal(size=(200, 30)).astype(np.float32)
    features[[5, 6]] = 12 + 0.01 * rng.normal(size=(2, 30))
    patients = np.arange(200).astype(str)
    patients[6] = patients[5]
    far = strangeness(features, patients)
    assert far[[5, 6]].min() > 6.5
    assert np.delete(far, [5, 6]).max() < 6.5
    assert not strangeness(features[:4], patients[:4]).any()
