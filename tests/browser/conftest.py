"""The pages of hilum, made from phantoms, and a real Chromium to open them with."""

import os
import shutil
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, sync_playwright

from hilum.audit.description import describe_cohort
from hilum.cohort.table import load_cohort
from hilum.evaluation import Context, build_evidence, confident_mistakes, predict, write_evidence
from hilum.evaluation.comparing import compare_classifiers
from hilum.evaluation.gallery import least_certain, pictured
from hilum.evaluation.neighbours import with_neighbours
from hilum.findings import Part
from hilum.model import load

# As a program calls it: one long word, with what HTML would take for markup.
LONG_NAME = "runs/2026-01-02/efficientnet_lite0_<b>without</b>_borders_seed_17_epoch_40/model.hilum"


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """The machine's own Chromium; nothing is downloaded."""
    found = shutil.which("chromium") or shutil.which("chromium-browser")
    if found is None:
        pytest.skip("there is no Chromium here; on Debian install the package chromium")
    # Its sandbox cannot be set up by root; the pages are hilum's own.
    arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
    # Ended with the module: while it runs, no other test could start an event loop of its own.
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=arguments)
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def pages(model_path, three_class_model_path, phantom_cohort_file, tmp_path_factory):
    """Where each page lies, by name."""
    folder = tmp_path_factory.mktemp("pages")
    cohort = load_cohort(phantom_cohort_file)
    classifier = load(three_class_model_path)
    point = classifier.file.operating_point()
    placed, predictions, pixels = predict(classifier, cohort.part(Part.VALIDATION))
    evidence = build_evidence(
        predictions,
        point,
        context=Context(
            command=f"hilum evaluate {LONG_NAME}",
            classifier_name=LONG_NAME,
            cohort_name=placed.name,
            part=Part.VALIDATION,
            phantom=True,
        ),
        seed=0,
        other_points=classifier.file.operating_points,
        replicates=100,
    )
    listed = (confident_mistakes(predictions, point), least_certain(predictions, point))
    gallery, unsure = (
        with_neighbours(
            pictured(items, predictions.ids, pixels), classifier, cohort, predictions.ids, pixels
        )
        for items in listed
    )
    assert gallery
    write_evidence(evidence, folder, gallery, unsure)
    compare_classifiers(
        {LONG_NAME: load(model_path), f"{LONG_NAME} again": classifier},
        cohort,
        Part.VALIDATION,
        folder,
    )
    describe_cohort(cohort, folder)
    return {name: folder / f"{name}.html" for name in ("report", "comparison", "description")}
