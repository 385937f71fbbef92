"""The public data sets that hilum can download: where they lie, what they cost, who is to be cited.

Facts only. Each address and digest says where it was found, and a digest that nobody has published
is None: then the first download is recorded and later ones are compared with it.
"""

from dataclasses import dataclass
from enum import StrEnum

from hilum.errors import DownloadError

__all__ = ["MEDMNIST_SIZES", "NAMES", "DataSet", "Form", "RemoteFile", "describe"]


class Form(StrEnum):
    """How a data set is published, which decides how it is fetched and unpacked."""

    ZIP = "zip"  # an archive with class folders
    MEDMNIST = "medmnist"  # a NumPy archive with images and labels of three parts
    KAGGLE_DATASET = "kaggle data set"
    KAGGLE_COMPETITION = "kaggle competition"


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """One file on a web server.

    Attributes:
        url: http or https; a redirect may only lead to https.
        name: The file's name here.
        bytes: Its exact length, or None where unknown.
        digest: `md5:` or `sha256:` and hexadecimal digits, or None where none is published.
    """

    url: str
    name: str
    bytes: int | None = None
    digest: str | None = None


@dataclass(frozen=True, slots=True)
class DataSet:
    """A data set, as shown to a person before and after the download.

    Attributes:
        name: What the command line calls it.
        title: Its published title.
        citation: What a publication that uses it has to cite.
        licence: The licence or terms, in words.
        homepage: Where a person reads more, and can download by hand.
        size: About how much is downloaded, for people.
        note: What a user has to know about patients and parts.
        form: How it is published.
        file: The file to download; None for Kaggle.
        handle: The name at Kaggle; empty otherwise.
    """

    name: str
    title: str
    citation: str
    licence: str
    homepage: str
    size: str
    note: str
    form: Form
    file: RemoteFile | None = None
    handle: str = ""


_KERMANY_CITATION = (
    "Kermany D, Zhang K, Goldbaum M. Labeled Optical Coherence Tomography (OCT) and Chest X-Ray "
    "Images for Classification. Mendeley Data, V2, 2018. doi:10.17632/rscbjbr9sj.2. "
    "Kermany D et al. Identifying Medical Diagnoses and Treatable Diseases by Image-Based Deep "
    "Learning. Cell 2018;172(5):1122-1131."
)
_CC_BY = "CC BY 4.0 (https://creativecommons.org/licenses/by/4.0/)"

_KERMANY = DataSet(
    name="kermany",
    title="Chest X-Ray Images of children with and without pneumonia, Guangzhou (2018)",
    citation=_KERMANY_CITATION,
    licence=_CC_BY,
    homepage="https://data.mendeley.com/datasets/rscbjbr9sj/2",
    size="1.2 GB",
    note=(
        "5,856 frontal radiographs of children of one to five years, in train and test; file names "
        "tell the patient and, for pneumonia, bacterial or viral."
    ),
    form=Form.ZIP,
    # Version 2 holds the radiographs alone; version 3 packs them with 84,000 retina scans (8.4 GB).
    # Mendeley publishes no digest that we could read. The address is the one that many public projects
    # download this file from; the length is stated by three of them and the SHA-256 by three, each for
    # an own download and without reference to one another.
    file=RemoteFile(
        url=(
            "https://data.mendeley.com/public-files/datasets/rscbjbr9sj/files/"
            "f12eaf6d-6023-432f-acc9-80c9d7393433/file_downloaded"
        ),
        name="ChestXRay2017.zip",
        bytes=1_235_512_464,
        digest="sha256:13efc055629733dbab07877f8b3c9f81097840dbcdaa326a8542322c2281ce36",
    ),
)

_KAGGLE = DataSet(
    name="kaggle",
    title="Chest X-Ray Images (Pneumonia), the Guangzhou set as Kaggle serves it",
    citation=_KERMANY_CITATION,
    licence=_CC_BY,
    homepage="https://www.kaggle.com/datasets/paultimothymooney/chest-xray-pneumonia",
    size="about 2 GB",
    note=(
        "The same radiographs as 'kermany', 16 of them moved into a part 'val'; packed twice, so the "
        "download is larger. Needs no account as long as Kaggle serves it openly."
    ),
    form=Form.KAGGLE_DATASET,
    handle="paultimothymooney/chest-xray-pneumonia",
)

_RSNA = DataSet(
    name="rsna",
    title="RSNA Pneumonia Detection Challenge (2018)",
    citation=(
        "Shih G, Wu CC, Halabi SS, et al. Augmenting the National Institutes of Health Chest "
        "Radiograph Dataset with Expert Annotations of Possible Pneumonia. Radiology: Artificial "
        "Intelligence 2019;1(1):e180041. doi:10.1148/ryai.2019180041"
    ),
    # https://www.rsna.org/education/ai-resources-and-training/ai-image-challenge/
    # rsna-pneumonia-detection-challenge-2018, read in its stored copy
    licence=(
        "RSNA's terms of use: academic research and education, and other commercial or "
        "non-commercial purposes, with the attribution that RSNA asks for; and the rules of the "
        "competition at Kaggle, which you accept on its page"
    ),
    homepage="https://www.kaggle.com/competitions/rsna-pneumonia-detection-challenge",
    size="3.7 GB",
    note=(
        "26,684 labelled DICOM radiographs, mostly of adults. Its patientId names one radiograph "
        "each, so patients who came twice cannot be told apart."
    ),
    form=Form.KAGGLE_COMPETITION,
    handle="rsna-pneumonia-detection-challenge",
)

# Addresses and MD5 as the package `medmnist` 3.0.2 (PyPI) states them in its `info.py`.
_MEDMNIST_RECORD = "https://zenodo.org/records/10519652/files/"
_MEDMNIST_MD5 = {
    28: "28209eda62fecd6e6a2d98b1501bb15f",
    64: "8f4eceb4ccffa70c672198ea285246c6",
    128: "05b46931834c231683c68f40c47b2971",
    224: "d6a3c71de1b945ea11211b03746c1fe1",
}
MEDMNIST_SIZES = tuple(_MEDMNIST_MD5)
_MEDMNIST_RADIOGRAPHS = 4708 + 524 + 624  # train, validation and test, from the same file
_MEDMNIST_USUAL = 224  # what the released networks look at

NAMES = ("kermany", "kaggle", "pneumoniamnist", "rsna")


def describe(name: str, *, size: int | None = None) -> DataSet:
    """Say what a data set is, what it costs and under which licence, before it is downloaded.

    Args:
        name: One of `NAMES`.
        size: Pixels per side of PneumoniaMNIST: 28, 64, 128 or 224 (the default).

    Raises:
        DownloadError: If there is no such data set, or it does not come in that size.
    """
    if name not in NAMES:
        raise DownloadError(f"there is no data set '{name}'; choose from {', '.join(NAMES)}")
    if name == "pneumoniamnist":
        return _medmnist(_MEDMNIST_USUAL if size is None else size)
    if size is not None:
        raise DownloadError(
            f"'{name}' comes in one size only; leave the size out (pneumoniamnist has several)"
        )
    return {"kermany": _KERMANY, "kaggle": _KAGGLE, "rsna": _RSNA}[name]


def _medmnist(size: int) -> DataSet:
    if size not in _MEDMNIST_MD5:
        known = ", ".join(str(side) for side in MEDMNIST_SIZES)
        raise DownloadError(f"PneumoniaMNIST has no size {size}; choose from {known}")
    name = "pneumoniamnist.npz" if size == 28 else f"pneumoniamnist_{size}.npz"
    raw = _MEDMNIST_RADIOGRAPHS * size * size
    return DataSet(
        name="pneumoniamnist",
        title=f"PneumoniaMNIST, {size} x {size} pixels (MedMNIST v2)",
        citation=(
            "Yang J, Shi R, Wei D, et al. MedMNIST v2: A large-scale lightweight benchmark for 2D and "
            "3D biomedical image classification. Scientific Data 2023;10:41. " + _KERMANY_CITATION
        ),
        licence=_CC_BY,
        homepage="https://medmnist.com",
        size=f"at most {max(1, round(raw / 1e6))} MB",  # the pixels before compression
        note=(
            "The Guangzhou radiographs, cropped to squares and made small. Patients are unknown here, "
            "and training and validation were split by radiograph: a patient can be in both, which "
            "makes validation optimistic. Build with --patients each."
        ),
        form=Form.MEDMNIST,
        file=RemoteFile(
            url=f"{_MEDMNIST_RECORD}{name}?download=1",
            name=name,
            digest=f"md5:{_MEDMNIST_MD5[size]}",
        ),
    )
