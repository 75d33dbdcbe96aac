"""`ichor.json`: what a person says of a model that its own files do not say. Every key is optional, none is guessed."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError

from models.adding.package import ModelRefused
from models.spec import LabelSpec, Name, PositiveMm, Text
from models.vocabulary import label_named

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

DESCRIPTION_FILE = "ichor.json"
NOT_STATED = "not stated"


@dataclass(frozen=True, slots=True, kw_only=True)
class Description:
    """The keys of `ichor.json`; `labels` maps a channel, counted from 1, to a known name or to a coded label."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid", strict=True)

    name: Name | None = None
    version: Text | None = None
    title: Text | None = None
    intended_use: Text | None = None
    licence: Text | None = None
    source: Text | None = None
    labels: dict[str, str | LabelSpec] = field(default_factory=dict)
    spacing_zyx_mm: tuple[PositiveMm, PositiveMm, PositiveMm] | None = None
    hu_window: tuple[float, float] | None = None
    orientation: Annotated[str, Field(pattern=r"^[RLAPSI]{3}$")] | None = None
    parameters: dict[str, Any] = field(default_factory=dict)
    """Of the engine: window, overlap, blend, flips, padding, scaling."""

    def label(self, index: int, called: str) -> LabelSpec:
        """Return what channel `index` marks, which the model's own files call `called`."""
        said = self.labels.get(str(index), called)
        return label_named(said, index) if isinstance(said, str) else replace(said, index=index)

    def labels_of(self, names: Mapping[int, str]) -> tuple[LabelSpec, ...]:
        """Return the labels of channels 1 to the last, by the names in the model's own files."""
        if sorted(names) != list(range(1, len(names) + 1)) or not names:
            raise ModelRefused(f"The model's labels must count up from 1 without gaps, not {sorted(names)}.")
        labels = tuple(self.label(index, names[index]) for index in sorted(names))
        if len({label.name for label in labels}) != len(labels):
            raise ModelRefused("Two of the model's labels mean the same; say in ichor.json what they are.")
        return labels


def read_description(folder: Path) -> Description:
    """Read `ichor.json` of a model's folder, empty where there is none; raise ModelRefused with every fault."""
    path = folder / DESCRIPTION_FILE
    if not path.is_file():
        return Description()
    try:
        return _adapter().validate_json(path.read_bytes())
    except (ValidationError, ValueError) as error:
        faults = (
            "; ".join(f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors())
            if isinstance(error, ValidationError)
            else str(error)
        )
        raise ModelRefused(f"{DESCRIPTION_FILE} is not valid: {faults}.") from error


@lru_cache(maxsize=1)
def _adapter() -> TypeAdapter[Description]:
    return TypeAdapter(Description)
