"""Patient and study attributes: copied from the source as they are, completed only where an object would break.

Absent type 2 attributes are added empty; copied attributes that are empty and not type 2 are left out, for an empty
type 1 or 1C attribute (such as DeidentificationMethod) makes an object invalid. References to study management objects
are not copied: they belong to the modality.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from datetime import timedelta, timezone, tzinfo

from pydicom import DataElement, Dataset
from pydicom.charset import convert_encodings
from pydicom.datadict import tag_for_keyword
from pydicom.valuerep import PersonName

# PS3.3 C.7.1.1 Patient and C.7.2.1 General Study: the attributes of type 2
TYPE_2 = (
    "PatientName",
    "PatientID",
    "PatientBirthDate",
    "PatientSex",
    "StudyDate",
    "StudyTime",
    "AccessionNumber",
    "ReferringPhysicianName",
    "StudyID",
)

# PS3.3 C.7.1.1 Patient, C.7.1.3 Clinical Trial Subject
PATIENT = (
    "IssuerOfPatientID",
    "TypeOfPatientID",
    "IssuerOfPatientIDQualifiersSequence",
    "SourcePatientGroupIdentificationSequence",
    "GroupOfPatientsIdentificationSequence",
    "PatientBirthTime",
    "PatientBirthDateInAlternativeCalendar",
    "PatientDeathDateInAlternativeCalendar",
    "PatientAlternativeCalendar",
    "QualityControlSubject",
    "OtherPatientNames",
    "OtherPatientIDsSequence",
    "EthnicGroupCodeSequence",
    "PatientSpeciesDescription",
    "PatientSpeciesCodeSequence",
    "PatientBreedDescription",
    "PatientBreedCodeSequence",
    "BreedRegistrationSequence",
    "ResponsiblePerson",
    "ResponsiblePersonRole",
    "ResponsibleOrganization",
    "PatientComments",
    "PatientIdentityRemoved",
    "DeidentificationMethod",
    "DeidentificationMethodCodeSequence",
    "ClinicalTrialSponsorName",
    "ClinicalTrialProtocolID",
    "ClinicalTrialProtocolName",
    "IssuerOfClinicalTrialProtocolID",
    "ClinicalTrialSiteID",
    "ClinicalTrialSiteName",
    "IssuerOfClinicalTrialSiteID",
    "ClinicalTrialSubjectID",
    "IssuerOfClinicalTrialSubjectID",
    "ClinicalTrialSubjectReadingID",
    "IssuerOfClinicalTrialSubjectReadingID",
    "ClinicalTrialProtocolEthicsCommitteeName",
    "ClinicalTrialProtocolEthicsCommitteeApprovalNumber",
)

# PS3.3 C.7.2.1 General Study, C.7.2.2 Patient Study, C.7.2.3 Clinical Trial Study, C.12.1 SOP Common (time zone)
STUDY = (
    "IssuerOfAccessionNumberSequence",
    "ReferringPhysicianIdentificationSequence",
    "ConsultingPhysicianName",
    "ConsultingPhysicianIdentificationSequence",
    "StudyDescription",
    "ProcedureCodeSequence",
    "PhysiciansOfRecord",
    "PhysiciansOfRecordIdentificationSequence",
    "NameOfPhysiciansReadingStudy",
    "PhysiciansReadingStudyIdentificationSequence",
    "RequestingService",
    "RequestingServiceCodeSequence",
    "ReasonForPerformedProcedureCodeSequence",
    "AdmittingDiagnosesDescription",
    "AdmittingDiagnosesCodeSequence",
    "PatientAge",
    "PatientSize",
    "PatientSizeCodeSequence",
    "PatientBodyMassIndex",
    "PatientWeight",
    "MedicalAlerts",
    "Allergies",
    "Occupation",
    "SmokingStatus",
    "AdditionalPatientHistory",
    "PregnancyStatus",
    "LastMenstrualDate",
    "PatientSexNeutered",
    "ReasonForVisit",
    "ReasonForVisitCodeSequence",
    "AdmissionID",
    "IssuerOfAdmissionIDSequence",
    "ServiceEpisodeID",
    "ServiceEpisodeDescription",
    "IssuerOfServiceEpisodeIDSequence",
    "PatientState",
    "ClinicalTrialTimePointID",
    "ClinicalTrialTimePointDescription",
    "TimezoneOffsetFromUTC",
)

# PS3.3 C.7.1.3: type 2 as soon as the module is there at all
CLINICAL_TRIAL_TYPE_2 = ("ClinicalTrialProtocolName", "ClinicalTrialSiteID", "ClinicalTrialSiteName")

# PS3.5 6.1.2.2: the value representations that SpecificCharacterSet speaks of
TEXT_VRS = frozenset({"LO", "LT", "PN", "SH", "ST", "UC", "UT"})

_OFFSET = re.compile(r"^([+-])(\d{2})([0-5]\d)$")  # PS3.3 C.12.1.1.8


@dataclass(frozen=True, slots=True)
class StudyAttributes:
    """What every object of a result takes over from its source; `elements` is not to be changed."""

    elements: Dataset

    @classmethod
    def of(cls, header: Dataset) -> StudyAttributes:
        """Pick the attributes out of one source header, which stays as it is."""
        elements = Dataset()
        elements.StudyInstanceUID = str(header.StudyInstanceUID)
        for keyword in ("SpecificCharacterSet", *TYPE_2, *PATIENT, *STUDY):
            element = _readable(header, keyword)
            if element is not None and not element.is_empty:
                elements.add(element)
        required: tuple[str, ...] = TYPE_2
        if "ClinicalTrialSponsorName" in elements or "ClinicalTrialProtocolID" in elements:
            required += CLINICAL_TRIAL_TYPE_2
        if "DeidentificationMethod" not in elements and "DeidentificationMethodCodeSequence" not in elements:
            elements.pop("PatientIdentityRemoved", None)  # PS3.3 C.7.1.1: "YES" without a method is invalid
        for keyword in required:
            if keyword not in elements:
                setattr(elements, keyword, None)
        return cls(elements)

    @property
    def digest(self) -> str:
        """SHA-256 in hex over every copied element: another patient, order or spelling gives another digest."""
        lines = [f"{element.tag} {element.VR} {element.value!s}" for element in self.elements]
        return hashlib.sha256("\n".join(lines).encode("utf-8", "surrogateescape")).hexdigest()

    @property
    def time_zone(self) -> tzinfo | None:
        """The source's own time zone, in which all of its times are written; None where it does not say."""
        found = _OFFSET.match(str(self.elements.get("TimezoneOffsetFromUTC", "")).strip())
        if found is None:
            return None
        offset = timedelta(hours=int(found[2]), minutes=int(found[3]))
        return timezone(-offset if found[1] == "-" else offset) if offset < timedelta(hours=24) else None

    def apply(self, dataset: Dataset) -> None:
        """Put the attributes into an object, over whatever stood there."""
        if "SpecificCharacterSet" not in self.elements and "SpecificCharacterSet" in dataset:
            del dataset.SpecificCharacterSet
        encodings = convert_encodings(self.elements.get("SpecificCharacterSet", "ISO_IR 6"))
        for element in self.elements:
            if encodings == ["shift_jis"] and element.VR in TEXT_VRS and not element.is_empty:
                dataset.add(_in_shift_jis(element))
            else:
                dataset.add(element)


def _in_shift_jis(element: DataElement) -> DataElement:
    """Encode a text of ISO_IR 13 as it was read.

    pydicom refuses to write what it reads there: katakana beside Latin letters, and kanji, which many devices put in.
    """
    values = [element.value] if isinstance(element.value, str | PersonName) else element.value
    encoded = "\\".join(map(str, values)).encode("shift_jis", "replace")
    value = PersonName(encoded, ["shift_jis"]) if element.VR == "PN" else encoded
    return DataElement(element.tag, element.VR, value, already_converted=True)


def _readable(header: Dataset, keyword: str) -> DataElement | None:
    """Return an element; None where it is absent or its value cannot be read at all."""
    tag = tag_for_keyword(keyword)
    if tag is None or tag not in header:
        return None
    try:
        return header[tag]
    except (ValueError, TypeError, NotImplementedError):
        return None
