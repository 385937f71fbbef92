"""The gate: whether an input can be read at all, from its header and simple image measures.

It refuses what is plainly not a frontal chest radiograph. What it lets through is not thereby a
chest radiograph: a photograph without a header passes.
"""

import re

import numpy as np
from numpy.typing import NDArray

from hilum.imaging import Radiograph
from hilum.model.schema import Gate

__all__ = ["refusal", "refusal_by_picture"]

# DICOM PS3.3 C.7.3.1.1.1: projection radiography, and what secondary captures are stored as.
_PROJECTION = frozenset({"CR", "DX", "RG", "SC", "OT", "XC"})
# DICOM PS3.3 C.8.1.1: View Position of CR and DX; laterals of the chest
# and obliques.
_NOT_FRONTAL = frozenset(
    {"LL", "RL", "LLD", "RLD", "LLO", "RLO", "LAT", "LATERAL", "OBL", "OBLIQUE"}
)
# DICOM PS3.16 annex L: defined terms for Body Part Examined that a chest radiograph may carry.
_CHEST_WORDS = ("CHEST", "THORAX", "LUNG", "RIB", "HEART")


def _word(text: str) -> str:
    """Return a header's term if it looks like one; free text may name a patient and is not repeated."""
    return text if re.fullmatch(r"[A-Z0-9_]{1,16}", text) else "other than known terms"


def refusal(gate: Gate, radiograph: Radiograph, pixels: NDArray[np.uint8]) -> str | None:
    """Say why a radiograph must not be read, or None where it may be.

    Args:
        gate: The classifier's limits.
        radiograph: As read from its file.
        pixels: The classifier's input made from it, shape (size, size), uint8.

    Returns:
        One sentence, or None.
    """
    origin = radiograph.provenance
    modality = (origin.modality or "").upper()
    view = (origin.view_position or "").upper()
    body_part = (origin.body_part or "").upper()
    if modality and modality not in _PROJECTION:
        return f"its header says modality {_word(modality)}, which is no projection radiograph"
    if origin.presentation_intent == "FOR PROCESSING":
        return "its header says FOR PROCESSING: raw detector values; send the one for presentation"
    if view in _NOT_FRONTAL:
        return f"its header says view {view}; only frontal radiographs are read"
    if body_part and not any(word in body_part for word in _CHEST_WORDS):
        return f"its header says body part {_word(body_part)}, not chest"
    return refusal_by_picture(gate, origin.source_rows, origin.source_columns, pixels)


def refusal_by_picture(
    gate: Gate, rows: int, columns: int, pixels: NDArray[np.uint8]
) -> str | None:
    """Say why a picture must not be read whatever its header says, or None where it may be.

    Args:
        gate: The classifier's limits.
        rows: Of the source.
        columns: Of the source.
        pixels: The classifier's input made from it, shape (size, size), uint8.
    """
    short, long = sorted((rows, columns))
    contrast = float(np.subtract(*np.percentile(pixels, [95, 5])))
    if short < gate.minimum_side:
        return f"its shorter side has {short} pixels; at least {gate.minimum_side} are needed"
    if long > gate.maximum_aspect * short:
        return f"it is {long / short:.1f} times as long as wide, more than this classifier takes"
    if contrast < gate.minimum_contrast:
        return f"it is blank: its grey levels span {contrast:.0f} of 255"
    return None
