"""What a query needs to know of a stored object and the catalogue does not keep."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

import pydicom

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from ichor.catalogue.records import DeliveryObjectRow


def by_series(items: Iterable[DeliveryObjectRow]) -> Mapping[str, list[str]]:
    """Give the SOP Instance UIDs of each series."""
    grouped: defaultdict[str, list[str]] = defaultdict(list)
    for item in items:
        grouped[series_instance_uid_of(item.path)].append(item.sop_instance_uid)
    return grouped


def series_instance_uid_of(path: Path) -> str:
    """Read the Series Instance UID of one of our own objects."""
    header = pydicom.dcmread(path, stop_before_pixels=True, specific_tags=["SeriesInstanceUID"])
    return str(header.SeriesInstanceUID)
