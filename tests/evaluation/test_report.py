import importlib.util
import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import jsonschema
import numpy as np
import pytest
from markupsafe import Markup

from hilum.errors import EvaluationError
from hilum.evaluation import (
    Evidence,
    FigureName,
    GalleryItem,
    build_evidence,
    caveats,
    choose_operating_point,
    confident_mistakes,
    parse_aim,
    render_report,
    verdict,
    write_evidence,
)
from hilum.evaluation.gallery import Neighbour, least_certain, pictured
from hilum.evaluation.terms import TERMS, with_contents, with_definitions
from hilum.evaluation.uncertainty import abstention_curve
from hilum.findings import RESEARCH_USE, Finding, Part, Task

HOSTILE = "<script>alert('x')</script>\"><img src=x onerror=alert(1)>"


def choose(predictions, aim="sensitivity>=0.95", chosen_on="validation"):
    return choose_operating_point(
        parse_aim(aim), predictions.pneumonia, predictions.is_pneumonia, chosen_on
    )


@pytest.fixture(scope="module")
def evidence(simulate, context):
    chosen = choose(simulate(seed=9))
    return build_evidence(simulate(), chosen, context=context, seed=0, replicates=100)


@pytest.fixture(scope="module")
def page(evidence):
    return render_report(evidence)


class Outline(HTMLParser):
    """Tags with their attributes, and whether they are well nested."""

    VOID = frozenset({"meta", "img", "br", "link", "input", "hr"})

    def __init__(self, page):
        super().__init__()
        self.tags, self.open, self.wrong = [], [], []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        if not self.open or self.open.pop() != tag:
            self.wrong.append(tag)


def test_report_shows_each_figure_with_its_interval(evidence, page):
    for figure in (*evidence.operating_point.figures.values(), *evidence.figures.values()):
        assert f"{figure.value:.3f}" in page
        assert f"{figure.interval.lower:.3f} to {figure.interval.upper:.3f}" in page


def test_report_says_research_use_before_any_result(page):
    body = page[page.index("<body>") :]
    assert RESEARCH_USE in body
    assert body.index(RESEARCH_USE) < body.index("Verdict")


def test_report_loads_nothing(page):
    assert not re.search(r"https?:", page)
    assert "default-src 'none'" in page
    for tag, attributes in Outline(page).tags:
        assert tag not in {"script", "link", "iframe", "object", "embed"}
        for name in ("href", "xlink:href", "src"):
            assert attributes.get(name, "#").startswith(("#", "data:image/png"))
        assert not any(name.startswith("on") for name in attributes)


@pytest.mark.parametrize("task", list(Task))
def test_report_is_well_formed_for_every_task(task, simulate, context):
    predictions = simulate(task=task)
    built = build_evidence(predictions, choose(predictions), context=context, seed=0, replicates=50)
    outline = Outline(render_report(built, confident_mistakes(predictions, choose(predictions))))
    assert (outline.wrong, outline.open) == ([], [])
    ids = [attributes["id"] for _, attributes in outline.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    targets = [a.get("href") or a.get("xlink:href") for _, a in outline.tags]
    assert {t[1:] for t in targets if t} <= set(ids)
    tags = [tag for tag, _ in outline.tags]
    assert tags.count("h1") == 1
    assert tags.count("caption") == tags.count("table") > 4
    assert all(a.get("aria-label") for t, a in outline.tags if t == "svg")
    assert dict(outline.tags)["html"] == {"lang": "en"}
    # Every definition is led to.
    assert {i for i in ids if i.startswith("define-")} <= {t[1:] for t in targets if t}


def test_hostile_ids_and_names_are_escaped(evidence):
    item = GalleryItem(HOSTILE, Finding.NORMAL, 0.9)
    hostile = evidence.model_copy(update={"classifier_name": HOSTILE, "command": HOSTILE})
    page = render_report(hostile, [item])
    assert "<script" not in page
    assert "<img" not in page
    assert page.count("&lt;script&gt;") >= 4


def test_a_thumbnail_from_elsewhere_is_refused():
    with pytest.raises(EvaluationError, match="no embedded PNG"):
        GalleryItem("a", Finding.NORMAL, 0.9, "https://example.org/a.png")


def test_an_embedded_thumbnail_is_shown_with_alternative_text(evidence):
    item = GalleryItem("a.png", Finding.NORMAL, 0.9, "data:image/png;base64,AAAA")
    tags = Outline(render_report(evidence, [item])).tags
    (image,) = [attributes for tag, attributes in tags if tag == "img"]
    assert image["src"] == "data:image/png;base64,AAAA"
    assert image["alt"] == "Radiograph a.png, false alarm"


def test_the_same_evidence_gives_the_same_page(evidence, page):
    assert render_report(evidence) == page


def test_the_verdict_states_counts_interval_and_operating_point(evidence):
    text, counts = verdict(evidence), evidence.operating_point.counts
    ill = counts.true_positives + counts.false_negatives
    assert f"found {counts.true_positives} of {ill} pneumonias" in text
    assert "“sensitivity >= 0.95 on validation” (threshold" in text
    interval = evidence.operating_point.figures[FigureName.SENSITIVITY].interval
    assert f"95 % interval {interval.lower:.3f} to {interval.upper:.3f}" in text
    assert f"On {evidence.radiographs} radiographs of {evidence.patients} patients" in text


def test_phantoms_are_said_to_say_nothing_first(evidence):
    phantom = evidence.model_copy(update={"phantom": True})
    assert caveats(phantom)[0].startswith("These are drawn phantoms: this says nothing")
    assert "drawn phantoms" in verdict(phantom)


def test_a_missed_aim_is_said_with_its_size(binary, context):
    chosen = choose(binary([0.1] * 20 + [0.9] * 20, [0] * 20 + [1] * 20))
    worse = binary([0.1] * 20 + [0.9] * 12 + [0.2] * 8, [0] * 20 + [1] * 20)
    built = build_evidence(worse, chosen, context=context, seed=0, replicates=200)
    missed = [text for text in caveats(built) if text.startswith("The aim was missed")]
    assert len(missed) == 1
    assert "0.600 was reached on test, a drop of 0.350" in missed[0]
    assert "hardly chance" in missed[0]


def test_a_fall_of_the_other_figure_is_said_too(binary, context):
    chosen = choose(binary([0.1] * 20 + [0.9] * 20, [0] * 20 + [1] * 20))
    worse = binary([0.1] * 12 + [0.8] * 8 + [0.9] * 20, [0] * 20 + [1] * 20)
    built = build_evidence(worse, chosen, context=context, seed=0, replicates=50)
    assert any(
        text.startswith("Specificity fell from 1.000 on validation to 0.600 on test. The interval")
        for text in caveats(built)
    )


def test_small_parts_prevalence_and_reused_parts_are_warned_of(binary, context):
    small = binary([0.1] * 12 + [0.9] * 4, [0] * 12 + [1] * 4)
    same = replace(context, part=Part.VALIDATION)
    built = build_evidence(small, choose(small), context=same, seed=0, replicates=50)
    text = " ".join(caveats(built))
    assert "Only 4 patients have the finding “pneumonia”: too few" in text
    assert "Only 12 patients have the finding “normal”; at least 100" in text
    assert "25.0 % of the radiographs show pneumonia" in text
    assert "chosen on this same validation part" in text
    assert "Every radiograph counts as a patient of its own" in text


def test_openings_and_radiographs_left_out_are_said(evidence):
    text = " ".join(caveats(evidence.model_copy(update={"test_openings": 7, "left_out": 3})))
    assert "opened 7 times on this machine" in text
    assert "3 radiographs of the part are in no figure" in text
    assert "opened" not in " ".join(caveats(evidence))


def test_a_part_with_one_class_still_gives_a_page(binary, simulate, context):
    built = build_evidence(
        binary([0.1, 0.9], [0, 0]), choose(simulate()), context=context, seed=0, replicates=20
    )
    page = render_report(built)
    assert "undefined" in page
    assert "No radiograph here has the finding “pneumonia”." in page


def test_mistakes_are_listed_from_the_most_confident(binary):
    predictions = binary([0.2, 0.01, 0.9, 0.6, 0.99, 0.1], [1, 1, 0, 0, 1, 0])
    mistakes = confident_mistakes(predictions, choose(predictions, "probability>=0.5"), count=2)
    assert [(item.id, item.kind) for item in mistakes] == [
        ("r1", "missed pneumonia"),
        ("r0", "missed pneumonia"),
        ("r2", "false alarm"),
        ("r3", "false alarm"),
    ]


def test_written_files_hold_the_same_evidence(evidence, tmp_path):
    metrics, report = write_evidence(evidence, tmp_path / "new" / "folder")
    assert Evidence.model_validate_json(metrics.read_text()) == evidence
    assert json.loads(metrics.read_text())["schema_version"] == 1
    assert report.read_text().startswith("<!DOCTYPE html>")
    assert sorted(p.name for p in metrics.parent.iterdir()) == ["metrics.json", "report.html"]


def test_importing_evaluation_loads_nothing_heavy():
    import subprocess
    import sys

    heavy = ("matplotlib", "sklearn", "scipy", "jinja2", "torch")
    code = f"import sys, hilum.evaluation; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_contents_lead_to_every_section_in_order(page):
    contents, main = page.split("</nav>")
    headings = re.findall(r'<h2 id="([^"]+)">', main)
    assert len(headings) > 9
    assert re.findall(r'<li><a href="#([^"]+)">', contents) == headings


def test_sections_from_other_files_join_the_contents_and_the_definitions():
    body = Markup(
        '<h2 id="new">New &amp; <a href="#x">odd</a></h2> <a href="#define-gate">gate</a>'
    )
    page = with_contents(with_definitions(body))
    assert '<li><a href="#new">New &amp; odd</a></li>' in page
    assert '<li><a href="#definitions">Definitions</a></li>' in page
    assert page.count('<dt id="define-') == 1
    assert TERMS["gate"][0] in page


def test_a_word_that_nobody_defines_is_no_link_to_nowhere():
    with pytest.raises(KeyError, match="no definition of wibble"):
        with_definitions(Markup('<a href="#define-wibble">wibble</a>'))
    own = Markup('<a href="#define-wibble">w</a><dl><dt id="define-wibble">w</dt></dl>')
    assert with_definitions(own) == own


def test_the_least_certain_are_those_that_are_referred_first(simulate):
    predictions = simulate(radiographs=200)
    point = choose(predictions)
    unsure = least_certain(predictions, point, count=100)
    assert len(unsure) == 100
    kept = np.setdiff1d(predictions.ids, [item.id for item in unsure], assume_unique=True)
    right = (predictions.pneumonia >= point.threshold) == predictions.is_pneumonia
    half = [
        each
        for each in abstention_curve(
            predictions.pneumonia, predictions.is_pneumonia, point.threshold
        )
        if each.referred == 0.5
    ]
    assert half[0].accuracy == pytest.approx(right[np.isin(predictions.ids, kept)].mean())


def test_the_least_certain_are_said_to_be_right_or_wrong(binary):
    predictions = binary([0.4, 0.45, 0.55, 0.7, 0.99], [1, 0, 0, 1, 1])
    items = least_certain(predictions, choose(predictions, "probability>=0.5"), count=4)
    assert [(item.id, item.kind) for item in items] == [
        ("r1", "cleared normal"),
        ("r2", "false alarm"),
        ("r0", "missed pneumonia"),
        ("r3", "found pneumonia"),
    ]


def test_neighbours_are_shown_with_finding_and_distance(evidence):
    near = Neighbour("near.png", Finding.VIRAL, 0.1234, "data:image/png;base64,BBBB")
    item = GalleryItem("a.png", Finding.NORMAL, 0.9, neighbours=(near,))
    page = render_report(evidence, [], [item])
    assert "Least certain" in page
    assert 'alt="Training radiograph near.png"' in page
    assert '<span class="number">0.123</span>' in page
    assert "Most confident mistakes" not in page
    assert 'id="define-neighbours"' in page
    assert 'id="define-neighbours"' not in render_report(
        evidence, [item.__class__("a", Finding.NORMAL, 0.9)]
    )


def test_pictures_go_to_the_radiographs_they_are_of():
    pixels = np.zeros((2, 16, 16), np.uint8)
    pixels[1] = 255
    items = [GalleryItem(name, Finding.NORMAL, 0.5) for name in ("b", "a", "b")]
    shown = [item.thumbnail for item in pictured(items, np.array(["a", "b"]), pixels)]
    assert shown[0] == shown[2] != shown[1]


@pytest.fixture(scope="module")
def published():
    root = Path(__file__).parents[2]
    spec = importlib.util.spec_from_file_location("make_schema", root / "scripts/make_schema.py")
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    text = script.TARGET.read_text(encoding="utf-8")
    assert text == script.schema(), "run scripts/make_schema.py again"
    return json.loads(text)


@pytest.mark.parametrize("task", list(Task))
def test_evidence_keeps_to_the_published_schema(published, task, simulate, context, tmp_path):
    predictions = simulate(task=task)
    built = build_evidence(predictions, choose(predictions), context=context, seed=0, replicates=20)
    metrics, _ = write_evidence(built, tmp_path)
    jsonschema.Draft202012Validator.check_schema(published)
    check = jsonschema.Draft202012Validator(published)
    document = json.loads(metrics.read_text())
    check.validate(document)
    for wrong in (
        {**document, "surprise": 1},
        {**document, "schema_version": 2},
        {**document, "prevalence": 1.5},
        {**document, "figures": {"nonsense": document["figures"]["auc"]}},
        {key: value for key, value in document.items() if key != "calibration"},
    ):
        assert not check.is_valid(wrong)
