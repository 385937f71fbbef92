"""Reading many radiographs: files are decoded in threads, read in batches, and given in order.

At most a few batches are in flight, so memory does not grow with the number of files. A bad file
becomes a row with the reason and stops nothing.
"""

import itertools
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from hilum.errors import HilumError
from hilum.imaging import Radiograph, read
from hilum.model import Classifier, Reading
from hilum.model.gate import refusal
from hilum.model.network import BATCH
from hilum.model.schema import OperatingPoint
from hilum.screening.inputs import Input

__all__ = ["ScreenedRadiograph", "screen"]

_DECODERS = 3  # threads; one more than two cores, because reading files also waits for the disk
_READERS = 2  # batches in the network at a time


@dataclass(frozen=True, slots=True)
class ScreenedRadiograph:
    """One row of a screening: a reading, a refusal, or the reason why the file is unreadable."""

    name: str
    reading: Reading | None  # None where the file is unreadable
    error: str | None = None
    sha256: str | None = None
    format: str | None = None
    # Small, and only where an overlay is to be drawn; shape (rows, columns).
    picture: NDArray[np.uint8] | None = field(default=None, repr=False)

    @property
    def status(self) -> str:
        """One of "read", "refused" (by the gate) and "unreadable"."""
        if self.reading is None:
            return "unreadable"
        return "refused" if self.reading.refused else "read"

    @property
    def reason(self) -> str | None:
        """Why there is no probability, or None."""
        return self.error or (self.reading.refused if self.reading else None)


@dataclass(frozen=True, slots=True)
class _Decoded:
    name: str
    error: str | None = None
    picture: NDArray[np.uint8] | None = None
    pixels: NDArray[np.uint8] | None = None
    refused: str | None = None
    sha256: str | None = None
    format: str | None = None


def screen(
    classifier: Classifier,
    inputs: Iterable[Input],
    *,
    operating_point: str | None = None,
    pictures: bool = False,
) -> Iterator[ScreenedRadiograph]:
    """Read radiographs as they come and give a row for each, in order.

    Args:
        classifier: The classifier.
        inputs: What to read.
        operating_point: Its name; the default one when None.
        pictures: Keep a small picture of each radiograph in its row, for overlays.

    Raises:
        ModelError: If there is no operating point of that name.
    """
    point = classifier.file.operating_point(operating_point)
    decoders, readers = ThreadPoolExecutor(_DECODERS), ThreadPoolExecutor(_READERS)
    waiting: deque[Future[list[ScreenedRadiograph]]] = deque()
    try:
        for batch in _batches(inputs):
            decoding = [decoders.submit(_decode, classifier, item, pictures) for item in batch]
            waiting.append(readers.submit(_read_batch, classifier, decoding, point))
            if len(waiting) > 2 * _READERS:
                yield from waiting.popleft().result()
        while waiting:
            yield from waiting.popleft().result()
    finally:
        decoders.shutdown(wait=False, cancel_futures=True)
        readers.shutdown(wait=False, cancel_futures=True)


def _batches(inputs: Iterable[Input]) -> Iterator[list[Input]]:
    stream = iter(inputs)
    while batch := list(itertools.islice(stream, BATCH)):
        yield batch


def _decode(classifier: Classifier, item: Input, pictures: bool) -> _Decoded:
    try:
        radiograph = read(item.source, min_side=classifier.size)
    except HilumError as error:
        return _Decoded(item.name, error=str(error))
    pixels = classifier.pixels_of(radiograph)
    return _Decoded(
        item.name,
        picture=_picture(radiograph) if pictures else None,
        pixels=pixels,
        refused=refusal(classifier.file.gate, radiograph, pixels),
        sha256=radiograph.provenance.sha256,
        format=radiograph.provenance.format,
    )


def _picture(radiograph: Radiograph) -> NDArray[np.uint8]:
    from hilum.screening.overlays import picture_of

    return picture_of(radiograph)


def _read_batch(
    classifier: Classifier, decoding: list[Future[_Decoded]], point: OperatingPoint
) -> list[ScreenedRadiograph]:
    decoded = [future.result() for future in decoding]
    readable = [item for item in decoded if item.pixels is not None]
    readings = iter(
        classifier.read_prepared(
            [item.pixels for item in readable if item.pixels is not None],
            [item.refused for item in readable],
            point,
        )
    )
    return [
        ScreenedRadiograph(
            name=item.name,
            reading=next(readings) if item.pixels is not None else None,
            error=item.error,
            sha256=item.sha256,
            format=item.format,
            picture=item.picture,
        )
        for item in decoded
    ]
