"""A folder of one's own: NIfTI scans with masks of the same name, or a folder per scan with DICOM and its truth.

Layouts: `images/NAME.nii.gz` with `labels/NAME.nii.gz` (also imagesTr, labelsTr); or `NAME/dicom/*.dcm` (or the files
in `NAME` itself) with `truth.nii.gz`, `mask.nii.gz` or `seg.dcm` beside them, as a PACS and `ichor phantom` give them.
Patients are told by the file's or folder's name before `__`; without it, a scan is a patient.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from models.evaluation.label_map import BINARY
from models.evaluation.pairing import Fault, MaskFiles
from models.training.data.case import BadDataSet, Case, DataSet
from models.training.data.licence import OWN
from models.training.data.nifti_case import check_cases

if TYPE_CHECKING:
    from pathlib import Path

    from models.evaluation.label_map import LabelMap

NAME = "folder"
IMAGE_FOLDERS = {"images": "labels", "imagesTr": "labelsTr"}
TRUTHS = ("truth.nii.gz", "mask.nii.gz", "seg.dcm")
_SUFFIXES = (".nii.gz", ".nii")


def matches(folder: Path) -> bool:
    """Whether the folder has one of the layouts."""
    return any((folder / name).is_dir() for name in IMAGE_FOLDERS) or any(_scan_folders(folder))


def read(folder: Path, label_map: LabelMap = BINARY) -> DataSet:
    """Read the folder; what the masks' numbers mean must be said unless they are 0/1 or 0/255."""
    if not matches(folder):
        wanted = ", ".join([*IMAGE_FOLDERS, "NAME/" + TRUTHS[0]])
        raise BadDataSet(f"{folder.name} has none of the layouts {wanted}.")
    cases = [*_nifti_cases(folder), *_dicom_cases(folder)]
    checked = check_cases(cases)
    twice = {case.name for case in checked.cases if sum(other.name == case.name for other in cases) > 1}
    if twice:
        raise BadDataSet(f"{folder.name} holds two scans named {min(twice)}.")
    known = {case.name for case in cases}
    stray = [
        Fault(name=name, code="missing_image", text=f"{name}: there is a mask but no scan.")
        for images, labels in IMAGE_FOLDERS.items()
        if (folder / images).is_dir() and (folder / labels).is_dir()
        for path in sorted((folder / labels).iterdir())
        if (name := _name(path)) is not None and name not in known
    ]
    return DataSet(
        name=folder.name,
        origin=f"folder {folder.name}",
        licence=OWN,
        label_map=label_map,
        cases=checked.cases,
        faults=(*checked.faults, *stray),
        notes=checked.notes,
    )


def _nifti_cases(folder: Path) -> list[Case]:
    cases = []
    for images, labels in IMAGE_FOLDERS.items():
        if not (folder / images).is_dir():
            continue
        for path in sorted((folder / images).iterdir()):
            name = _name(path)
            if name is None:
                continue
            held = [folder / labels / f"{name}{suffix}" for suffix in _SUFFIXES]
            mask = next((one for one in held if one.is_file()), held[0])
            cases.append(Case(name=name, patient=_patient(folder, name), image=path, masks=MaskFiles(mask=mask)))
    return cases


def _dicom_cases(folder: Path) -> list[Case]:
    cases = []
    for place in _scan_folders(folder):
        inner = place / "dicom"
        files = sorted((inner if inner.is_dir() else place).glob("*.dcm"))
        mask = next((place / name for name in TRUTHS if (place / name).is_file()), None)
        cases.append(
            Case(
                name=place.name,
                patient=_patient(folder, place.name),
                dicom=tuple(path for path in files if path.name != "seg.dcm"),
                masks=MaskFiles(mask=mask),
            )
        )
    return cases


def _scan_folders(folder: Path) -> list[Path]:
    """Return the folders that hold DICOM files or a truth; those of NIfTI layouts are none."""
    reserved = {*IMAGE_FOLDERS, *IMAGE_FOLDERS.values()}
    return [
        place
        for place in sorted(folder.iterdir())
        if place.is_dir()
        and place.name not in reserved
        and (any(place.glob("*.dcm")) or any(place.glob("dicom/*.dcm")) or any((place / t).is_file() for t in TRUTHS))
    ]


def _patient(folder: Path, name: str) -> str:
    return f"folder {folder.name}:{name.split('__', maxsplit=1)[0]}"


def _name(path: Path) -> str | None:
    for suffix in _SUFFIXES:
        if path.name.endswith(suffix) and not path.name.startswith("."):
            return path.name.removesuffix(suffix)
    return None
