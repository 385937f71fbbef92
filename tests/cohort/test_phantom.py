import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from sklearn.metrics import roc_auc_score

from hilum.cohort.phantom import (
    PHANTOM_MARKER,
    draw_anatomy,
    draw_exposure,
    draw_opacity,
    draw_phantom,
    is_phantom_folder,
    render,
    write_phantoms,
)
from hilum.errors import CohortError
from hilum.findings import Finding

DRAWN = (Finding.NORMAL, Finding.BACTERIAL, Finding.VIRAL)
OPAQUE = (Finding.BACTERIAL, Finding.VIRAL)

seeds = st.integers(0, 2**32)
few = settings(max_examples=25, deadline=None)


def files_in(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*.png"))
    }


def patients_in(part: Path) -> set[str]:
    return {path.stem.rsplit("-", 1)[0] for path in part.rglob("*.png")}


@few
@given(seed=seeds, finding=st.sampled_from(DRAWN))
def test_mask_is_empty_exactly_when_the_finding_is_normal(seed, finding):
    phantom = draw_phantom(finding, np.random.default_rng(seed), rows=128, columns=128)
    assert phantom.mask.any() == (finding is not Finding.NORMAL)
    assert phantom.finding is finding


@few
@given(
    seed=seeds,
    finding=st.sampled_from(DRAWN),
    rows=st.integers(64, 300),
    columns=st.integers(64, 300),
)
def test_pixels_and_mask_have_the_shape_asked_for(seed, finding, rows, columns):
    phantom = draw_phantom(finding, np.random.default_rng(seed), rows=rows, columns=columns)
    assert phantom.pixels.shape == phantom.mask.shape == (rows, columns)
    assert phantom.pixels.dtype == np.uint8
    assert phantom.mask.dtype == np.bool_


@few
@given(seed=seeds, finding=st.sampled_from(OPAQUE))
def test_opacity_lies_in_the_lungs_and_brightens_them(seed, finding):
    rng = np.random.default_rng(seed)
    anatomy, exposure, opacity = draw_anatomy(rng), draw_exposure(rng), draw_opacity(finding, rng)
    with_it = render(anatomy, exposure, opacity, rows=200, columns=180)
    without = render(anatomy, exposure, None, rows=200, columns=180)
    assert not (with_it.mask & ~with_it.lungs).any()
    assert not without.mask.any()
    lift = with_it.pixels.astype(int) - without.pixels.astype(int)
    # A frame may cover a rim of the opacity; it is the same with and without.
    assert lift[with_it.mask].mean() > 2
    assert lift.min() >= 0


@few
@given(seed=seeds)
def test_viral_haze_is_in_both_lungs_and_bacterial_consolidation_in_one(seed):
    rng = np.random.default_rng(seed)
    anatomy = draw_anatomy(rng)
    exposure = replace(draw_exposure(rng), rotation=0.0, shift_u=0.0)
    viral, bacterial = (
        render(anatomy, exposure, draw_opacity(finding, rng), rows=128, columns=128).mask
        for finding in (Finding.VIRAL, Finding.BACTERIAL)
    )
    assert viral[:, :64].any()
    assert viral[:, 64:].any()
    assert bacterial[:, :64].any() != bacterial[:, 64:].any()


@few
@given(seed=seeds, finding=st.sampled_from(DRAWN))
def test_the_same_seed_gives_the_same_pixels(seed, finding):
    first, second = (
        draw_phantom(finding, np.random.default_rng(seed), rows=96, columns=96) for _ in range(2)
    )
    assert np.array_equal(first.pixels, second.pixels)
    assert np.array_equal(first.mask, second.mask)


def test_lungs_are_darker_than_heart_and_belly():
    rng = np.random.default_rng(3)
    exposure = replace(draw_exposure(rng), rotation=0.0, shift_u=0.0, shift_v=0.0, scale=1.0)
    for _ in range(20):
        drawing = render(draw_anatomy(rng), exposure, None, rows=128, columns=128)
        lungs = drawing.pixels[drawing.lungs].mean()
        assert 0.08 < drawing.lungs.mean() < 0.45
        assert drawing.pixels[75:85, 66:74].mean() > lungs + 20  # heart, at the viewer's right
        assert drawing.pixels[110:118, 40:88].mean() > lungs + 20  # below the diaphragm


@pytest.fixture(scope="module")
def drawn() -> tuple[list[np.ndarray], np.ndarray]:
    """240 phantoms, half of them normal; each with its own stream of chance."""
    pictures = [
        draw_phantom(
            Finding.NORMAL if index % 2 == 0 else OPAQUE[index // 2 % 2],
            np.random.default_rng([2024, index]),
            rows=192,
            columns=192,
        ).pixels.astype(np.float64)
        for index in range(240)
    ]
    return pictures, np.arange(240) % 2


def border(pixels):
    return np.concatenate([pixels[:6].ravel(), pixels[-6:].ravel(), pixels[:, :6].ravel()]).mean()


def noise(pixels):
    # The median response to a Laplacian over the belly, where no opacity can lie.
    belly = pixels[-30:-8, 60:130]
    lines = belly[1:-1, 1:-1] * 4 - belly[2:, 1:-1] - belly[:-2, 1:-1]
    return np.median(np.abs(lines - belly[1:-1, 2:] - belly[1:-1, :-2]))


def noise_everywhere(pixels):
    return np.median(np.abs(np.diff(pixels, 2, axis=0)))


def marker(pixels):
    return max(pixels[20:120, 8:22].max(), pixels[20:120, 165:180].max())


@pytest.mark.parametrize("statistic", [border, noise, noise_everywhere, marker, np.mean, np.std])
def test_no_global_statistic_tells_the_finding(statistic, drawn):
    pictures, labels = drawn
    assert 0.4 <= roc_auc_score(labels, [statistic(pixels) for pixels in pictures]) <= 0.6


def test_the_exposure_is_the_same_whatever_the_finding():
    # One seed, three findings: everything outside the lungs is the same to the pixel.
    pictures = [
        draw_phantom(finding, np.random.default_rng(11), rows=128, columns=128).pixels
        for finding in DRAWN
    ]
    for other in pictures[1:]:
        assert np.array_equal(pictures[0][:10], other[:10])
        assert np.array_equal(pictures[0][-12:], other[-12:])


def test_pneumonia_of_an_unspecified_kind_cannot_be_drawn():
    with pytest.raises(CohortError, match="kind is not specified; ask for 'bacterial pneumonia'"):
        draw_phantom(Finding.PNEUMONIA, np.random.default_rng(0))


@pytest.mark.parametrize(("rows", "columns"), [(63, 512), (512, 5000)])
def test_a_size_out_of_range_is_refused(rows, columns):
    with pytest.raises(CohortError, match="give sides from 64 to 4096"):
        draw_phantom(Finding.NORMAL, np.random.default_rng(0), rows=rows, columns=columns)


def test_a_folder_has_parts_classes_masks_and_a_marker(tmp_path):
    seen = []
    count = write_phantoms(
        tmp_path / "p",
        patients=12,
        seed=4,
        rows=64,
        columns=80,
        progress=lambda done, total: seen.append((done, total)),
    )
    files = files_in(tmp_path / "p")
    pictures = {name for name in files if not name.startswith("masks/")}
    assert len(pictures) == count
    assert {f"masks/{name}" for name in pictures} == set(files) - pictures
    assert seen == [(done, 12) for done in range(1, 13)]
    for part in ("train", "test"):
        for name in ("NORMAL", "BACTERIAL", "VIRAL"):
            assert list((tmp_path / "p" / part / name).glob("phantom-*-1.png"))
    marker = json.loads((tmp_path / "p" / PHANTOM_MARKER).read_text())
    assert marker["phantom"] is True
    assert marker["complete"] is True
    assert marker["seed"] == 4
    assert sum(sum(part.values()) for part in marker["radiographs"].values()) == count
    with Image.open(tmp_path / "p" / sorted(pictures)[0]) as picture:
        assert (picture.mode, picture.size) == ("L", (80, 64))


def test_masks_on_disk_are_empty_exactly_for_normal(tmp_path):
    write_phantoms(tmp_path, patients=9, seed=0, rows=64, columns=64)
    for path in (tmp_path / "masks").rglob("*.png"):
        values = set(np.unique(np.asarray(Image.open(path))))
        assert values == ({0} if path.parent.name == "NORMAL" else {0, 255})


def test_no_patient_is_in_both_parts(tmp_path):
    write_phantoms(tmp_path, patients=48, seed=1, rows=64, columns=64, masks=False)
    train, test = patients_in(tmp_path / "train"), patients_in(tmp_path / "test")
    assert not train & test
    assert len(test) == 12
    assert len(train) == 36
    assert not (tmp_path / "masks").exists()


def test_a_phantom_does_not_depend_on_how_many_others_there_are(tmp_path):
    write_phantoms(tmp_path / "few", patients=6, seed=9, rows=64, columns=64)
    write_phantoms(tmp_path / "more", patients=10, seed=9, rows=64, columns=64)
    write_phantoms(tmp_path / "other", patients=6, seed=10, rows=64, columns=64)
    few, more, other = (files_in(tmp_path / name) for name in ("few", "more", "other"))
    assert few.items() <= more.items()
    assert few != other


def test_the_radiographs_of_a_patient_share_anatomy_but_not_noise():
    rng = np.random.default_rng(5)
    anatomy = draw_anatomy(rng)
    first, second = draw_exposure(rng), draw_exposure(rng)
    assert first != second
    still = replace(second, rotation=0.0, shift_u=0.0, shift_v=0.0, scale=1.0, inspiration=1.0)
    level = replace(first, rotation=0.0, shift_u=0.0, shift_v=0.0, scale=1.0, inspiration=1.0)
    lungs = [render(anatomy, view, None, rows=96, columns=96).lungs for view in (still, level)]
    assert np.array_equal(*lungs)


def test_writing_again_gives_the_same_folder(tmp_path):
    first = write_phantoms(tmp_path, patients=6, seed=2, rows=64, columns=64)
    before = files_in(tmp_path)
    assert write_phantoms(tmp_path, patients=6, seed=2, rows=64, columns=64) == first
    assert files_in(tmp_path) == before


def test_an_interrupted_folder_is_marked_as_phantoms_and_can_be_finished(tmp_path):
    def interrupt(done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_phantoms(tmp_path, patients=6, seed=2, rows=64, columns=64, progress=interrupt)
    assert is_phantom_folder(tmp_path / "train" / "NORMAL")
    assert json.loads((tmp_path / PHANTOM_MARKER).read_text())["complete"] is False
    write_phantoms(tmp_path, patients=6, seed=2, rows=64, columns=64)
    assert json.loads((tmp_path / PHANTOM_MARKER).read_text())["complete"] is True


def test_a_folder_with_other_files_is_refused(tmp_path):
    (tmp_path / "radiograph.png").write_bytes(b"somebody's work")
    with pytest.raises(CohortError, match="is not empty, and phantoms must not mix"):
        write_phantoms(tmp_path, patients=6, seed=0)
    assert not is_phantom_folder(tmp_path)


def test_phantoms_of_another_seed_are_not_mixed(tmp_path):
    write_phantoms(tmp_path, patients=6, seed=0, rows=64, columns=64, masks=False)
    with pytest.raises(CohortError, match="another seed, size or version"):
        write_phantoms(tmp_path, patients=6, seed=1, rows=64, columns=64, masks=False)


def test_too_few_patients_are_refused(tmp_path):
    with pytest.raises(CohortError, match="ask for at least 6"):
        write_phantoms(tmp_path, patients=5, seed=0)


def test_a_negative_seed_is_refused(tmp_path):
    with pytest.raises(CohortError, match="the seed -1 is negative"):
        write_phantoms(tmp_path, patients=6, seed=-1)


def test_the_marker_counts_three_levels_down_and_no_further(tmp_path):
    deep = tmp_path / "a" / "b" / "c" / "d"
    deep.mkdir(parents=True)
    (tmp_path / PHANTOM_MARKER).write_text("not even JSON")
    assert is_phantom_folder(tmp_path)
    assert is_phantom_folder(tmp_path / "a" / "b" / "c")
    assert not is_phantom_folder(deep)
