"""The model card of a trained model: what it is, what it saw, how it did, in words."""

from __future__ import annotations

from statistics import mean, pstdev
from typing import TYPE_CHECKING

from models.training.data.licence import PHANTOM, drawn_alone

if TYPE_CHECKING:
    from models.spec import ModelSpec
    from models.training.manifest import DataRecord, Manifest

_HEAD = """# {name}, version {version}

**Research use only.** Trained by `ichor train`; nobody has shown that it is fit for patients. "None marked" by it does
not exclude a bleed.
"""

_NEVER_HEAD = """# {name}, version {version}: NEVER FOR PATIENTS

**This model must never be used on a patient, nor to judge a patient's images, not even in research.** It was trained by
`ichor train` on {drawn}
Figures below are about drawings, and must not stand beside figures measured on people.
"""
_PHANTOM = "heads that a computer drew. It has never seen a human head, and what it says about one means nothing."
_PAINTED = "bleeds that a computer drew, some into heads of people. What it says about a real bleed means nothing."

_CARD = """{head}
## What it is
Network `{network}`, {parameters} parameters, {members} member(s), float32 safetensors. Input: HU on a grid of
{spacing} mm (z, y, x), windows {windows} HU. Output: background, {labels}. Spec digest `{digest}`.

## What it was trained on
{data}

Terms of what is made of these data: {licence} ({terms}). Commercial use: {commercial}.
{warnings}
## How it did on the validation scans
These scans chose the step whose weights are kept, so the figures flatter; no threshold was tuned, a voxel gets its most
probable label. Measure on scans that it has never met: `ichor evaluate --model {name} --data DIR`.

| seed | best step of | Dice, any haemorrhage (all voxels of all scans) | by label |
|---|---|---|---|
{seeds}
{spread}
Everything else stands in `manifest.json`: recipe, hashes of data and split, the code's commit (`{commit}`).
"""


def model_card(spec: ModelSpec, manifest: Manifest) -> str:
    """Return the card."""
    windows = manifest.recipe["model"]["hu_windows"]
    dice = [one.validation_dice for one in manifest.seeds if one.validation_dice is not None]
    spread = f"\nOver {len(dice)} seeds: {mean(dice):.3f} ± {pstdev(dice):.3f}.\n" if len(dice) > 1 else ""
    return _CARD.format(
        head=card_head(spec, manifest),
        name=spec.name,
        network=manifest.recipe["model"]["network"],
        parameters=f"{manifest.parameters:,}",
        members=len(spec.files),
        spacing=" x ".join(f"{value:g}" for value in spec.spacing_zyx_mm),
        windows=" and ".join(f"{low:g} to {high:g}" for low, high in windows),
        labels=", ".join(label.name for label in spec.labels),
        digest=spec.digest,
        data="\n".join(data_line(one) for one in manifest.data),
        licence=manifest.licence.name,
        terms=manifest.licence.terms,
        commercial={True: "allowed", False: "not allowed", None: "unclear"}[manifest.licence.commercial],
        warnings="".join(f"\n**Warning:** {text}\n" for text in manifest.warnings),
        seeds="\n".join(
            f"| {one.seed} | {one.step} of {one.steps} | {_figure(one.validation_dice)} | "
            + ", ".join(f"{name} {_figure(value)}" for name, value in one.validation_dice_by_label.items())
            + " |"
            for one in manifest.seeds
        ),
        spread=spread,
        commit=manifest.commit or "not from a checkout",
    )


def card_head(spec: ModelSpec, manifest: Manifest) -> str:
    """Return name, version and warning of any card: louder where a model saw drawn bleeds alone."""
    head = _NEVER_HEAD if drawn_alone(manifest.licence) else _HEAD
    drawn = _PHANTOM if manifest.licence == PHANTOM else _PAINTED
    return head.format(name=spec.name, version=spec.version, drawn=drawn)


def data_line(data: DataRecord) -> str:
    """Return one data set's line."""
    left = f", {len(data.left_out)} left out for testing" if data.left_out else ""
    faults = f", {len(data.faults)} not usable" if data.faults else ""
    if data.use != "masks":
        return (
            f"- {data.name} ({data.licence.name}): {len(data.training)} scans without masks, {data.use}{faults}; "
            f"SHA-256 `{data.sha256[:16]}`"
        )
    return (
        f"- {data.name} ({data.licence.name}): {len(data.training)} scans to train on, "
        f"{len(data.validation)} to validate{left}{faults}; SHA-256 `{data.sha256[:16]}`"
    )


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
