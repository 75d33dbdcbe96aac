"""BHSD and MBH-Seg24 (192 scans of RSNA 2019, five subtypes): `imagesTr`, `labelsTr`, `imagesTs`, `labelsTs`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from models.evaluation.label_map import FIVE_SUBTYPE
from models.evaluation.pairing import Fault, MaskFiles
from models.training.data.case import BadDataSet, Case, DataSet
from models.training.data.licence import BHSD
from models.training.data.nifti_case import check_cases
from models.training.data.rsna_names import ORIGIN, patient_of

if TYPE_CHECKING:
    from pathlib import Path

NAME = "bhsd"
_PARTS = ("Tr", "Ts")


def matches(folder: Path) -> bool:
    """Whether the folder looks like this data set."""
    images = folder / "imagesTr"
    return images.is_dir() and any(images.glob("ID_*_ID_*.nii.gz"))


def read(folder: Path) -> DataSet:
    """Read both parts; a scan whose name states no patient is a fault, for it could stand on both sides of a split."""
    if not matches(folder):
        raise BadDataSet(f"{folder.name} holds no imagesTr folder with scans named ID_<patient>_ID_<study>.")
    cases, faults = [], []
    for part in _PARTS:
        for path in sorted((folder / f"images{part}").glob("*.nii.gz")):
            name = path.name.removesuffix(".nii.gz")
            patient = patient_of(name)
            if patient is None:
                faults.append(Fault(name=name, code="no_patient", text=f"{name}: the name states no patient."))
                continue
            masks = MaskFiles(mask=folder / f"labels{part}" / path.name)
            cases.append(Case(name=name, patient=patient, image=path, masks=masks))
    checked = check_cases(cases)
    return DataSet(
        name=NAME,
        origin=ORIGIN,
        licence=BHSD,
        label_map=FIVE_SUBTYPE,
        cases=checked.cases,
        faults=(*faults, *checked.faults),
        notes=checked.notes,
    )
