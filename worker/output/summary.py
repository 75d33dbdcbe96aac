"""The summary: one Secondary Capture image that every viewer shows, for every head CT that came in.

A single-frame image holds the whole sheet, because multi-frame Secondary Capture is shown by fewer viewers (PS3.3
A.8.1). Modality and series number keep hanging protocols as they were.
"""

from __future__ import annotations

from io import BytesIO
from typing import TYPE_CHECKING

from PIL import Image
from pydicom.dataset import Dataset
from pydicom.uid import SecondaryCaptureImageStorage

from ichor import __version__
from ichor.store import write_durably
from worker.output import words
from worker.output.instance import MANUFACTURER, MODEL_NAME, complete

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    import numpy.typing as npt

    from worker.output.context import WriteContext

LONGEST_COMMENT = 10240  # PS3.5 Table 6.2-1: LT


def write_summary(ctx: WriteContext, picture: npt.NDArray[np.uint8]) -> Dataset:
    """Build the Secondary Capture of a drawn sheet, (rows, columns, 3) RGB."""
    dataset = Dataset()
    dataset.SOPClassUID = SecondaryCaptureImageStorage
    dataset.Modality = ctx.profile.summary_modality
    dataset.ConversionType = "WSD"  # workstation
    dataset.DateOfSecondaryCapture = f"{ctx.local_time:%Y%m%d}"
    dataset.TimeOfSecondaryCapture = f"{ctx.local_time:%H%M%S}"
    dataset.SecondaryCaptureDeviceManufacturer = MANUFACTURER
    dataset.SecondaryCaptureDeviceManufacturerModelName = MODEL_NAME
    dataset.SecondaryCaptureDeviceSoftwareVersions = __version__
    dataset.ImageType = ["DERIVED", "SECONDARY"]
    dataset.PatientOrientation = ""
    dataset.Laterality = ""  # PS3.3 C.7.3.1: type 2C, and the sheet shows both sides
    dataset.BurnedInAnnotation = "YES"
    dataset.RecognizableVisualFeatures = "NO"
    dataset.LossyImageCompression = "00"
    dataset.ImageComments = _comments(ctx)
    dataset.SamplesPerPixel = 3
    dataset.PhotometricInterpretation = "RGB"
    dataset.PlanarConfiguration = 0
    dataset.Rows, dataset.Columns = picture.shape[:2]
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 8, 8, 7
    dataset.PixelRepresentation = 0
    dataset.PixelData = picture.tobytes()
    return complete(dataset, ctx, "summary")


def write_overlay(picture: npt.NDArray[np.uint8], path: Path) -> None:
    """Write a drawn sheet as PNG."""
    buffer = BytesIO()
    Image.fromarray(picture).save(buffer, "PNG")
    write_durably(path, [buffer.getvalue()])


def _comments(ctx: WriteContext) -> str:
    replaced = words.replaced(ctx.result)
    lines = [words.headline(ctx.result), *([] if replaced is None else [replaced])]
    lines += [f"Warning: {words.plain(warning.text)}" for warning in ctx.result.warnings]
    return "\r\n".join([*lines, words.RESEARCH_USE])[:LONGEST_COMMENT]
