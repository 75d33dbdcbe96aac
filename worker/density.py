"""Each connected part of a label by its unclipped voxels and its place: what may be no blood, and is never dropped.

Models see no density above 100 HU, so the source's own voxels are asked. Near skull and falx less of it makes a
warning: calcified falx, inner table and beam hardening lie there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.spatial import KDTree

from worker.components import COUNTED_ML
from worker.findings import FindingPart
from worker.reason import Reason

if TYPE_CHECKING:
    import numpy.typing as npt

    from worker.components import Parts
    from worker.head import Head
    from worker.members import Members
    from worker.midline import Midline
    from worker.volume import Volume

DENSE_HU = 100  # clotted blood stays below; calcification, metal and contrast do not
DENSE_SHARE = 0.25
DENSE_SHARE_AT_BONE = 0.10
DENSE_MEDIAN_HU = 90.0
AT_BONE_MM = 3.0  # of skull or midline plane: neither is known better
SKULL_RADIUS_MM = 2.0  # half a block of the head's survey, whose centres stand for the skull
CELL_MM = 2.0  # voxels this close have the same distance to the skull
MOST_PARTS = 20


def parts_of_finding(
    volume: Volume,
    parts: Parts,
    points_lps_mm: npt.NDArray[np.float64],
    head: Head,
    midline: Midline | None,
    *,
    label: int,
    members: Members | None,
) -> tuple[FindingPart, ...]:
    """Measure the parts large enough to be counted, largest first, at most MOST_PARTS; at least the largest."""
    hu = volume.hu_kji[parts.k, parts.j, parts.i]
    skull = KDTree(head.skull_lps_mm) if len(head.skull_lps_mm) else None
    measured = []
    for number in np.flatnonzero(parts.part_ml >= min(COUNTED_ML, parts.part_ml[0]))[:MOST_PARTS]:
        mine = parts.part == number
        points = points_lps_mm[mine]
        measured.append(
            FindingPart(
                volume_ml=float(parts.part_ml[number]),
                median_hu=float(np.median(hu[mine])),
                share_above_100_hu=float((hu[mine] > DENSE_HU).mean()),
                skull_mm=None if skull is None else _skull_mm(points, skull),
                falx_mm=None if midline is None else float(np.abs(midline.left_of_mm(points)).min()),
                members_agreeing=None if members is None else members.agreeing(points, label),
            )
        )
    return tuple(measured)


def density_warnings(label: str, parts: tuple[FindingPart, ...]) -> tuple[Reason, ...]:
    """Warn of the parts in which much is denser than clotted blood; say how much of them, and where they lie."""
    dense = [part for part in parts if _is_dense(part)]
    if not dense:
        return ()
    places = [
        place
        for place, near in (
            ("at the skull", any(_near(part.skull_mm) for part in dense)),
            ("at the falx", any(_near(part.falx_mm) for part in dense)),
        )
        if near
    ]
    where = f", {' and '.join(places)}," if places else ""
    marked_ml = sum(part.volume_ml for part in dense)
    dense_ml = sum(part.volume_ml * part.share_above_100_hu for part in dense)
    amount = "less than 0.1 mL" if marked_ml < 0.05 else f"{marked_ml:.1f} mL"
    share = f"{100 * dense_ml / marked_ml:.0f} % of {amount}{where}"
    text = f"{label}: {share} measure above {DENSE_HU} HU; calcification, contrast or metal possible"
    return (Reason(code="dense_finding", text=text),)


def _is_dense(part: FindingPart) -> bool:
    at_bone = _near(part.skull_mm) or _near(part.falx_mm)
    share = DENSE_SHARE_AT_BONE if at_bone else DENSE_SHARE
    return part.share_above_100_hu > share or part.median_hu > DENSE_MEDIAN_HU


def _near(distance_mm: float | None) -> bool:
    return distance_mm is not None and distance_mm <= AT_BONE_MM


def _skull_mm(points: npt.NDArray[np.float64], skull: KDTree) -> float:
    cells = np.unique(np.round(points / CELL_MM), axis=0) * CELL_MM
    distance, _ = skull.query(cells)
    return max(0.0, float(distance.min()) - SKULL_RADIUS_MM)
