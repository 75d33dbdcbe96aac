"""CT images of a painted head: the scan's own geometry and technique, and nothing that says whose head it is.

Attributes are taken by name, so that what nobody thought of (private tags, comments, overlays) stays behind.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydicom.dataset import Dataset
from pydicom.uid import UID

from ichor import __version__
from models.phantoms.ct import add_pixels, add_times, decimal_string, file_meta

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from models.phantoms.ct import StudyUids
    from worker.slices import Slice

_TECHNIQUE = (
    "ImageType",
    "BodyPartExamined",
    "PatientPosition",
    "ScanOptions",
    "KVP",
    "XRayTubeCurrent",
    "ExposureTime",
    "ConvolutionKernel",
    "GantryDetectorTilt",
    "ReconstructionDiameter",
    "SliceThickness",
)


def painted_image(
    header: Dataset, one: Slice, uids: StudyUids, k: int, hu_ji: npt.NDArray[np.int16], *, seed: int
) -> Dataset:
    """Return slice k (counted from the foot) as a data set; `header` is the scan's own."""
    dataset = Dataset()
    dataset.file_meta = file_meta(uids.instance(k))
    dataset.SpecificCharacterSet = "ISO_IR 192"
    dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID
    dataset.SOPInstanceUID = UID(uids.instance(k))
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = uids.study, uids.series
    dataset.FrameOfReferenceUID = uids.frame_of_reference
    dataset.PatientName = "PAINTED^ICHOR"
    dataset.PatientID = f"PAINTED-{uids.study[-8:]}-{seed}"
    dataset.PatientBirthDate = ""
    dataset.PatientSex = "O"
    dataset.PatientComments = "Lesions drawn by a computer into a head that does not have them. Not for diagnosis."
    dataset.AccessionNumber = f"PAINTED{uids.study[-8:]}"
    dataset.StudyID = "PAINTED"
    dataset.ReferringPhysicianName = ""
    dataset.StudyDescription = "PAINTED LESIONS IN A REAL HEAD - NOT FOR DIAGNOSIS"
    dataset.SeriesDescription = "HEAD (PAINTED)"
    dataset.SeriesNumber = 3
    dataset.Modality = "CT"
    dataset.Manufacturer = str(header.get("Manufacturer", ""))
    dataset.ManufacturerModelName = str(header.get("ManufacturerModelName", ""))
    dataset.SoftwareVersions = f"Ichor {__version__}"
    dataset.InstitutionName = "NO HOSPITAL"
    for keyword in _TECHNIQUE:
        if keyword in header:
            dataset[keyword] = header[keyword]
    dataset.PositionReferenceIndicator = ""
    dataset.AcquisitionNumber = 1
    dataset.InstanceNumber = k + 1
    add_times(dataset, k + 1)
    dataset.ImagePositionPatient = [decimal_string(value) for value in one.position_lps_mm]
    dataset.ImageOrientationPatient = [decimal_string(value) for value in (*one.row_cosine, *one.column_cosine)]
    dataset.PixelSpacing = [decimal_string(one.row_spacing_mm), decimal_string(one.column_spacing_mm)]
    add_pixels(dataset, hu_ji)
    return dataset
