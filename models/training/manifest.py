"""What a trained model came from: code, data, split, terms and figures, as JSON beside its weights.

Scans are named by their name in the data set; no path of the machine and no patient data stand here.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any

from pydantic import TypeAdapter

from models.training.data.licence import Licence


@dataclass(frozen=True, slots=True, kw_only=True)
class DataRecord:
    """One data set: how much of it was used, and a hash over names and contents of that."""

    name: str
    origin: str
    licence: Licence
    split_rule: str
    split_sha256: str
    training: tuple[str, ...]
    validation: tuple[str, ...]
    left_out: tuple[str, ...]  # the test fold
    faults: tuple[str, ...]
    notes: tuple[str, ...]
    sha256: str
    patients: tuple[str, ...] = ()  # of training and validation; none in manifests from before it stood here
    use: str = "masks"  # or "pre-training", or whose pseudo-labels


@dataclass(frozen=True, slots=True, kw_only=True)
class SeedRecord:
    """One member: the best step, and the Dice on the validation scans that chose it."""

    seed: int
    step: int
    steps: int
    precision: str
    device: str
    validation_dice: float | None
    validation_dice_by_label: dict[str, float | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """One training."""

    schema: int = 1
    kind: str = "training"
    name: str
    version: str
    ichor: str
    commit: str | None  # None: not run from a checkout; with `-changed` where files differed from it
    libraries: dict[str, str]
    recipe: dict[str, Any]
    recipe_sha256: str
    parameters: int
    licence: Licence  # of all data together: the narrowest
    warnings: tuple[str, ...]
    data: tuple[DataRecord, ...]
    seeds: tuple[SeedRecord, ...]
    finished_at: str  # UTC

    def to_json(self) -> str:
        """Return the manifest as JSON."""
        return json.dumps(asdict(self), indent=1, ensure_ascii=False) + "\n"

    @classmethod
    def from_json(cls, text: str | bytes) -> Manifest:
        """Read a manifest; raise pydantic's ValidationError where it is none."""
        return TypeAdapter(cls).validate_json(text)
