"""Synthetic adult head CTs with known bleeds: as DICOM studies with their truth, or directly as volumes."""

from models.phantoms.lesions import LesionRequest, PhantomInvalid, parse_lesion
from models.phantoms.plan import PhantomPlan
from models.phantoms.study import write_phantom
from models.phantoms.truth import PhantomTruth

__all__ = ["LesionRequest", "PhantomInvalid", "PhantomPlan", "PhantomTruth", "parse_lesion", "write_phantom"]
