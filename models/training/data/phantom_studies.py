"""Phantom studies as `ichor phantom` writes them: `NAME/dicom/*.dcm` with `truth.nii.gz` in four classes.

Subtypes by slice come from `truth.json`: where the very voxels of the mask hold each lesion's blood. Studies that were
painted into the head of a person are that person's, all of them together, and come under the terms of its owner.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from models.evaluation.label_map import FOUR_CLASS
from models.evaluation.pairing import Fault, MaskFiles
from models.phantoms.study import DICOM_FOLDER, LABELS_FILE, TRUTH_FILE
from models.training.data.case import BadDataSet, Case, DataSet, SliceLabels
from models.training.data.licence import PAINTED, PHANTOM, inherited
from models.training.data.nifti_case import check_cases

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from models.evaluation.label_map import LabelMap

NAME = ORIGIN = "phantoms"


def matches(folder: Path) -> bool:
    """Whether the folder holds phantom studies."""
    return any(folder.glob(f"*/{TRUTH_FILE}"))


def read(folder: Path) -> DataSet:
    """Read a folder of studies, such as one part of the benchmark."""
    return read_masks(folder, LABELS_FILE, FOUR_CLASS)


def read_masks(folder: Path, mask: str, label_map: LabelMap) -> DataSet:
    """Read a folder of studies with one of their two truths."""
    if not matches(folder):
        raise BadDataSet(f"{folder.name} holds no phantom study.")
    cases, faults, terms = [], [], set()
    for place in sorted(path.parent for path in folder.glob(f"*/{TRUTH_FILE}")):
        files = tuple(sorted((place / DICOM_FOLDER).glob("*.dcm")))
        if not files:
            text = f"{place.name}: there is a truth but no image."
            faults.append(Fault(name=place.name, code="missing_image", text=text))
            continue
        stated = json.loads((place / TRUTH_FILE).read_text(encoding="utf-8"))
        head = stated.get("painted_into")
        slices = _slices(stated)
        terms.add(PHANTOM if head is None else PAINTED)
        cases.append(
            Case(
                name=place.name,
                patient=f"{ORIGIN}:{place.name}" if head is None else f"{ORIGIN}:painted:{head}",
                dicom=files,
                masks=MaskFiles(mask=place / mask),
                subtypes=frozenset().union(*(one.subtypes for one in slices)) if slices else None,
                slices=slices,
            )
        )
    checked = check_cases(cases)
    return DataSet(
        name=f"{NAME} {folder.name}",
        origin=ORIGIN,
        licence=inherited(terms) if terms else PHANTOM,
        label_map=label_map,
        cases=checked.cases,
        faults=(*faults, *checked.faults),
    )


def _slices(stated: Mapping[str, Any]) -> tuple[SliceLabels, ...]:
    """Return the subtypes of every slice, foot to head; none of a study from before they were written."""
    if any("slices" not in lesion for lesion in stated["lesions"]):
        return ()
    return tuple(
        SliceLabels(index=k, subtypes=frozenset(one["kind"].upper() for one in stated["lesions"] if k in one["slices"]))
        for k in range(stated["slices"])
    )
