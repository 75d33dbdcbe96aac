"""MBH-Seg25: a folder per scan of RSNA 2019 with `image.nii.gz` and up to five raters' masks; other scans by exam.

Exam labels stand in `case-wise_annotation.csv` beside the scans of the `case-label` part. The organisers' STAPLE
consensus is the mask where it is there; without it the raters' majority is.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from models.evaluation.label_map import FIVE_SUBTYPE
from models.evaluation.pairing import Fault, MaskFiles
from models.training.data.case import BadDataSet, Case, DataSet
from models.training.data.licence import MBH_SEG
from models.training.data.nifti_case import check_cases
from models.training.data.rsna_names import ORIGIN, patient_of
from models.training.data.table import is_yes, read_table

if TYPE_CHECKING:
    from pathlib import Path

NAME = "mbh-seg"
TABLE = "case-wise_annotation.csv"
IMAGE = "image.nii.gz"
CONSENSUS = "label_consensus_staple.nii.gz"
_RATER = re.compile(r"label_annot_(\d+)\.nii\.gz$")
_COLUMNS = {"epidural": "EDH", "intraparenchymal": "IPH", "intraventricular": "IVH", "subarachnoid": "SAH"} | {
    "subdural": "SDH"
}


def matches(folder: Path) -> bool:
    """Whether the folder looks like this data set."""
    return any(folder.glob(f"**/ID_*_ID_*/{IMAGE}")) or any(folder.glob(f"**/{TABLE}"))


def read(folder: Path) -> DataSet:
    """Read the segmented and the labelled part, wherever below the folder they lie."""
    if not matches(folder):
        raise BadDataSet(f"{folder.name} holds neither ID_<patient>_ID_<study>/{IMAGE} nor {TABLE}.")
    cases, faults = [], []
    for image in sorted(folder.glob(f"**/ID_*_ID_*/{IMAGE}")):
        name = image.parent.name
        patient = patient_of(name)
        if patient is None:
            faults.append(Fault(name=name, code="no_patient", text=f"{name}: the name states no patient."))
            continue
        raters = sorted(
            (path for path in image.parent.iterdir() if _RATER.match(path.name)),
            key=lambda path: int(_RATER.sub(r"\1", path.name)),
        )
        consensus = image.parent / CONSENSUS
        masks = MaskFiles(mask=consensus if consensus.is_file() else None, raters=tuple(raters))
        cases.append(Case(name=name, patient=patient, image=image, masks=masks))
    checked = check_cases(cases)
    labelled, more = _labelled(folder)
    return DataSet(
        name=NAME,
        origin=ORIGIN,
        licence=MBH_SEG,
        label_map=FIVE_SUBTYPE,
        cases=(*checked.cases, *labelled),
        faults=(*faults, *checked.faults, *more),
        notes=checked.notes,
    )


def _labelled(folder: Path) -> tuple[list[Case], list[Fault]]:
    cases, faults = [], []
    for table in sorted(folder.glob(f"**/{TABLE}")):
        for row in read_table(table, ["patientID_studyID", *_COLUMNS]):
            name = row["patientID_studyID"]
            patient, image = patient_of(name), table.parent / f"{name}.nii.gz"
            if patient is None or not image.is_file():
                faults.append(
                    Fault(name=name, code="missing_image", text=f"{name}: the table names it, but there is no scan.")
                )
                continue
            found = frozenset(kind for column, kind in _COLUMNS.items() if is_yes(row[column]))
            cases.append(Case(name=name, patient=patient, image=image, subtypes=found))
    return cases, faults
