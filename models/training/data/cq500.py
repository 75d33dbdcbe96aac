"""CQ500 (Chilamkurthy 2018): 491 scans as DICOM, several series each, and three readers' findings in `reads.csv`.

The thinnest series without contrast and with enough slices is taken; an exam has a subtype where most readers said so.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pydicom
from pydicom.errors import InvalidDicomError

from models.evaluation.pairing import Fault
from models.training.data.case import SUBTYPES, BadDataSet, Case, DataSet
from models.training.data.cq500_names import ORIGIN, name_of, patient_of
from models.training.data.licence import CC_BY_NC_SA
from models.training.data.table import is_yes, read_table

if TYPE_CHECKING:
    from pathlib import Path

NAME = "cq500"
TABLE = "reads.csv"
READERS = ("R1", "R2", "R3")
LEAST_SLICES = 15
_UNFIT = re.compile(r"contrast|post|bone|scout|topo", re.IGNORECASE)


def matches(folder: Path) -> bool:
    """Whether the folder looks like this data set."""
    return (folder / TABLE).is_file() and any(name_of(path.name) for path in folder.iterdir() if path.is_dir())


def read(folder: Path) -> DataSet:
    """Read `CQ500CTn CQ500CTn/Unknown Study/<series>/*.dcm`."""
    if not matches(folder):
        raise BadDataSet(f"{folder.name} holds no {TABLE} with folders named CQ500CTn.")
    exams = {row["name"]: _majority(row) for row in read_table(folder / TABLE, ["name", *_columns()])}
    cases, faults, seen = [], [], set()
    for place in sorted(path for path in folder.iterdir() if path.is_dir()):
        name = name_of(place.name)
        if name is None:
            continue
        seen.add(name)
        files = choose_series(place)
        if not files:
            text = f"{name}: no series without contrast has {LEAST_SLICES} readable slices."
            faults.append(Fault(name=name, code="missing_image", text=text))
            continue
        cases.append(Case(name=name, patient=patient_of(name), dicom=files, subtypes=exams.get(name)))
    faults += [
        Fault(name=name, code="missing_image", text=f"{name}: it was read, but there is no scan.")
        for name in exams
        if name not in seen
    ]
    return DataSet(
        name=NAME, origin=ORIGIN, licence=CC_BY_NC_SA, label_map=None, cases=tuple(cases), faults=tuple(faults)
    )


def choose_series(place: Path) -> tuple[Path, ...]:
    """Return the files of the thinnest fit series below a scan's folder; none where there is no fit one."""
    fit = []
    for series in sorted({path.parent for path in place.rglob("*.dcm")}):
        files = tuple(sorted(series.glob("*.dcm")))
        if _UNFIT.search(series.name) or len(files) < LEAST_SLICES:
            continue
        thickness_mm = _thickness_mm(files[0])
        if thickness_mm is not None:
            fit.append((thickness_mm, -len(files), files))
    return min(fit)[2] if fit else ()


def _thickness_mm(path: Path) -> float | None:
    try:
        header = pydicom.dcmread(path, stop_before_pixels=True, specific_tags=["SliceThickness", "Modality"])
        return float(header.SliceThickness) if header.get("Modality") == "CT" else None
    except (OSError, InvalidDicomError, AttributeError, TypeError, ValueError):
        return None


def _columns() -> list[str]:
    return [f"{reader}:{kind}" for reader in READERS for kind in ("ICH", *SUBTYPES)]


def _majority(row: dict[str, str]) -> frozenset[str]:
    return frozenset(
        kind for kind in SUBTYPES if sum(is_yes(row[f"{reader}:{kind}"]) for reader in READERS) > len(READERS) / 2
    )
