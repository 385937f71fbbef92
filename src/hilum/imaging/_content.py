"""What no reader accepts: content that is damaged, unsupported, or larger than any radiograph.

The readers of the single formats see bytes, not names, so they raise `ContentError` with a phrase
that says what is wrong and what to do; `hilum.imaging.reader` puts the name of the file before it
and raises `hilum.errors.RadiographError`.
"""

__all__ = ["MAX_FILE_BYTES", "MAX_PIXELS", "ContentError", "check_compression", "check_size"]

# The largest flat detectors and scanned mammograms stay below 30 megapixels; an array of 16-bit
# pixels at this limit takes 100 MB, so that a header that lies cannot exhaust a small machine.
MAX_PIXELS = 50_000_000

# An uncompressed colour file at the limit above takes 150 MB; metadata gets the rest.
MAX_FILE_BYTES = 256 << 20

# Codecs that describe an empty image in a few bytes (JPEG 2000, JPEG-LS) can be made to work for
# seconds on nothing. Radiographs compress less than 200 to 1, so ten times that is no radiograph.
_MAX_PIXELS_PER_BYTE = 2000
_SMALL_ENOUGH_TO_TRY = 4_000_000  # pixels; an artificial flat image of this size decodes at once


class ContentError(Exception):
    """A file's content cannot become one radiograph; the text is a phrase without the file's name."""


def check_size(rows: int, columns: int) -> None:
    """Refuse a declared size before anything of that size is allocated.

    Args:
        rows: Declared number of pixel rows.
        columns: Declared number of pixel columns.

    Raises:
        ContentError: If either is below 1 or their product is above `MAX_PIXELS`.
    """
    if rows < 1 or columns < 1:
        raise ContentError(
            f"declares an image of {rows} by {columns} pixels, which is empty; export it again"
        )
    if rows * columns > MAX_PIXELS:
        raise ContentError(
            f"declares an image of {rows} by {columns} pixels, above the limit of "
            f"{MAX_PIXELS // 1_000_000} megapixels; export it at a smaller size"
        )


def check_compression(rows: int, columns: int, encoded_bytes: int) -> None:
    """Refuse a large image in next to no bytes, which would keep a codec busy for nothing.

    Raises:
        ContentError: If the image is large and has more than 2000 pixels for each encoded byte.
    """
    pixels = rows * columns
    if pixels > _SMALL_ENOUGH_TO_TRY and pixels > _MAX_PIXELS_PER_BYTE * encoded_bytes:
        raise ContentError(
            f"declares {rows} by {columns} pixels in {encoded_bytes} bytes of pixel data, too few "
            "for a radiograph; copy or export it again"
        )
