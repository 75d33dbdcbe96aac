"""Where a training stands, so that it can go on: weights, optimiser, the best so far.

A checkpoint belongs to one recipe, one seed and one set of data, and is refused for another. It appears under its name
when it is whole. Chance is not kept: it follows from the step.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pickle import UnpicklingError
from typing import TYPE_CHECKING, Any

import torch

from ichor.errors import PermanentError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from torch import Tensor

Weights = dict[str, "Tensor"]


class CheckpointUnfit(PermanentError):
    """The checkpoint cannot be gone on from."""

    code = "checkpoint"


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """A moment between two steps."""

    run: str  # hash of recipe, seed and data
    step: int
    network: Weights
    optimiser: Mapping[str, Any]
    best: Weights | None  # of the best validation; None before the first
    best_step: int
    best_dice: float
    best_dice_by_label: Mapping[str, float | None]
    stale: int  # validations since then

    @classmethod
    def at_start(cls, run: str) -> Checkpoint:
        """Return the state before the first step."""
        return cls(
            run=run,
            step=0,
            network={},
            optimiser={},
            best=None,
            best_step=0,
            best_dice=-1.0,
            best_dice_by_label={},
            stale=0,
        )


def save_checkpoint(path: Path, checkpoint: Checkpoint) -> None:
    """Write a checkpoint in place of the last one."""
    temporary = path.with_suffix(".tmp")
    with temporary.open("wb") as stream:
        torch.save({name: getattr(checkpoint, name) for name in Checkpoint.__slots__}, stream)
        stream.flush()
        os.fsync(stream.fileno())
    temporary.replace(path)


def load_checkpoint(path: Path, run: str) -> Checkpoint | None:
    """Read the checkpoint of this run, None where there is none; raise CheckpointUnfit for another run's."""
    if not path.is_file():
        return None
    try:
        found = Checkpoint(**torch.load(path, map_location="cpu", weights_only=True))
    except (OSError, RuntimeError, UnpicklingError, EOFError, TypeError, ValueError, LookupError) as error:
        raise CheckpointUnfit(f"{path} cannot be read as a checkpoint ({type(error).__name__}).") from error
    if found.run != run:
        raise CheckpointUnfit(
            f"{path} is of another recipe, seed or data: choose another --out, or --fresh to begin anew."
        )
    return found
