"""Phantom studies by their second truth, `subtypes.nii.gz`: five subtypes of blood, and nothing of oedema.

Never recognised by the layout, which is that of `phantom_studies`: a recipe names this reader.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from models.evaluation.label_map import FIVE_SUBTYPE
from models.phantoms.study import SUBTYPES_FILE
from models.training.data import phantom_studies

if TYPE_CHECKING:
    from pathlib import Path

    from models.training.data.case import DataSet

NAME = "phantom-subtypes"


def matches(folder: Path) -> bool:
    """Whether the folder holds phantom studies."""
    return phantom_studies.matches(folder)


def read(folder: Path) -> DataSet:
    """Read a folder of studies; one that was written before there was a second truth is named as a fault."""
    return phantom_studies.read_masks(folder, SUBTYPES_FILE, FIVE_SUBTYPE)
