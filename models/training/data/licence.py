"""Under which terms the data sets come, and what that means for a model trained on them.

What the publishers state, as far as known; where two places say different things both are said. Nobody's legal advice.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Licence:
    """The terms of one data set."""

    name: str
    commercial: bool | None  # None: the publishers contradict each other, or do not say
    terms: str


CC_BY = Licence(name="CC BY 4.0", commercial=True, terms="attribution")
CC_BY_NC_SA = Licence(
    name="CC BY-NC-SA 4.0", commercial=False, terms="attribution; no commercial use; what is made of it, alike"
)
SEG_CQ500 = Licence(
    name="CC BY 4.0 over CC BY-NC-SA 4.0",
    commercial=False,
    terms="masks CC BY 4.0, but the scans are CQ500's, CC BY-NC-SA 4.0",
)
PHYSIONET_CT_ICH = Licence(
    name="CC BY 4.0", commercial=True, terms="attribution; some copies of 1.3.1 ask for a data use agreement: check"
)
BHX = Licence(
    name="PhysioNet open access over CC BY-NC-SA 4.0",
    commercial=False,
    terms="boxes open access; the images are CQ500's, CC BY-NC-SA 4.0",
)
BHSD = Licence(
    name="unclear: NC-ND or MIT",
    commercial=None,
    terms="the repository forbids commercial use and changes, the download page says MIT; the images are RSNA 2019's",
)
MBH_SEG = Licence(
    name="MIT over RSNA 2019",
    commercial=None,
    terms="masks MIT; the images are RSNA 2019's, under its competition rules",
)
INSTANCE_2022 = Licence(
    name="INSTANCE 2022 agreement", commercial=False, terms="signed agreement; for the challenge and research"
)
RSNA_2019 = Licence(
    name="RSNA 2019 competition rules", commercial=False, terms="non-commercial and research use; check the rules"
)
OWN = Licence(name="the owner's", commercial=None, terms="a folder of your own: its terms are yours to know")
PHANTOM = Licence(name="Apache-2.0", commercial=True, terms="synthetic; made by this project")
PAINTED = Licence(
    name="the owners' of the heads", commercial=None, terms="lesions drawn into heads of people: theirs are the terms"
)


def inherited(licences: Iterable[Licence]) -> Licence:
    """Return the terms of a model trained on data under these: all of them together, the narrowest use."""
    every = sorted(set(licences), key=lambda one: (one.name, one.terms))
    if len(every) == 1:
        return every[0]
    uses = {one.commercial for one in every}
    return Licence(
        name=" and ".join(one.name for one in every),
        commercial=False if False in uses else None if None in uses else True,
        terms="; ".join(f"{one.name}: {one.terms}" for one in every),
    )


def drawn_alone(licence: Licence | None) -> bool:
    """Whether these are the terms of data whose bleeds were all drawn by this project."""
    return licence in {PHANTOM, PAINTED, inherited((PHANTOM, PAINTED))}
