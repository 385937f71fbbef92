"""Download a public data set: what `hilum cohort fetch` does.

`describe` shows licence and size beforehand; `fetch` downloads, verifies, unpacks and writes
`FETCHED.json`, so that the same call later finds everything in place. The result says where the class
folders are and how to go on. Downloading accepts nothing on the user's behalf: the licence stays
between the user and the publisher.
"""

import csv
import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from hilum.cohort._catalogue import MEDMNIST_SIZES, NAMES, DataSet, Form, RemoteFile, describe
from hilum.cohort._download import Downloaded, Progress, Retry, download
from hilum.cohort._kaggle import download_from_kaggle
from hilum.cohort._unpack import unpack_medmnist, unzip
from hilum.errors import DownloadError
from hilum.files import atomic_path, ensure_folder, write_text

__all__ = [
    "FETCHED",
    "MEDMNIST_SIZES",
    "NAMES",
    "DataSet",
    "Fetched",
    "Form",
    "Progress",
    "RemoteFile",
    "Retry",
    "describe",
    "fetch",
]

FETCHED = "FETCHED.json"  # written last: what this folder holds, from where, under which licence

_RADIOGRAPHS = "radiographs"  # the folder that archives are unpacked into
_DEEPEST = 3  # folders that archives put around their class folders, at most
_RSNA_TABLE = "rsna-cohort.csv"
_RSNA_FOLDER = "stage_2_train_images"
_RSNA_CLASSES = "stage_2_detailed_class_info.csv"
_RSNA_FINDINGS = {"Normal": "normal", "Lung Opacity": "pneumonia"}


@dataclass(frozen=True, slots=True)
class Fetched:
    """A data set on disk.

    Attributes:
        data_set: What it is, with citation and licence.
        source: What to give to `hilum cohort build`: the folder of the class folders, or a CSV.
        files: How many files were unpacked.
        digest: Of the downloaded archive, `md5:` or `sha256:` and digits; empty for Kaggle, whose own
            library verifies what it downloads.
        trust: "published", "as before" or "first seen" (see `Downloaded`); "kaggle" for Kaggle.
        hint: What to do next, one or more sentences for people.
    """

    data_set: DataSet
    source: Path
    files: int
    digest: str
    trust: str
    hint: str

    @property
    def licence(self) -> str:
        """The licence, in words."""
        return self.data_set.licence


def fetch(
    data_set: str | DataSet,
    folder: Path,
    *,
    size: int | None = None,
    progress: Progress | None = None,
    unpacking: Progress | None = None,
    retry: Retry | None = None,
) -> Fetched:
    """Download, verify and unpack a data set, or find it in place.

    Args:
        data_set: One of `NAMES`, or an own entry.
        folder: Where to; made when missing. One data set to a folder.
        size: Pixels per side of PneumoniaMNIST: 28, 64, 128 or 224 (the default).
        progress: Called with the bytes downloaded and their total. Kaggle's library shows its own.
        unpacking: Called with the bytes or radiographs unpacked and their total.
        retry: How stubborn to be with a failing connection.

    Returns:
        Where everything is, and what to do next.

    Raises:
        DownloadError: If the name is unknown, the folder holds another data set, the download fails
            or arrives damaged, or Kaggle asks for a login or for accepted rules.
        MissingExtraError: If Kaggle is asked for and `kagglehub` is not installed.
    """
    if isinstance(data_set, str):
        data_set = describe(data_set, size=size)
    folder = ensure_folder(folder).resolve()
    found = _found(data_set, folder)
    if found:
        return found
    if data_set.file is None:
        root = download_from_kaggle(data_set, folder / _RADIOGRAPHS)
        arrived = Downloaded(root, "", "kaggle")
    else:
        root = folder / _RADIOGRAPHS
        if root.exists():
            raise DownloadError(
                f"{root} exists, but nothing says that it is '{data_set.title}' and whole; "
                "delete it or choose an empty folder"
            )
        arrived = download(data_set.file, folder, progress=progress, retry=retry)
        if data_set.form is Form.MEDMNIST:
            unpack_medmnist(arrived.path, root, progress=unpacking)
        else:
            unzip(arrived.path, root, progress=unpacking)
    fetched = _describe_result(data_set, root, arrived)
    record = _identity(data_set) | {
        "source": str(fetched.source.relative_to(folder))
        if fetched.source.is_relative_to(folder)
        else str(fetched.source),
        "files": fetched.files,
        "digest": fetched.digest,
        "trust": fetched.trust,
        "hint": fetched.hint,
    }
    write_text(folder / FETCHED, json.dumps(record, indent=2) + "\n")
    return fetched


def _identity(data_set: DataSet) -> dict[str, object]:
    """Return what makes a data set the same one: wording and size may change between versions."""
    entry = asdict(data_set)
    kept = ("name", "title", "citation", "licence", "homepage", "form", "handle", "file")
    return {name: entry[name] for name in kept}


def _found(data_set: DataSet, folder: Path) -> Fetched | None:
    """Return what an earlier call put into the folder, if it is this data set and still there.

    Raises:
        DownloadError: If the folder holds another data set.
    """
    path = folder / FETCHED
    if not path.exists():
        return None
    try:
        record: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        same = all(record[key] == asdict(data_set)[key] for key in ("name", "handle", "file"))
        source = folder / record["source"]
        fetched = Fetched(
            data_set=data_set,
            source=source,
            files=int(record["files"]),
            digest=str(record["digest"]),
            # The archive is not read again: it was verified before this record was written.
            trust=str(record["trust"]),
            hint=str(record["hint"]),
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DownloadError(
            f"{path} cannot be read; delete it, or choose an empty folder"
        ) from error
    if not same:
        raise DownloadError(
            f"{folder} holds '{record.get('title')}', and one folder takes one data set; "
            "choose another folder"
        )
    if not source.exists():
        raise DownloadError(
            f"{source} is missing although {path.name} says it was unpacked; delete {path} and run "
            "the command again"
        )
    return fetched


def _describe_result(data_set: DataSet, root: Path, arrived: Downloaded) -> Fetched:
    """Find the class folders and say what comes next."""
    fetched = Fetched(
        data_set=data_set,
        source=_class_root(root),
        files=sum(1 for path in root.rglob("*") if path.is_file()),
        digest=arrived.digest,
        trust=arrived.trust,
        hint="",
    )
    if data_set.form is Form.KAGGLE_COMPETITION:
        source, left_out = _rsna_table(root)
        hint = (
            f"Build a cohort: hilum cohort build {source} --patients each -o cohort.parquet. The table "
            "was made from stage_2_detailed_class_info.csv and lists the DICOM files called 'Normal' "
            f"and 'Lung Opacity'; {left_out} files called neither were left out. The boxes of the "
            "opacities are in stage_2_train_labels.csv."
        )
        return replace(fetched, source=source, hint=hint)
    patients = " --patients each" if data_set.form is Form.MEDMNIST else ""
    return replace(
        fetched,
        hint=f"Build a cohort: hilum cohort build {fetched.source}{patients} -o cohort.parquet",
    )


def _class_root(root: Path) -> Path:
    """Return the folder that holds the parts; archives like to wrap it into others."""
    level = [root]
    for _ in range(_DEEPEST):
        for place in level:
            if (place / "train").is_dir():
                return place
        level = sorted(path for place in level for path in place.iterdir() if path.is_dir())
    return root


def _rsna_table(root: Path) -> tuple[Path, int]:
    """Write a table of path and finding for the RSNA set, one row a radiograph.

    Returns:
        The CSV, and how many radiographs have neither finding and are left out.

    Raises:
        DownloadError: If the class table or the DICOM files are missing.
    """
    classes = next(iter(sorted(root.rglob(_RSNA_CLASSES))), None)
    images = next((path for path in sorted(root.rglob(_RSNA_FOLDER)) if path.is_dir()), None)
    if classes is None or images is None or next(images.glob("*.dcm"), None) is None:
        raise DownloadError(
            f"{root} lacks {_RSNA_CLASSES} or the DICOM files of {_RSNA_FOLDER}; delete the folder and "
            "run the command again"
        )
    named: dict[str, str] = {}
    try:
        with classes.open(encoding="utf-8", newline="") as source:
            # A radiograph with two boxes has two rows, of the same class.
            named = {row["patientId"]: row["class"] for row in csv.DictReader(source)}
    except (KeyError, UnicodeDecodeError, csv.Error) as error:
        raise DownloadError(
            f"{classes} has no columns patientId and class; delete the folder and run the command again"
        ) from error
    kept = {key: _RSNA_FINDINGS[name] for key, name in named.items() if name in _RSNA_FINDINGS}
    target = images.parent / _RSNA_TABLE
    with atomic_path(target) as temporary, temporary.open("w", newline="") as sink:
        writer = csv.writer(sink)
        writer.writerow(["path", "finding"])
        writer.writerows([f"{_RSNA_FOLDER}/{key}.dcm", kept[key]] for key in sorted(kept))
    return target, len(named) - len(kept)
