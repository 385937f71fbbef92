"""What the demo reads: real radiographs where there are some, drawn phantoms where not."""

import importlib.util
from dataclasses import dataclass
from pathlib import Path

from hilum.errors import UsageError

__all__ = ["DemoData", "example_radiograph", "find_demo_data"]

# Names of folders that hold the Guangzhou set, as `HILUM_DATA` and the downloads lay them out.
_COHORT_FOLDERS = ("kermany224", "kermany", "chest_xray", "ChestXRay2017/chest_xray")
_FETCHED = (Path("kermany"), Path("kaggle"), Path("pneumoniamnist"))


@dataclass(frozen=True, slots=True)
class DemoData:
    """Where the demo's radiographs are."""

    folder: Path | None  # None: draw phantoms
    patients: str  # how to tell patients apart there; see `hilum cohort build --patients`


def find_demo_data(given: Path | None) -> DemoData:
    """Find class folders of real radiographs.

    Args:
        given: A folder of class folders, or one that holds the Guangzhou set; when None, what
            `hilum cohort fetch` left in the current folder is used, else there are none.

    Raises:
        UsageError: If the given folder holds nothing that the demo can use.
    """
    for root in [given] if given else _FETCHED:
        for folder in [root, *(root / name for name in _COHORT_FOLDERS)]:
            if (folder / "train").is_dir() or (folder / "NORMAL").is_dir():
                unknown = root.name == "pneumoniamnist"
                return DemoData(folder, "each" if unknown else "auto")
    if given:
        raise UsageError(
            f"{given} holds no class folders (train/NORMAL and the like) and no folder "
            f"{_COHORT_FOLDERS[0]}; unset HILUM_DATA or --data for a demo on drawn phantoms"
        )
    return DemoData(None, "auto")


def example_radiograph(name: str = "RG1_UNCR.dcm") -> Path:
    """Return a real DICOM radiograph of the package `pydicom-data`, without any download.

    Raises:
        UsageError: If the package is not installed.
    """
    spec = importlib.util.find_spec("data_store")
    if spec is None or not spec.submodule_search_locations:
        raise UsageError("the example radiographs are missing: pip install pydicom-data")
    return Path(spec.submodule_search_locations[0]) / "data" / name
