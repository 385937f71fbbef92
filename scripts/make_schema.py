"""Write the JSON schema of the evidence: docs/evidence.schema.json, for programs that read metrics.json.

Run it again whenever a document of the evidence changes; a test compares the two.
"""

import json
from pathlib import Path

from hilum.evaluation import Evidence
from hilum.files import write_text

TARGET = Path(__file__).parent.parent / "docs" / "evidence.schema.json"


def schema() -> str:
    """Return the schema as JSON.

    It says what a reader accepts: what an earlier version of the same `schema_version` did not write yet
    may be missing.
    """
    document = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": f"urn:hilum:evidence:{Evidence.model_fields['schema_version'].default}",
        **Evidence.model_json_schema(mode="validation"),
    }
    return json.dumps(document, indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    write_text(TARGET, schema())
    print(TARGET)
