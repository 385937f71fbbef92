"""How often a test part was opened: a ledger on this machine, one line per evaluation.

A test part that is opened again and again is no longer a test, because choices leak into it. The
ledger is keyed by the radiographs themselves, so that another split or name of the same test part
counts too. It knows this machine alone.
"""

import hashlib
import json
from datetime import UTC, datetime
from pathlib import Path

from hilum.cohort.table import Cohort
from hilum.errors import CohortError, UsageError
from hilum.files import ensure_folder
from hilum.findings import Part

__all__ = ["openings_of", "record_opening"]


def _ledger() -> Path:
    from platformdirs import user_data_path

    return user_data_path("hilum") / "test-openings.jsonl"


def _key(cohort: Cohort) -> str | None:
    try:
        digests = cohort.part(Part.TEST).table["sha256"].sort().to_list()
    except CohortError:
        return None
    return hashlib.sha256("\n".join(digests).encode()).hexdigest()


def openings_of(cohort: Cohort) -> int:
    """Return how often the cohort's test part was opened on this machine; 0 without one."""
    key, ledger = _key(cohort), _ledger()
    if key is None or not ledger.is_file():
        return 0
    count = 0
    for line in ledger.read_text(encoding="utf-8").splitlines():
        try:
            count += json.loads(line).get("test_part") == key
        except (ValueError, AttributeError):
            continue  # a line cut short by a crash; the others still count
    return count


def record_opening(cohort: Cohort, classifier_sha256: str) -> int:
    """Write down that the cohort's test part was opened, and return how often it was by now.

    Raises:
        UsageError: If the ledger cannot be written.
    """
    ledger = _ledger()
    ensure_folder(ledger.parent)
    entry = {
        "test_part": _key(cohort),
        "opened": datetime.now(UTC).isoformat(timespec="seconds"),
        "classifier": classifier_sha256,
    }
    try:
        with ledger.open("a", encoding="utf-8") as target:
            target.write(json.dumps(entry) + "\n")
    except OSError as error:
        raise UsageError(f"the ledger {ledger} cannot be written ({error.strerror})") from error
    return openings_of(cohort)
