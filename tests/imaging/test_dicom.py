"""DICOM: every transfer syntax gives the same pixels, and the grey scale follows the standard."""

import copy

import numpy as np
import pytest
from pydicom import uid
from pydicom.dataset import Dataset

from hilum.imaging import read
from tests.imaging.samples import (
    GDCM_SYNTAXES,
    NATIVE,
    chest,
    compressed,
    dataset,
    dicom,
    encoded,
    jpeg_2000,
    jpeg_grey,
    lut_item,
    part10,
    transcoded,
    with_codestream,
)

FULL_12 = {"WindowCenter": 2048, "WindowWidth": 4096}  # every 12-bit value keeps its place


def ramp(bits: int) -> np.ndarray:
    """Every stored value once, shape (2 ** (bits // 2), rest)."""
    values = np.arange(1 << bits).astype(np.uint8 if bits <= 8 else np.uint16)
    return values.reshape(1 << (bits // 2), -1)


@pytest.mark.parametrize("syntax", NATIVE.values(), ids=list(NATIVE))
@pytest.mark.parametrize("bits", [8, 12, 16])
def test_uncompressed_pixels_come_back_as_they_were(syntax, bits):
    window = {"WindowCenter": 1 << (bits - 1), "WindowWidth": 1 << bits}
    radiograph = read(dicom(chest(bits), syntax=syntax, BitsStored=bits, **window))
    np.testing.assert_array_equal(radiograph.pixels, chest(bits))
    assert radiograph.bit_depth == bits
    assert radiograph.provenance.transfer_syntax == syntax


@pytest.mark.parametrize("bits", [8, 12])
@pytest.mark.parametrize("syntax", [uid.RLELossless, uid.JPEGLSLossless])
def test_lossless_syntaxes_of_pydicom_change_no_pixel(syntax, bits):
    plain = dataset(chest(bits), BitsStored=bits)
    expected = read(part10(copy.deepcopy(plain)))
    radiograph = read(compressed(plain, syntax))
    np.testing.assert_array_equal(radiograph.pixels, expected.pixels)
    assert radiograph.provenance.transfer_syntax == syntax


@pytest.mark.parametrize("bits", [8, 12, 16])
def test_lossless_jpeg_2000_changes_no_pixel(bits):
    expected = read(dicom(chest(bits), BitsStored=bits))
    radiograph = read(jpeg_2000(dataset(chest(bits), BitsStored=bits), chest(bits)))
    np.testing.assert_array_equal(radiograph.pixels, expected.pixels)


@pytest.mark.parametrize("bits", [8, 12, 16])
@pytest.mark.parametrize("name", ["JPEG lossless", "JPEG lossless SV1"])
def test_lossless_jpeg_changes_no_pixel(name, bits):
    plain = dicom(chest(bits), BitsStored=bits)
    radiograph = read(transcoded(plain, GDCM_SYNTAXES[name]))
    np.testing.assert_array_equal(radiograph.pixels, read(plain).pixels)


@pytest.mark.parametrize(
    "make",
    [
        lambda ds, pixels: jpeg_2000(ds, pixels, 4),
        lambda ds, pixels: transcoded(part10(ds), uid.JPEGExtended12Bit),
        lambda ds, pixels: compressed(ds, uid.JPEGLSNearLossless, jls_error=8),
    ],
    ids=["JPEG 2000", "JPEG extended, 12 bits", "JPEG-LS"],
)
def test_lossy_syntaxes_stay_near_the_original(make):
    pixels = chest(12)
    radiograph = read(make(dataset(pixels, BitsStored=12, **FULL_12), pixels))
    assert radiograph.bit_depth == 12
    assert np.abs(radiograph.pixels.astype(int) - pixels).mean() < 40  # of 4095


def test_baseline_jpeg_agrees_with_the_same_jpeg_as_a_file():
    stream = jpeg_grey(chest())
    radiograph = read(with_codestream(dataset(chest()), uid.JPEGBaseline8Bit, stream))
    np.testing.assert_array_equal(radiograph.pixels, read(stream).pixels)


def test_baseline_jpeg_is_reduced_and_its_spacing_grows():
    pixels = chest(8, 800, 1000)
    ds = dataset(pixels, PixelSpacing=[0.2, 0.1])
    radiograph = read(with_codestream(ds, uid.JPEGBaseline8Bit, jpeg_grey(pixels)), min_side=50)
    assert radiograph.pixels.shape == (200, 250)
    assert radiograph.spacing == pytest.approx((0.8, 0.4))
    assert radiograph.provenance.source_rows == 800


@pytest.mark.parametrize("jfif", [True, False])
def test_rgb_baseline_jpeg_is_understood_with_and_without_markers(jfif):
    from PIL import Image

    colour = np.stack([chest(), 255 - chest(), chest() // 2], axis=-1)
    stream = encoded(Image.fromarray(colour), "JPEG", keep_rgb=True, quality=98)
    if not jfif:  # no marker and plain component numbers: only the data set says RGB
        start = stream.index(b"\xff\xee") if b"\xff\xee" in stream else -1
        if start >= 0:
            stream = stream[:start] + stream[start + 16 :]
        for kind in (b"\xff\xc0", b"\xff\xda"):
            at = stream.index(kind)
            first, step = (at + 10, 3) if kind == b"\xff\xc0" else (at + 5, 2)
            part = bytearray(stream)
            for number in range(3):
                part[first + step * number] = number + 1
            stream = bytes(part)
    radiograph = read(with_codestream(dataset(colour), uid.JPEGBaseline8Bit, stream))
    expected = np.asarray(Image.fromarray(colour).convert("L")).astype(int)
    assert np.abs(radiograph.pixels - expected).mean() < 2


@pytest.mark.parametrize("signed", [False, True])
def test_monochrome_1_and_2_agree_after_polarity(signed):
    pixels = chest(12).astype(np.int16) - 2048 if signed else chest(12)
    window = {"WindowCenter": 0 if signed else 2048, "WindowWidth": 3000}
    bright = read(dicom(pixels, BitsStored=12, **window))
    # The same picture, stored the other way round: value -> top - value, window centre likewise.
    mirrored = (-1 - pixels if signed else 4095 - pixels).astype(pixels.dtype)
    window["WindowCenter"] = 0 if signed else 2048
    dark = read(dicom(mirrored, BitsStored=12, PhotometricInterpretation="MONOCHROME1", **window))
    assert np.abs(bright.pixels.astype(int) - dark.pixels).max() <= 2
    assert dark.provenance.photometric_interpretation == "MONOCHROME1"


def test_monochrome_1_is_inverted_after_the_window_and_not_before():
    window = {"WindowCenter": 100, "WindowWidth": 50}
    plain = read(dicom(ramp(8), **window)).pixels
    inverted = read(dicom(ramp(8), PhotometricInterpretation="MONOCHROME1", **window)).pixels
    np.testing.assert_array_equal(inverted, 255 - plain)


# Stored value, shown value in [0, 255]: computed by hand from PS3.3, C.11.2.1.2 and C.11.2.1.3.
@pytest.mark.parametrize(
    ("function", "centre", "width", "expected"),
    [
        (None, 128, 256, {0: 0, 128: 128, 255: 255}),
        (None, 100, 51, {74: 0, 75: 3, 99: 125, 100: 130, 124: 252, 125: 255}),
        ("LINEAR", 100, 1, {99: 0, 100: 255}),
        ("LINEAR_EXACT", 100, 50, {75: 0, 100: 128, 125: 255}),
        ("LINEAR_EXACT", 100, 0.5, {99: 0, 100: 128, 101: 255}),
        ("SIGMOID", 100, 50, {100: 128, 125: 225, 75: 30}),
    ],
)
def test_windows_follow_the_standard(function, centre, width, expected):
    attributes = {"WindowCenter": centre, "WindowWidth": width}
    if function:
        attributes["VOILUTFunction"] = function
    radiograph = read(dicom(ramp(8), **attributes))
    shown = radiograph.pixels.reshape(-1)
    assert {stored: int(shown[stored]) for stored in expected} == pytest.approx(expected, abs=1)
    assert radiograph.provenance.window == (centre, width)
    assert radiograph.provenance.window_from == "header"


def test_the_first_of_several_windows_is_applied_and_noted():
    radiograph = read(dicom(ramp(8), WindowCenter=[100, 50], WindowWidth=[50, 20]))
    assert radiograph.provenance.window == (100, 50)
    assert "the first of 2 windows was applied" in radiograph.provenance.notes


@pytest.mark.parametrize(
    ("centre", "width"), [("100", "0"), ("100", "-5"), ("nan", "10"), ("7", "inf"), ("x", "y")]
)
def test_an_invalid_window_gives_way_to_percentiles_with_a_note(centre, width):
    ds = dataset(ramp(12), BitsStored=12)
    ds.add_new(0x00281050, "LO", centre)  # as text, since pydicom refuses to write them as numbers
    ds.add_new(0x00281051, "LO", width)
    radiograph = read(part10(ds))
    assert radiograph.provenance.window_from == "percentiles"
    assert "the window in the header is not usable and was ignored" in radiograph.provenance.notes


def test_without_a_window_percentiles_let_the_ends_go():
    pixels = chest(12) // 4 + 1000
    pixels[0, :3] = 4095  # a marker, less than half a percent
    radiograph = read(dicom(pixels, BitsStored=12))
    low, high = np.percentile(pixels, [0.5, 99.5])
    centre, width = radiograph.provenance.window
    assert (centre - width / 2, centre + width / 2) == pytest.approx((low, high), abs=3)
    assert (radiograph.pixels.min(), radiograph.pixels.max()) == (0, 4095)


def test_8_stored_bits_without_a_window_keep_their_full_range():
    radiograph = read(dicom(chest() // 2))
    np.testing.assert_array_equal(radiograph.pixels, chest() // 2)
    assert radiograph.provenance.window_from is None


def test_padding_is_left_out_of_percentiles_and_shown_black():
    pixels = chest(12) // 8 + 2000
    pixels[:20] = 0
    radiograph = read(
        dicom(pixels, BitsStored=12, PixelPaddingValue=0, PhotometricInterpretation="MONOCHROME1")
    )
    centre, width = radiograph.provenance.window
    assert centre - width / 2 >= 2000
    assert (radiograph.pixels[:20] == 0).all()


def test_a_range_of_padding_is_left_out():
    pixels = chest(12) // 8 + 2000
    pixels[:20] = np.arange(20)[:, None]
    ds = dataset(pixels, BitsStored=12, PixelPaddingValue=0)
    ds.add_new(0x00280121, "US", 19)
    centre, width = read(part10(ds)).provenance.window
    assert centre - width / 2 >= 2000


@pytest.mark.parametrize("syntax", [uid.ExplicitVRLittleEndian, uid.ImplicitVRLittleEndian])
def test_rescaling_moves_the_window_into_modality_units(syntax):
    rescaled = {"RescaleSlope": "2", "RescaleIntercept": "-1000"}
    window = {"WindowCenter": 3096, "WindowWidth": 8192}  # in those units, all of 12 bits
    radiograph = read(dicom(chest(12), syntax=syntax, BitsStored=12, **rescaled, **window))
    assert np.abs(radiograph.pixels.astype(int) - chest(12)).max() <= 1


def test_a_negative_slope_turns_the_grey_scale_round():
    radiograph = read(dicom(ramp(8), RescaleSlope="-1", RescaleIntercept="255"))
    np.testing.assert_array_equal(radiograph.pixels, 255 - ramp(8))


@pytest.mark.parametrize("slope", ["0", "nan", "1e308", "abc"])
def test_an_unusable_rescale_is_ignored_and_noted(slope):
    ds = dataset(chest(), RescaleIntercept="0")
    ds.add_new(0x00281053, "LO", slope)
    radiograph = read(part10(ds))
    np.testing.assert_array_equal(radiograph.pixels, chest())
    assert "rescale" in radiograph.provenance.notes[0]


def test_a_modality_table_is_looked_up():
    outputs = (np.arange(4096)[::-1] * 2).astype(np.uint16)
    ds = dataset(chest(12), BitsStored=12, WindowCenter=4096, WindowWidth=8192)
    ds.ModalityLUTSequence = [lut_item(0, 16, outputs)]
    pixels = read(part10(ds)).pixels.astype(int)
    assert np.abs(pixels - (4095 - chest(12))).max() <= 1


def test_a_voi_table_outranks_a_window():
    outputs = np.where(np.arange(4096) < 2000, 0, 1023).astype(np.uint16)
    ds = dataset(chest(12), BitsStored=12, **FULL_12)
    ds.VOILUTSequence = [lut_item(0, 10, outputs)]
    radiograph = read(part10(ds))
    np.testing.assert_array_equal(radiograph.pixels, np.where(chest(12) < 2000, 0, 4095))
    assert radiograph.provenance.window_from == "voi lut"


def test_a_voi_table_may_start_below_zero_and_be_shorter_than_the_range():
    pixels = chest(12).astype(np.int16) - 2048
    ds = dataset(pixels, BitsStored=12)
    ds.VOILUTSequence = [lut_item(-100, 8, np.arange(200, dtype=np.uint16), vr="SS")]
    shown = read(part10(ds)).pixels
    expected = np.rint(np.clip(pixels + 100.0, 0, 199) / 255 * 4095)
    np.testing.assert_array_equal(shown, expected)


def test_a_damaged_voi_table_gives_way_with_a_note():
    ds = dataset(chest(12), BitsStored=12, **FULL_12)
    ds.VOILUTSequence = [lut_item(0, 12, np.arange(4096, dtype=np.uint16))]
    ds.VOILUTSequence[0].LUTData = b"\0\1"
    radiograph = read(part10(ds))
    assert radiograph.provenance.window_from == "header"
    assert "the VOI LUT is damaged and was ignored" in radiograph.provenance.notes


@pytest.mark.parametrize("undefined", [False, True])
def test_sequences_of_either_length_are_walked(undefined):
    ds = dataset(chest(12), BitsStored=12, **FULL_12)
    inner, outer = Dataset(), Dataset()
    inner.CodeValue = "1"
    outer.PurposeOfReferenceCodeSequence = [inner, inner]
    outer["PurposeOfReferenceCodeSequence"].is_undefined_length = undefined
    ds.RequestAttributesSequence = [outer, outer]
    ds["RequestAttributesSequence"].is_undefined_length = undefined
    for item in ds.RequestAttributesSequence:
        item.is_undefined_length_sequence_item = undefined
    np.testing.assert_array_equal(read(part10(ds)).pixels, chest(12))


@pytest.mark.parametrize("stored", [8, 10, 12, 15])
def test_signed_values_are_sorted_below_zero(stored):
    pixels = (chest(stored).astype(np.int32) - (1 << (stored - 1))).astype(np.int16)
    window = {"WindowCenter": 0, "WindowWidth": 1 << stored}
    radiograph = read(dicom(pixels, BitsStored=stored, **window))
    np.testing.assert_array_equal(radiograph.pixels, chest(stored))


@pytest.mark.parametrize("signed", [False, True])
def test_bits_above_the_stored_ones_are_masked(signed):
    pixels = chest(12)
    junk = (pixels | (np.arange(pixels.size).reshape(pixels.shape) % 16 << 12)).astype(np.uint16)
    attributes = {"BitsStored": 12, "PixelRepresentation": int(signed)} | FULL_12
    if signed:
        attributes["WindowCenter"] = 0
    with_junk, without = (read(dicom(p, **attributes)) for p in (junk, pixels))
    np.testing.assert_array_equal(with_junk.pixels, without.pixels)


def test_a_shifted_high_bit_is_followed():
    pixels = chest(12)
    radiograph = read(dicom((pixels << 4).astype(np.uint16), BitsStored=12, HighBit=15, **FULL_12))
    np.testing.assert_array_equal(radiograph.pixels, pixels)


# pydicom's own RLE encoder does not keep colour that lies by plane, so that pair is left out.
@pytest.mark.parametrize(
    ("planar", "syntax"),
    [(0, uid.ExplicitVRLittleEndian), (1, uid.ExplicitVRLittleEndian), (0, uid.RLELossless)],
)
def test_rgb_secondary_captures_become_luminance(planar, syntax):
    from PIL import Image

    colour = np.stack([chest(), 255 - chest(), np.roll(chest(), 9, 1)], axis=-1)
    expected = np.asarray(Image.fromarray(colour).convert("L"))
    ds = dataset(colour)
    if planar:
        ds.PlanarConfiguration = 1
        ds.PixelData = np.moveaxis(colour, 2, 0).tobytes()
    file = part10(ds) if syntax == uid.ExplicitVRLittleEndian else compressed(ds, syntax)
    np.testing.assert_array_equal(read(file).pixels, expected)


def test_the_luminance_of_ybr_is_its_first_sample():
    colour = np.stack([chest(), 255 - chest(), chest()], axis=-1)
    radiograph = read(dicom(colour, PhotometricInterpretation="YBR_FULL"))
    np.testing.assert_array_equal(radiograph.pixels, chest())


@pytest.mark.parametrize(
    ("attributes", "expected"),
    [
        ({"PixelSpacing": [0.143, 0.144], "ImagerPixelSpacing": [0.2, 0.2]}, (0.143, 0.144)),
        ({"ImagerPixelSpacing": [0.2, 0.21]}, (0.2, 0.21)),
        ({"PixelSpacing": [0, 0], "ImagerPixelSpacing": [0.2, 0.2]}, (0.2, 0.2)),
        ({"PixelSpacing": [0, 0]}, None),
        ({"PixelSpacing": [-1, 0.1]}, None),
        ({}, None),
    ],
)
def test_spacing_is_the_patients_else_the_detectors_else_unknown(attributes, expected):
    assert read(dicom(chest(), **attributes)).spacing == expected


@pytest.mark.parametrize("text", ["0.1", "a\\b", "0.1\\nan", "0.1\\0.1\\0.1"])
def test_malformed_spacing_is_unknown(text):
    ds = dataset(chest())
    ds.add_new(0x00280030, "LO", text.split("\\"))
    assert read(part10(ds)).spacing is None


def test_provenance_says_what_the_header_said():
    file = dicom(chest())
    provenance = read(file).provenance
    assert (provenance.format, provenance.file_bytes) == ("DICOM", len(file))
    assert (provenance.modality, provenance.body_part, provenance.view_position) == (
        "CR", "CHEST", "PA",
    )  # fmt: skip


@pytest.mark.parametrize("charset", ["ISO_IR 192", "ISO_IR 100", None])
def test_identifiers_are_kept_apart_from_everything_that_is_shown(charset):
    patient = "M\u00fcller-7" if charset else "SECRET-ID"
    radiograph = read(dicom(chest(), SpecificCharacterSet=charset or "", PatientID=patient))
    identifiers = radiograph.identifiers
    assert identifiers.patient == patient
    assert (identifiers.study, identifiers.series) == ("1.2.3.4", "1.2.3.5")
    assert identifiers.instance == "1.2.826.0.1.3680043.8.498.1"
    for private in (patient, "Secret^Name", "1.2.3.4"):
        assert private not in repr(radiograph)


def test_a_file_without_preamble_is_read():
    whole = dicom(chest(12), BitsStored=12, **FULL_12)
    bare = read(whole[132:])
    np.testing.assert_array_equal(bare.pixels, chest(12))
    assert "the file has no DICOM preamble" in bare.provenance.notes


@pytest.mark.parametrize("syntax", NATIVE.values(), ids=list(NATIVE))
def test_a_file_without_any_meta_information_is_read(syntax):
    whole = dicom(chest(12), syntax=syntax, BitsStored=12, **FULL_12)
    (length,) = np.frombuffer(whole[140:144], "<u4")
    radiograph = read(whole[144 + int(length) :])
    np.testing.assert_array_equal(radiograph.pixels, chest(12))
    assert radiograph.provenance.transfer_syntax == syntax
