"""What a series must be to be analysed, as data: a TOML file, read strictly, with defaults shipped for head CT."""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError

from ichor.errors import SettingsError

HEAD_CT = Path(__file__).parent / "rules" / "head_ct.toml"

_STRICT = ConfigDict(extra="forbid")
Positive = Annotated[float, Field(gt=0)]


class RulesInvalid(SettingsError):
    """The gate rules are not usable."""

    code = "gate_rules"


@dataclass(frozen=True, slots=True, kw_only=True)
class Match:
    """Holds where a value of one of the elements is among `equals`, matches `pattern`, or is none of `unless`."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(
        extra="forbid", validate_by_name=True, validate_by_alias=True
    )

    tags: Annotated[tuple[str, ...], Field(min_length=1)]
    equals: tuple[str, ...] = ()
    pattern: str = ""
    unless: tuple[str, ...] = ()
    except_pattern: Annotated[str, Field(alias="except")] = ""

    def __post_init__(self) -> None:
        """Refuse a rule that can never hold, and expressions that do not compile."""
        if not (self.equals or self.pattern or self.unless):
            raise ValueError("a rule needs one of equals, pattern and unless")
        for expression in (self.pattern, self.except_pattern):
            try:
                re.compile(expression)
            except re.error as error:
                raise ValueError(f"the pattern {expression!r} is not valid: {error}") from error

    def holds(self, values: tuple[str, ...]) -> bool:
        """Say whether the rule holds for the values of one instance."""
        if self.unless:
            return not any(value in self.unless for value in values or ("",))
        return any(
            (value in self.equals or (self.pattern != "" and re.search(self.pattern, value, re.IGNORECASE) is not None))
            and not (self.except_pattern and re.search(self.except_pattern, value, re.IGNORECASE))
            for value in values
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule(Match):
    """A match with what is said where it holds."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(
        extra="forbid", validate_by_name=True, validate_by_alias=True
    )

    code: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """A number that must lie in a closed range; a missing one says nothing."""

    __pydantic_config__: ClassVar[ConfigDict] = _STRICT

    code: str
    text: str
    tag: str
    min: float = float("-inf")
    max: float = float("inf")
    warn: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class GeometryRules:
    """Bounds on the stack of slices."""

    __pydantic_config__: ClassVar[ConfigDict] = _STRICT

    min_slices: Annotated[int, Field(ge=2)]
    max_off_axial_deg: Positive
    min_extent_mm: Positive
    whole_extent_mm: Positive
    max_step_mm: Positive
    warn_step_mm: Positive
    max_missing: Annotated[int, Field(ge=0)]
    max_pixel_mm: Positive
    preferred_step_mm: tuple[float, float]
    adequate_step_mm: tuple[float, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class AgeRules:
    """For whom the model is not meant."""

    __pydantic_config__: ClassVar[ConfigDict] = _STRICT

    min_years: Annotated[int, Field(ge=0)]


@dataclass(frozen=True, slots=True, kw_only=True)
class ContentRules:
    """What the voxels must show: brain under a skull."""

    __pydantic_config__: ClassVar[ConfigDict] = _STRICT

    min_brain_ml: Positive
    max_brain_ml: Positive
    min_shell_share: Annotated[float, Field(ge=0, le=1)]
    median_hu: tuple[float, float]
    warn_dense_ml: Positive
    max_dense_ml: Positive


@dataclass(frozen=True, slots=True, kw_only=True)
class ArtefactRules:
    """From which size on an artefact is warned of; noise above its limit refuses a series whose kernel is unnamed."""

    __pydantic_config__: ClassVar[ConfigDict] = _STRICT

    metal_ml: Positive
    skull_gap_cm2: Positive
    tube_mm: Positive
    jump_mm: Positive
    noise_hu: Positive


@dataclass(frozen=True, slots=True, kw_only=True)
class GateRules:
    """All rules of one use; without `content` the voxels are not judged, without `age` nobody is too young.

    `soft_kernel` tells the kernels whose name alone says that they are smooth.
    """

    __pydantic_config__: ClassVar[ConfigDict] = _STRICT

    schema: Literal[1]
    name: str
    geometry: GeometryRules
    age: AgeRules | None = None
    content: ContentRules | None = None
    artefacts: ArtefactRules | None = None
    soft_kernel: Match | None = None
    refuse: tuple[Rule, ...] = ()
    warn: tuple[Rule, ...] = ()
    limits: tuple[Limit, ...] = ()
    prefer: tuple[Match, ...] = ()


def load_rules(path: Path | None) -> GateRules:
    """Read rules from TOML, or those shipped for head CT; raise RulesInvalid with every fault in one sentence."""
    source = HEAD_CT if path is None else path
    try:
        with source.open("rb") as file:
            rules: GateRules = _adapter().validate_python(tomllib.load(file))
            return rules
    except OSError as error:
        raise RulesInvalid(f"The gate rules {source} cannot be read: {error.strerror}.") from error
    except ValidationError as error:
        faults = "; ".join(f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors())
        raise RulesInvalid(f"The gate rules {source} are not valid: {faults}.") from error
    except ValueError as error:
        raise RulesInvalid(f"The gate rules {source} are not valid: {error}.") from error


@lru_cache(maxsize=1)
def _adapter() -> TypeAdapter[Any]:
    return TypeAdapter(GateRules)
