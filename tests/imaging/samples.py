"""Small radiograph-like files of every format and transfer syntax, made in memory from a seed.

The DICOM files are written by pydicom, their JPEG 2000 by OpenJPEG, their JPEG lossless and 12-bit
JPEG by GDCM, so that nothing of hilum writes what hilum reads. `benchmarks/fuzz_read.py` mutates the same files.
"""

import io
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import simplejpeg
from numpy.typing import NDArray
from PIL import Image
from pydicom import uid
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate

ROWS, COLUMNS = 40, 56

GDCM_SYNTAXES = {
    "JPEG lossless": uid.JPEGLossless,
    "JPEG lossless SV1": uid.JPEGLosslessSV1,
    "JPEG extended": uid.JPEGExtended12Bit,
}
COMPRESSED = {  # written by pydicom itself
    "RLE": uid.RLELossless,
    "JPEG-LS lossless": uid.JPEGLSLossless,
}
NATIVE = {
    "implicit little": uid.ImplicitVRLittleEndian,
    "explicit little": uid.ExplicitVRLittleEndian,
    "explicit big": uid.ExplicitVRBigEndian,
}


def chest(bits: int = 8, rows: int = ROWS, columns: int = COLUMNS, seed: int = 7) -> NDArray[Any]:
    """Two dark lungs, a bright spine and noise; uint8 or uint16, spanning the whole range."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[-1 : 1 : rows * 1j, -1 : 1 : columns * 1j]
    lungs = np.exp(-(((np.abs(x) - 0.45) / 0.25) ** 2) - (y / 0.6) ** 2)
    shade = 0.7 - 0.6 * lungs + 0.25 * np.exp(-((x / 0.1) ** 2)) + rng.normal(0, 0.01, x.shape)
    shade = (shade - shade.min()) / np.ptp(shade)
    return np.rint(shade * ((1 << bits) - 1)).astype(np.uint8 if bits <= 8 else np.uint16)


def encoded(image: Image.Image, kind: str, **options: Any) -> bytes:
    """What Pillow writes."""
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def dataset(
    pixels: NDArray[Any], *, syntax: str = uid.ExplicitVRLittleEndian, **attributes: Any
) -> Dataset:
    """An uncompressed data set of one image; attributes by DICOM keyword, None to leave one out."""
    ds = Dataset()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = syntax
    ds.file_meta.MediaStorageSOPClassUID = ds.SOPClassUID = uid.ComputedRadiographyImageStorage
    ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID = "1.2.826.0.1.3680043.8.498.1"
    ds.StudyInstanceUID, ds.SeriesInstanceUID = "1.2.3.4", "1.2.3.5"
    ds.PatientName, ds.PatientID = "Secret^Name", "SECRET-ID"
    ds.Modality, ds.BodyPartExamined, ds.ViewPosition = "CR", "CHEST", "PA"
    ds.Rows, ds.Columns = pixels.shape[:2]
    ds.SamplesPerPixel = 1 if pixels.ndim == 2 else 3
    ds.PhotometricInterpretation = "MONOCHROME2" if pixels.ndim == 2 else "RGB"
    if pixels.ndim == 3:
        ds.PlanarConfiguration = 0
    ds.BitsAllocated = ds.BitsStored = 8 * pixels.dtype.itemsize
    ds.HighBit = ds.BitsStored - 1
    ds.PixelRepresentation = int(pixels.dtype.kind == "i")
    big = syntax == uid.ExplicitVRBigEndian
    ds.PixelData = pixels.astype(pixels.dtype.newbyteorder(">" if big else "<")).tobytes()
    ds["PixelData"].VR = "OB" if pixels.dtype.itemsize == 1 else "OW"
    if len(ds.PixelData) % 2:
        ds.PixelData += b"\0"
    if "BitsStored" in attributes:
        attributes.setdefault("HighBit", attributes["BitsStored"] - 1)
    for keyword, value in attributes.items():
        if value is None:
            delattr(ds, keyword)
        else:
            setattr(ds, keyword, value)
    return ds


def part10(ds: Dataset) -> bytes:
    """The file that pydicom writes for a data set."""
    out = io.BytesIO()
    ds.save_as(out, enforce_file_format=True)
    return out.getvalue()


def dicom(pixels: NDArray[Any], **attributes: Any) -> bytes:
    """An uncompressed DICOM file; see `dataset`."""
    return part10(dataset(pixels, **attributes))


def compressed(ds: Dataset, syntax: str, **options: Any) -> bytes:
    """The data set in a syntax that pydicom can encode."""
    ds.compress(syntax, generate_instance_uid=False, **options)
    return part10(ds)


def with_codestream(ds: Dataset, syntax: str, codestream: bytes) -> bytes:
    """The data set with a given codestream as its only frame."""
    ds.file_meta.TransferSyntaxUID = syntax
    ds.PixelData = encapsulate([codestream])
    ds["PixelData"].is_undefined_length = True
    ds["PixelData"].VR = "OB"
    return part10(ds)


def jpeg_2000(ds: Dataset, pixels: NDArray[Any], ratio: float | None = None) -> bytes:
    """The data set in JPEG 2000, lossless or at a ratio."""
    from openjpeg.utils import encode_array

    stream = encode_array(
        pixels, bits_stored=ds.BitsStored, photometric_interpretation=1 if pixels.ndim == 3 else 2,
        compression_ratios=[ratio] if ratio else None,
    )  # fmt: skip
    return with_codestream(ds, uid.JPEG2000 if ratio else uid.JPEG2000Lossless, bytes(stream))


def transcoded(file: bytes, syntax: str) -> bytes:
    """A DICOM file in a JPEG syntax that only GDCM can encode."""
    import gdcm

    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder, "in.dcm"), Path(folder, "out.dcm")
        source.write_bytes(file)
        reader = gdcm.ImageReader()
        reader.SetFileName(str(source))
        assert reader.Read()
        change = gdcm.ImageChangeTransferSyntax()
        change.SetTransferSyntax(gdcm.TransferSyntax(gdcm.TransferSyntax.GetTSType(syntax)))
        change.SetInput(reader.GetImage())
        assert change.Change()
        writer = gdcm.ImageWriter()
        writer.SetFileName(str(target))
        writer.SetFile(reader.GetFile())
        writer.SetImage(change.GetOutput())
        assert writer.Write()
        return target.read_bytes()


def jpeg_grey(pixels: NDArray[np.uint8], quality: int = 90) -> bytes:
    """A grey baseline JPEG."""
    return bytes(simplejpeg.encode_jpeg(pixels[:, :, None], quality, "GRAY", "Gray"))


def exif(orientation: int) -> bytes:
    """An EXIF block that Pillow writes."""
    tags = Image.Exif()
    tags[0x0112] = orientation
    return tags.tobytes()


def lut_item(first: int, bits: int, outputs: NDArray[np.uint16], vr: str = "US") -> Dataset:
    """An item of a modality or VOI LUT sequence."""
    item = Dataset()
    item.add_new(0x00283002, vr, [len(outputs) & 0xFFFF, first, bits])
    item.add_new(0x00283006, "OW", outputs.astype("<u2").tobytes())
    return item


def _colour() -> NDArray[np.uint8]:
    grey = chest()
    return np.stack([grey, 255 - grey, np.roll(grey, 9, axis=1)], axis=-1)


def _with_sequences() -> bytes:
    ds = dataset(chest(12), BitsStored=12)
    inner, outer = Dataset(), Dataset()
    inner.CodeValue, inner.CodeMeaning = "1", "a meaning"
    outer.PurposeOfReferenceCodeSequence = [inner, inner]
    ds.RequestAttributesSequence = [outer]
    ds["RequestAttributesSequence"].is_undefined_length = True
    ds.VOILUTSequence = [lut_item(0, 12, np.arange(4096, dtype=np.uint16))]
    ds["VOILUTSequence"].is_undefined_length = True
    return part10(ds)


def _recipes() -> dict[str, Callable[[], bytes]]:
    grey, deep, colour = chest(), chest(12), _colour()
    as_image = Image.fromarray
    tables: dict[str, Callable[[], bytes]] = {
        "JPEG grey": lambda: jpeg_grey(grey),
        "JPEG progressive": lambda: encoded(as_image(grey), "JPEG", progressive=True),
        "JPEG YCbCr": lambda: encoded(as_image(colour), "JPEG", subsampling="4:2:0"),
        "JPEG RGB": lambda: encoded(as_image(colour), "JPEG", keep_rgb=True),
        "JPEG CMYK": lambda: encoded(as_image(colour).convert("CMYK"), "JPEG"),
        "JPEG EXIF": lambda: encoded(as_image(grey), "JPEG", exif=exif(6)),
        "PNG 8": lambda: encoded(as_image(grey), "PNG"),
        "PNG 16": lambda: encoded(as_image(chest(16)), "PNG"),
        "PNG 1": lambda: encoded(as_image(grey > 128), "PNG"),
        "PNG palette": lambda: encoded(as_image(colour).quantize(16), "PNG", transparency=3),
        "PNG alpha": lambda: encoded(as_image(np.dstack([colour, grey])), "PNG"),
        "TIFF 8": lambda: encoded(as_image(grey), "TIFF"),
        "TIFF 16": lambda: encoded(as_image(deep), "TIFF"),
        "TIFF float": lambda: encoded(as_image((grey / 255).astype(np.float32)), "TIFF"),
        "TIFF LZW": lambda: encoded(as_image(deep), "TIFF", compression="tiff_lzw"),
        "TIFF deflate": lambda: encoded(as_image(colour), "TIFF", compression="tiff_deflate"),
        "TIFF PackBits": lambda: encoded(as_image(grey), "TIFF", compression="packbits"),
        "TIFF JPEG": lambda: encoded(as_image(colour), "TIFF", compression="jpeg"),
        "DICOM JPEG baseline": lambda: with_codestream(
            dataset(grey), uid.JPEGBaseline8Bit, jpeg_grey(grey)
        ),
        "DICOM JPEG 2000 lossless": lambda: jpeg_2000(dataset(deep, BitsStored=12), deep),
        "DICOM JPEG 2000 lossy": lambda: jpeg_2000(dataset(deep, BitsStored=12), deep, 4),
        "DICOM JPEG-LS near": lambda: compressed(
            dataset(grey), uid.JPEGLSNearLossless, jls_error=2
        ),
        "DICOM colour": lambda: dicom(colour),
        "DICOM colour RLE": lambda: compressed(dataset(colour), uid.RLELossless),
        "DICOM sequences": _with_sequences,
        "DICOM bare": lambda: dicom(deep, BitsStored=12)[132:],
    }
    for name, syntax in NATIVE.items():
        tables[f"DICOM {name}"] = lambda syntax=syntax: dicom(deep, syntax=syntax, BitsStored=12)  # type: ignore[misc]
    for name, syntax in COMPRESSED.items():
        tables[f"DICOM {name}"] = lambda syntax=syntax: compressed(  # type: ignore[misc]
            dataset(deep, BitsStored=12), syntax
        )
    for name, syntax in GDCM_SYNTAXES.items():
        tables[f"DICOM {name}"] = lambda syntax=syntax: transcoded(  # type: ignore[misc]
            dicom(deep, BitsStored=12), syntax
        )
    return tables


def every_sample() -> dict[str, bytes]:
    """One small file of each kind that hilum reads, by a name that begins with its format."""
    return {name: make() for name, make in _recipes().items()}
