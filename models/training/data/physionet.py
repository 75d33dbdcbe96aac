"""PhysioNet CT-ICH 1.3.1 (Hssayeni 2020, Data 5:14): 75 scans, binary masks (0/255), subtypes by slice."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from models.evaluation.label_map import BINARY
from models.evaluation.pairing import Fault, MaskFiles
from models.training.data.case import BadDataSet, Case, DataSet, SliceLabels
from models.training.data.licence import PHYSIONET_CT_ICH
from models.training.data.nifti_case import check_cases
from models.training.data.table import is_yes, read_table

if TYPE_CHECKING:
    from pathlib import Path

NAME = ORIGIN = "physionet-ct-ich"
TABLE = "hemorrhage_diagnosis_raw_ct.csv"
PATIENTS = tuple(f"{number:03d}" for number in range(49, 131) if not 59 <= number <= 65)
"""The 75 scans of version 1.3.1; one for each patient."""
_COLUMNS = {
    "Intraventricular": "IVH",
    "Intraparenchymal": "IPH",
    "Subarachnoid": "SAH",
    "Epidural": "EDH",
    "Subdural": "SDH",
}


def matches(folder: Path) -> bool:
    """Whether the folder looks like this data set."""
    return (folder / "ct_scans").is_dir() and (folder / TABLE).is_file()


def read(folder: Path) -> DataSet:
    """Read `ct_scans/NNN.nii`, `masks/NNN.nii` and the table of slices, numbered from 1 in the table."""
    if not matches(folder):
        raise BadDataSet(f"{folder.name} holds no ct_scans folder with {TABLE}.")
    slices: dict[str, list[SliceLabels]] = defaultdict(list)
    for row in read_table(folder / TABLE, ["PatientNumber", "SliceNumber", *_COLUMNS]):
        if not row["PatientNumber"].isdigit() or not row["SliceNumber"].isdigit():
            continue  # empty lines at the end
        found = frozenset(kind for column, kind in _COLUMNS.items() if is_yes(row[column]))
        slices[f"{int(row['PatientNumber']):03d}"].append(
            SliceLabels(index=int(row["SliceNumber"]) - 1, subtypes=found)
        )
    cases = [
        Case(
            name=path.stem,
            patient=f"{ORIGIN}:{path.stem}",
            image=path,
            masks=MaskFiles(mask=folder / "masks" / path.name),
            subtypes=frozenset().union(*(one.subtypes for one in slices[path.stem])) if path.stem in slices else None,
            slices=tuple(slices.get(path.stem, ())),
        )
        for path in sorted((folder / "ct_scans").glob("*.nii"))
    ]
    checked = check_cases(cases)
    unknown = [
        Fault(name=name, code="missing_image", text=f"{name}: the table has slices of it, but there is no scan.")
        for name in sorted(slices)
        if name not in {case.name for case in cases}
    ]
    return DataSet(
        name=NAME,
        origin=ORIGIN,
        licence=PHYSIONET_CT_ICH,
        label_map=BINARY,
        cases=checked.cases,
        faults=(*checked.faults, *unknown),
        notes=checked.notes,
    )
