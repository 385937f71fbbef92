"""Every shipped recipe trains on real radiographs: short, small, but the whole way."""

import json
from contextlib import nullcontext
from dataclasses import replace

import polars as pl
import pytest

from hilum.cohort.build import BuildOptions, build_cohort
from hilum.cohort.split import split_parts
from hilum.findings import Part
from hilum.model import load
from hilum.training import load_recipe, shipped_recipes
from hilum.training.reproduce import Wishes, reproduce

TRAIN, VALIDATION = 160, 80


@pytest.fixture(scope="module")
def few_real(real_data):
    """Some of the real training radiographs, with patients apart; the test folder stays shut."""
    cohort, _ = build_cohort(real_data / "kermany512", BuildOptions())
    cohort = split_parts(cohort, validation=0.3)
    sizes = {Part.TRAIN: TRAIN, Part.VALIDATION: VALIDATION}
    rows = [cohort.part(part).table.sample(count, seed=1) for part, count in sizes.items()]
    return replace(cohort, table=pl.concat(rows))


@pytest.mark.real_data
@pytest.mark.timeout(900)
def test_every_shipped_recipe_trains_on_real_radiographs(few_real, tmp_path, monkeypatch):
    # The ImageNet weights that no package carries must not be looked for in a test.
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    names = list(shipped_recipes())
    board = reproduce(
        names,
        few_real,
        tmp_path,
        Wishes(quick=True, test=False, random_weights=True),
        command="test",
        stage=lambda _: nullcontext(lambda _done, _total: None),
        tell=lambda _: None,
    )
    rows = json.loads((tmp_path / "quick" / "leaderboard.json").read_text())["rows"]
    assert len(rows) == len(names)
    assert [row["failed"] for row in rows if row["failed"]] == []
    models = {path.parent.name: load(path) for path in tmp_path.rglob("model.hilum")}
    assert models.keys() == set(names)
    for name, model in models.items():
        assert model.file.labels.task == load_recipe(name).task
        assert model.file.operating_points[0].aim
        # A head that has dense layers or keeps its places apart has no map, and says so.
        assert model.draws_maps == ("maps" in model.network.outputs)
    # What starts from ImageNet tells real radiographs apart even in two short epochs.
    for name in ("instant", "two-stage"):
        assert models[name].file.evidence["figures"]["auc"]["value"] > 0.9, name
    assert board.quick
