"""Take the documentation's pictures of hilum's pages, from drawn phantoms alone.

    python scripts/make_pictures.py

needs Chromium (on Debian the package chromium) and the development environment. It draws phantoms, trains
`instant` on them, evaluates, compares and describes, and writes PNGs of few colours to docs/pictures.
"""

import io
import os
import shutil
import sys
import tempfile
from pathlib import Path

from PIL import Image
from playwright.sync_api import Page, sync_playwright

from hilum.audit.description import describe_cohort
from hilum.cohort.build import BuildOptions, build_cohort
from hilum.cohort.phantom import write_phantoms
from hilum.cohort.split import split_parts
from hilum.cohort.table import Cohort
from hilum.evaluation import (
    Context,
    build_evidence,
    confident_mistakes,
    predict,
    write_evidence,
)
from hilum.evaluation.comparing import compare_classifiers
from hilum.evaluation.gallery import least_certain, pictured
from hilum.evaluation.neighbours import with_neighbours
from hilum.files import write_bytes
from hilum.findings import Part
from hilum.model import Classifier, load
from hilum.training import load_recipe, train

TARGET = Path(__file__).parent.parent / "docs" / "pictures"
PATIENTS, SEED = 200, 11
COLOURS = 256  # with fewer, the one orange point of a plot turns grey
LARGEST = 300_000  # bytes


def main() -> None:
    """Make everything anew."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        sys.exit("there is no Chromium here; on Debian install the package chromium")
    with tempfile.TemporaryDirectory() as name, sync_playwright() as playwright:
        folder = Path(name)
        _make_pages(folder)
        browser = playwright.chromium.launch(
            executable_path=chromium, args=["--no-sandbox"] if os.geteuid() == 0 else []
        )
        page = browser.new_page(viewport={"width": 1360, "height": 1000})
        _take(page, folder / "report.html", "report-phantoms")
        _take(page, folder / "report.html", "report-gallery", "#mistakes", colours=128)
        _take(page, folder / "comparison.html", "comparison", "#figures")
        _take(page, folder / "description.html", "description", "#groups")
        page.emulate_media(color_scheme="dark")
        _take(page, folder / "report.html", "report-dark", "#plots")
        browser.close()


def _make_pages(folder: Path) -> None:
    drawn = folder / "phantoms"
    write_phantoms(drawn, patients=PATIENTS, seed=SEED, rows=256, columns=256)
    cohort = split_parts(build_cohort(drawn, BuildOptions())[0], validation=0.3, seed=SEED)
    recipe = load_recipe("instant")
    classifiers = {
        task: load(
            train(
                recipe.changed(task=task),
                cohort,
                folder / task,
                command=f"hilum train instant {task}",
            ).path
        )
        for task in ("binary", "three-class")
    }
    _report(classifiers["binary"], cohort, folder)
    compare_classifiers(
        classifiers,
        cohort,
        Part.VALIDATION,
        folder,
        command="hilum compare binary/model.hilum three-class/model.hilum -c phantoms.parquet",
    )
    describe_cohort(cohort, folder, command="hilum cohort describe phantoms.parquet")


def _report(classifier: Classifier, cohort: Cohort, folder: Path) -> None:
    point = classifier.file.operating_point()
    placed, predictions, pixels = predict(classifier, cohort.part(Part.VALIDATION))
    evidence = build_evidence(
        predictions,
        point,
        context=Context(
            command="hilum evaluate instant/model.hilum -c phantoms.parquet --part validation",
            classifier_name="instant",
            cohort_name=placed.name,
            part=Part.VALIDATION,
            phantom=True,
            classifier_sha256=classifier.file.sha256,
            cohort_sha256=cohort.digest(),
        ),
        seed=SEED,
        other_points=classifier.file.operating_points,
    )
    gallery, unsure = (
        with_neighbours(
            pictured(items, predictions.ids, pixels), classifier, cohort, predictions.ids, pixels
        )
        for items in (
            confident_mistakes(predictions, point, count=4),
            least_certain(predictions, point, count=4),
        )
    )
    write_evidence(evidence, folder, gallery, unsure)


def _take(page: Page, path: Path, name: str, place: str = "", *, colours: int = COLOURS) -> None:
    """Write what stands in the window, from a place of a page on."""
    page.goto(path.as_uri() + place)
    with Image.open(io.BytesIO(page.screenshot())) as taken:
        few = taken.convert("RGB").quantize(colours, dither=Image.Dither.NONE)
    buffer = io.BytesIO()
    few.save(buffer, "PNG", optimize=True)
    if len(buffer.getvalue()) > LARGEST:
        sys.exit(f"{name}.png would have {len(buffer.getvalue())} bytes, more than {LARGEST}")
    write_bytes(TARGET / f"{name}.png", buffer.getvalue())
    print(f"{name}.png {len(buffer.getvalue())} bytes")


if __name__ == "__main__":
    main()
