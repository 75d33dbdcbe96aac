"""A NIfTI scan with its masks, looked at by their headers: what does not fit is named."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import nibabel as nib
import numpy as np
from nibabel.filebasedimages import ImageFileError

from models.evaluation.grid import MaskGrid
from models.evaluation.pairing import Fault

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from models.training.data.case import Case


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """The scans that can be used, what is wrong with the others, and what is odd about these."""

    cases: tuple[Case, ...]
    faults: tuple[Fault, ...]
    notes: tuple[str, ...]


def check_cases(cases: Iterable[Case], *, masks_needed: bool = True) -> Checked:
    """Look at the headers of every case's image and masks."""
    fit: list[Case] = []
    faults: list[Fault] = []
    sheared: list[str] = []
    moved: list[str] = []
    for case in cases:
        try:
            problem = _look_at(case, sheared, moved, masks_needed=masks_needed)
        except (OSError, ImageFileError, EOFError, ValueError) as error:
            problem = Fault(
                name=case.name, code="unreadable", text=f"{case.name}: cannot be read ({type(error).__name__})."
            )
        if problem is None:
            fit.append(case)
        else:
            faults.append(problem)
    notes = []
    if sheared:
        notes.append(f"Sheared grid (tilted gantry), kept as it is: {_named(sheared)}.")
    if moved:
        notes.append(f"The mask's affine differs from the image's, whose place holds: {_named(moved)}.")
    return Checked(cases=tuple(fit), faults=tuple(faults), notes=tuple(notes))


def grid_of(path: Path) -> MaskGrid:
    """Return where a NIfTI file's voxels lie, from its header alone; trailing axes of one are dropped."""
    image: Any = nib.load(path)
    shape = tuple(int(side) for side in image.shape)
    while len(shape) > 3 and shape[-1] == 1:
        shape = shape[:-1]
    if len(shape) != 3:
        raise ValueError(f"{path.name} has {len(shape)} axes")
    return MaskGrid(shape=(shape[0], shape[1], shape[2]), affine_ras=np.asarray(image.affine, dtype=np.float64))


def _look_at(case: Case, sheared: list[str], moved: list[str], *, masks_needed: bool) -> Fault | None:
    masks = [*([] if case.masks.mask is None else [case.masks.mask]), *case.masks.raters]
    missing = [path.name for path in masks if not path.is_file()]
    if missing or (masks_needed and not masks):
        return Fault(name=case.name, code="missing_mask", text=f"{case.name}: there is a scan but no mask.")
    if case.image is None:
        return None
    if not case.image.is_file():
        return Fault(name=case.name, code="missing_image", text=f"{case.name}: there is a mask but no scan.")
    grid = grid_of(case.image)
    for path in masks:
        of_mask = grid_of(path)
        if of_mask.shape != grid.shape:
            return Fault(
                name=case.name,
                code="mismatched_shape",
                text=f"{case.name}: {path.name} has the shape {of_mask.shape}, the scan {grid.shape}.",
            )
        if not of_mask.lies_with(grid) and case.name not in moved:
            moved.append(case.name)
    if grid.sheared:
        sheared.append(case.name)
    return None


def _named(names: list[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
