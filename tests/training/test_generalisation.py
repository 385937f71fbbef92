"""Training against a shortcut: brief, on real radiographs whose sharpness betrays the finding."""

import numpy as np
import pytest
from scipy import ndimage

torch = pytest.importorskip("torch")

from hilum.cohort.build import BuildOptions, build_cohort  # noqa: E402
from hilum.cohort.pixels import cached_pixels  # noqa: E402
from hilum.cohort.split import split_parts  # noqa: E402
from hilum.findings import Part, Task  # noqa: E402
from hilum.training import load_recipe  # noqa: E402
from hilum.training.progress import silent  # noqa: E402
from hilum.training.staged import Radiographs, starting_network, train_stages  # noqa: E402
from hilum.training.workers import Workers  # noqa: E402

SIDE = 64
BETRAYED = 0.9  # share of the radiographs whose sharpness goes with the finding
SEEDS = (0, 1, 2)  # one alone is too noisy to tell


@pytest.fixture(scope="module")
def parts(real_data):
    """Train and validation part; pneumonia is mostly soft in them and normal mostly sharp."""
    cohort = split_parts(build_cohort(real_data / "kermany512", BuildOptions())[0], validation=0.4)
    rng = np.random.default_rng(0)
    found = []
    for part in (Part.TRAIN, Part.VALIDATION):
        used, truth = cohort.part(part).for_task(Task.BINARY)
        pixels = np.array(cached_pixels(used, SIDE))
        soft = (rng.random(len(truth)) < BETRAYED) == (truth > 0)
        blurred = ndimage.gaussian_filter(pixels.astype(float), (0, 0.6, 0.6))
        pixels[soft] = blurred[soft].round()
        pixels[~soft] = (2 * pixels[~soft] - blurred[~soft]).round().clip(0, 255)
        found.append(Radiographs.of(used, truth, pixels))
    return found


def trained(parts, folder, seed, balance):
    """Train a head on frozen features, where shortcuts weigh most; return what validation says."""
    stage = {
        "name": "head", "train": "head", "epochs": 8, "batch": 32, "monitor": "selection",
        "keep": "last", "optimiser": {"learning_rate": 1e-3},
    }  # fmt: skip
    settings = {"network.size": SIDE, "stages": [stage], "augmentation": {}, "search": {}}
    recipe = load_recipe("two-stage").changed({**settings, "seed": seed, "loss.balance": balance})
    network, _ = starting_network(recipe)
    learning, validation = parts
    [report] = train_stages(
        network, recipe, learning, validation, folder, workers=Workers(), stage=silent
    )
    return report.figures


@pytest.mark.real_data
@pytest.mark.timeout(900)
def test_matched_drawing_holds_where_the_shortcut_misleads(parts, tmp_path):
    plain, matched = (
        [trained(parts, tmp_path / f"{balance}-{seed}", seed, balance) for seed in SEEDS]
        for balance in ("none", "matched")
    )

    def gain(name):
        return np.mean([m[name] - p[name] for m, p in zip(matched, plain, strict=True)])

    # Ordinary validation has the shortcut too, and cannot tell them apart.
    assert abs(gain("auc")) < 0.01
    assert gain("opposed") > 0.02
