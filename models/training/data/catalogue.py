"""The readers by name, and which of them a folder looks like."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType, ModuleType
from typing import TYPE_CHECKING

from models.evaluation.label_map import BINARY
from models.training.data import (
    bhsd,
    bhx,
    cq500,
    instance2022,
    mbh_seg,
    phantom_studies,
    phantom_subtypes,
    physionet,
    plain_folder,
    rsna2019,
    seg_cq500,
)
from models.training.data.case import BadDataSet

if TYPE_CHECKING:
    from pathlib import Path

    from models.evaluation.label_map import LabelMap
    from models.training.data.case import DataSet

READERS: Mapping[str, ModuleType] = MappingProxyType(
    {
        reader.NAME: reader
        for reader in (
            physionet,
            mbh_seg,
            bhsd,
            seg_cq500,
            instance2022,
            cq500,
            bhx,
            rsna2019,
            phantom_studies,
            phantom_subtypes,  # of the same layout, so never found without its name
            plain_folder,
        )
    }
)


def read_data(folder: Path, *, name: str | None = None, label_map: LabelMap | None = None) -> DataSet:
    """Read a data set; without a name the folder is recognised by its layout.

    `label_map` is for plain folders only: the published sets know what their numbers mean. Raises BadDataSet.
    """
    if not folder.is_dir():
        raise BadDataSet(f"There is no folder {folder}.")
    if name is not None and name not in READERS:
        raise BadDataSet(f"There is no reader {name!r}; there are {', '.join(READERS)}.")
    found = [reader for key, reader in READERS.items() if (key == name if name is not None else reader.matches(folder))]
    if not found:
        raise BadDataSet(f"{folder.name} is laid out as none of {', '.join(READERS)}.")
    if found[0] is plain_folder:
        return plain_folder.read(folder, BINARY if label_map is None else label_map)
    data: DataSet = found[0].read(folder)
    return data
