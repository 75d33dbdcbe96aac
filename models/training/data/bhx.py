"""BHX 1.1 (Reis 2020): boxes round bleeds on images of CQ500, by SOP Instance UID; pixels come with CQ500."""

from __future__ import annotations

import ast
from collections import defaultdict
from dataclasses import replace
from typing import TYPE_CHECKING

import pydicom

from models.evaluation.pairing import Fault
from models.training.data.case import BadDataSet, Box, Case, DataSet
from models.training.data.cq500_names import ORIGIN
from models.training.data.licence import BHX
from models.training.data.table import read_table

if TYPE_CHECKING:
    from pathlib import Path

NAME = "bhx"
BY_HAND = "1_Initial_Manual_Labeling.csv"
EXTRAPOLATED = ("2_Extrapolation_to_All_Series.csv", "3_Extrapolation_to_Selected_Series.csv")
SIDE = 512  # pixels of CQ500's images, to which boxes are clipped
_KINDS = {
    "Intraparenchymal": "IPH",
    "Intraventricular": "IVH",
    "Subarachnoid": "SAH",
    "Subdural": "SDH",
    "Epidural": "EDH",
    "Chronic": "chronic",
}


def matches(folder: Path) -> bool:
    """Whether the folder looks like this data set."""
    return (folder / BY_HAND).is_file()


def read(folder: Path) -> DataSet:
    """Read the boxes drawn by hand, and the first extrapolation that is there; a case is a study, without images."""
    if not matches(folder):
        raise BadDataSet(f"{folder.name} holds no {BY_HAND}.")
    boxes: dict[str, list[Box]] = defaultdict(list)
    faults = []
    tables = [BY_HAND, *[name for name in EXTRAPOLATED if (folder / name).is_file()][:1]]
    seen: set[tuple[str, str, float, float]] = set()
    for table in tables:
        rows = read_table(folder / table, ["SOPInstanceUID", "StudyInstanceUID", "data", "labelName"])
        for number, row in enumerate(rows, start=2):
            box = _box(row, by_hand=table == BY_HAND)
            if box is None:
                where = f"{table}, line {number}"
                faults.append(Fault(name=where, code="bad_box", text=f"{where}: no usable box."))
            elif (key := (box.sop_instance_uid, box.kind, box.x, box.y)) not in seen:
                seen.add(key)
                boxes[row["StudyInstanceUID"]].append(box)
    cases = tuple(
        Case(name=study, patient=f"{ORIGIN}:study:{study}", boxes=tuple(found))
        for study, found in sorted(boxes.items())
    )
    return DataSet(name=NAME, origin=ORIGIN, licence=BHX, label_map=None, cases=cases, faults=tuple(faults))


def join(boxes: DataSet, scans: DataSet) -> DataSet:
    """Give CQ500's scans the boxes of their images; studies that are not there become faults."""
    by_image = {box.sop_instance_uid: box for case in boxes.cases for box in case.boxes}
    found: set[str] = set()
    cases = []
    for case in scans.cases:
        uids = [
            str(pydicom.dcmread(path, stop_before_pixels=True, specific_tags=["SOPInstanceUID"]).SOPInstanceUID)
            for path in case.dicom
        ]
        here = frozenset(uids) & by_image.keys()
        found |= here
        held = tuple(box for one in boxes.cases for box in one.boxes if box.sop_instance_uid in here)
        if held:
            cases.append(replace(case, boxes=held))
    faults = [
        Fault(name=case.name, code="missing_image", text=f"{case.name}: no image of its boxes is there.")
        for case in boxes.cases
        if not any(box.sop_instance_uid in found for box in case.boxes)
    ]
    return replace(boxes, cases=tuple(cases), faults=(*boxes.faults, *scans.faults, *faults))


def _box(row: dict[str, str], *, by_hand: bool) -> Box | None:
    try:
        stated = ast.literal_eval(row["data"])  # a Python literal, never code
        left, top = max(float(stated["x"]), 0.0), max(float(stated["y"]), 0.0)
        right = min(float(stated["x"]) + float(stated["width"]), SIDE)
        bottom = min(float(stated["y"]) + float(stated["height"]), SIDE)
        kind = _KINDS[row["labelName"]]
    except (ValueError, SyntaxError, KeyError, TypeError):
        return None
    if right <= left or bottom <= top or not row["SOPInstanceUID"] or not row["StudyInstanceUID"]:
        return None
    return Box(
        sop_instance_uid=row["SOPInstanceUID"],
        kind=kind,
        x=left,
        y=top,
        width=right - left,
        height=bottom - top,
        by_hand=by_hand,
    )
