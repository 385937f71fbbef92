"""The square that a classifier sees: both axes resampled to one size by area averaging.

The aspect ratio is given up on purpose: the public training copies were squashed the same way, and
a classifier must see what it was trained on.
"""

import numpy as np
from numpy.typing import NDArray

from hilum.imaging.radiograph import Radiograph

__all__ = ["squash"]


def squash(radiograph: Radiograph, size: int) -> NDArray[np.uint8]:
    """Resample a radiograph to a square.

    Each result is the mean of the area it covers, rounded along either axis. Deeper pixels are
    brought to 8 bits first: that rounding, at most half a grey level, is averaged away over the
    area, and resampling bytes takes half the time of resampling 16-bit pixels.

    Args:
        radiograph: Of any size; a smaller one than `size` is enlarged by repetition.
        size: Of both sides, in pixels, 1 or more.

    Returns:
        Shape (size, size), [0, 255], display polarity.

    Raises:
        ValueError: If `size` is below 1.
    """
    from PIL import Image

    if size < 1:
        raise ValueError(f"size is {size}; give 1 or more")
    whole = Image.fromarray(radiograph.to_uint8())
    return np.array(whole.resize((size, size), Image.Resampling.BOX))
