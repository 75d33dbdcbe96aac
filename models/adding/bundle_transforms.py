"""What a MONAI bundle does to a scan before its network sees it: turned, resampled, scaled in one HU window or several.

Several windows are copies of the image (CopyItemsd), each scaled to -1 to 1 and clipped, put together as channels
(ConcatItemsd). Anything else is refused: it is not known to give the same labels here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from models.adding.package import ModelRefused
from models.engines.preparation import AXIS_OF

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

WITHOUT_EFFECT = frozenset({"LoadImaged", "EnsureChannelFirstd", "EnsureTyped", "EnsureType", "ToTensord"})
_TURN, _RESAMPLE, _SCALE, _COPY, _JOIN = (
    "Orientationd",
    "Spacingd",
    "ScaleIntensityRanged",
    "CopyItemsd",
    "ConcatItemsd",
)

Transform = tuple[str, "Mapping[str, Any]"]
"""The last part of its `_target_`, and all that it says."""


class BundleTransforms:
    """What the transforms say; raises ModelRefused where that is not known to give the same labels."""

    def __init__(self, transforms: Sequence[Transform]) -> None:
        said = [(kind, one) for kind, one in transforms if kind not in WITHOUT_EFFECT]
        kinds = [kind for kind, _ in said]
        several = _COPY in kinds or _JOIN in kinds
        for kind in kinds:
            twice = kinds.count(kind) > 1 and not (several and kind == _SCALE)
            if kind not in {_TURN, _RESAMPLE, _SCALE, _COPY, _JOIN} or twice:
                raise ModelRefused(f"The bundle's transform {kind} is not supported, or stands there twice.")
        by_kind = dict(said)
        for kind in (_TURN, _RESAMPLE, _SCALE, *((_COPY, _JOIN) if several else ())):
            if kind not in by_kind:
                raise ModelRefused(f"The bundle's preprocessing has no {kind}.")
        self.orientation = str(by_kind[_TURN].get("axcodes"))
        if sorted(AXIS_OF.get(letter, -1) for letter in self.orientation) != [0, 1, 2]:
            raise ModelRefused(f"The bundle's orientation {self.orientation!r} is not one of patient axes.")
        self.spacing_zyx_mm = self._spacing(by_kind[_RESAMPLE].get("pixdim"))
        self.hu_windows = _windows(said) if several else ()
        """One for each channel; none where there is one channel."""
        if several:
            self.hu_window = (min(low for low, _ in self.hu_windows), max(high for _, high in self.hu_windows))
            self.scaling = {"kind": "range", "from": list(self.hu_window), "to": [-1.0, 1.0], "clip": True}
            return
        scale = by_kind[_SCALE]
        self.hu_window = _range(scale)
        self.scaling = {
            "kind": "range",
            "from": list(self.hu_window),
            "to": [_number(scale, "b_min"), _number(scale, "b_max")],
            "clip": scale.get("clip") is True,
        }

    def _spacing(self, pixdim: Any) -> tuple[float, float, float]:
        if not isinstance(pixdim, list) or len(pixdim) != 3 or not all(isinstance(v, int | float) for v in pixdim):
            raise ModelRefused(f"The bundle's Spacingd must give pixdim as three numbers, not {pixdim!r}.")
        along = {AXIS_OF[letter]: float(mm) for letter, mm in zip(self.orientation, pixdim, strict=True)}
        return along[0], along[1], along[2]


def _windows(said: Sequence[Transform]) -> tuple[tuple[float, float], ...]:
    """Return the windows in the order of the channels."""
    kinds = [kind for kind, _ in said]
    if kinds != [*sorted({_TURN, _RESAMPLE}, key=kinds.index), _COPY, *[_SCALE] * kinds.count(_SCALE), _JOIN]:
        raise ModelRefused(
            "The bundle's HU windows must be copies of the image, made when it lies right, and put together last."
        )
    copy, join = (dict(said)[kind] for kind in (_COPY, _JOIN))
    image, names = _keys(copy.get("keys")), _keys(copy.get("names"))
    if len(image) != 1 or copy.get("times", 1) != len(names) or len(set(names)) != len(names):
        raise ModelRefused("The bundle's CopyItemsd must give as many names as copies of the image.")
    if _keys(join.get("name")) != image or sorted(_keys(join.get("keys"))) != sorted(names) or join.get("dim", 0) != 0:
        raise ModelRefused("The bundle's ConcatItemsd must put the copies together as the image's channels.")
    windows = {}
    for scale in (one for kind, one in said if kind == _SCALE):
        for name in _keys(scale.get("keys")):
            if name not in names or name in windows:
                raise ModelRefused(f"The bundle scales {name!r}, which is no copy of the image, or twice.")
            if (_number(scale, "b_min"), _number(scale, "b_max"), scale.get("clip")) != (-1.0, 1.0, True):
                raise ModelRefused("The bundle's HU windows must each be scaled to -1 to 1, and clipped.")
            windows[name] = _range(scale)
    if set(windows) != set(names):
        raise ModelRefused("The bundle does not scale every copy of the image.")
    return tuple(windows[name] for name in _keys(join.get("keys")))


def _keys(said: Any) -> list[str]:
    """Return one key or several as a list."""
    keys = [said] if isinstance(said, str) else said
    if not isinstance(keys, list) or not all(isinstance(key, str) for key in keys):
        raise ModelRefused(f"The bundle's transforms must name their keys as text, not {said!r}.")
    return keys


def _range(scale: Mapping[str, Any]) -> tuple[float, float]:
    return _number(scale, "a_min"), _number(scale, "a_max")


def _number(scale: Mapping[str, Any], key: str) -> float:
    value = scale.get(key)
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise ModelRefused(f"The bundle's {_SCALE} must give {key} as a number, not {value!r}.")
    return float(value)
