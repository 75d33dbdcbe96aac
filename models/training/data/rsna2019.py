"""RSNA 2019: single DICOM images with subtypes by slice in a long table; exams are put together from the headers."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

import numpy as np
import pydicom
from pydicom import config
from pydicom.errors import InvalidDicomError

from models.evaluation.pairing import Fault
from models.training.data.case import BadDataSet, Case, DataSet, SliceLabels
from models.training.data.licence import RSNA_2019
from models.training.data.rsna_names import ORIGIN
from models.training.data.table import is_yes, read_table

if TYPE_CHECKING:
    from pathlib import Path

    from pydicom import Dataset

NAME = "rsna-2019"
TABLE, IMAGES = "stage_2_train.csv", "stage_2_train"
BROKEN = frozenset({"ID_6431af929"})  # its pixel data are cut off
_KINDS = {
    "epidural": "EDH",
    "intraparenchymal": "IPH",
    "intraventricular": "IVH",
    "subarachnoid": "SAH",
    "subdural": "SDH",
}
_TAGS = ["StudyInstanceUID", "PatientID", "ImagePositionPatient", "ImageOrientationPatient"]


def matches(folder: Path) -> bool:
    """Whether the folder looks like this data set."""
    return (folder / TABLE).is_file() and (folder / IMAGES).is_dir()


def read(folder: Path) -> DataSet:
    """Read the table and every image's header; images of one study are sorted along the normal, foot to head."""
    if not matches(folder):
        raise BadDataSet(f"{folder.name} holds no {TABLE} with a folder {IMAGES}.")
    labels = _labels(folder / TABLE)
    studies: dict[str, list[tuple[float, str, Path]]] = defaultdict(list)
    patients: dict[str, str] = {}
    faults = []
    for name in sorted(labels):
        path = folder / IMAGES / f"{name}.dcm"
        try:
            header = pydicom.dcmread(path, stop_before_pixels=True, specific_tags=_TAGS)
            with config.disable_value_validation():  # the set's UIDs are of the form ID_hex, which no UID has
                study = str(header.StudyInstanceUID)
            patients[study] = str(header.PatientID)
            studies[study].append((_along_normal(header), name, path))
        except (OSError, InvalidDicomError, AttributeError, TypeError, ValueError):
            text = f"{name}: the table names it, but there is no readable image."
            faults.append(Fault(name=name, code="missing_image", text=text))
    cases = []
    for study, images in sorted(studies.items()):
        slices = tuple(SliceLabels(file=path, subtypes=labels[name]) for _, name, path in sorted(images))
        cases.append(
            Case(
                name=study,
                patient=f"{ORIGIN}:{patients[study]}",
                dicom=tuple(one.file for one in slices if one.file is not None),
                subtypes=frozenset().union(*(one.subtypes for one in slices)),
                slices=slices,
            )
        )
    return DataSet(
        name=NAME, origin=ORIGIN, licence=RSNA_2019, label_map=None, cases=tuple(cases), faults=tuple(faults)
    )


def _labels(table: Path) -> dict[str, frozenset[str]]:
    """Return the subtypes of every image; lines that come twice count once."""
    found: dict[str, set[str]] = {}
    for row in read_table(table, ["ID", "Label"]):
        name, _, kind = row["ID"].rpartition("_")
        if not name or name in BROKEN:
            continue
        kinds = found.setdefault(name, set())
        if kind in _KINDS and is_yes(row["Label"]):
            kinds.add(_KINDS[kind])
    return {name: frozenset(kinds) for name, kinds in found.items()}


def _along_normal(header: Dataset) -> float:
    cosines = np.array(header.ImageOrientationPatient, dtype=np.float64).reshape(2, 3)
    return float(np.cross(cosines[0], cosines[1]) @ np.array(header.ImagePositionPatient, dtype=np.float64))
