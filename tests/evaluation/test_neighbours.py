"""Neighbours are those of an independent implementation, are found in what was learned, and are kept."""

import hashlib
import io
from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.distance import cdist

from hilum.cohort.pixels import cached_pixels
from hilum.errors import EvaluationError
from hilum.evaluation.gallery import GalleryItem, Neighbour
from hilum.evaluation.neighbours import (
    cached_embeddings,
    learned_from,
    nearest,
    with_neighbours,
)
from hilum.evaluation.reading import embeddings_of
from hilum.findings import Finding, Part
from hilum.model import load


@pytest.fixture(scope="module")
def classifier(model_path):
    return load(model_path)


@given(st.integers(0, 10**6), st.integers(1, 12), st.integers(1, 6), st.integers(0, 5))
def test_distances_are_those_of_scipy(seed, others, channels, queries):
    rng = np.random.default_rng(seed)
    there = rng.normal(size=(others, channels)).astype(np.float32)
    here = rng.normal(size=(queries, channels)).astype(np.float32)
    indices, distances = nearest(here, there, others)
    expected = cdist(here.astype(float), there.astype(float), "cosine")
    assert np.allclose(distances, np.sort(expected, axis=1), atol=1e-7)
    assert np.allclose(np.take_along_axis(expected, indices, axis=1), distances, atol=1e-7)
    assert (np.sort(indices, axis=1) == np.arange(others)).all()


def test_of_equally_near_ones_the_earlier_comes_first_and_zeros_are_near_to_nothing():
    there = np.array([[0, 0], [2, 0], [1, 0], [0, 1], [-1, 0]], np.float32)
    indices, distances = nearest(np.array([[3, 0], [0, 0]], np.float32), there, 5)
    assert indices[0].tolist() == [1, 2, 0, 3, 4]
    assert distances[0].tolist() == [0.0, 0.0, 1.0, 1.0, 2.0]
    assert distances[1].tolist() == [1.0] * 5


def test_more_queries_than_are_done_at_once_are_each_answered():
    there = np.eye(4, dtype=np.float32)
    indices, _ = nearest(np.tile(there, (300, 1)), there, 1)
    assert (indices[:, 0] == np.tile(np.arange(4), 300)).all()


def test_more_neighbours_than_there_are_is_one_sentence():
    with pytest.raises(EvaluationError, match="4 neighbours cannot be found among 3 radiographs"):
        nearest(np.ones((1, 2), np.float32), np.ones((3, 2), np.float32), 4)


def test_a_training_radiograph_is_its_own_nearest(classifier, phantom_cohort):
    training = cached_pixels(phantom_cohort.part(Part.TRAIN), classifier.size)
    there = embeddings_of(classifier, training)
    indices, distances = nearest(embeddings_of(classifier, training[5:25]), there, 2)
    assert indices[:, 0].tolist() == list(range(5, 25))
    assert distances[:, 0] == pytest.approx(0.0, abs=1e-3)
    assert (distances[:, 1] > distances[:, 0]).all()


def test_embeddings_are_kept_and_made_again_when_damaged(classifier, phantom_cohort, tmp_path):
    part = phantom_cohort.part(Part.VALIDATION)
    first = cached_embeddings(classifier, part, folder=tmp_path)
    fresh = embeddings_of(classifier, cached_pixels(part, classifier.size))
    assert np.array_equal(first, fresh)
    (kept,) = tmp_path.iterdir()
    # What is kept is what is given: another array under a true seal comes back as it is.
    buffer = io.BytesIO()
    np.save(buffer, first + 1)
    content = buffer.getvalue()
    kept.write_bytes(hashlib.sha256(content).digest() + content)
    assert np.array_equal(cached_embeddings(classifier, part, folder=tmp_path), first + 1)
    kept.write_bytes(kept.read_bytes()[:-1] + b"\0")
    assert np.array_equal(cached_embeddings(classifier, part, folder=tmp_path), first)
    # Other radiographs are kept under another name.
    cached_embeddings(classifier, part.where(pl.col("finding") == "normal"), folder=tmp_path)
    assert len(list(tmp_path.iterdir())) == 2


def test_what_was_learned_from_is_told_by_the_file(classifier, phantom_cohort):
    assert len(learned_from(classifier, phantom_cohort)) == len(phantom_cohort.part(Part.TRAIN))
    other = phantom_cohort.table.with_columns(phash=pl.lit("0123456789abcdef"))
    with pytest.raises(EvaluationError, match="holds no radiograph that the classifier learned"):
        learned_from(classifier, replace(phantom_cohort, table=other))


def test_a_gallery_gets_neighbours_from_the_train_part_with_pictures(classifier, phantom_cohort):
    training = phantom_cohort.part(Part.TRAIN)
    pixels = cached_pixels(training, classifier.size)
    ids = np.array(training.table["id"].to_list())
    # Copies that came in under other names.
    names = np.array([f"new {name}" for name in ids])
    items = [GalleryItem(names[3], Finding.NORMAL, 0.4), GalleryItem(names[0], Finding.NORMAL, 0.6)]
    found = with_neighbours(items, classifier, phantom_cohort, names, pixels)
    assert [item.neighbours[0].id for item in found] == [ids[3], ids[0]]
    for item in found:
        assert len(item.neighbours) == 3
        assert all(near.thumbnail.startswith("data:image/png;base64,") for near in item.neighbours)
        apart = [near.distance for near in item.neighbours]
        assert apart == sorted(apart)
    findings = dict(zip(ids.tolist(), training.findings, strict=True))
    assert all(findings[near.id] is near.finding for item in found for near in item.neighbours)
    assert with_neighbours([], classifier, phantom_cohort, ids, pixels) == []


def test_a_neighbour_from_elsewhere_is_refused():
    with pytest.raises(EvaluationError, match="no embedded PNG"):
        Neighbour("a", Finding.NORMAL, 0.1, "https://example.org/a.png")


def test_a_radiograph_that_was_learned_from_is_no_neighbour_of_itself(classifier, phantom_cohort):
    part = phantom_cohort.part(Part.TRAIN)
    ids = np.array(part.table["id"].to_list())
    items = [GalleryItem(name, Finding.NORMAL, 0.5) for name in ids[:5]]
    pixels = cached_pixels(part, classifier.size)
    for item in with_neighbours(items, classifier, phantom_cohort, ids, pixels, k=2):
        assert len(item.neighbours) == 2
        assert item.id not in [near.id for near in item.neighbours]
