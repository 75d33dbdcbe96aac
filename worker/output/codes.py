"""The coded concepts of the outputs, written out: pydicom's dictionary gives some SNOMED codes another meaning.

Codes of labels (finding, region, type) come from the model's spec. What the standards have no code for stands in the
private scheme `99ICHOR`, whose whole dictionary ends this module.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from highdicom.sr import CodedConcept

if TYPE_CHECKING:
    from models.spec import Code

PRIVATE_SCHEME = "99ICHOR"
PRIVATE_SCHEME_NAME = "Ichor private codes"


def concept(code: Code) -> CodedConcept:
    """Turn a code of a model's spec into a coded concept."""
    return CodedConcept(code.value, code.scheme, code.meaning)


# CID 7150 Segmentation Property Category, CID 7162 Algorithm Family
ABNORMAL_STRUCTURE = CodedConcept("49755003", "SCT", "Morphologically Abnormal Structure")
ARTIFICIAL_INTELLIGENCE = CodedConcept("123110", "DCM", "Artificial Intelligence")

# TID 1500 Measurement Report, TID 1600 Image Library
MEASUREMENT_REPORT = CodedConcept("126000", "DCM", "Imaging Measurement Report")
IMAGING_MEASUREMENTS = CodedConcept("126010", "DCM", "Imaging Measurements")
QUALITATIVE_EVALUATIONS = CodedConcept("C0034375", "UMLS", "Qualitative Evaluations")
IMAGE_LIBRARY = CodedConcept("111028", "DCM", "Image Library")
IMAGE_LIBRARY_GROUP = CodedConcept("126200", "DCM", "Image Library Group")
PROCEDURE_REPORTED = CodedConcept("121058", "DCM", "Procedure Reported")
CT_ANY_REGION = CodedConcept("25045-6", "LN", "CT unspecified body region")
COMMENT = CodedConcept("121106", "DCM", "Comment")

SOURCE_IMAGE = CodedConcept("260753009", "SCT", "Source")

# TID 1204 Language
LANGUAGE = CodedConcept("121049", "DCM", "Language of Content Item and Descendants")
ENGLISH = CodedConcept("en-GB", "RFC5646", "English (United Kingdom)")

# TID 1419 ROI Measurements, CID 7181 Units
VOLUME = CodedConcept("118565006", "SCT", "Volume")
LONG_AXIS = CodedConcept("103339001", "SCT", "Long Axis")
SHORT_AXIS = CodedConcept("103340004", "SCT", "Short Axis")
ATTENUATION = CodedConcept("112031", "DCM", "Attenuation Coefficient")
MILLILITRE = CodedConcept("ml", "UCUM", "ml")
MILLIMETRE = CodedConcept("mm", "UCUM", "mm")
HOUNSFIELD = CodedConcept("[hnsf'U]", "UCUM", "Hounsfield unit")
ONE = CodedConcept("1", "UCUM", "no units")
SUM_OF_VOXELS = CodedConcept("126030", "DCM", "Sum of segmented voxel method for volume")
MEDIAN = CodedConcept("373099004", "SCT", "Median")
MINIMUM = CodedConcept("255605001", "SCT", "Minimum")
MAXIMUM = CodedConcept("56851009", "SCT", "Maximum")
INTRACRANIAL = CodedConcept("1101003", "SCT", "Intracranial")
INTRACRANIAL_HAEMORRHAGE = CodedConcept("1386000", "SCT", "Intracranial hemorrhage")

# Presence: absent is never said, for an algorithm that marks nothing has not shown absence
PRESENCE = CodedConcept("705057003", "SCT", "Presence")
PRESENT = CodedConcept("52101004", "SCT", "Present")
INDETERMINATE = CodedConcept("82334004", "SCT", "Indeterminate")

# CID 7010 Key Object Selection Document Title, of a rejection note (IHE Imaging Object Change Management)
REJECTED_FOR_QUALITY = CodedConcept("113001", "DCM", "Rejected for Quality Reasons")

# CID 244 Laterality; where the side is open, or the midline, no code is given and the words say it
LATERALITY = CodedConcept("272741003", "SCT", "Laterality")
SIDES = {
    "left": CodedConcept("7771000", "SCT", "Left"),
    "right": CodedConcept("24028007", "SCT", "Right"),
    "bilateral": CodedConcept("51440002", "SCT", "Bilateral"),
}

# Of the private scheme
ALGORITHM_RESULT = CodedConcept("RESULT", PRIVATE_SCHEME, "Result of an algorithm, not reviewed")
ABC2 = CodedConcept("ABC2", PRIVATE_SCHEME, "Volume by ABC/2 (Kothari 1996)")
SHARE_ABOVE_100_HU = CodedConcept("ABOVE100", PRIVATE_SCHEME, "Share of voxels above 100 HU")
COMPONENTS = CodedConcept("COMPONENTS", PRIVATE_SCHEME, "Number of connected components")
LEAST_OF_MEMBERS = CodedConcept("MEMBERMIN", PRIVATE_SCHEME, "Smallest volume of a single member")
MEMBERS_AGREEING = CodedConcept("MEMBERAGREE", PRIVATE_SCHEME, "Members that mark the largest part alike")
MOST_OF_MEMBERS = CodedConcept("MEMBERMAX", PRIVATE_SCHEME, "Largest volume of a single member")
