"""CT images of a phantom as DICOM: CT Image Storage (PS3.3 A.3), Explicit VR Little Endian, plainly no patient."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import UID, CTImageStorage, ExplicitVRLittleEndian
from pydicom.valuerep import DSfloat

from ichor import __version__
from ichor.identity import derive_uid

if TYPE_CHECKING:
    import numpy.typing as npt

    from models.phantoms.plan import PhantomPlan
    from models.phantoms.scan import Scan

RESCALE_INTERCEPT_HU = -1024
_HIGHEST_HU = 3071
_SLICE_TIME = timedelta(seconds=0.4)
_FIXED_TIME = datetime(2020, 1, 1, 8, 0, tzinfo=UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyUids:
    """The UIDs of a phantom study; those of the images are derived from its series."""

    study: str
    series: str
    frame_of_reference: str

    def instance(self, k: int) -> str:
        """Return the SOP Instance UID of slice k, counted from the foot."""
        return derive_uid("phantom-instance", self.series, str(k))


def study_uids(plan: PhantomPlan) -> StudyUids:
    """Return the plan's UIDs: the same at every run, unless it asks for fresh ones."""
    parts = [plan.digest]
    if plan.acquired_at is not None:
        parts.append(plan.acquired_at.isoformat())  # an instance UID stands for one content, header included
    if plan.fresh_uids:
        parts.append(uuid.uuid4().hex)
    return StudyUids(
        study=derive_uid("phantom-study", *parts),
        series=derive_uid("phantom-series", *parts),
        frame_of_reference=derive_uid("phantom-frame-of-reference", *parts),
    )


def ct_image(
    plan: PhantomPlan, scan: Scan, uids: StudyUids, k: int, hu: npt.NDArray[np.float32]
) -> tuple[int, Dataset]:
    """Return slice k (counted from the foot) as its InstanceNumber and data set; `hu` has the shape (rows, columns)."""
    number = scan.slices - k if plan.reversed_order else k + 1
    dataset = Dataset()
    dataset.file_meta = file_meta(uids.instance(k))
    dataset.SpecificCharacterSet = "ISO_IR 192"
    dataset.SOPClassUID = CTImageStorage
    dataset.SOPInstanceUID = uids.instance(k)
    _add_identity(dataset, plan, uids)
    add_times(dataset, number, plan.acquired_at)
    _add_acquisition(dataset, plan, scan)
    dataset.InstanceNumber = number
    _add_plane(dataset, plan, scan, uids, k)
    add_pixels(dataset, hu)
    return number, dataset


def _add_identity(dataset: Dataset, plan: PhantomPlan, uids: StudyUids) -> None:
    dataset.PatientName = "PHANTOM^ICHOR"
    dataset.PatientID = f"PHANTOM-{plan.seed}"
    dataset.PatientBirthDate = ""
    dataset.PatientSex = "O"
    dataset.PatientAge = "060Y"  # drawn as an adult
    dataset.PatientComments = "Synthetic head, made by a computer. No patient."
    dataset.StudyInstanceUID = uids.study
    dataset.SeriesInstanceUID = uids.series
    dataset.StudyID = "PHANTOM"
    dataset.AccessionNumber = f"PHANTOM{uids.study[-8:]}"
    dataset.ReferringPhysicianName = ""
    dataset.StudyDescription = "SYNTHETIC HEAD CT - NO PATIENT"
    dataset.SeriesDescription = f"HEAD {plan.slice_thickness_mm:g} mm (PHANTOM)"
    dataset.SeriesNumber = 3
    dataset.Modality = "CT"
    dataset.Manufacturer = "Ichor"
    dataset.ManufacturerModelName = "Head phantom"
    dataset.SoftwareVersions = __version__
    dataset.InstitutionName = "NO HOSPITAL"
    dataset.StationName = "PHANTOM"


def file_meta(sop_instance_uid: str) -> FileMetaDataset:
    """Return the file meta information of a CT image (PS3.10 7.1)."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = CTImageStorage
    meta.MediaStorageSOPInstanceUID = UID(sop_instance_uid)
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.ImplementationClassUID = UID(derive_uid("implementation", "ichor"))
    meta.ImplementationVersionName = f"ICHOR_{__version__}"[:16]
    return meta


def add_times(dataset: Dataset, number: int, acquired_at: datetime | None = None) -> None:
    """Say when image `number`, counted from 1, was acquired, and its study with it; None is a fixed day in the past."""
    start = _FIXED_TIME if acquired_at is None else acquired_at
    now = start + (number - 1) * _SLICE_TIME
    offset = start.strftime("%z")[:5]  # PS3.3 C.12.1.1.8: hours and minutes
    dataset.TimezoneOffsetFromUTC = offset
    dataset.StudyDate = dataset.SeriesDate = f"{start:%Y%m%d}"
    dataset.StudyTime = dataset.SeriesTime = f"{start:%H%M%S}"
    dataset.AcquisitionDate = dataset.ContentDate = dataset.InstanceCreationDate = f"{now:%Y%m%d}"
    dataset.AcquisitionTime = dataset.ContentTime = dataset.InstanceCreationTime = f"{now:%H%M%S.%f}"
    dataset.AcquisitionDateTime = f"{now:%Y%m%d%H%M%S.%f}{offset}"


def _add_acquisition(dataset: Dataset, plan: PhantomPlan, scan: Scan) -> None:
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    dataset.BodyPartExamined = "HEAD"
    dataset.PatientPosition = plan.patient_position
    dataset.ProtocolName = "Head without contrast (phantom)"
    dataset.ScanOptions = "AXIAL MODE"
    dataset.KVP = "120"
    dataset.XRayTubeCurrent = 200
    dataset.ExposureTime = 1000
    dataset.ConvolutionKernel = "SOFT"
    dataset.GantryDetectorTilt = decimal_string(plan.tilt_deg)
    dataset.ReconstructionDiameter = decimal_string(max(scan.rows, scan.columns) * scan.pixel_spacing_mm)
    dataset.AcquisitionNumber = 1


def _add_plane(dataset: Dataset, plan: PhantomPlan, scan: Scan, uids: StudyUids, k: int) -> None:
    dataset.FrameOfReferenceUID = uids.frame_of_reference
    dataset.PositionReferenceIndicator = "OM"
    dataset.ImagePositionPatient = [decimal_string(value) for value in scan.position_lps_mm(k)]
    dataset.ImageOrientationPatient = [decimal_string(value) for value in (*scan.row_cosine, *scan.column_cosine)]
    dataset.SliceThickness = decimal_string(plan.slice_thickness_mm)
    dataset.SliceLocation = decimal_string(scan.centre_z_mm[k])
    dataset.PixelSpacing = [decimal_string(scan.pixel_spacing_mm)] * 2


def add_pixels(dataset: Dataset, hu: npt.NDArray[np.number]) -> None:
    """Write HU (rows, columns) as stored values."""
    stored = np.rint(np.clip(hu, RESCALE_INTERCEPT_HU, _HIGHEST_HU)).astype(np.int16) - np.int16(RESCALE_INTERCEPT_HU)
    dataset.SamplesPerPixel = 1
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.Rows, dataset.Columns = hu.shape
    dataset.BitsAllocated = 16
    dataset.BitsStored = 16
    dataset.HighBit = 15
    dataset.PixelRepresentation = 1
    dataset.RescaleIntercept = str(RESCALE_INTERCEPT_HU)
    dataset.RescaleSlope = "1"
    dataset.RescaleType = "HU"
    dataset.WindowCenter = "40"
    dataset.WindowWidth = "80"
    dataset.BurnedInAnnotation = "NO"
    dataset.PixelData = stored.astype("<i2").tobytes()


def decimal_string(value: float) -> DSfloat:
    """Return a decimal string of at most 16 characters (PS3.5 Table 6.2-1)."""
    return DSfloat(value + 0.0, auto_format=True)
