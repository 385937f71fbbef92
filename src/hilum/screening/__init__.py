"""Reading many radiographs: what to read, the pipeline, and the tables and overlays it writes."""

from hilum.screening.inputs import Input, find_inputs
from hilum.screening.pipeline import ScreenedRadiograph, screen

__all__ = ["Input", "ScreenedRadiograph", "find_inputs", "screen"]
