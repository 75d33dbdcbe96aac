"""What is known about a model without loading it: labels with their codes, input, files, licence.

A spec is one JSON file, read strictly: an unknown key, a wrong type, a label out of order or a file name with a path in
it is refused. Its digest is part of every result's identity. Importing this module costs no torch.
"""

from __future__ import annotations

import hashlib
import ipaddress
import json
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal
from urllib.parse import urlsplit

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError

from ichor.errors import ModelError

if TYPE_CHECKING:
    from pathlib import Path

Family = Literal["deepmedic", "zoo", "bundle", "nnunet", "export", "slice-maps"]
Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,62}$")]
Text = Annotated[str, Field(min_length=1)]
Byte = Annotated[int, Field(ge=0, le=255)]
PositiveMm = Annotated[float, Field(gt=0, le=20)]
Member = Annotated[int, Field(ge=1)]

_STRICT = ConfigDict(extra="forbid", strict=True)
_LOOPBACK_NAMES = frozenset({"localhost"})


class ModelSpecInvalid(ModelError):
    """The model's spec is not usable."""

    code = "model_spec"


@dataclass(frozen=True, slots=True, kw_only=True)
class Code:
    """A coded concept (PS3.3 Section 8): value, coding scheme designator and meaning."""

    __pydantic_config__: ClassVar[ConfigDict] = _STRICT

    value: Annotated[str, Field(min_length=1, max_length=16)]  # CodeValue is an SH
    scheme: Annotated[str, Field(min_length=1, max_length=16)]  # CodingSchemeDesignator is an SH
    meaning: Annotated[str, Field(min_length=1, max_length=64)]  # CodeMeaning is an LO


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelSpec:
    """One class that the model paints; `index` is its channel in the softmax (0 is background and not listed)."""

    __pydantic_config__: ClassVar[ConfigDict] = _STRICT

    index: Annotated[int, Field(ge=1, le=254)]
    name: Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_-]{0,15}$")]
    title: Text
    haemorrhage: bool  # counts in the total, the conclusion and alerts
    finding: Code
    region: Code
    segment_type: Code
    colour_rgb: tuple[Byte, Byte, Byte]


@dataclass(frozen=True, slots=True, kw_only=True)
class FileSpec:
    """One weight file, in the order of the members; `url` is empty where the file comes with the package."""

    __pydantic_config__: ClassVar[ConfigDict] = _STRICT

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$")]  # one path component, never a path
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    size_bytes: Annotated[int, Field(gt=0)]
    url: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSpec:
    """A model as the node knows it. Files and members correspond one to one; members are counted from 1."""

    __pydantic_config__: ClassVar[ConfigDict] = _STRICT

    name: Name
    version: Text
    family: Family
    title: Text
    intended_use: Text
    licence: Text
    source: str = ""  # where the model was published, for people
    research_only: bool
    spacing_zyx_mm: tuple[PositiveMm, PositiveMm, PositiveMm]
    hu_window: tuple[float, float]  # clipped to this range, then scaled to [-1, 1]; outside the scan -1
    labels: Annotated[tuple[LabelSpec, ...], Field(min_length=1)]
    files: Annotated[tuple[FileSpec, ...], Field(min_length=1)]
    validated_subsets: tuple[tuple[Member, ...], ...] = ()  # besides the whole set, which is always allowed
    parameters: dict[str, Any] = field(default_factory=dict)  # what the family's engine needs to know

    def __post_init__(self) -> None:
        """Check what concerns several fields at once."""
        if [label.index for label in self.labels] != list(range(1, len(self.labels) + 1)):
            raise ValueError("label indices must count up from 1 without gaps")
        for what, names in (
            ("label names", [label.name for label in self.labels]),
            ("file names", [file.name for file in self.files]),
        ):
            if len(set(names)) != len(names):
                raise ValueError(f"{what} must be unique")
        if not self.hu_window[0] < self.hu_window[1]:
            raise ValueError("hu_window must be [low, high] with low < high")
        for subset in self.validated_subsets:
            if not subset or list(subset) != sorted(set(subset)) or subset[-1] > len(self.files):
                raise ValueError(f"validated subset {list(subset)} must name members in ascending order, each once")
        for file in self.files:
            if file.url and not _is_safe_url(file.url):
                raise ValueError(f"{file.url} must be https (plain http only to a loopback address)")

    @property
    def members(self) -> tuple[int, ...]:
        """All members, counted from 1."""
        return tuple(range(1, len(self.files) + 1))

    @property
    def haemorrhage_labels(self) -> tuple[LabelSpec, ...]:
        """The labels that count as haemorrhage."""
        return tuple(label for label in self.labels if label.haemorrhage)

    @property
    def digest(self) -> str:
        """`sha256:` and 64 hex digits over the spec as canonical JSON (sorted keys, no spaces)."""
        plain = _adapter().dump_python(self, mode="json")
        canonical = json.dumps(plain, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        return f"sha256:{hashlib.sha256(canonical.encode()).hexdigest()}"

    def is_validated(self, members: tuple[int, ...]) -> bool:
        """Whether a result of just these members may raise an alert or state that nothing was marked."""
        return members == self.members or members in self.validated_subsets

    def label(self, name: str) -> LabelSpec:
        """Return the label of that name; raise ModelError where the model has none."""
        for label in self.labels:
            if label.name == name:
                return label
        known = ", ".join(label.name for label in self.labels)
        raise ModelError(f"Model {self.name} has no label {name!r}; it has {known}.")


def load_spec(path: Path) -> ModelSpec:
    """Read a spec from JSON; raise ModelSpecInvalid with every fault in one sentence."""
    try:
        return _adapter().validate_json(path.read_bytes())
    except OSError as error:
        raise ModelSpecInvalid(f"The model spec {path} cannot be read: {error.strerror}.") from error
    except ValidationError as error:
        faults = "; ".join(f"{'.'.join(map(str, fault['loc'])) or 'spec'}: {fault['msg']}" for fault in error.errors())
        raise ModelSpecInvalid(f"The model spec {path} is not valid: {faults}.") from error
    except ValueError as error:
        raise ModelSpecInvalid(f"The model spec {path} is not valid: {error}.") from error


def _is_safe_url(url: str) -> bool:
    parts = urlsplit(url)
    host = parts.hostname
    if host is None:
        return False
    if parts.scheme == "https":
        return True
    if host in _LOOPBACK_NAMES:
        return parts.scheme == "http"
    try:
        return parts.scheme == "http" and ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


@lru_cache(maxsize=1)
def _adapter() -> TypeAdapter[ModelSpec]:
    return TypeAdapter(ModelSpec)
