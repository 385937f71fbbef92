"""Augmentation: reproducible, the same on any share of a batch, and each kind does what it says."""

import math
from dataclasses import fields, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

torch = pytest.importorskip("torch")

from hilum.training.augment import augment as augment_with  # noqa: E402
from hilum.training.augmentation import Augmentation  # noqa: E402
from hilum.training.draws import BEST_JPEG, Draws, draw  # noqa: E402
from hilum.training.exchange import Styles  # noqa: E402

EVERYTHING = Augmentation(
    rotate=15,
    shift=0.1,
    scale=1.3,
    aspect=1.2,
    flip=0.5,
    gamma=0.4,
    contrast=0.4,
    brightness=0.2,
    sharpness=0.8,
    blur=2,
    noise=0.1,
    border=0.2,
    erase=0.3,
    jpeg=20,
    exchange=0.5,
    probability=0.8,
)
WITHOUT_JPEG = EVERYTHING.model_copy(update={"jpeg": None})
KINDS = EVERYTHING.on
BACKWARDS = range(15, -1, -1)

limits = st.builds(
    Augmentation,
    probability=st.floats(0, 1),
    rotate=st.floats(0, 45),
    shift=st.floats(0, 0.3),
    scale=st.floats(1, 2),
    aspect=st.floats(1, 2),
    flip=st.floats(0, 1),
    padding=st.sampled_from(["reflect", "edge", "black"]),
    gamma=st.floats(0, 1),
    contrast=st.floats(0, 0.9),
    brightness=st.floats(0, 0.5),
    sharpness=st.floats(0, 1),
    blur=st.floats(0, 5),
    noise=st.floats(0, 0.3),
    border=st.floats(0, 0.25),
    erase=st.floats(0, 0.5),
    jpeg=st.none() | st.integers(5, 95),
    exchange=st.floats(0, 1),
)


def radiographs(n: int, side: int, *, seed: int = 0) -> torch.Tensor:
    """Smooth pictures with some noise, uint8, (n, 1, side, side)."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand((n, 1, 5, 5), generator=generator)
    smooth = torch.nn.functional.interpolate(coarse, size=(side, side), mode="bilinear")
    grain = torch.rand((n, 1, side, side), generator=generator)
    return (255 * (0.9 * smooth + 0.1 * grain)).round().to(torch.uint8)


STYLES = Styles.of(radiographs(6, 32, seed=9)[:, 0].numpy())


def augment(pixels, draws, augmentation):
    """Apply with the same styles to exchange with in every test."""
    return augment_with(pixels, draws, augmentation, STYLES)


def spot(row: int, column: int, side: int = 65) -> torch.Tensor:
    """A bright square of 5 x 5 pixels on black, float, (1, 1, side, side)."""
    picture = torch.zeros(1, 1, side, side)
    picture[..., row - 2 : row + 3, column - 2 : column + 3] = 1
    return picture


def centre(picture: torch.Tensor) -> tuple[float, float]:
    """The row and column of a picture's centre of mass."""
    mass = picture[0, 0]
    place = torch.arange(mass.shape[-1], dtype=torch.float32)
    total = mass.sum()
    return (
        float((mass.sum(1) * place).sum() / total),
        float((mass.sum(0) * place).sum() / total),
    )


def only(pixels: torch.Tensor, padding: str = "reflect", **drawn: object) -> torch.Tensor:
    """Apply given draws, all else neutral."""
    on = Augmentation.model_validate({**EVERYTHING.model_dump(), "padding": padding})
    off = {name: Augmentation.model_fields[name].default for name in KINDS}
    needed = {name.split("_")[0] for name in drawn}
    limited = on.model_copy(update={k: v for k, v in off.items() if k not in needed})
    neutral = Draws.neutral(len(pixels))
    given_ = {name: torch.as_tensor(value) for name, value in drawn.items()}
    return augment(pixels, replace(neutral, **given_), limited)


def detail(pixels: torch.Tensor) -> float:
    """The energy of differences between neighbours."""
    return float(pixels.diff(dim=-1).square().sum() + pixels.diff(dim=-2).square().sum())


def everything_equal(one: Draws, other: Draws) -> bool:
    return all(torch.equal(getattr(one, f.name), getattr(other, f.name)) for f in fields(Draws))


# --- what holds for any setting


@settings(max_examples=60, deadline=None)
@given(
    augmentation=limits,
    n=st.integers(1, 4),
    side=st.integers(16, 40),
    seed=st.integers(0, 2**63),
    kind=st.sampled_from([torch.uint8, torch.float32, torch.float64]),
)
def test_any_setting_gives_grey_levels_of_the_same_shape(augmentation, n, side, seed, kind):
    pixels = radiographs(n, side)
    pixels = pixels if kind == torch.uint8 else pixels.to(kind) / 255
    before = pixels.clone()
    result = augment(pixels, draw(augmentation, n, seed=seed), augmentation)
    assert result.shape == pixels.shape
    assert result.dtype == torch.float32
    assert bool(torch.isfinite(result).all())
    assert 0 <= float(result.min()) <= float(result.max()) <= 1
    assert torch.equal(pixels, before)


@settings(max_examples=40, deadline=None)
@given(augmentation=limits, seed=st.integers(0, 2**63))
def test_draws_stay_within_the_limits(augmentation, seed):
    draws = draw(augmentation, 50, seed=seed)
    near = 1e-6
    assert float(draws.rotate.abs().max()) <= augmentation.rotate + 1e-5
    for name in ("shift", "brightness", "sharpness", "blur", "noise", "border"):
        assert float(getattr(draws, name).abs().max()) <= getattr(augmentation, name) + near
    for name in ("scale", "aspect"):
        factor, limit = getattr(draws, name), getattr(augmentation, name)
        assert 1 / limit - near <= float(factor.min()) <= float(factor.max()) <= limit + near
    assert float(draws.gamma.log().abs().max()) <= augmentation.gamma + near
    assert float((draws.contrast - 1).abs().max()) <= augmentation.contrast + near
    assert float((draws.erase[:, 2] * draws.erase[:, 3]).max()) <= augmentation.erase + near
    if augmentation.jpeg is None:
        assert not draws.jpeg.any()
    else:
        used = draws.jpeg[draws.jpeg > 0]
        assert bool(((used >= augmentation.jpeg) & (used <= BEST_JPEG)).all())


@pytest.mark.parametrize("augmentation", [Augmentation(), EVERYTHING], ids=["off", "neutral"])
def test_nothing_drawn_leaves_radiographs_as_they_are(augmentation):
    pixels = radiographs(6, 33)
    result = augment(pixels, Draws.neutral(6), augmentation)
    assert float((result - pixels / 255).abs().max()) < 1 / 255 / 10


def test_a_probability_of_nothing_leaves_all_radiographs_as_they_are():
    never = EVERYTHING.model_copy(update={"probability": 0.0})
    pixels = radiographs(20, 33)
    result = augment(pixels, draw(never, 20, seed=5), never)
    assert float((result - pixels / 255).abs().max()) < 1 / 255 / 10


def test_the_probability_is_the_share_that_is_augmented():
    sometimes = Augmentation(probability=0.25, rotate=10)
    changed = draw(sometimes, 10_000, seed=0).rotate != 0
    assert float(changed.float().mean()) == pytest.approx(0.25, abs=0.02)


def test_an_empty_batch_is_fine():
    empty = torch.zeros((0, 1, 32, 32), dtype=torch.uint8)
    assert augment(empty, draw(EVERYTHING, 0, seed=1), EVERYTHING).shape == (0, 1, 32, 32)


def test_an_augmentation_that_is_off_is_skipped_whatever_was_drawn():
    pixels = radiographs(4, 32)
    result = augment(pixels, draw(EVERYTHING, 4, seed=1), Augmentation())
    assert torch.equal(result, pixels / 255)


# --- chance


def test_the_same_seed_draws_the_same_and_another_seed_draws_otherwise():
    assert everything_equal(draw(EVERYTHING, 9, seed=4), draw(EVERYTHING, 9, seed=4))
    for name in ("rotate", "gamma", "noise_seed", "erase_grey"):
        one, other = (getattr(draw(EVERYTHING, 9, seed=s), name) for s in (4, 5))
        assert not torch.equal(one, other)


def test_a_row_does_not_depend_on_how_many_there_are():
    assert everything_equal(
        draw(EVERYTHING, 30, seed=2).rows(slice(7)), draw(EVERYTHING, 7, seed=2)
    )


@pytest.mark.parametrize("name", KINDS)
def test_switching_one_augmentation_off_leaves_the_others_as_drawn(name):
    off = Augmentation.model_fields[name].default
    fewer = draw(EVERYTHING.model_copy(update={name: off}), 40, seed=3)
    whole = draw(EVERYTHING, 40, seed=3)
    for field in fields(Draws):
        if field.name.split("_")[0] != name:
            assert torch.equal(getattr(fewer, field.name), getattr(whole, field.name)), field.name


def test_the_global_generators_of_torch_are_left_alone():
    torch.manual_seed(1)
    before = torch.get_rng_state()
    augment(radiographs(5, 32), draw(EVERYTHING, 5, seed=2), EVERYTHING)
    assert torch.equal(torch.get_rng_state(), before)
    expected = draw(EVERYTHING, 5, seed=2)
    torch.manual_seed(99)
    assert everything_equal(draw(EVERYTHING, 5, seed=2), expected)


@pytest.mark.parametrize(
    "shares",
    [
        [slice(0, 8), slice(8, 16)],
        [slice(0, 5), slice(5, 16)],
        [torch.arange(0, 16, 2), torch.arange(1, 16, 2)],  # how DistributedSampler deals them
        [torch.tensor([i]) for i in range(16)],
        [torch.tensor(BACKWARDS)],
    ],
    ids=["halves", "uneven", "interleaved", "singly", "backwards"],
)
@pytest.mark.parametrize("augmentation", [WITHOUT_JPEG, Augmentation(noise=0.2), EVERYTHING])
def test_workers_that_share_a_batch_do_what_one_worker_does(shares, augmentation):
    pixels = radiographs(16, 48)
    draws = draw(augmentation, 16, seed=11)
    whole = augment(pixels, draws, augmentation)
    # JPEG may carry the rounding of float32 on to a neighbouring grey level.
    allowed = 1e-6 if augmentation.jpeg is None else 4 / 255
    for share in shares:
        part = augment(pixels[share], draws.rows(share), augmentation)
        assert float((part - whole[share]).abs().max()) <= allowed


def test_large_batches_are_worked_on_in_blocks_that_do_not_show():
    pixels = radiographs(6, 512)
    draws = draw(WITHOUT_JPEG, 6, seed=1)
    whole = augment(pixels, draws, WITHOUT_JPEG)
    last = augment(pixels[5:], draws.rows(slice(5, 6)), WITHOUT_JPEG)
    assert float((whole[5:] - last).abs().max()) <= 1e-6


# --- geometry


@pytest.mark.parametrize(("right", "down"), [(0.1, 0.0), (0.0, 0.1), (-0.2, 0.05)])
def test_a_shift_moves_the_picture_right_and_down_by_that_share(right, down):
    row, column = centre(only(spot(32, 32), shift=[[right, down]]))
    assert row == pytest.approx(32 + 65 * down, abs=0.05)
    assert column == pytest.approx(32 + 65 * right, abs=0.05)


@pytest.mark.parametrize("angle", [-30.0, 30.0, 10.0])
def test_a_positive_rotation_turns_anticlockwise_about_the_middle(angle):
    row, column = centre(only(spot(32, 50), rotate=[angle]))
    turned = math.radians(angle)
    assert row == pytest.approx(32 - 18 * math.sin(turned), abs=0.1)
    assert column == pytest.approx(32 + 18 * math.cos(turned), abs=0.1)


def test_scale_moves_points_away_from_the_middle_by_its_factor():
    row, column = centre(only(spot(22, 42), scale=[1.5]))
    assert (row, column) == pytest.approx((32 - 15, 32 + 15), abs=0.1)


def test_aspect_widens_and_lowers_and_keeps_the_area():
    before, after = spot(22, 42), only(spot(22, 42), aspect=[1.44])
    row, column = centre(after)
    assert (row, column) == pytest.approx((32 - 10 / 1.2, 32 + 10 * 1.2), abs=0.1)
    assert float(after.sum()) == pytest.approx(float(before.sum()), rel=0.02)


def test_a_flip_mirrors_left_and_right():
    pixels = radiographs(2, 40)
    flipped = only(pixels, flip=[True, False])
    assert float((flipped[0] - pixels[0].flip(-1) / 255).abs().max()) < 1e-3
    assert float((flipped[1] - pixels[1] / 255).abs().max()) < 1e-3


def test_rotation_comes_after_scale_and_before_shift():
    row, column = centre(only(spot(32, 42), scale=[1.2], rotate=[30.0], shift=[[0.1, 0.0]]))
    assert row == pytest.approx(32 - 12 * math.sin(math.pi / 6), abs=0.1)
    assert column == pytest.approx(32 + 12 * math.cos(math.pi / 6) + 6.5, abs=0.1)


@pytest.mark.parametrize(
    ("padding", "expected"), [("black", 0.0), ("edge", 100 / 255), ("reflect", 100 / 255)]
)
def test_what_lies_beyond_the_radiograph_is_as_asked_for(padding, expected):
    pixels = torch.full((1, 1, 40, 40), 100, dtype=torch.uint8)
    corner = only(pixels, padding, rotate=[30.0])[0, 0, 0, 0]
    assert float(corner) == pytest.approx(expected, abs=1e-5)


# --- grey levels


@pytest.mark.parametrize("gamma", [0.5, 2.0])
def test_gamma_keeps_black_and_white_and_is_the_exponent_between(gamma):
    ramp = torch.linspace(0, 1, 32 * 32).view(1, 1, 32, 32)
    result = only(ramp, gamma=[gamma])
    assert float(result.min()) == 0
    assert float(result.max()) == 1
    assert torch.allclose(result, ramp**gamma, atol=1e-5)


def test_contrast_scales_differences_from_the_mean_and_keeps_the_mean():
    pixels = (radiographs(1, 32).float() / 255 - 0.5) * 0.3 + 0.5
    result = only(pixels, contrast=[1.4])
    assert float(result.mean()) == pytest.approx(float(pixels.mean()), abs=1e-5)
    assert float(result.std()) == pytest.approx(1.4 * float(pixels.std()), rel=1e-4)


def test_brightness_is_added():
    pixels = torch.full((2, 1, 16, 16), 0.5)
    result = only(pixels, brightness=[0.1, -0.2])
    assert result[:, 0, 0, 0].tolist() == pytest.approx([0.6, 0.3])


# --- detail


def test_blur_lowers_detail_the_more_the_stronger_and_keeps_the_mean():
    pixels = radiographs(1, 64).repeat(3, 1, 1, 1)
    result = only(pixels, blur=[0.0, 1.0, 2.0])
    left, some, little = (detail(picture) for picture in result)
    assert left == pytest.approx(detail(pixels[0] / 255), rel=1e-5)
    assert left > some > little
    assert torch.allclose(result.mean((1, 2, 3)), (pixels / 255).mean((1, 2, 3)), atol=2e-3)


def test_blur_is_a_gaussian_whose_width_grows_with_the_side():
    for side in (225, 113):
        point = torch.zeros(1, 1, side, side)
        point[0, 0, side // 2, side // 2] = 1
        mass = only(point, blur=[2.0])[0, 0].sum(0)
        away = torch.arange(side) - side // 2
        deviation = float((mass * away**2).sum().sqrt())
        assert deviation == pytest.approx(2 * side / 224, rel=0.05)


def test_sharpness_above_nothing_raises_detail_and_below_lowers_it():
    pixels = radiographs(1, 64).repeat(3, 1, 1, 1) * 0.5 + 60
    result = only(pixels / 255, sharpness=[-1.0, 0.0, 1.0])
    soft, same, sharp = (detail(picture) for picture in result)
    assert soft < same < sharp
    blurred = only(pixels[:1] / 255, blur=[1.0])
    assert torch.allclose(result[:1], blurred, atol=5e-3)


def test_noise_has_the_deviation_that_was_drawn_and_is_white():
    pixels = torch.full((2, 1, 128, 128), 0.5)
    added = (
        only(pixels, noise=[0.1, 0.02], noise_seed=torch.tensor([7, 8], dtype=torch.int32)) - 0.5
    )
    assert added.std((1, 2, 3)).tolist() == pytest.approx([0.1, 0.02], rel=0.03)
    assert float(added.mean().abs()) < 0.002
    first, second = added[0, 0] / 0.1, added[1, 0] / 0.02
    for other in (first.roll(1, 0), first.roll(1, 1), second, second.roll(1, 1)):
        assert float((first * other).mean().abs()) < 0.04  # five deviations of such a mean


def test_noise_is_another_with_each_seed_and_the_same_at_any_place_in_the_batch():
    pixels = torch.full((3, 1, 32, 32), 0.5)
    seeds = torch.tensor([5, 6, 5], dtype=torch.int32)
    result = only(pixels, noise=[0.1] * 3, noise_seed=seeds)
    assert torch.equal(result[0], result[2])
    assert not torch.equal(result[0], result[1])


# --- borders, rectangles, compression


@settings(max_examples=30, deadline=None)
@given(limit=st.floats(0.01, 0.25), side=st.integers(16, 80), seed=st.integers(0, 2**32))
def test_a_border_covers_at_most_its_share_of_each_side(limit, side, seed):
    augmentation = Augmentation(border=limit)
    pixels = torch.full((20, 1, side, side), 0.5)
    changed = augment(pixels, draw(augmentation, 20, seed=seed), augmentation) != 0.5
    most = math.floor(limit * side + 1e-4)
    assert not changed[..., most : side - most, most : side - most].any()


def test_a_border_covers_each_side_half_of_the_time_with_grey_or_darkness():
    draws = draw(Augmentation(border=0.2), 10_000, seed=0)
    covered = (draws.border > 0).float().mean(0)
    assert covered.tolist() == pytest.approx([0.5] * 4, abs=0.02)
    plain = draws.border_keeps == 0
    assert float(plain.float().mean()) == pytest.approx(0.5, abs=0.02)
    assert not draws.border_grey[~plain].any()


def test_a_border_lies_where_it_was_drawn():
    pixels = torch.full((1, 1, 40, 40), 0.5)
    result = only(pixels, border=[[0.1, 0.2, 0.05, 0.0]], border_keeps=[0.0], border_grey=[0.9])
    inside = result[0, 0] == 0.5
    expected = torch.zeros(40, 40, dtype=torch.bool)
    expected[2:40, 4:32] = True
    assert torch.equal(inside, expected)
    darkened = only(pixels, border=[[0.1] * 4], border_keeps=[0.4], border_grey=[0.0])
    assert float(darkened[0, 0, 0, 0]) == pytest.approx(0.2)


@settings(max_examples=30, deadline=None)
@given(limit=st.floats(0.01, 0.5), side=st.integers(16, 80), seed=st.integers(0, 2**32))
def test_what_is_erased_is_one_rectangle_of_at_most_its_share(limit, side, seed):
    augmentation = Augmentation(erase=limit)
    pixels = torch.full((20, 1, side, side), 0.5)
    changed = (augment(pixels, draw(augmentation, 20, seed=seed), augmentation) != 0.5)[:, 0]
    for picture in changed:
        area, rows, columns = picture.sum(), picture.any(1).sum(), picture.any(0).sum()
        assert int(area) == int(rows * columns)
        assert int(area) <= limit * side * side + 1e-3


def test_half_of_the_radiographs_have_a_rectangle_and_half_are_compressed():
    draws = draw(Augmentation(erase=0.2, jpeg=30), 10_000, seed=0)
    assert float((draws.erase[:, 2] > 0).float().mean()) == pytest.approx(0.5, abs=0.02)
    assert float((draws.jpeg > 0).float().mean()) == pytest.approx(0.5, abs=0.02)
    used = draws.jpeg[draws.jpeg > 0]
    assert (int(used.min()), int(used.max())) == (30, BEST_JPEG)


def test_compression_changes_little_at_its_best_and_more_at_its_worst():
    pixels = radiographs(1, 64).repeat(3, 1, 1, 1)
    result = only(pixels, jpeg=[0, BEST_JPEG, 5])
    change = (result - pixels / 255).abs().mean((1, 2, 3)).tolist()
    assert change[0] < 1e-6
    assert 0 < change[1] < 2 / 255
    assert change[1] < change[2] < 20 / 255


# --- what is refused


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("probability", 1.1),
        ("rotate", 90),
        ("rotate", -1),
        ("shift", 0.4),
        ("scale", 0.9),
        ("scale", 2.5),
        ("aspect", 0.5),
        ("flip", 2),
        ("padding", "wrap"),
        ("gamma", 3),
        ("contrast", 1.0),
        ("brightness", math.nan),
        ("sharpness", 2),
        ("blur", math.inf),
        ("noise", 0.5),
        ("border", 0.5),
        ("jpeg", 0),
        ("jpeg", 100),
        ("erase", 0.9),
        ("equalise", 1),
    ],
)
def test_a_limit_out_of_range_is_refused_by_name(name, value):
    with pytest.raises(ValidationError, match=rf"\n{name}\n"):
        Augmentation.model_validate({name: value})


def test_an_empty_table_switches_nothing_on():
    assert Augmentation.model_validate({}).on == ()
    assert set(KINDS) == set(Augmentation.model_fields) - {"probability", "padding"}


@pytest.mark.parametrize("shape", [(2, 32, 32), (2, 3, 32, 32), (2, 1, 32, 16)])
def test_radiographs_of_another_shape_are_refused(shape):
    with pytest.raises(ValueError, match=r"not \(n, 1, s, s\)"):
        augment(torch.zeros(shape), Draws.neutral(2), EVERYTHING)


def test_draws_for_another_number_of_radiographs_are_refused():
    with pytest.raises(ValueError, match="draws for 3 radiographs, but 2 are here"):
        augment(radiographs(2, 32), Draws.neutral(3), EVERYTHING)


def test_whole_numbers_other_than_bytes_are_refused():
    with pytest.raises(ValueError, match="give uint8 or floating numbers"):
        augment(radiographs(2, 32).long(), Draws.neutral(2), EVERYTHING)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_cuda_device_does_what_the_processor_does():
    pixels, draws = radiographs(8, 64), draw(EVERYTHING, 8, seed=1)
    here = augment(pixels, draws, EVERYTHING)
    there = augment(pixels.cuda(), draws, EVERYTHING)
    assert there.is_cuda
    # Float32 rounds differently there, which a threshold of JPEG or a pixel's edge may enlarge.
    assert float((there.cpu() - here).abs().mean()) < 1 / 255
