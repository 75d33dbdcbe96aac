"""What a data set holds: scans with their truth, of whatever kind, and who may use them for what.

A scan that cannot be used (mask missing, other shape) becomes a fault with its name; nothing stops at it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ichor.errors import PermanentError
from models.evaluation.pairing import MaskFiles

if TYPE_CHECKING:
    from pathlib import Path

    from models.evaluation.label_map import LabelMap
    from models.evaluation.pairing import Fault
    from models.training.data.licence import Licence

SUBTYPES = ("EDH", "IPH", "IVH", "SAH", "SDH")


class BadDataSet(PermanentError):
    """The folder does not hold the data set."""

    code = "bad_data_set"


@dataclass(frozen=True, slots=True, kw_only=True)
class Box:
    """A rectangle round a bleed on one image, in pixels from the image's first corner."""

    sop_instance_uid: str
    kind: str  # a subtype, or "chronic"
    x: float
    y: float
    width: float
    height: float
    by_hand: bool  # else extrapolated from another series


@dataclass(frozen=True, slots=True, kw_only=True)
class SliceLabels:
    """The subtypes on one slice: of a NIfTI stack by its number from 0, of a DICOM image by its file."""

    index: int | None = None
    file: Path | None = None
    subtypes: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One scan. `patient` is unique over all data sets of one origin, so that splits and overlaps can be told."""

    name: str
    patient: str
    image: Path | None = None  # NIfTI
    dicom: tuple[Path, ...] = ()
    masks: MaskFiles = field(default_factory=MaskFiles)
    subtypes: frozenset[str] | None = None  # of the whole exam, where somebody said so
    slices: tuple[SliceLabels, ...] = ()
    boxes: tuple[Box, ...] = ()

    @property
    def segmented(self) -> bool:
        """Whether there is a mask."""
        return self.masks.mask is not None or bool(self.masks.raters)


@dataclass(frozen=True, slots=True, kw_only=True)
class DataSet:
    """A data set as it lies on disk."""

    name: str
    origin: str  # sets of one origin show the same patients
    licence: Licence
    label_map: LabelMap | None  # of the masks; None where there are none
    cases: tuple[Case, ...]
    faults: tuple[Fault, ...] = ()
    notes: tuple[str, ...] = ()
