"""How a system came about, and whether two came about alike: the protocol under which they may be compared.

Alike are systems that were trained and chosen on the same scans, with one budget, three seeds at least each, as many
members and the same extras (mirror images, post-processing), and that have met none of the scans they are tested on.
"""

from __future__ import annotations

from dataclasses import dataclass

LEAST_SEEDS = 3
_ONE_BUDGET = 1.02  # rounding of patches and steps


@dataclass(frozen=True, slots=True, kw_only=True)
class Provenance:
    """What a system's entry in the registry says of its training, seen from the scans that it is evaluated on."""

    shown_voxels: int  # to each member in training: steps, patches in a step, voxels in a patch
    seeds: tuple[int, ...]  # that were trained
    members: int  # of them that answered
    data_sha256: str  # over the names of the scans that trained it and that chose its weights
    extras: tuple[str, ...] = ()  # beside the model
    met: tuple[str, ...] = ()  # evaluated scans whose patients trained it or chose its weights
    related: tuple[str, ...] = ()  # data sets of its training that come from where the evaluated one does


def leaks(system: str, one: Provenance) -> tuple[str, ...]:
    """Say in a sentence each what makes a system's own figures too good."""
    texts = []
    if one.met:
        texts.append(
            f"{system} knows {len(one.met)} of these scans, such as {one.met[0]}: they, or other scans of these "
            "patients, trained it or chose its weights. Its figures are no test."
        )
    elif one.related:
        texts.append(
            f"{system} was trained on {', '.join(one.related)}, which comes from where these scans do: "
            "their patients may be the same ones."
        )
    return tuple(texts)


def unlike(names: tuple[str, str], sides: tuple[Provenance | None, Provenance | None]) -> tuple[str, ...]:
    """Say in a sentence each why a difference between two systems may not be theirs; none where nothing speaks so."""
    texts = []
    for name, side in zip(names, sides, strict=True):
        if side is None:
            texts.append(f"How {name} was trained is not known.")
            continue
        texts += leaks(name, side)
        if len(side.seeds) < LEAST_SEEDS:
            texts.append(
                f"{name} is of {len(side.seeds)} seed(s), not {LEAST_SEEDS}: another seed may be another system."
            )
    a, b = sides
    if a is not None and b is not None:
        low, high = sorted((a.shown_voxels, b.shown_voxels))
        if high > _ONE_BUDGET * low:
            texts.append(
                f"Their budgets differ: {high / max(low, 1):.1f} times as many voxels were shown to one in training."
            )
        if a.data_sha256 != b.data_sha256:
            texts.append("They were trained, or their weights chosen, on different scans.")
        if a.members != b.members:
            texts.append(f"{a.members} member(s) answered for {names[0]}, {b.members} for {names[1]}.")
        if a.extras != b.extras:
            texts.append("One of them has extras that the other has not.")
    return tuple(texts)
