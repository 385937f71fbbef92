"""The page of a run: every radiograph with its maps side by side, in one file that loads nothing."""

import base64
import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hilum.evaluation.report import rendered
from hilum.explanation.documents import Explanation, MethodUsed
from hilum.files import write_text

__all__ = ["Card", "write_page"]

_SIDE = 320  # pixels of the longer side of a picture in the page


@dataclass(frozen=True, slots=True)
class Card:
    """One map in the page."""

    number: int  # of the radiograph among the inputs, from 1
    file: str  # the whole picture, beside the page
    method: MethodUsed
    drawn: NDArray[np.uint8]  # the radiograph with the map, RGB, (rows, columns, 3)
    highest: float  # value of the map

    @property
    def embedded(self) -> str:
        """The picture as a data URI, small."""
        from PIL import Image

        picture = Image.fromarray(self.drawn)
        picture.thumbnail((_SIDE, _SIDE), Image.Resampling.BOX)
        buffer = io.BytesIO()
        picture.save(buffer, "PNG")
        return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()


def write_page(explanation: Explanation, cards: list[Card], path: Path) -> None:
    """Write the page.

    Args:
        explanation: What was found.
        cards: The pictures, in the order of radiographs and methods.
        path: The HTML file.

    Raises:
        UsageError: If it cannot be written.
    """
    page = rendered(
        "explanation.html.j2", room="hilum.explanation", explanation=explanation, cards=cards
    )
    write_text(path, page)
