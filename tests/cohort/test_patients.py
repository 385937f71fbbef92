"""Patients are read from names as the data's own documentation says."""

import hashlib

import pytest

from hilum.cohort.patients import NAME_PATTERNS, name_pattern, pseudonym
from hilum.errors import CohortError
from hilum.findings import Finding, Part

GUANGZHOU = NAME_PATTERNS["guangzhou"]


@pytest.mark.parametrize(
    ("name", "patient", "finding"),
    [
        ("person9_bacteria_41.jpeg", "train/person9", Finding.BACTERIAL),
        ("person1000_virus_1681.jpeg", "train/person1000", Finding.VIRAL),
        ("person1372_virus_2362_1.jpeg", "train/person1372", Finding.VIRAL),
        ("IM-0117-0001.jpeg", "train/IM-0117", None),
        ("IM-0543-0001-0002.jpeg", "train/IM-0543", None),
        ("NORMAL2-IM-1423-0001.jpeg", "train/NORMAL2-IM-1423", None),
    ],
)
def test_guangzhou_names_carry_patient_and_finding(name, patient, finding):
    assert GUANGZHOU.patient(name, Part.TRAIN) == patient
    assert GUANGZHOU.finding(name) is finding


def test_patients_of_the_guangzhou_test_part_are_other_people():
    train = GUANGZHOU.patient("person1_bacteria_1.jpeg", Part.TRAIN)
    validation = GUANGZHOU.patient("person1_bacteria_2.jpeg", Part.VALIDATION)
    test = GUANGZHOU.patient("person1_virus_6.jpeg", Part.TEST)
    assert train == validation != test


@pytest.mark.parametrize("name", ["00012229_003.jpg", "scan.png", "person_bacteria_1.jpeg"])
def test_foreign_names_give_no_patient(name):
    assert GUANGZHOU.patient(name, Part.TRAIN) is None


def test_an_expression_can_say_who_the_patient_is():
    pattern = name_pattern(r"regex:(?P<patient>\d+)_\d+")
    assert pattern.patient("00012229_003.jpg", None) == "00012229"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("nobody", "use guangzhou, phantom, each, or regex:"),
        ("regex:(", "is wrong"),
        (r"regex:\d+", r"lacks the group \(\?P<patient>"),
    ],
)
def test_a_wrong_pattern_says_what_is_allowed(text, message):
    with pytest.raises(CohortError, match=message):
        name_pattern(text)


def test_a_pseudonym_is_stable_and_hides_the_identifier():
    assert pseudonym("12345 ") == pseudonym("12345") != pseudonym("12346")
    assert "12345" not in pseudonym("12345")


def test_a_pseudonym_cannot_be_found_by_trying_identifiers():
    """It is keyed: the plain digest of the identifier is not in it."""
    assert hashlib.sha256(b"12345").hexdigest()[:16] not in pseudonym("12345")
