"""A torch.export program (`*.pt2`) with an `ichor.json` that says everything about it. Loading one can run code."""

from __future__ import annotations

from typing import TYPE_CHECKING

from models.adding.description import NOT_STATED
from models.adding.draft import Draft
from models.adding.package import ModelRefused

if TYPE_CHECKING:
    from pathlib import Path

    from models.adding.description import Description


def is_exported(folder: Path) -> bool:
    """Whether a folder holds a torch.export program."""
    return any(folder.glob("*.pt2"))


def read_exported(folder: Path, description: Description) -> Draft:
    """Take a program as it is, unread; raise ModelRefused where `ichor.json` leaves something open."""
    programs = sorted(folder.glob("*.pt2"))
    if len(programs) != 1:
        raise ModelRefused(f"There are {len(programs)} programs in {folder.name}; give one.")
    if description.spacing_zyx_mm is None or description.hu_window is None or not description.labels:
        raise ModelRefused("ichor.json beside a .pt2 must give spacing_zyx_mm, hu_window and labels.")
    names = {int(index): index for index in description.labels if index.isdecimal()}
    if len(names) != len(description.labels):
        raise ModelRefused("The labels in ichor.json must be numbered by their channels, from 1.")
    name = folder.name
    orientation = {} if description.orientation is None else {"orientation": description.orientation}
    return Draft(
        family="export",
        name=name,
        version="1",
        title=name,
        licence=NOT_STATED,
        source=f"torch.export program {programs[0].name}",
        spacing_zyx_mm=description.spacing_zyx_mm,
        hu_window=description.hu_window,
        labels=description.labels_of(names),
        parameters={"everywhere": True, **orientation},
        program=programs[0],
    )
