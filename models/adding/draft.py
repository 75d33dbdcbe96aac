"""A foreign model, read: what becomes its spec, and its weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import torch

    from models.spec import Family, LabelSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """One of the two, `members` or `program`, holds what the model has learnt."""

    family: Family
    name: str
    version: str
    title: str
    licence: str
    source: str
    spacing_zyx_mm: tuple[float, float, float]
    hu_window: tuple[float, float]
    labels: tuple[LabelSpec, ...]
    parameters: Mapping[str, Any]
    members: tuple[Mapping[str, torch.Tensor], ...] = ()
    program: Path | None = None  # a torch.export program, copied as it is
