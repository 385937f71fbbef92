"""The gate: whether an input can be read at all, from its header and simple image measures.

It refuses what is plainly not a frontal chest radiograph. What it lets through is not thereby a
chest radiograph: a photograph without a header passes.
"""

import numpy as np
from numpy.typing import NDArray

from hilum.imaging import Radiograph
from hilum.model.schema import Gate

__all__ = ["refusal"]

# DICOM PS3.3 C.7.3.1.1.1: projection radiography, and what secondary captures are stored as.
_PROJECTION = frozenset({"CR", "DX", "RG", "SC", "OT", "XC"})
# DICOM PS3.3 C.8.1.1: View Position of CR and DX; laterals of the chest.
_LATERAL = frozenset({"LL", "RL", "LLD", "RLD", "LATERAL"})
# DICOM PS3.16 annex L: defined terms for Body Part Examined that a chest radiograph may carry.
_CHEST_WORDS = ("CHEST", "THORAX", "LUNG", "RIB", "HEART")


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
    short, long = sorted((origin.source_rows, origin.source_columns))
    contrast = float(np.subtract(*np.percentile(pixels, [95, 5])))
    if modality and modality not in _PROJECTION:
        return f"its header says modality {modality}, which is no projection radiograph"
    if view in _LATERAL:
        return f"its header says view {view}; only frontal radiographs are read"
    if body_part and not any(word in body_part for word in _CHEST_WORDS):
        return f"its header says body part {body_part}, not chest"
    if short < gate.minimum_side:
        return f"its shorter side has {short} pixels; at least {gate.minimum_side} are needed"
    if long > gate.maximum_aspect * short:
        return f"it is {long / short:.1f} times as long as wide; no chest radiograph is"
    if contrast < gate.minimum_contrast:
        return f"it is blank: its grey levels span {contrast:.0f} of 255"
    return None
