"""Whom an image names: patient and order, as far as they tell one registration from another.

The listener's digest of an instance says the same of what came in; this is for headers that are read from files.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from worker.reason import Reason

if TYPE_CHECKING:
    from pydicom import Dataset

REGISTRATION = ("PatientID", "IssuerOfPatientID", "PatientName", "PatientBirthDate", "AccessionNumber")
SEVERAL_NAMES = Reason(
    code="several_registrations", text="the images of the series name more than one patient, order or birth date"
)
OTHER_NAME = Reason(
    code="other_registration",
    text="another head series of this study names another patient, order or birth date; this result is not about it",
)


def registration_of(header: Dataset) -> tuple[str, ...]:
    """Give what a header says of patient and order, without padding and the empty parts of names."""
    return tuple(_plain(str(header.get(keyword) or "")) for keyword in REGISTRATION)


def _plain(value: str) -> str:
    return "=".join(group.rstrip("^ ") for group in value.strip().split("=")).rstrip("=")
