"""DICOM's grey scale: from stored values to display polarity, as one table (PS3.4, annex N.2).

A stored value has at most 16 bits, so the whole chain (mask and sign, modality transformation,
values of interest, polarity) is worked out once for every pattern that a pixel can hold, and a
radiograph of any size is then looked up in it: no float image is ever made.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hilum.imaging._dicom_codecs import PixelModule
from hilum.imaging._dicom_elements import DataSet
from hilum.imaging.radiograph import Pixels

__all__ = ["Display", "display_table"]

_INTERCEPT, _SLOPE, _MODALITY_LUT = 0x00281052, 0x00281053, 0x00283000
_CENTRE, _WIDTH, _FUNCTION, _VOI_LUT = 0x00281050, 0x00281051, 0x00281056, 0x00283010
_LUT_DESCRIPTOR, _LUT_DATA = 0x00283002, 0x00283006
_PADDING, _PADDING_LIMIT = 0x00280120, 0x00280121
_PRESENTATION_SHAPE = 0x20500020

# Where the header says no window, the darkest and brightest half percent are let go: collimator
# edges, markers and dead detector elements would otherwise set the contrast of the whole.
_LOW, _HIGH = 0.005, 0.995
_BAND = 1 << 18  # pixels counted at a time; numpy widens them to 64 bits on the way


@dataclass(frozen=True, slots=True)
class Display:
    """The table from stored patterns to display values, and how it came about."""

    table: Pixels  # (2 ** bits allocated,), [0, 2 ** bit_depth - 1]
    bit_depth: int
    window: tuple[float, float] | None
    window_from: str | None
    notes: tuple[str, ...]


def display_table(header: DataSet, module: PixelModule, pixels: Pixels) -> Display:
    """Work out how stored patterns are shown.

    Args:
        header: The data set.
        module: Its description of the pixels, of one sample.
        pixels: Stored patterns, shape (rows, columns); counted only where the header has no usable
            window.

    Returns:
        The table, 8 bits deep for up to 8 stored bits, else as deep as stored. MONOCHROME1 is
        inverted after the window, not before it (PS3.3, C.7.6.3.1.2); padding is black.
    """
    notes: list[str] = []
    codes = np.arange(1 << module.bits_stored)
    sign = 1 << (module.bits_stored - 1)
    values = (codes ^ sign) - sign if module.signed else codes
    patterns = np.arange(1 << module.bits_allocated)
    code_of_pattern = (patterns >> (module.high_bit + 1 - module.bits_stored)) & (len(codes) - 1)
    padding = _padding(header, module, values)

    modality = _modality(header, values, notes)
    shown, window, window_from = _table_or_window(header, modality, notes)
    if shown is None and module.bits_stored > 8:
        counts = np.bincount(
            code_of_pattern, weights=_count(pixels, len(patterns)), minlength=len(codes)
        ).astype(np.float64)
        counts[padding] = 0
        shown, window, window_from = _percentiles(modality, counts, notes)
    if shown is None:
        shown = _spread(modality, float(modality.min()), float(modality.max()))
    if module.photometric == "MONOCHROME1":
        shown = 1 - shown
    elif header.text(_PRESENTATION_SHAPE) == "INVERSE":
        notes.append("the presentation shape INVERSE was ignored, as it contradicts MONOCHROME2")
    shown[padding] = 0
    depth = max(8, module.bits_stored)
    dtype = np.uint8 if depth == 8 else np.uint16
    table = np.rint(shown * ((1 << depth) - 1)).astype(dtype)[code_of_pattern]
    return Display(table, depth, window, window_from, tuple(notes))


def _padding(header: DataSet, module: PixelModule, values: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Return which values stand for no tissue at all (PS3.3, C.7.5.1.1.2)."""
    ends = header.integers(_PADDING, signed=module.signed)[:1]
    if not ends:
        return np.zeros(len(values), np.bool_)
    ends += header.integers(_PADDING_LIMIT, signed=module.signed)[:1]
    return (values >= min(ends)) & (values <= max(ends))


def _modality(header: DataSet, values: NDArray[np.int64], notes: list[str]) -> NDArray[np.float64]:
    """Apply the modality LUT, or rescale slope and intercept (PS3.3, C.11.1)."""
    plain = values.astype(np.float64)
    if item := header.first_item(_MODALITY_LUT):
        looked_up = _lookup(item, plain)
        if looked_up is not None:
            return looked_up[0]
        notes.append("the modality LUT is damaged and was ignored")
    slopes, intercepts = header.numbers(_SLOPE), header.numbers(_INTERCEPT)
    slope = slopes[0] if slopes else 1.0
    intercept = intercepts[0] if intercepts else 0.0
    with np.errstate(over="ignore", invalid="ignore"):
        rescaled = plain * slope + intercept
    if slope != 0 and np.isfinite(rescaled).all() and np.ptp(rescaled) > 0:
        return rescaled
    notes.append("rescale slope and intercept are not usable numbers and were ignored")
    return plain


def _table_or_window(
    header: DataSet, modality: NDArray[np.float64], notes: list[str]
) -> tuple[NDArray[np.float64] | None, tuple[float, float] | None, str | None]:
    """Apply what the header says of the values of interest (PS3.3, C.11.2): table first, then window."""
    if item := header.first_item(_VOI_LUT):
        looked_up = _lookup(item, modality)
        if looked_up is not None:
            shown, top = looked_up
            return shown / top, None, "voi lut"
        notes.append("the VOI LUT is damaged and was ignored")
    centres, widths = header.numbers(_CENTRE), header.numbers(_WIDTH)
    if not centres or not widths:
        return None, None, None
    if len(centres) > 1 and len(widths) > 1:
        notes.append(f"the first of {min(len(centres), len(widths))} windows was applied")
    function = header.text(_FUNCTION) or "LINEAR"
    shown_in_window = _windowed(modality, centres[0], widths[0], function)
    if shown_in_window is None:
        notes.append("the window in the header is not usable and was ignored")
        return None, None, None
    return shown_in_window, (centres[0], widths[0]), "header"


def _windowed(
    values: NDArray[np.float64], centre: float, width: float, function: str
) -> NDArray[np.float64] | None:
    """Apply a window (PS3.3, C.11.2.1.2 and C.11.2.1.3), to [0, 1]; None where it is not valid."""
    least = 1 if function == "LINEAR" else 0
    if not (np.isfinite(centre) and np.isfinite(width)) or width < least or width <= 0:
        return None
    with np.errstate(over="ignore", invalid="ignore"):
        if function == "LINEAR":
            if width == 1:
                return (values > centre - 0.5).astype(np.float64)
            return np.clip((values - (centre - 0.5)) / (width - 1) + 0.5, 0, 1)
        if function == "LINEAR_EXACT":
            return np.clip((values - centre) / width + 0.5, 0, 1)
        if function == "SIGMOID":
            return np.asarray(1 / (1 + np.exp(-4 * ((values - centre) / width))))
    return None


def _lookup(item: DataSet, values: NDArray[np.float64]) -> tuple[NDArray[np.float64], float] | None:
    """Apply a LUT item (PS3.3, C.11.1.1); return the outputs and the largest possible one."""
    descriptor = item.integers(_LUT_DESCRIPTOR)
    if len(descriptor) != 3:
        return None
    entries = descriptor[0] or 1 << 16
    first = descriptor[1]
    # Where the file does not tell signed from unsigned, signed inputs ask for a signed start.
    vr = item.elements[_LUT_DESCRIPTOR].vr
    if first >= 1 << 15 and (vr == b"SS" or (vr != b"US" and values.min() < 0)):
        first -= 1 << 16
    raw = item.raw(_LUT_DATA, at_most=2 << 16)
    if len(raw) >= 2 * entries:
        outputs = np.frombuffer(raw, item.order + "u2", entries)
    elif len(raw) >= entries:
        outputs = np.frombuffer(raw, np.uint8, entries)
    else:
        return None
    top = float(max((1 << min(max(descriptor[2], 1), 16)) - 1, int(outputs.max())))
    if outputs.min() == outputs.max():
        return None
    index = np.clip(np.rint(values) - first, 0, entries - 1).astype(np.int64)
    return outputs[index].astype(np.float64), top


def _count(pixels: Pixels, patterns: int) -> NDArray[np.int64]:
    """Count how often each pattern occurs, shape (patterns,)."""
    flat = pixels.reshape(-1)
    counts = np.zeros(patterns, np.int64)
    for start in range(0, flat.size, _BAND):
        counts += np.bincount(flat[start : start + _BAND], minlength=patterns)
    return counts


def _percentiles(
    modality: NDArray[np.float64], counts: NDArray[np.float64], notes: list[str]
) -> tuple[NDArray[np.float64] | None, tuple[float, float] | None, str | None]:
    """Window from the 0.5th to the 99.5th percentile of the pixels that are not padding."""
    order = np.argsort(modality, kind="stable")
    ordered, below = modality[order], np.cumsum(counts[order])
    total = below[-1]
    if total > 0:
        for low_at, high_at in ((_LOW * total, _HIGH * total), (0.5, total)):
            low = float(ordered[np.searchsorted(below, low_at)])
            high = float(ordered[np.searchsorted(below, high_at)])
            if high > low:
                window = ((low + high) / 2, high - low)
                return _spread(modality, low, high), window, "percentiles"
    notes.append("every pixel has the same value")
    return None, None, None


def _spread(values: NDArray[np.float64], low: float, high: float) -> NDArray[np.float64]:
    return np.clip((values - low) / (high - low), 0, 1)
