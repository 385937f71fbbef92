"""Fixtures that several rooms share: small, seeded, and drawn where they can be."""

import os
from pathlib import Path

import numpy as np
import pytest

from hilum.cohort.build import BuildOptions, build_cohort
from hilum.cohort.phantom import write_phantoms
from hilum.cohort.split import split_parts
from hilum.cohort.table import Cohort
from hilum.demo import example_radiograph
from hilum.training import load_recipe, train


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real radiographs; tests that use it are marked `real_data`."""
    folder = os.environ.get("HILUM_DATA")
    if not folder:
        pytest.skip("HILUM_DATA is not set: this test needs the real radiographs")
    return Path(folder)


@pytest.fixture(scope="session")
def phantom_folder(tmp_path_factory) -> Path:
    """Class folders with drawn phantoms of 96 patients."""
    folder = tmp_path_factory.mktemp("phantoms") / "drawn"
    write_phantoms(folder, patients=96, seed=7, rows=256, columns=256)
    return folder


@pytest.fixture(scope="session")
def phantom_cohort(phantom_folder) -> Cohort:
    """The phantoms as a cohort with train, validation and test parts."""
    cohort, _ = build_cohort(phantom_folder, BuildOptions())
    return split_parts(cohort, validation=0.3, seed=1)


@pytest.fixture(scope="session")
def phantom_cohort_file(phantom_cohort, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("cohort") / "phantoms.parquet"
    phantom_cohort.save(path)
    return path


@pytest.fixture(scope="session")
def model_path(phantom_cohort, tmp_path_factory) -> Path:
    """A classifier trained on phantoms."""
    out = tmp_path_factory.mktemp("run")
    return train(load_recipe("instant"), phantom_cohort, out, command="test").path


@pytest.fixture(scope="session")
def three_class_model_path(phantom_cohort, tmp_path_factory) -> Path:
    """A three-class classifier trained on phantoms."""
    out = tmp_path_factory.mktemp("run3")
    recipe = load_recipe("instant").changed(task="three-class")
    return train(recipe, phantom_cohort, out, command="test").path


@pytest.fixture(scope="session")
def dicom_chest() -> Path:
    """The real chest CR of the package pydicom-data: MONOCHROME1, 1955 x 1841, 15 bits."""
    return example_radiograph("RG1_UNCR.dcm")


@pytest.fixture(scope="session")
def dicom_leg() -> Path:
    """The real CR of a leg of the package pydicom-data."""
    return example_radiograph("RG3_UNCR.dcm")


@pytest.fixture(autouse=True)
def own_user_folders(tmp_path_factory, monkeypatch):
    """Keep caches and ledgers of the tests out of the user's own folders."""
    base = tmp_path_factory.getbasetemp()
    monkeypatch.setenv("XDG_CACHE_HOME", str(base / "cache"))
    monkeypatch.setenv("XDG_DATA_HOME", str(base / "data"))


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(20260)
