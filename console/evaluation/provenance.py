"""What a model's manifest says of its training, held against the scans that it is evaluated on."""

from __future__ import annotations

import hashlib
import json
import math
from typing import TYPE_CHECKING

from pydantic import ValidationError

from models.evaluation.provenance import Provenance
from models.training.manifest import Manifest

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path
    from typing import Any

    from models.training.data.case import Case, DataSet
    from models.training.manifest import DataRecord


def provenance_of(path: Path | None, data: DataSet, *, members: int, extras: Sequence[str] = ()) -> Provenance | None:
    """Read a manifest; None where there is none that can be read, as of published models and others that were added."""
    if path is None:
        return None
    try:
        manifest = Manifest.from_json(path.read_bytes())
    except (OSError, ValidationError):
        return None
    return Provenance(
        shown_voxels=_shown_voxels(manifest.recipe),
        seeds=tuple(one.seed for one in manifest.seeds),
        members=members,
        data_sha256=_digest(manifest.data),
        extras=tuple(extras),
        met=tuple(case.name for case in data.cases if any(_knows(one, data.origin, case) for one in manifest.data)),
        related=tuple(
            one.name for one in manifest.data if one.origin == data.origin and _kind(one.name) != _kind(data.name)
        ),
    )


def _shown_voxels(recipe: Mapping[str, Any]) -> int:
    """Count by a recipe on masks (patches) or on slices (squares)."""
    training = recipe["training"]
    sides = recipe["model"]["patch"] if "model" in recipe else [recipe["classifier"]["side"]] * 2
    return int(training["steps"] * training["batch"] * training.get("accumulate", 1) * math.prod(sides))


def _digest(records: Sequence[DataRecord]) -> str:
    """Hash names of scans, not their samples, which depend on the model's grid and labels."""
    used = sorted([one.origin, one.use, sorted(one.training), sorted(one.validation)] for one in records)
    return hashlib.sha256(json.dumps(used).encode()).hexdigest()


def _knows(record: DataRecord, origin: str, case: Case) -> bool:
    if record.origin != origin:
        return False
    if record.patients:
        return case.patient in record.patients
    return case.name in (*record.training, *record.validation)  # a manifest from before patients stood in it


def _kind(name: str) -> str:
    """Return the kind of a data set of this name, for parts of one have its name before their own."""
    return name.split(" ", maxsplit=1)[0]
