"""JPEG, PNG and TIFF: what a person sees in the file is what `read` returns."""

import io
import struct

import numpy as np
import pytest
import simplejpeg
from PIL import Image, ImageOps

from hilum.imaging import read, squash
from tests.imaging.samples import COLUMNS, ROWS, chest, encoded, exif, jpeg_grey


def colour() -> np.ndarray:
    grey = chest()
    return np.stack([grey, 255 - grey, np.roll(grey, 9, axis=1)], axis=-1)


def luminance(rgb: np.ndarray) -> np.ndarray:
    return np.asarray(Image.fromarray(rgb).convert("L"))


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_8_bit_grey_comes_back_as_it_was(kind):
    radiograph = read(encoded(Image.fromarray(chest()), kind))
    np.testing.assert_array_equal(radiograph.pixels, chest())
    assert radiograph.bit_depth == 8
    assert radiograph.provenance.format == kind


@pytest.mark.parametrize("compression", [None, "tiff_lzw", "tiff_deflate", "packbits"])
@pytest.mark.parametrize("bits", [8, 16])
def test_tiff_compressions_change_no_pixel(compression, bits):
    radiograph = read(encoded(Image.fromarray(chest(bits)), "TIFF", compression=compression))
    np.testing.assert_array_equal(radiograph.pixels, chest(bits))


@pytest.mark.parametrize("bits", [10, 12, 14, 16])
@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_16_bit_files_are_spread_until_their_largest_value_is_white(kind, bits):
    stored = chest(bits)
    radiograph = read(encoded(Image.fromarray(stored), kind))
    assert radiograph.bit_depth == 16
    np.testing.assert_allclose(radiograph.pixels, stored * (65535 / stored.max()), atol=0.51)
    assert radiograph.to_uint8().max() == 255


def test_spreading_is_noted():
    notes = read(encoded(Image.fromarray(chest(11)), "PNG")).provenance.notes
    assert "spread over the grey scale" in notes[0]


@pytest.mark.parametrize("top", [4000, 4095, 4096, 4200, 8191, 8192])
def test_no_single_pixel_decides_how_bright_a_16_bit_file_is(top):
    """One value above a power of two must not halve all others."""
    stored = (chest(12).astype(np.float64) * (top / chest(12).max())).astype(np.uint16)
    grey = read(encoded(Image.fromarray(stored), "PNG")).to_uint8().astype(int)
    assert np.abs(grey - read(encoded(Image.fromarray(chest(12)), "PNG")).to_uint8()).max() <= 1


@pytest.mark.parametrize("top", [255, 40])
def test_an_8_bit_image_widened_to_16_bits_reads_as_its_original(top):
    narrow = (chest() * (top / 255)).astype(np.uint8)
    radiograph = read(encoded(Image.fromarray(narrow.astype(np.uint16) * 257), "PNG"))
    np.testing.assert_array_equal(radiograph.to_uint8(), narrow)


def test_a_1_bit_png_is_black_and_white():
    pixels = read(encoded(Image.fromarray(chest() > 128), "PNG")).pixels
    np.testing.assert_array_equal(pixels, np.where(chest() > 128, 255, 0))


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_a_palette_is_looked_up(kind):
    palette = Image.fromarray(colour()).quantize(32)
    expected = np.asarray(palette.convert("RGB").convert("L"))
    np.testing.assert_array_equal(read(encoded(palette, kind)).pixels, expected)


def test_transparency_is_laid_over_black():
    alpha = np.zeros((ROWS, COLUMNS), np.uint8)
    alpha[:, 20:] = 255
    expected = np.where(alpha == 255, luminance(colour()), 0)
    pixels = read(encoded(Image.fromarray(np.dstack([colour(), alpha])), "PNG")).pixels
    np.testing.assert_array_equal(pixels, expected)


def test_half_transparency_halves_the_brightness():
    layers = Image.merge("LA", [Image.fromarray(chest()), Image.new("L", (COLUMNS, ROWS), 128)])
    expected = np.rint(chest().astype(float) * 128 / 255)
    np.testing.assert_array_equal(read(encoded(layers, "PNG")).pixels, expected)


def test_a_transparent_palette_entry_is_black():
    palette = Image.fromarray(colour()).quantize(16)
    index = int(np.asarray(palette)[5, 5])
    pixels = read(encoded(palette, "PNG", transparency=index)).pixels
    assert (pixels[np.asarray(palette) == index] == 0).all()


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_colour_becomes_luminance(kind):
    pixels = read(encoded(Image.fromarray(colour()), kind)).pixels
    np.testing.assert_array_equal(pixels, luminance(colour()))


def test_a_tiff_that_stores_white_as_zero_is_inverted():
    file = bytearray(encoded(Image.fromarray(chest()), "TIFF"))
    set_tag(file, 262, 0)
    np.testing.assert_array_equal(read(bytes(file)).pixels, 255 - chest())


def test_a_deep_tiff_that_stores_white_as_zero_is_inverted_within_its_depth():
    file = bytearray(encoded(Image.fromarray(chest(12)), "TIFF"))
    set_tag(file, 262, 0)
    spread = chest(12) * (65535 / chest(12).max())
    np.testing.assert_allclose(read(bytes(file)).pixels, 65535 - spread, atol=0.51)


def test_a_float_tiff_in_the_unit_range_keeps_its_scale():
    values = (chest() / 510).astype(np.float32)
    radiograph = read(encoded(Image.fromarray(values), "TIFF"))
    assert radiograph.bit_depth == 16
    np.testing.assert_allclose(radiograph.pixels, values.astype(float) * 65535, atol=0.51)


def test_any_other_float_tiff_is_spread_from_end_to_end():
    radiograph = read(encoded(Image.fromarray(chest().astype(np.float32) * 3 - 100), "TIFF"))
    assert (radiograph.pixels.min(), radiograph.pixels.max()) == (0, 65535)
    assert "-100 to 665" in radiograph.provenance.notes[0]


def test_a_big_endian_tiled_tiff_is_read():
    expected = read(encoded(Image.fromarray(chest(12)), "TIFF")).pixels
    np.testing.assert_array_equal(read(tiled_tiff(chest(12))).pixels, expected)


def test_grey_jpeg_agrees_with_pillow():
    file = jpeg_grey(chest())
    expected = np.asarray(Image.open(io.BytesIO(file))).astype(int)
    assert np.abs(read(file).pixels - expected).max() <= 1


@pytest.mark.parametrize("options", [{}, {"subsampling": "4:2:0"}, {"keep_rgb": True}])
@pytest.mark.parametrize("progressive", [False, True])
def test_colour_jpeg_becomes_luminance(options, progressive):
    file = encoded(Image.fromarray(colour()), "JPEG", progressive=progressive, **options)
    expected = luminance(np.asarray(Image.open(io.BytesIO(file)).convert("RGB"))).astype(int)
    assert np.abs(read(file).pixels - expected).max() <= 3  # chroma rounding


def test_cmyk_jpeg_agrees_with_pillow():
    rng = np.random.default_rng(3)
    inks = rng.integers(0, 256, (2, 3, 4)).astype(np.uint8).repeat(16, axis=0).repeat(16, axis=1)
    file = encoded(Image.fromarray(inks, "CMYK"), "JPEG", quality=98)
    opened = Image.open(io.BytesIO(file))
    assert opened.info["adobe_transform"] == 0  # the inverted convention
    expected = luminance(np.asarray(opened.convert("RGB"))).astype(int)
    assert np.abs(read(file).pixels - expected).max() <= 2


def test_cmyk_jpeg_without_an_adobe_segment_is_read_as_pillow_does():
    file = encoded(Image.fromarray(colour()).convert("CMYK"), "JPEG")
    start = file.index(b"\xff\xee")
    (length,) = struct.unpack_from(">H", file, start + 2)
    plain = file[:start] + file[start + 2 + length :]
    expected = np.asarray(Image.open(io.BytesIO(plain)).convert("RGB").convert("L")).astype(int)
    assert np.abs(read(plain).pixels - expected).max() <= 2


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF"])
def test_every_orientation_is_turned_upright(kind, orientation):
    file = encoded(Image.fromarray(chest()), kind, exif=exif(orientation))
    expected = np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(file)))).astype(int)
    radiograph = read(file)
    assert radiograph.pixels.shape == expected.shape
    assert np.abs(radiograph.pixels - expected).max() <= 1
    assert radiograph.provenance.source_rows == radiograph.rows
    assert radiograph.provenance.source_columns == radiograph.columns


def test_a_reduced_jpeg_keeps_the_side_asked_for_and_reports_the_full_size():
    radiograph = read(jpeg_grey(chest(8, 900, 1200)), min_side=50)
    assert (radiograph.provenance.source_rows, radiograph.provenance.source_columns) == (900, 1200)
    assert radiograph.pixels.shape == (225, 300)


@pytest.mark.parametrize("min_side", [1, 10, 99, 224, 600, 899, 900, 5000])
def test_a_reduced_jpeg_never_falls_below_the_side_asked_for(min_side):
    radiograph = read(jpeg_grey(chest(8, 900, 1200)), min_side=min_side)
    assert min(radiograph.pixels.shape) >= min(min_side, 900)


def test_a_reduced_jpeg_is_turned_upright_too():
    file = encoded(Image.fromarray(chest(8, 900, 1200)), "JPEG", exif=exif(6))
    radiograph = read(file, min_side=50)
    assert radiograph.pixels.shape == (300, 225)
    assert (radiograph.provenance.source_rows, radiograph.provenance.source_columns) == (1200, 900)


def test_padding_before_the_end_marker_is_no_damage():
    file = jpeg_grey(chest())
    padded = file[:-2] + b"\0\0\0" + file[-2:]
    np.testing.assert_array_equal(read(padded).pixels, read(file).pixels)


@pytest.mark.real_data
def test_reduced_decoding_of_real_radiographs_stays_within_two_grey_levels(real_data):
    files = sorted((real_data / "kermany-original").rglob("*.jp*g"))
    assert len(files) == 80
    differences = []
    for path in files:
        data = path.read_bytes()
        full = Image.fromarray(simplejpeg.decode_jpeg(data, "GRAY")[:, :, 0])
        expected = np.asarray(full.resize((224, 224), Image.Resampling.BOX)).astype(int)
        reduced = read(path, min_side=224)
        assert min(reduced.pixels.shape) >= 224
        differences.append(np.abs(squash(reduced, 224) - expected).mean())
    assert max(differences) < 2
    assert np.mean(differences) < 1


def set_tag(file: bytearray, wanted: int, value: int) -> None:
    """Overwrite a field of the only directory of a little-endian TIFF."""
    (start,) = struct.unpack_from("<L", file, 4)
    (entries,) = struct.unpack_from("<H", file, start)
    for at in range(start + 2, start + 2 + 12 * entries, 12):
        tag, kind = struct.unpack_from("<HH", file, at)
        if tag == wanted:
            struct.pack_into("<H" if kind == 3 else "<L", file, at + 8, value)
            return
    raise AssertionError(f"no field {wanted}")


def tiled_tiff(pixels: np.ndarray, tile: int = 16) -> bytes:
    """A big-endian TIFF in tiles, by hand, as Pillow writes strips only."""
    rows, columns = pixels.shape
    down, across = -(-rows // tile), -(-columns // tile)
    padded = np.zeros((down * tile, across * tile), ">u2")
    padded[:rows, :columns] = pixels
    tiles = [
        padded[y : y + tile, x : x + tile].tobytes()
        for y in range(0, down * tile, tile)
        for x in range(0, across * tile, tile)
    ]
    size = len(tiles[0])
    lists_at = 8 + size * len(tiles)
    directory_at = lists_at + 8 * len(tiles)
    fields = [
        (256, 3, 1, columns << 16), (257, 3, 1, rows << 16), (258, 3, 1, 16 << 16),
        (259, 3, 1, 1 << 16), (262, 3, 1, 1 << 16), (277, 3, 1, 1 << 16), (322, 3, 1, tile << 16),
        (323, 3, 1, tile << 16), (324, 4, len(tiles), lists_at),
        (325, 4, len(tiles), lists_at + 4 * len(tiles)),
    ]  # fmt: skip
    offsets = struct.pack(f">{len(tiles)}L", *(8 + size * i for i in range(len(tiles))))
    counts = struct.pack(f">{len(tiles)}L", *[size] * len(tiles))
    directory = struct.pack(">H", len(fields)) + b"".join(
        struct.pack(">HHLL", *field) for field in fields
    )
    head = b"MM\0*" + struct.pack(">L", directory_at)
    return head + b"".join(tiles) + offsets + counts + directory + bytes(4)
