"""The gate's second look, at voxels: is this a head with a brain in it, how much of it was scanned, what disturbs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from worker.artefacts import find_artefacts
from worker.head import survey_head
from worker.head_blocks import block_head
from worker.reason import Reason

if TYPE_CHECKING:
    from collections.abc import Iterator

    from worker.artefacts import Artefacts
    from worker.findings import Coverage
    from worker.gate_rules import ArtefactRules, ContentRules, GateRules
    from worker.head import Head
    from worker.volume import Volume


@dataclass(frozen=True, slots=True, kw_only=True)
class Content:
    """What the voxels say; no reasons means fit."""

    reasons: tuple[Reason, ...]
    warnings: tuple[Reason, ...]
    head: Head

    @property
    def coverage(self) -> Coverage:
        """How much of the head was scanned."""
        return self.head.coverage


def judge_content(volume: Volume, rules: GateRules, *, soft_kernel: bool = False) -> Content:
    """Judge the voxels of a volume that the header gate let pass; `soft_kernel` is the verdict's."""
    blocks = block_head(volume)
    head = survey_head(volume, blocks)
    if rules.content is None:
        return Content(reasons=(), warnings=(), head=head)
    reasons = _not_a_brain(head, rules.content)
    if reasons or rules.artefacts is None:
        return Content(reasons=reasons, warnings=() if reasons else _partial(head), head=head)
    found = find_artefacts(volume, blocks, head)
    reasons = tuple(_refusals(head, found, rules.content, rules.artefacts, soft_kernel=soft_kernel))
    warnings = () if reasons else (*_partial(head), *_warnings(head, found, rules.content, rules.artefacts))
    return Content(reasons=reasons, warnings=warnings, head=head)


def _not_a_brain(head: Head, rules: ContentRules) -> tuple[Reason, ...]:
    if head.brain_ml < rules.min_brain_ml:
        return (Reason(code="no_brain", text="no brain inside a skull to be seen"),)
    low, high = rules.median_hu
    if head.brain_ml > rules.max_brain_ml or head.shell_share < rules.min_shell_share:
        return (Reason(code="not_a_head", text="the images do not show a head"),)
    if not low <= head.median_hu <= high:
        text = f"brain measures {head.median_hu:.0f} HU, outside {low:.0f} to {high:.0f}"
        return (Reason(code="implausible_hu", text=text),)
    return ()


def _refusals(
    head: Head, found: Artefacts, rules: ContentRules, limits: ArtefactRules, *, soft_kernel: bool
) -> Iterator[Reason]:
    """Refuse vessels full of contrast, unless metal and its streaks may be what is dense, and sharp kernels."""
    if head.dense_ml > rules.max_dense_ml and found.metal_ml <= limits.metal_ml:
        yield Reason(code="contrast_seen", text="contrast in the vessels of the brain, by their density")
    if found.noise_hu > limits.noise_hu and not soft_kernel:
        yield Reason(code="bone_kernel_seen", text="noise like that of a sharp reconstruction kernel (bone)")


def _partial(head: Head) -> tuple[Reason, ...]:
    if head.coverage.whole_head:
        return ()
    return (Reason(code="partial_head", text="only part of the head was scanned"),)


def _warnings(head: Head, found: Artefacts, rules: ContentRules, limits: ArtefactRules) -> Iterator[Reason]:
    if head.dense_ml > rules.warn_dense_ml:
        text = f"{head.dense_ml:.0f} mL deep in the brain at 150 HU and more: contrast, calcification or metal possible"
        yield Reason(code="contrast_possible", text=text)
    elif found.tube_mm > limits.tube_mm:  # vessels full of contrast are tubes too
        yield Reason(code="drain", text="a dense thin structure inside the brain: drain, shunt or electrode possible")
    if found.metal_ml > limits.metal_ml:
        yield Reason(code="metal", text="metal in the head; its streaks can look like blood or hide it")
    if found.skull_gap_cm2 > limits.skull_gap_cm2:
        text = f"a gap of about {found.skull_gap_cm2:.0f} cm2 in the skull: craniectomy possible"
        yield Reason(code="craniectomy", text=text)
    if found.jump_mm > limits.jump_mm:
        text = f"the head lies {found.jump_mm:.0f} mm aside on one slice: motion possible; volumes may be wrong"
        yield Reason(code="motion", text=text)
    if found.noise_hu > limits.noise_hu:
        text = f"noise of {found.noise_hu:.0f} HU from pixel to pixel; small bleeds may be missed"
        yield Reason(code="noisy", text=text)
