"""The painted part of the phantom benchmark: the same bleeds in every head of a person that is at hand.

Fixed as the table of the other parts is, but for the heads: these are whose they are, so `truth.json` names each by a
hash. The first study of a head is the head as it is.
"""

from __future__ import annotations

from dataclasses import dataclass

from models.phantoms.lesions import LesionRequest, parse_lesion

_LESIONS = (
    "",
    "iph:1:left",
    "iph:3:right:lobulated",
    "iph:10:left:oedema=6",
    "iph:30:right:lobulated",
    "sdh:2:right",
    "sdh:6:left",
    "sdh:15:right",
    "sdh:45:left",
    "edh:1.5:left",
    "edh:6:right",
    "edh:25:left",
    "iph:5:right+sdh:8:left",
)
_FIRST_SEED = 900001


@dataclass(frozen=True, slots=True, kw_only=True)
class PaintedStudy:
    """One study of the part, for any head."""

    number: int  # from 1
    seed: int
    lesions: tuple[LesionRequest, ...]


def painted_studies() -> tuple[PaintedStudy, ...]:
    """Return what is painted into each head."""
    return tuple(
        PaintedStudy(
            number=number,
            seed=_FIRST_SEED + number,
            lesions=tuple(parse_lesion(one) for one in text.split("+") if one),
        )
        for number, text in enumerate(_LESIONS, start=1)
    )
