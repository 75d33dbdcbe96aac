"""What all objects of a result have in common: patient, series, equipment, times, and the bytes of the file.

UIDs come from the result's identity and times from the context, so the same result is the same bytes.
"""

from __future__ import annotations

from dataclasses import replace
from io import BytesIO
from typing import TYPE_CHECKING

from pydicom import dcmwrite
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian

from ichor import __version__
from ichor.identity import derive_uid
from worker.output.naming import series_number, series_uid, sop_uid

if TYPE_CHECKING:
    from worker.output.context import WriteContext
    from worker.output.naming import Kind

MANUFACTURER = "Ichor"
MODEL_NAME = "Ichor DICOM node"
IMPLEMENTATION_CLASS_UID = derive_uid("implementation-class", "ichor")
IMPLEMENTATION_VERSION_NAME = f"ICHOR_{__version__}"[:16]  # PS3.5 Table 6.2-1: SH

# PS3.5 7.8.1: a block of private elements is reserved by its creator
PRIVATE_GROUP, PRIVATE_CREATOR = 0x0099, "ICHOR"
PRIVATE_RESULT, PRIVATE_IDENTITY = 0x01, 0x02


def stand_in(ctx: WriteContext) -> Dataset:
    """Return a bare source for highdicom, to be given its SOP UIDs; `complete` puts the true attributes in at the end.

    highdicom refuses values that real sources hold (a sex that the standard does not list, for one), and reads type 2
    attributes that real sources lack.
    """
    header = ctx.source[0]
    dataset = Dataset()
    dataset.StudyInstanceUID = header.StudyInstanceUID
    dataset.SeriesInstanceUID = header.SeriesInstanceUID
    dataset.Modality = str(header.get("Modality", "OT"))
    for keyword in ("PatientID", "PatientName", "PatientBirthDate", "PatientSex", "AccessionNumber", "StudyID"):
        setattr(dataset, keyword, "")
    dataset.StudyDate = dataset.StudyTime = dataset.ReferringPhysicianName = ""
    return dataset


def complete(dataset: Dataset, ctx: WriteContext, kind: Kind) -> Dataset:
    """Set patient, study, series, equipment, times and file meta of an object, in place; return it."""
    ctx.attributes.apply(dataset)
    dataset.SOPInstanceUID = sop_uid(ctx, kind)
    dataset.SeriesInstanceUID = series_uid(ctx, kind)
    dataset.SeriesNumber = series_number(ctx, kind)
    dataset.InstanceNumber = 1
    dataset.SeriesDescription = ctx.profile.series_description
    dataset.Manufacturer = MANUFACTURER
    dataset.ManufacturerModelName = MODEL_NAME
    dataset.SoftwareVersions = __version__
    dataset.DeviceSerialNumber = "1"
    if ctx.profile.institution_name:
        dataset.InstitutionName = ctx.profile.institution_name
    date, time = f"{ctx.local_time:%Y%m%d}", f"{ctx.local_time:%H%M%S}"
    for keyword in ("InstanceCreation", "Content", "Series"):
        setattr(dataset, f"{keyword}Date", date)
        setattr(dataset, f"{keyword}Time", time)
    for equipment in dataset.get("ContributingEquipmentSequence", []):  # highdicom names itself, and the time of day
        equipment.ContributionDateTime = f"{date}{time}"
    if ctx.profile.private_tags:
        block = dataset.private_block(PRIVATE_GROUP, PRIVATE_CREATOR, create=True)
        # Without the seconds that the steps took: the same result is the same bytes.
        block.add_new(PRIVATE_RESULT, "UT", replace(ctx.result, timing_s={}).to_json())
        block.add_new(PRIVATE_IDENTITY, "LO", ctx.identity.digest)
    dataset.file_meta = _file_meta(dataset)
    return dataset


def to_bytes(dataset: Dataset) -> bytes:
    """Encode a finished object as a DICOM file (PS3.10)."""
    buffer = BytesIO()
    dcmwrite(buffer, dataset, enforce_file_format=True)
    return buffer.getvalue()


def _file_meta(dataset: Dataset) -> FileMetaDataset:
    """Name the transfer syntax: of compressed pixel data their own, else Explicit VR Little Endian."""
    encoded = getattr(dataset, "file_meta", FileMetaDataset()).get("TransferSyntaxUID", ExplicitVRLittleEndian)
    file_meta = FileMetaDataset()
    file_meta.FileMetaInformationVersion = b"\x00\x01"
    file_meta.MediaStorageSOPClassUID = UID(str(dataset.SOPClassUID))
    file_meta.MediaStorageSOPInstanceUID = UID(str(dataset.SOPInstanceUID))
    file_meta.TransferSyntaxUID = UID(encoded) if UID(encoded).is_encapsulated else ExplicitVRLittleEndian
    file_meta.ImplementationClassUID = UID(IMPLEMENTATION_CLASS_UID)
    file_meta.ImplementationVersionName = IMPLEMENTATION_VERSION_NAME
    return file_meta
