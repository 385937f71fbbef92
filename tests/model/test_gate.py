"""The gate refuses what is plainly no frontal chest radiograph, and says why."""

from dataclasses import replace

import numpy as np
import pytest

from hilum.imaging import Provenance, Radiograph
from hilum.model.gate import refusal
from hilum.model.schema import Gate

PIXELS = np.tile(np.arange(256, dtype=np.uint8), (256, 1))
ORIGIN = Provenance(
    format="DICOM", file_bytes=1, sha256="0" * 64, source_rows=256, source_columns=256
)


def radiograph(**header) -> Radiograph:
    return Radiograph(PIXELS, 8, None, replace(ORIGIN, **header))


@pytest.mark.parametrize(
    "header",
    [
        {},
        {"modality": "CR", "view_position": "PA", "body_part": "CHEST"},
        {"modality": "DX", "view_position": "AP", "body_part": "Chest PA"},
        {"modality": "OT"},
    ],
)
def test_a_frontal_chest_radiograph_passes(header):
    assert refusal(Gate(), radiograph(**header), PIXELS) is None


@pytest.mark.parametrize(
    ("header", "reason"),
    [
        ({"modality": "CT"}, "modality CT, which is no projection"),
        ({"modality": "MR"}, "modality MR"),
        ({"modality": "CR", "view_position": "LL"}, "only frontal"),
        ({"modality": "DX", "body_part": "SKULL"}, "body part SKULL, not chest"),
        ({"modality": "CR", "view_position": "LAT"}, "only frontal"),
        ({"presentation_intent": "FOR PROCESSING"}, "raw detector values"),
        ({"source_rows": 40}, "shorter side has 40 pixels; at least 64"),
        ({"source_columns": 2000}, "7.8 times as long as wide"),
    ],
)
def test_what_is_no_frontal_chest_is_refused_with_the_reason(header, reason):
    assert reason in refusal(Gate(), radiograph(**header), PIXELS)


def test_a_blank_picture_is_refused():
    blank = np.full((224, 224), 90, np.uint8)
    assert "blank" in refusal(Gate(), radiograph(), blank)


def test_free_text_in_a_header_is_not_repeated():
    reason = refusal(Gate(), radiograph(body_part="DOE^JOHN 4711"), PIXELS)
    assert "not chest" in reason
    assert "DOE" not in reason
    assert "4711" not in reason
