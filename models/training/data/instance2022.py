"""INSTANCE 2022: `data/NNN.nii.gz` and `label/NNN.nii.gz` (anything above 0 is blood), 100 scans with masks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from models.evaluation.label_map import BINARY
from models.evaluation.pairing import MaskFiles
from models.training.data.case import BadDataSet, Case, DataSet
from models.training.data.licence import INSTANCE_2022
from models.training.data.nifti_case import check_cases

if TYPE_CHECKING:
    from pathlib import Path

NAME = ORIGIN = "instance-2022"


def matches(folder: Path) -> bool:
    """Whether the folder, or one within it such as `train_2`, looks like this data set."""
    return _place(folder) is not None


def read(folder: Path) -> DataSet:
    """Read the part that has masks."""
    place = _place(folder)
    if place is None:
        raise BadDataSet(f"{folder.name} holds no data and label folders with NNN.nii.gz.")
    cases = [
        Case(name=name, patient=f"{ORIGIN}:{name}", image=path, masks=MaskFiles(mask=place / "label" / path.name))
        for path in sorted((place / "data").glob("*.nii.gz"))
        if (name := path.name.removesuffix(".nii.gz"))
    ]
    checked = check_cases(cases)
    return DataSet(
        name=NAME,
        origin=ORIGIN,
        licence=INSTANCE_2022,
        label_map=BINARY,
        cases=checked.cases,
        faults=checked.faults,
        notes=checked.notes,
    )


def _place(folder: Path) -> Path | None:
    for place in (folder, *sorted(path for path in folder.glob("*") if path.is_dir())):
        if (place / "label").is_dir() and any((place / "data").glob("[0-9][0-9][0-9].nii.gz")):
            return place
    return None
