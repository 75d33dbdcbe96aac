"""What a destination may ask of the objects that it gets.

Objects are written once: where a destination asks for others than the default ones, these are objects of their own,
with UIDs of their own. A destination that asks for the same as another gets the same.
"""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Literal

from ichor.sections import ObjectDestination
from worker.output.words import SERIES_DESCRIPTION

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ichor.sections import Destination, ResultKind

SegEncoding = Literal["binary", "labelmap"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """What a site may choose; the defaults leave hanging protocols intact and are read by most viewers."""

    series_description: str = SERIES_DESCRIPTION
    series_number: int = 99001
    """Of the summary; segmentation, reports and rejection note follow."""
    summary_modality: str = "OT"
    institution_name: str = ""
    seg_encoding: SegEncoding = "binary"
    seg_empty_frames: bool = False
    private_tags: bool = False

    @property
    def variant(self) -> str:
        """Name the objects that follow this profile: empty for the default, else eight hex digits."""
        if self == Profile():
            return ""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()[:8]


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """Objects that some destination wants besides the default ones."""

    profile: Profile
    kinds: frozenset[ResultKind]


def profile_of(destination: Destination) -> Profile:
    """Give the profile that a destination's settings describe; one that takes no objects has the default."""
    if not isinstance(destination, ObjectDestination):
        return Profile()
    return Profile(
        series_description=destination.series_description,
        series_number=destination.series_number,
        summary_modality=destination.summary_modality,
        institution_name=destination.institution_name,
        seg_encoding=destination.seg_encoding,
        seg_empty_frames=destination.seg_empty_frames,
        private_tags=destination.private_tags,
    )


def variants_of(destinations: Iterable[Destination]) -> tuple[Variant, ...]:
    """Collect what is to be written besides the default objects, each profile once."""
    kinds: defaultdict[Profile, set[ResultKind]] = defaultdict(set)
    for destination in destinations:
        kinds[profile_of(destination)].update(destination.send)
    return tuple(
        Variant(profile=profile, kinds=frozenset(wanted)) for profile, wanted in kinds.items() if profile.variant
    )
