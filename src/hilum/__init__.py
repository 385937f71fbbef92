"""hilum reads chest radiographs for pneumonia, and shows whether the reading can be trusted.

For research use only; it is no medical device.

    classifier = hilum.load("model.hilum")
    reading = classifier.read("radiograph.dcm")
"""

from typing import TYPE_CHECKING, Any

from hilum._version import __version__

if TYPE_CHECKING:
    from hilum.imaging import Radiograph, read
    from hilum.model import Classifier, Reading, load

__all__ = ["Classifier", "Radiograph", "Reading", "__version__", "load", "read"]

_HOMES = {
    "Classifier": "hilum.model",
    "Radiograph": "hilum.imaging",
    "Reading": "hilum.model",
    "load": "hilum.model",
    "read": "hilum.imaging",
}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used, so that `hilum --help` starts at once."""
    if name not in _HOMES:
        raise AttributeError(f"module 'hilum' has no attribute '{name}'")
    from importlib import import_module

    return getattr(import_module(_HOMES[name]), name)
