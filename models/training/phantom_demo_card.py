"""The spec and the model card that a training of `phantom-demo` writes beside its weights."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import TypeAdapter

from models.spec import ModelSpec, load_spec
from models.training.phantom_cases import HELD_OUT_SEED, TRAINING_SEED
from models.training.spec import spec_of

if TYPE_CHECKING:
    from pathlib import Path

    from models.spec import FileSpec
    from models.training.phantom_figures import Figures
    from models.training.recipe import Recipe

MODEL = "phantom-demo"

_INTENDED_USE = (
    "NEVER FOR PATIENTS. A demonstration model, trained on computer-made phantoms alone: it has never seen a human "
    "head. It shows that the node works where the weights of a real model are not at hand."
)

_CARD = """# {name}, version {version}: NEVER FOR PATIENTS

**This model must never be used on a patient, nor to judge a patient's images, not even in research.** It was
trained on heads that a computer drew ([`models/phantoms`](../phantoms)). It has never seen a human head, and what it
says about one means nothing. It exists so that the node can be tried from end to end, and tested, where the weights
of a real model are not at hand.

## What it is
A U-Net of {levels} levels with {channels} channels over MONAI's blocks
([`models/networks/phantom_unet.py`](../networks/phantom_unet.py)), {megabytes:.1f} MB as float32 safetensors.
Input: HU on a grid of {spacing} mm (z, y, x), clipped to {low:g} to {high:g} HU.
Output: background, {labels}. Spec digest `{digest}`.

## What it was trained on
{cases} synthetic heads (seeds {first_seed} to {last_seed}), each with its own anatomy, pose, contrast, slice
thickness and noise; a quarter of them without a lesion, the rest with one to three of iph, ivh, sah, sdh and edh of
1.5 to 60 mL (ivh and sah at most 25 mL), half of the intraparenchymal ones with oedema. {how.steps} steps of
{how.batch} patches, AdamW, Dice + cross-entropy, bfloat16; {minutes:.0f} minutes of processor time. Made by

    python -m models.training.phantom_demo --out DIR

## How it does
On {figures.cases} held-out phantoms (seeds from {held_out_seed}), {figures.lesion_free} of them without a lesion:

| figure | value |
|---|---|
| Dice, any haemorrhage (mean over heads with a bleed) | {figures.mean_dice:.3f} |
| Dice, any haemorrhage (worst head) | {figures.least_dice:.3f} |
{by_label}
| volume error, any haemorrhage of 5 mL and more (median) | {volume_error_percent:.1f} % |
| false haemorrhage in lesion-free heads (mean) | {figures.mean_false_ml:.3f} mL |
| false haemorrhage in lesion-free heads (most) | {figures.most_false_ml:.3f} mL |

These figures are about drawings. They say nothing about people, and must not stand beside figures measured on people.
"""


def write_spec(path: Path, recipe: Recipe, weights: FileSpec) -> ModelSpec:
    """Write the spec of freshly trained weights; return it as read back."""
    spec = spec_of(
        recipe,
        files=(weights,),
        licence="Apache-2.0",
        intended_use=_INTENDED_USE,
        source="trained by models.training.phantom_demo of this project",
    )
    path.write_bytes(TypeAdapter(ModelSpec).dump_json(spec, indent=2) + b"\n")
    return load_spec(path)


def write_card(path: Path, spec: ModelSpec, figures: Figures, *, recipe: Recipe, cases: int, minutes: float) -> None:
    """Write the model card."""
    by_label = "\n".join(
        f"| Dice, {name} (mean over heads that hold it) | {dice:.3f} |"
        for name, dice in figures.mean_dice_by_label.items()
    )
    channels = recipe.model.network_parameters["channels"]
    low, high = recipe.model.hu_range
    spacing = " x ".join(f"{value:g}" for value in spec.spacing_zyx_mm)
    path.write_text(
        _CARD.format(
            name=spec.name,
            version=spec.version,
            levels=len(channels),
            channels=_joined(channels),
            megabytes=spec.files[0].size_bytes / 1e6,
            spacing=spacing,
            low=low,
            high=high,
            labels=", ".join(label.name for label in spec.labels),
            digest=spec.digest,
            cases=cases,
            how=recipe.training,
            first_seed=TRAINING_SEED,
            last_seed=TRAINING_SEED + cases - 1,
            minutes=minutes,
            figures=figures,
            held_out_seed=HELD_OUT_SEED,
            by_label=by_label,
            volume_error_percent=100 * figures.median_volume_error,
        )
    )


def _joined(values: list[int]) -> str:
    return ", ".join(str(value) for value in values[:-1]) + f" and {values[-1]}"
