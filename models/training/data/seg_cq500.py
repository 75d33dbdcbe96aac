"""Seg-CQ500 (Spahr 2023, Zenodo 8063221): 51 scans of CQ500 with binary masks; affines hold the gantry's tilt."""

from __future__ import annotations

from typing import TYPE_CHECKING

from models.evaluation.label_map import BINARY
from models.evaluation.pairing import Fault, MaskFiles
from models.training.data.case import BadDataSet, Case, DataSet
from models.training.data.cq500_names import ORIGIN, name_of, patient_of
from models.training.data.licence import SEG_CQ500
from models.training.data.nifti_case import check_cases

if TYPE_CHECKING:
    from pathlib import Path

NAME = "seg-cq500"
IMAGE, MASK = "CT.nii", "ICH_mask.nii.gz"


def matches(folder: Path) -> bool:
    """Whether the folder looks like this data set."""
    return any(folder.glob(f"**/CQ500*/{MASK}")) or any(folder.glob(f"**/CQ500*/{IMAGE}"))


def read(folder: Path) -> DataSet:
    """Read `.../CQ500-CT-n/{CT.nii, ICH_mask.nii.gz}`, wherever below the folder they lie."""
    if not matches(folder):
        raise BadDataSet(f"{folder.name} holds no CQ500-CT-n folder with {IMAGE} and {MASK}.")
    cases, faults = [], []
    for place in sorted({path.parent for name in (IMAGE, MASK) for path in folder.glob(f"**/CQ500*/{name}")}):
        name = name_of(place.name)
        if name is None:
            text = f"{place.name}: no name of a CQ500 scan."
            faults.append(Fault(name=place.name, code="no_patient", text=text))
            continue
        masks = MaskFiles(mask=place / MASK)
        cases.append(Case(name=name, patient=patient_of(name), image=place / IMAGE, masks=masks))
    checked = check_cases(cases)
    return DataSet(
        name=NAME,
        origin=ORIGIN,
        licence=SEG_CQ500,
        label_map=BINARY,
        cases=checked.cases,
        faults=(*faults, *checked.faults),
        notes=checked.notes,
    )
