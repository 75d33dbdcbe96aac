"""What lesions may be asked for, and how they are written on a command line.

`iph:15`, `sdh:20:left`, `iph:15:right:lobulated`, `iph:15:oedema=20`: kind and millilitres first, then, in any order, a
side, a shape and the millilitres of oedema round an intraparenchymal bleed.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, get_args

from ichor.errors import PermanentError

LesionKind = Literal["iph", "ivh", "sah", "sdh", "edh"]
Side = Literal["left", "right"]

LARGEST_ML = 150.0
"""More than this does not fit beside the rest of an adult brain."""


class PhantomInvalid(PermanentError):
    """The phantom cannot be made as asked."""

    code = "phantom"


@dataclass(frozen=True, slots=True, kw_only=True)
class LesionRequest:
    """One lesion to make; without a side the seed decides."""

    kind: LesionKind
    volume_ml: float
    side: Side | None = None
    lobulated: bool = False
    oedema_ml: float = 0.0  # round an intraparenchymal bleed only

    def __post_init__(self) -> None:
        """Refuse what cannot be made."""
        if self.kind not in get_args(LesionKind):
            raise PhantomInvalid(f"There is no lesion kind {self.kind!r}; there are {', '.join(get_args(LesionKind))}.")
        if not 0 < self.volume_ml <= LARGEST_ML:
            raise PhantomInvalid(f"A lesion has more than 0 and at most {LARGEST_ML:g} mL, not {self.volume_ml:g}.")
        if self.oedema_ml != 0 and self.kind != "iph":
            raise PhantomInvalid(f"Oedema lies round an iph only, not round an {self.kind}.")
        if not 0 <= self.oedema_ml <= LARGEST_ML:
            raise PhantomInvalid(f"Oedema has 0 to {LARGEST_ML:g} mL, not {self.oedema_ml:g}.")


def parse_lesion(text: str) -> LesionRequest:
    """Read a lesion from its command-line form; raise PhantomInvalid that says what is wrong."""
    kind, *rest = text.strip().lower().split(":")
    if not rest:
        raise PhantomInvalid(f"A lesion is written kind:millilitres, such as iph:15, not {text!r}.")
    side: Side | None = None
    lobulated = False
    oedema_ml = 0.0
    for word in rest[1:]:
        if word == "left":
            side = "left"
        elif word == "right":
            side = "right"
        elif word in {"lobulated", "smooth"}:
            lobulated = word == "lobulated"
        elif word.startswith("oedema="):
            oedema_ml = _millilitres(word.removeprefix("oedema="), text)
        else:
            raise PhantomInvalid(f"In {text!r}, {word!r} is none of left, right, lobulated, smooth, oedema=ML.")
    return LesionRequest(
        kind=_kind(kind),
        volume_ml=_millilitres(rest[0], text),
        side=side,
        lobulated=lobulated,
        oedema_ml=oedema_ml,
    )


def _kind(word: str) -> LesionKind:
    for kind in get_args(LesionKind):
        if kind == word:
            known: LesionKind = kind
            return known
    raise PhantomInvalid(f"There is no lesion kind {word!r}; there are {', '.join(get_args(LesionKind))}.")


def _millilitres(word: str, text: str) -> float:
    try:
        value = float(word)
    except ValueError as error:
        raise PhantomInvalid(f"In {text!r}, {word!r} is no number of millilitres.") from error
    if not math.isfinite(value):
        raise PhantomInvalid(f"In {text!r}, {word!r} is no number of millilitres.")
    return value
