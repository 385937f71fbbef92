"""Who a radiograph belongs to: named patterns that find the patient, and often the finding, in a name.

Keeping patients apart is what makes a figure honest, so a cohort is never built on a guess: either
a pattern fits every file, or the header says it, or a person must say so.
"""

import hashlib
import hmac
import re
import secrets
from dataclasses import dataclass
from functools import cache

from hilum.errors import CohortError
from hilum.files import ensure_folder, write_bytes
from hilum.findings import Finding, Part

__all__ = ["NAME_PATTERNS", "NamePattern", "name_pattern", "pseudonym"]


@dataclass(frozen=True, slots=True)
class NamePattern:
    """A way to read the patient from a file name.

    Attributes:
        name: As written on the command line.
        meaning: For people.
        regex: Searched at the start of the file name; its group `patient` is the patient. The
            optional group `kind` gives the finding where `kinds` knows it.
        kinds: What the group `kind` means.
        series_by_part: True where the test part numbers its patients anew, so that `person1` of
            the training part and `person1` of the test part are two people.
    """

    name: str
    meaning: str
    regex: re.Pattern[str]
    kinds: dict[str, Finding]
    series_by_part: bool = False

    def patient(self, file_name: str, part: Part | None) -> str | None:
        """Return the patient of a file, or None where the name does not fit."""
        found = self.regex.match(file_name)
        if not found:
            return None
        patient = found["patient"]
        if not self.series_by_part:
            return patient
        # Kaggle's `val` folder was cut from the training part and shares its numbers.
        return f"{'test' if part is Part.TEST else 'train'}/{patient}"

    def finding(self, file_name: str) -> Finding | None:
        """Return the finding that the name itself carries, or None."""
        found = self.regex.match(file_name)
        kind = found.groupdict().get("kind") if found else None
        return self.kinds.get(kind) if kind else None


NAME_PATTERNS = {
    pattern.name: pattern
    for pattern in (
        NamePattern(
            name="guangzhou",
            meaning="the paediatric set of Kermany et al. 2018: person<P>_bacteria_<n>, IM-<P>-<n>",
            regex=re.compile(
                r"(?P<patient>person\d+(?=_(?P<kind>bacteria|virus)_\d)"
                r"|(?:NORMAL2-)?IM-\d+(?=-\d))"
            ),
            kinds={"bacteria": Finding.BACTERIAL, "virus": Finding.VIRAL},
            series_by_part=True,
        ),
        NamePattern(
            name="phantom",
            meaning="drawn phantoms: phantom-<P>-<n>",
            regex=re.compile(r"(?P<patient>phantom-\d+)-\d+"),
            kinds={},
        ),
        NamePattern(
            name="each",
            meaning="patients are unknown: every file counts as a patient of its own",
            regex=re.compile(r"(?P<patient>.+)"),
            kinds={},
        ),
    )
}


def name_pattern(text: str) -> NamePattern:
    """Return a pattern by name, or make one from `regex:EXPRESSION` with the group `patient`.

    Raises:
        CohortError: If there is no such pattern or the expression is wrong.
    """
    if text in NAME_PATTERNS:
        return NAME_PATTERNS[text]
    if not text.startswith("regex:"):
        known = ", ".join(NAME_PATTERNS)
        raise CohortError(
            f"no pattern of patients is named '{text}'; use {known}, "
            "or regex:EXPRESSION with a group (?P<patient>...)"
        )
    try:
        regex = re.compile(text.removeprefix("regex:"))
    except re.error as error:
        raise CohortError(f"the expression of '{text}' is wrong: {error}") from error
    if "patient" not in regex.groupindex:
        raise CohortError(f"'{text}' lacks the group (?P<patient>...), which is the patient")
    return NamePattern(text, "given on the command line", regex, {})


def pseudonym(patient_id: str) -> str:
    """Return a stand-in for a DICOM PatientID, so that the table does not carry it.

    It is keyed (HMAC-SHA-256) with a secret that stays in the user's data folder: it keeps a
    patient's radiographs together across the cohorts of this user, and nobody without the secret
    can find the identifier by trying them all.

    Raises:
        UsageError: If the secret cannot be written.
    """
    digest = hmac.new(_secret(), patient_id.strip().encode(), hashlib.sha256)
    return "patient-" + digest.hexdigest()[:16]


@cache
def _secret() -> bytes:
    from filelock import FileLock
    from platformdirs import user_data_path

    path = user_data_path("hilum") / "pseudonym-secret"
    ensure_folder(path.parent)
    with FileLock(path.with_suffix(".lock")):
        if not path.is_file():
            write_bytes(path, secrets.token_bytes(32))
            path.chmod(0o600)
        return path.read_bytes()
