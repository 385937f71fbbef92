"""Exchange: a radiograph takes on another one's tone and detail, and keeps its anatomy."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from scipy import ndimage  # noqa: E402

from hilum.training.augment import augment  # noqa: E402
from hilum.training.augmentation import Augmentation  # noqa: E402
from hilum.training.draws import draw  # noqa: E402
from hilum.training.exchange import Styles, exchanged  # noqa: E402


@pytest.fixture(scope="module")
def pixels():
    """Row 0 is soft and dark, row 1 sharp and bright."""
    rng = np.random.default_rng(5)
    base = ndimage.gaussian_filter(rng.normal(size=(2, 64, 64)), (0, 4, 4)) * 300
    detail = ndimage.gaussian_filter(rng.normal(size=(2, 64, 64)), (0, 0.7, 0.7)) * 20
    soft, sharp = 70 + base[0] + 0.45 * detail[0], 150 + base[1] + detail[1]
    return np.clip(np.stack([soft, sharp]), 0, 255).astype(np.uint8)


def worn(pixels, *, tone=0.0, detail=0.0):
    """Row 0 in the style of row 1."""
    grey = torch.from_numpy(pixels[:1])[:, None].float() / 255
    place, one = torch.tensor([0.75]), torch.ones(1)
    return exchanged(grey, Styles.of(pixels), place, one * tone, one * detail)[0, 0].numpy() * 255


def test_the_whole_tone_has_the_quantiles_of_the_other(pixels):
    levels = np.linspace(0.05, 0.95, 10)
    got = np.quantile(worn(pixels, tone=1.0), levels)
    np.testing.assert_allclose(got, np.quantile(pixels[1], levels), atol=6)


def test_the_order_of_grey_levels_stays(pixels):
    order = np.argsort(pixels[0], axis=None)
    assert (np.diff(worn(pixels, tone=1.0).ravel()[order]) > -1e-3).all()


def test_the_whole_detail_is_as_strong_as_the_other_s(pixels):
    styles = Styles.of(pixels)
    got = Styles.of(worn(pixels, detail=1.0).round().astype(np.uint8)[None])
    assert styles.details[0, 0] < 0.6 * styles.details[1, 0]
    assert got.details[0, 0] == pytest.approx(float(styles.details[1, 0]), rel=0.3)


def test_half_a_share_goes_half_the_way(pixels):
    none, half, whole = (worn(pixels, tone=share) for share in (0.0, 0.5, 1.0))
    np.testing.assert_allclose(half, (none + whole) / 2, atol=0.01)
    np.testing.assert_array_equal(none.round(), pixels[0])


def test_unexposed_borders_do_not_become_noise(pixels):
    """Compression leaves levels 0 to 2 there, which ranks alone would spread over the whole range."""
    covered = pixels.copy()
    rng = np.random.default_rng(1)
    covered[0, :, :30] = rng.integers(0, 3, (64, 30))
    got = worn(covered, tone=1.0)
    assert got[:, :30].std() < 8
    # Nor may they cost the rest its brightness, which would betray who has borders.
    assert got.mean() == pytest.approx(pixels[1].mean(), abs=12)


def test_a_share_of_the_batch_is_exchanged_as_in_the_whole(pixels):
    batch = torch.from_numpy(np.concatenate([pixels] * 4))[:, None]
    limits, styles = Augmentation(exchange=0.9), Styles.of(pixels)
    draws = draw(limits, len(batch), seed=3)
    whole = augment(batch, draws, limits, styles)
    share = augment(batch[1::3], draws.rows(slice(1, None, 3)), limits, styles)
    torch.testing.assert_close(share, whole[1::3])
    assert not torch.equal(whole, batch.float() / 255)


def test_styles_must_be_given(pixels):
    with pytest.raises(ValueError, match="styles"):
        augment(
            torch.from_numpy(pixels)[:, None],
            draw(Augmentation(), 2, seed=0),
            Augmentation(exchange=1),
        )


def test_other_augmentations_stay_as_they_were(pixels):
    """Switching exchange on must not draw the rest anew."""
    without, with_it = (
        draw(Augmentation(rotate=9, noise=0.1, exchange=e), 5, seed=2) for e in (0, 1)
    )
    assert torch.equal(without.rotate, with_it.rotate)
    assert torch.equal(without.noise_seed, with_it.noise_seed)
