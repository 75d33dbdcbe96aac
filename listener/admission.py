"""Who and what is let in: the SOP classes taken, the transfer syntaxes in order of preference, and the answers.

Every refusal is an error type; one table turns it into a DIMSE status (PS3.4 Table B.2-1, PS3.7 Annex C), which is
also the failure reason of STOW-RS (PS3.3 C.12.1.1.3.1.9 in DICOM JSON).
"""

from __future__ import annotations

from dataclasses import dataclass

from pydicom.uid import UID
from pynetdicom import ALL_TRANSFER_SYNTAXES

from ichor.errors import BadHeader, BadUid, IchorError, NotDicom, PermanentError, StoreFull
from ichor.store import DISK_FULL_ERRNOS
from listener.header import TRANSFER_SYNTAXES

VERIFICATION_CLASS = "1.2.840.10008.1.1"
CT_IMAGE_CLASSES = {
    "1.2.840.10008.5.1.4.1.1.2": "CT Image Storage",
    "1.2.840.10008.5.1.4.1.1.2.1": "Enhanced CT Image Storage",
    "1.2.840.10008.5.1.4.1.1.2.2": "Legacy Converted Enhanced CT Image Storage",
}
COMPANION_CLASSES = {
    "1.2.840.10008.5.1.4.1.1.7": "Secondary Capture Image Storage",
    "1.2.840.10008.5.1.4.1.1.7.1": "Multi-frame Single Bit Secondary Capture Image Storage",
    "1.2.840.10008.5.1.4.1.1.7.2": "Multi-frame Grayscale Byte Secondary Capture Image Storage",
    "1.2.840.10008.5.1.4.1.1.7.3": "Multi-frame Grayscale Word Secondary Capture Image Storage",
    "1.2.840.10008.5.1.4.1.1.7.4": "Multi-frame True Color Secondary Capture Image Storage",
    "1.2.840.10008.5.1.4.1.1.11.1": "Grayscale Softcopy Presentation State Storage",
    "1.2.840.10008.5.1.4.1.1.11.2": "Color Softcopy Presentation State Storage",
    "1.2.840.10008.5.1.4.1.1.11.3": "Pseudo-Color Softcopy Presentation State Storage",
    "1.2.840.10008.5.1.4.1.1.11.4": "Blending Softcopy Presentation State Storage",
    "1.2.840.10008.5.1.4.1.1.11.8": "Advanced Blending Presentation State Storage",
    "1.2.840.10008.5.1.4.1.1.30": "Parametric Map Storage",
    "1.2.840.10008.5.1.4.1.1.66": "Raw Data Storage",
    "1.2.840.10008.5.1.4.1.1.66.1": "Spatial Registration Storage",
    "1.2.840.10008.5.1.4.1.1.66.2": "Spatial Fiducials Storage",
    "1.2.840.10008.5.1.4.1.1.66.3": "Deformable Spatial Registration Storage",
    "1.2.840.10008.5.1.4.1.1.66.4": "Segmentation Storage",
    "1.2.840.10008.5.1.4.1.1.66.5": "Surface Segmentation Storage",
    "1.2.840.10008.5.1.4.1.1.66.7": "Label Map Segmentation Storage",
    "1.2.840.10008.5.1.4.1.1.67": "Real World Value Mapping Storage",
    "1.2.840.10008.5.1.4.1.1.88.11": "Basic Text SR Storage",
    "1.2.840.10008.5.1.4.1.1.88.22": "Enhanced SR Storage",
    "1.2.840.10008.5.1.4.1.1.88.33": "Comprehensive SR Storage",
    "1.2.840.10008.5.1.4.1.1.88.34": "Comprehensive 3D SR Storage",
    "1.2.840.10008.5.1.4.1.1.88.35": "Extensible SR Storage",
    "1.2.840.10008.5.1.4.1.1.88.40": "Procedure Log Storage",
    "1.2.840.10008.5.1.4.1.1.88.59": "Key Object Selection Document Storage",
    "1.2.840.10008.5.1.4.1.1.88.67": "X-Ray Radiation Dose SR Storage",
    "1.2.840.10008.5.1.4.1.1.88.71": "Acquisition Context SR Storage",
    "1.2.840.10008.5.1.4.1.1.88.73": "Patient Radiation Dose SR Storage",
    "1.2.840.10008.5.1.4.1.1.88.76": "Enhanced X-Ray Radiation Dose SR Storage",
    "1.2.840.10008.5.1.4.1.1.104.1": "Encapsulated PDF Storage",
    "1.2.840.10008.5.1.4.1.1.104.2": "Encapsulated CDA Storage",
    "1.2.840.10008.5.1.4.1.1.200.1": "CT Defined Procedure Protocol Storage",
    "1.2.840.10008.5.1.4.1.1.200.2": "CT Performed Procedure Protocol Storage",
}
"""What travels with a CT: stored, never analysed."""
STORED_CLASSES = CT_IMAGE_CLASSES | COMPANION_CLASSES

# Where a sender offers several in one context, the first of this list is taken: uncompressed before compressed, so
# that nobody compresses with loss for our sake (PS3.8 9.3.3.2 leaves the choice to the acceptor).
_PREFERRED_TRANSFER_SYNTAXES = ("1.2.840.10008.1.2.1", "1.2.840.10008.1.2", "1.2.840.10008.1.2.2")
ACCEPTED_TRANSFER_SYNTAXES = list(
    dict.fromkeys((*_PREFERRED_TRANSFER_SYNTAXES, *ALL_TRANSFER_SYNTAXES, *sorted(TRANSFER_SYNTAXES))),
)

STATUS_SUCCESS = 0x0000
STATUS_PROCESSING_FAILURE = 0x0110
STATUS_SOP_CLASS_NOT_SUPPORTED = 0x0122
STATUS_OUT_OF_RESOURCES = 0xA700
STATUS_DATA_SET_MISMATCH = 0xA900
STATUS_CANNOT_UNDERSTAND = 0xC000

MAX_COMMENT_CHARACTERS = 64  # PS3.7 Table C-1: Error Comment is an LO


class DataSetMismatch(PermanentError):
    """The data set is not the instance that the request announces."""

    code = "data_set_mismatch"


class SopClassNotSupported(PermanentError):
    """Objects of this SOP class are not taken."""

    code = "sop_class_not_supported"


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """What a sender is told; the comment holds nothing of the sender's data."""

    status: int
    code: str
    comment: str


# From error type to status, the most specific first.
_STATUS_OF: tuple[tuple[type[IchorError], int], ...] = (
    (SopClassNotSupported, STATUS_SOP_CLASS_NOT_SUPPORTED),
    (DataSetMismatch, STATUS_DATA_SET_MISMATCH),
    (BadHeader, STATUS_CANNOT_UNDERSTAND),
    (BadUid, STATUS_CANNOT_UNDERSTAND),
    (NotDicom, STATUS_CANNOT_UNDERSTAND),
    (StoreFull, STATUS_OUT_OF_RESOURCES),
)


def admit_class(sop_class_uid: str) -> None:
    """Raise `SopClassNotSupported` for what is not stored here."""
    if sop_class_uid not in STORED_CLASSES:
        raise SopClassNotSupported


def refusal_of(error: Exception) -> Refusal:
    """Return the answer to whatever went wrong with one instance."""
    for kind, status in _STATUS_OF:
        if isinstance(error, kind):
            return Refusal(status=status, code=error.code, comment=str(error)[:MAX_COMMENT_CHARACTERS])
    if isinstance(error, OSError) and error.errno in DISK_FULL_ERRNOS:
        return Refusal(status=STATUS_OUT_OF_RESOURCES, code=StoreFull.code, comment=str(StoreFull()))
    return Refusal(status=STATUS_PROCESSING_FAILURE, code="internal", comment="The instance could not be stored")


def class_name(sop_class_uid: str) -> str:
    """Return the name of a SOP class for log lines."""
    return STORED_CLASSES.get(sop_class_uid) or UID(sop_class_uid).name
