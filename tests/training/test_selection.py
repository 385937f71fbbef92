"""The selection score: it tells a reader of lungs from a reader of sharpness, where plain AUC cannot."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from hilum.cohort.nuisance import NUISANCES, nuisances  # noqa: E402
from hilum.evaluation.shortcuts import shortcut_log_odds  # noqa: E402
from hilum.training.selection import HARD, MOST, Selection  # noqa: E402


def drawn(count, seed):
    """Radiographs with an opacity where there is disease, and sharp where there is none.

    Both are noisy, so that each alone has about the same area under the curve.
    """
    from scipy import ndimage

    rng = np.random.default_rng(seed)
    truth = np.arange(count) % 3 > 0
    grey = 110 + 25 * ndimage.gaussian_filter(rng.normal(size=(count, 48, 48)), (0, 3, 3)) * 6
    detail = (
        rng.normal(size=(count, 48, 48))
        * (7 - 2.8 * truth + rng.normal(0, 1.1, count)).clip(1)[:, None, None]
    )
    grey += detail
    grey[:, 18:30, 18:30] += (truth * 45 + rng.normal(0, 14, count))[:, None, None]
    return np.clip(grey, 0, 255).astype(np.uint8), truth


def by_opacity(pixels):
    grey = pixels.astype(float)
    return grey[:, 18:30, 18:30].mean((1, 2)) - np.median(grey, axis=(1, 2))


def by_softness(pixels):
    return -nuisances(pixels)[:, NUISANCES.index("fine detail")]


@pytest.fixture(scope="module")
def prepared():
    (learning, learned), (validation, truth) = drawn(900, 1), drawn(450, 2)
    log_odds = shortcut_log_odds(nuisances(learning), learned, nuisances(validation))
    return Selection.of(validation, truth, log_odds), validation, truth


def figures_of(reader, selection, validation):
    scores = np.concatenate([reader(validation), reader(selection.extra)])
    return selection.figures(np.stack([np.zeros_like(scores), scores], axis=1))


def test_it_prefers_the_reader_of_lungs(prepared):
    from sklearn.metrics import roc_auc_score

    selection, validation, truth = prepared
    lungs, shortcut = (
        figures_of(reader, selection, validation) for reader in (by_opacity, by_softness)
    )
    plain = [roc_auc_score(truth, reader(validation)) for reader in (by_opacity, by_softness)]
    assert min(plain) > 0.85
    assert abs(plain[0] - plain[1]) < 0.12
    assert lungs["selection"] > shortcut["selection"] + 0.1, (lungs, shortcut)


def test_three_classes_are_judged_by_any_pneumonia(prepared):
    selection, validation, _ = prepared
    score = np.concatenate([by_opacity(validation), by_opacity(selection.extra)]) / 10
    two = selection.figures(np.stack([np.zeros_like(score), score], axis=1))
    three = selection.figures(
        np.stack([np.zeros_like(score), score - np.log(2), score - np.log(2)], axis=1)
    )
    assert two == pytest.approx(three)


def test_every_change_is_worn_once_and_changes_the_picture(prepared):
    selection, validation, _ = prepared
    assert len({change.name for change, _ in HARD}) == len(HARD) == len(selection.views)
    for worn in selection.views:
        assert worn.shape == validation[selection.rows].shape
        assert not np.array_equal(worn, validation[selection.rows])


def test_the_score_is_the_mean_over_changes(prepared):
    from sklearn.metrics import roc_auc_score

    selection, validation, truth = prepared
    figures = figures_of(by_opacity, selection, validation)
    areas = [roc_auc_score(truth[selection.rows], by_opacity(worn)) for worn in selection.views]
    assert figures["selection"] == pytest.approx(np.mean(areas))
    assert figures["hardest"] == pytest.approx(min(areas))


def test_names_tell_every_worn_radiograph_apart(prepared):
    selection, validation, _ = prepared
    names = selection.names([f"{i:064x}" for i in range(len(validation))])
    assert len(set(names)) == len(names) == len(selection.extra)


def test_the_labels_are_equally_worn_up_to_the_limit(prepared):
    selection, _, truth = prepared
    chosen = truth[selection.rows]
    assert (~chosen).sum() == chosen.sum() == MOST
