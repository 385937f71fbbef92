"""The card says what the file knows, and of the checklists what it does not."""

import re
from dataclasses import replace

import pytest

from hilum.evaluation.figures import FigureName
from hilum.findings import RESEARCH_USE
from hilum.model import load_model_file
from hilum.training.card import write_card
from hilum.training.checklists import CLAIM, IN_PART, NOT_ANSWERED, TRIPOD_AI, answered


@pytest.fixture(scope="module")
def model(model_path):
    return load_model_file(model_path)


def rows_of(card, heading):
    """Cells of the table below a heading, a pipe that was escaped being text."""
    blocks = card[card.index(heading) :].split("\n\n")
    table = next(block for block in blocks if block.startswith("|"))
    return [re.split(r"(?<!\\)\|", line)[1:-1] for line in table.splitlines()[2:]]


def test_the_card_in_the_file_says_use_data_figures_limits_and_openings(model):
    card = model.card
    assert card == write_card(model)
    assert RESEARCH_USE in card[:300]
    assert "it says nothing of patients" in card[:500]
    headings = re.findall("^## (.+)$", card, flags=re.MULTILINE)
    assert headings == [
        "Intended use",
        "Data",
        "How often the test part was opened",
        "Recipe",
        "Figures on the validation part",
        "Limits",
        "What reporting guidelines ask",
    ]
    opened = replace(model, provenance=model.provenance.model_copy(update={"test_openings": 17}))
    assert "Before this training, 17 times" in write_card(opened)


def test_each_figure_of_the_evidence_stands_with_its_interval_or_the_reason(model):
    rows = {
        row[0].strip(): [cell.strip() for cell in row[1:]] for row in rows_of(model.card, "## Fig")
    }
    groups = (model.evidence["figures"], model.evidence["operating_point"]["figures"])
    figures = {FigureName(n).heading: f for group in groups for n, f in group.items()}
    assert rows.keys() == figures.keys()
    for heading, figure in figures.items():
        value, limits = rows[heading]
        if figure["value"] is None:
            assert (value, limits) == ("undefined", figure["reason"])
            continue
        assert value == f"{figure['value']:.3f}"
        interval = figure["interval"]
        assert limits == (
            f"{interval['lower']:.3f} to {interval['upper']:.3f}"
            if interval
            else f"none: {figure['no_interval']}"
        )


@pytest.mark.parametrize(("name", "checklist"), [("TRIPOD+AI", TRIPOD_AI), ("CLAIM 2024", CLAIM)])
def test_each_item_has_an_answer_or_is_said_to_have_none(model, name, checklist):
    rows = rows_of(model.card, f"### {name}")
    assert [row[0].strip() for row in rows] == [item.number for item in checklist]
    answers = [row[2].strip() for row in rows]
    assert all(answers)
    known = sum(answer != NOT_ANSWERED for answer in answers)
    partly = sum(answer.startswith(IN_PART.strip()) for answer in answers)
    assert 0 < partly < known < len(answers)
    assert f"{known} of {len(answers)} answered, {partly} of them in part" in model.card
    for item, answer in answered(checklist, model):
        assert (answer == NOT_ANSWERED) == (item.fact is None)


def test_checklists_have_the_published_items():
    """TRIPOD+AI has 27 items, CLAIM 2024 has 44; those about an article alone are left out."""
    tripod = {int(re.match(r"\d+", item.number)[0]) for item in TRIPOD_AI}
    assert tripod == set(range(1, 28)) - {1, 2}
    assert [int(item.number) for item in CLAIM] == list(range(3, 45))
    for checklist in (TRIPOD_AI, CLAIM):
        numbers = [item.number for item in checklist]
        assert len(numbers) == len(set(numbers))


def test_names_from_outside_stay_in_their_cells(model):
    hostile = model.provenance.model_copy(
        update={"cohort_name": "a | b\n| c", "network": "n|\n\n# x"}
    )
    card = write_card(replace(model, provenance=hostile))
    for name, checklist in (("TRIPOD+AI", TRIPOD_AI), ("CLAIM 2024", CLAIM)):
        rows = rows_of(card, f"### {name}")
        assert len(rows) == len(checklist)
        assert {len(row) for row in rows} == {3}
    assert "\n# x" not in card
