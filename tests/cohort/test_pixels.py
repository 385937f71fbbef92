"""The pixel cache: decoded once, shared by processes, mended when damaged."""

import multiprocessing

import numpy as np
import polars as pl
import pytest

from hilum.cohort.pixels import cached_pixels
from hilum.errors import CohortError
from hilum.findings import Part


def test_pixels_are_decoded_once_and_damage_is_mended(phantom_cohort, tmp_path):
    part = phantom_cohort.part(Part.VALIDATION)
    calls = []
    first = cached_pixels(part, 64, folder=tmp_path, progress=lambda *_: calls.append(1)).copy()
    assert len(calls) == len(part)
    cached_pixels(part, 64, folder=tmp_path, progress=lambda *_: calls.append(1))
    assert len(calls) == len(part)
    (cache,) = tmp_path.glob("*.npy")
    content = bytearray(cache.read_bytes())
    content[-5] ^= 255
    cache.write_bytes(bytes(content))
    mended = cached_pixels(part, 64, folder=tmp_path, progress=lambda *_: calls.append(1))
    assert len(calls) == 2 * len(part)
    assert (mended == first).all()


@pytest.mark.parametrize("leave", ["truncated", "no checksums"])
def test_a_half_written_cache_counts_as_absent(phantom_cohort, tmp_path, leave):
    part = phantom_cohort.part(Part.VALIDATION)
    first = cached_pixels(part, 32, folder=tmp_path).copy()
    (cache,), (sums,) = tmp_path.glob("*.npy"), tmp_path.glob("*.json")
    if leave == "truncated":
        cache.write_bytes(cache.read_bytes()[:-100])
    else:
        sums.unlink()
    assert (cached_pixels(part, 32, folder=tmp_path) == first).all()


def test_another_size_or_radiograph_is_another_cache(phantom_cohort, tmp_path):
    part = phantom_cohort.part(Part.VALIDATION)
    fewer = part.where(pl.col("id") != part.table["id"][0])
    for cohort, size in ((part, 32), (part, 48), (fewer, 32)):
        assert cached_pixels(cohort, size, folder=tmp_path).shape == (len(cohort), size, size)
    assert len(list(tmp_path.glob("*.npy"))) == 3


def _open_in_child(cohort, folder, results):
    decoded = []
    pixels = cached_pixels(cohort, 40, folder=folder, progress=lambda *_: decoded.append(1))
    results.put((len(decoded), int(np.asarray(pixels, np.int64).sum())))


def test_two_processes_share_the_work(phantom_cohort, tmp_path):
    part = phantom_cohort.part(Part.VALIDATION)
    context = multiprocessing.get_context("spawn")
    results = context.Queue()
    children = [
        context.Process(target=_open_in_child, args=(part, tmp_path, results)) for _ in range(2)
    ]
    for child in children:
        child.start()
    answers = sorted(results.get(timeout=120) for _ in children)
    for child in children:
        child.join()
    assert [count for count, _ in answers] == [0, len(part)]
    assert answers[0][1] == answers[1][1]


def test_a_file_that_changed_since_the_build_is_refused(phantom_folder, tmp_path):
    import shutil

    from hilum.cohort.build import BuildOptions, build_cohort

    root = tmp_path / "copy"
    shutil.copytree(phantom_folder, root)
    cohort, _ = build_cohort(root, BuildOptions())
    first, second = cohort.files()[:2]
    shutil.copy(second, first)
    with pytest.raises(CohortError, match="changed since the cohort was built"):
        cached_pixels(cohort.readable, 32, folder=tmp_path / "cache")
    first.unlink()
    with pytest.raises(CohortError, match="it was readable when the cohort was built"):
        cached_pixels(cohort.readable, 32, folder=tmp_path / "cache")
    assert not list((tmp_path / "cache").glob("*.npy"))


def test_a_cohort_whose_folder_moved_is_found_by_its_new_root(phantom_folder, tmp_path):
    import shutil

    from hilum.cohort import load_cohort
    from hilum.cohort.build import BuildOptions, build_cohort

    shutil.copytree(phantom_folder, tmp_path / "before")
    cohort, _ = build_cohort(tmp_path / "before", BuildOptions())
    cohort.save(tmp_path / "c.parquet")
    (tmp_path / "before").rename(tmp_path / "after")
    lost = load_cohort(tmp_path / "c.parquet")
    with pytest.raises(CohortError, match="say where to with --root"):
        cached_pixels(lost, 32, folder=tmp_path / "cache")
    found = load_cohort(tmp_path / "c.parquet", root=tmp_path / "after")
    assert cached_pixels(found, 32, folder=tmp_path / "cache").shape == (len(cohort), 32, 32)
