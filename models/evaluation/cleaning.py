"""Post-processing of labels on the scan's own slices. For evaluation, never in the node.

`claim`: in a connected part of SDH and EDH together the rarer of the two becomes the commoner, and parts of SAH, EDH or
SDH below 25 voxels are dropped. `tenth` (Abramova et al., CMIG 2021): parts of blood smaller than a tenth of the
largest are dropped. Parts are 26-connected.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage

from ichor.errors import ModelError

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from models.spec import LabelSpec

    Labels = npt.NDArray[np.uint8]

_LEAST_VOXELS = 25
_LEAST_SHARE = 0.1
_CONNECTED = np.ones((3, 3, 3), dtype=np.bool_)
_SMALL = ("SAH", "EDH", "SDH")


def claim(labels_kji: Labels, labels: Sequence[LabelSpec]) -> Labels:
    """Return cleaned labels; raise ModelError for a model that marks none of SAH, EDH and SDH."""
    index = {label.name: label.index for label in labels}
    if not index.keys() & set(_SMALL):
        raise ModelError(f"claim cleans SAH, EDH and SDH; the model marks {', '.join(index)}.")
    out = labels_kji.copy()
    if "SDH" in index and "EDH" in index:
        parts, count = ndimage.label(np.isin(out, (index["SDH"], index["EDH"])), _CONNECTED)
        subdural = ndimage.sum_labels(out == index["SDH"], parts, range(1, count + 1))
        epidural = ndimage.sum_labels(out == index["EDH"], parts, range(1, count + 1))
        commoner = np.where(subdural >= epidural, index["SDH"], index["EDH"]).astype(np.uint8)
        out[parts > 0] = np.concatenate(([np.uint8(0)], commoner))[parts[parts > 0]]
    for name in _SMALL:
        if name in index:
            parts, _ = ndimage.label(out == index[name], _CONNECTED)
            sizes = np.bincount(parts.ravel())
            out[(parts > 0) & (sizes[parts] < _LEAST_VOXELS)] = 0
    return out


def tenth(labels_kji: Labels, labels: Sequence[LabelSpec]) -> Labels:
    """Return labels without the small parts of blood; labels that are no blood stay."""
    blood = np.isin(labels_kji, [label.index for label in labels if label.haemorrhage])
    parts, count = ndimage.label(blood, _CONNECTED)
    if count == 0:
        return labels_kji
    sizes = np.bincount(parts.ravel())
    small = sizes < _LEAST_SHARE * sizes[1:].max()
    small[0] = False
    return np.where(small[parts], np.uint8(0), labels_kji)
