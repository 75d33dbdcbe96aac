"""The labels that need no codes from whoever brings a model: what a name means, as coded concepts.

The table of the design (SNOMED CT); a name that is not in it is refused rather than guessed, since a wrong code or a
haemorrhage that does not count is worse than no model.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from models.spec import Code, LabelSpec, ModelSpecInvalid

if TYPE_CHECKING:
    from collections.abc import Mapping

_HAEMORRHAGE = Code(value="50960005", scheme="SCT", meaning="Hemorrhage")
_EDEMA = Code(value="79654002", scheme="SCT", meaning="Edema")
_ANY_BLEED = Code(value="1386000", scheme="SCT", meaning="Intracranial hemorrhage")
_BRAIN = Code(value="12738006", scheme="SCT", meaning="Brain")
_INTRACRANIAL = Code(value="1101003", scheme="SCT", meaning="Intracranial")


@dataclass(frozen=True, slots=True, kw_only=True)
class Word:
    """One label that is known; `aliases` are compared in lower case, without spaces and words for blood."""

    name: str
    title: str
    aliases: frozenset[str]
    finding: Code
    region: Code
    colour_rgb: tuple[int, int, int]
    haemorrhage: bool = True

    def label(self, index: int) -> LabelSpec:
        """Return the label of a spec that paints this in channel `index`."""
        return LabelSpec(
            index=index,
            name=self.name,
            title=self.title,
            haemorrhage=self.haemorrhage,
            finding=self.finding,
            region=self.region,
            segment_type=_HAEMORRHAGE if self.haemorrhage else _EDEMA,
            colour_rgb=self.colour_rgb,
        )


WORDS = (
    Word(
        name="IPH",
        title="Intraparenchymal",
        aliases=frozenset({"iph", "intraparenchymal", "intracerebral", "parenchymal"}),
        finding=Code(value="274100004", scheme="SCT", meaning="Cerebral hemorrhage"),
        region=_BRAIN,
        colour_rgb=(230, 60, 50),
    ),
    Word(
        name="IVH",
        title="Intraventricular",
        aliases=frozenset({"ivh", "intraventricular", "ventricular"}),
        finding=_ANY_BLEED,
        region=Code(value="35764002", scheme="SCT", meaning="Brain ventricle"),
        colour_rgb=(200, 80, 220),
    ),
    Word(
        name="SAH",
        title="Subarachnoid",
        aliases=frozenset({"sah", "subarachnoid"}),
        finding=Code(value="21454007", scheme="SCT", meaning="Subarachnoid hemorrhage"),
        region=Code(value="35951006", scheme="SCT", meaning="Subarachnoid space"),
        colour_rgb=(255, 220, 60),
    ),
    Word(
        name="SDH",
        title="Subdural",
        aliases=frozenset({"sdh", "subdural"}),
        finding=Code(value="35486000", scheme="SCT", meaning="Subdural hemorrhage"),
        region=_INTRACRANIAL,
        colour_rgb=(255, 150, 30),
    ),
    Word(
        name="EDH",
        title="Epidural",
        aliases=frozenset({"edh", "epidural", "extradural"}),
        finding=Code(value="82999001", scheme="SCT", meaning="Epidural hemorrhage"),
        region=_INTRACRANIAL,
        colour_rgb=(120, 200, 80),
    ),
    Word(
        name="EAH",
        title="Extra-axial, type not determined (subdural, epidural or subarachnoid)",
        aliases=frozenset({"eah", "extraaxial"}),
        finding=_ANY_BLEED,
        region=_INTRACRANIAL,
        colour_rgb=(255, 170, 30),
    ),
    Word(
        name="ICH",
        title="Intracranial, type not determined",
        aliases=frozenset({"ich", "intracranial", "anyich", "anyintracranial"}),
        finding=_ANY_BLEED,
        region=_INTRACRANIAL,
        colour_rgb=(230, 60, 50),
    ),
    Word(
        name="oedema",
        title="Perilesional oedema",
        aliases=frozenset({"oedema", "edema", "perilesionaloedema", "perilesionaledema", "pho", "phe"}),
        finding=_EDEMA,
        region=_BRAIN,
        colour_rgb=(70, 150, 240),
        haemorrhage=False,
    ),
)

_BY_ALIAS: Mapping[str, Word] = {alias: word for word in WORDS for alias in word.aliases}
_FOR_BLOOD = re.compile(r"(haemorrhage|hemorrhage|haematoma|hematoma|bleeding|bleed|blood)s?$")


def label_named(name: str, index: int) -> LabelSpec:
    """Return the label that a model calls `name`; raise ModelSpecInvalid where nobody has said what that is."""
    plain = re.sub(r"[^a-z]", "", name.lower())
    word = _BY_ALIAS.get(plain) or _BY_ALIAS.get(_FOR_BLOOD.sub("", plain))
    if word is None:
        known = ", ".join(word.name for word in WORDS)
        raise ModelSpecInvalid(
            f"The model's label {name!r} is not known: it is none of {known}; give it a code in the model's ichor.json."
        )
    return word.label(index)
