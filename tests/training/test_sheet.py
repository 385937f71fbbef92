"""The sheet of an augmentation: whole, labelled, and never taken for a radiograph."""

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("torch")

from hilum.errors import RadiographError
from hilum.findings import RESEARCH_USE
from hilum.imaging import DRAWN_BY_HILUM, read
from hilum.training.augmentation import Augmentation
from hilum.training.sheet import RANDOM_COLUMNS, draw_sheet

EVERYTHING = {
    "rotate": 15,
    "shift": 0.1,
    "scale": 1.25,
    "aspect": 1.1,
    "flip": 0.5,
    "gamma": 0.3,
    "contrast": 0.3,
    "brightness": 0.1,
    "sharpness": 0.5,
    "blur": 1,
    "noise": 0.04,
    "border": 0.1,
    "erase": 0.2,
    "jpeg": 30,
    "exchange": 0.5,
}
SIDE = 120


@pytest.fixture
def pixels(rng) -> np.ndarray:
    drawn = rng.integers(0, 256, (3, SIDE, SIDE), dtype=np.uint8)
    drawn[1] //= 2  # of another style, to exchange with
    return drawn


def sheet_of(pixels, path, **settings):
    augmentation = Augmentation.model_validate(settings)
    return draw_sheet(pixels, augmentation, path, name="mine", seed=1, phantom=True)


def test_a_sheet_shows_each_extreme_and_then_what_training_draws(pixels, tmp_path):
    labels = sheet_of(pixels, tmp_path / "sheet.png", rotate=15, flip=0.5)
    assert labels[:4] == ("original", "rotate -15°", "rotate +15°", "flip")
    assert labels[4:] == tuple(f"random {i + 1}" for i in range(RANDOM_COLUMNS))


@pytest.mark.parametrize("name", list(EVERYTHING))
def test_every_augmentation_is_shown_and_changes_the_radiograph(pixels, tmp_path, name):
    path = tmp_path / "sheet.png"
    labels = sheet_of(pixels, path, **{name: EVERYTHING[name]})
    shown = [place for place, label in enumerate(labels) if label.startswith(name)]
    assert shown
    picture = np.asarray(Image.open(path)).astype(int)
    step = SIDE + 4

    def cell(place: int) -> np.ndarray:
        return picture[48 : 48 + SIDE, 4 + place * step :][:, :SIDE]

    assert (cell(0) == pixels[0]).all()
    for place in shown:
        assert np.abs(cell(place) - cell(0)).mean() > 0.1


def test_a_sheet_with_everything_on_has_the_size_of_its_cells(pixels, tmp_path):
    path = tmp_path / "new folder" / "sheet.png"
    labels = sheet_of(pixels, path, **EVERYTHING)
    with Image.open(path) as picture:
        assert picture.size == (4 + len(labels) * (SIDE + 4), 30 + 18 + 3 * (SIDE + 4) + 22)
        assert picture.text[DRAWN_BY_HILUM] == RESEARCH_USE
    assert [file.name for file in path.parent.iterdir()] == ["sheet.png"]


def test_small_radiographs_are_magnified_and_the_title_has_room(tmp_path):
    path = tmp_path / "sheet.png"
    labels = sheet_of(np.zeros((1, 16, 16), np.uint8), path)
    assert labels == ("original", *(f"random {i + 1}" for i in range(RANDOM_COLUMNS)))
    with Image.open(path) as picture:
        assert picture.size == (640, 30 + 18 + 112 + 4 + 22)


def test_labels_that_read_the_same_lose_no_column(pixels, tmp_path):
    assert sheet_of(pixels, tmp_path / "sheet.png", jpeg=95).count("jpeg 95") == 2


def test_a_sheet_is_not_read_as_a_radiograph(pixels, tmp_path):
    path = tmp_path / "sheet.png"
    sheet_of(pixels, path, rotate=10)
    with pytest.raises(RadiographError, match="that hilum drew"):
        read(path)


def test_the_same_seed_draws_the_same_sheet(pixels, tmp_path):
    for name in ("one.png", "two.png"):
        sheet_of(pixels, tmp_path / name, **EVERYTHING)
    assert (tmp_path / "one.png").read_bytes() == (tmp_path / "two.png").read_bytes()


@pytest.mark.parametrize("shape", [(0, 32, 32), (32, 32), (2, 32, 16)])
def test_what_is_no_square_radiograph_is_refused(tmp_path, shape):
    with pytest.raises(ValueError, match=r"not \(n, s, s\)"):
        sheet_of(np.zeros(shape, np.uint8), tmp_path / "sheet.png")
    assert not list(tmp_path.iterdir())
