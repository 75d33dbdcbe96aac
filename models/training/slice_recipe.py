"""What the training of a slice classifier is told: slice labels alone, and which map of it becomes the segmentation.

One TOML file, read as strictly as a recipe for masks; it has a table `[classifier]` in the place of `[model]`.
"""

from __future__ import annotations

import hashlib
import json
import tomllib
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, ClassVar

from pydantic import ConfigDict, Field, TypeAdapter

from models.networks.attention_maps import MapKind
from models.spec import Name, PositiveMm
from models.training.recipe import Count, DataRecipe, HuWindow, Share, SplitRecipe, read_strictly
from models.training.slice_sample import OUTPUTS

_STRICT = ConfigDict(extra="forbid")

PAPER_WINDOWS: tuple[HuWindow, ...] = ((-20.0, 100.0), (-20.0, 180.0), (-800.0, 2000.0))
"""Brain 40/120, subdural 80/200, bone 600/2800 (level/width), as HGI-SAM trains."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassifierRecipe:
    """The network, and the square that it sees; what is not said of the network is Swin-B."""

    __pydantic_config__: ClassVar[ConfigDict] = _STRICT

    spacing_zyx_mm: tuple[PositiveMm, PositiveMm, PositiveMm]
    side: Count = 384  # pixels
    hu_windows: Annotated[tuple[HuWindow, ...], Field(min_length=1)] = PAPER_WINDOWS
    network_parameters: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuse windows without width."""
        if any(low >= high for low, high in self.hu_windows):
            raise ValueError("hu_windows: each must be [low, high] with low < high")


@dataclass(frozen=True, slots=True, kw_only=True)
class SliceTraining:
    """The budget and how it is spent."""

    __pydantic_config__: ClassVar[ConfigDict] = _STRICT

    steps: Count = 2000
    batch: Count = 12  # slices at once
    learning_rate: Annotated[float, Field(gt=0, le=1)] = 5e-4
    weight_decay: Annotated[float, Field(ge=0)] = 1e-4
    with_blood: Share = 0.5  # of the slices of a batch
    validate_every: Count = 200  # steps
    checkpoint_every: Count = 100  # steps
    device: str = "auto"
    threads: Annotated[int, Field(ge=0)] = 0  # 0: torch's own choice


@dataclass(frozen=True, slots=True, kw_only=True)
class SliceAugmentation:
    """How slices are changed, each up to so much either way."""

    __pydantic_config__: ClassVar[ConfigDict] = _STRICT

    mirror: Share = 0.5  # how often left and right are exchanged
    turn_deg: Annotated[float, Field(ge=0, le=180)] = 15.0
    scale: Annotated[float, Field(ge=0, le=0.5)] = 0.1
    shift: Annotated[float, Field(ge=0, le=0.5)] = 0.05  # of the side
    contrast: Annotated[float, Field(ge=0, le=0.5)] = 0.07  # about 35 HU
    brightness_hu: Annotated[float, Field(ge=0, le=50)] = 2.0
    noise_hu: Annotated[float, Field(ge=0, le=50)] = 1.5  # greatest standard deviation


@dataclass(frozen=True, slots=True, kw_only=True)
class SliceRecipe:
    """One training."""

    __pydantic_config__: ClassVar[ConfigDict] = _STRICT

    name: Name
    classifier: ClassifierRecipe
    data: tuple[DataRecipe, ...] = ()
    threshold_data: tuple[DataRecipe, ...] = ()  # with masks; only the validation fold of each is looked at
    version: str = "1"
    title: str | None = None
    subtypes: bool = False  # six outputs in the place of one: any haemorrhage, and the five subtypes
    map: MapKind = "hgi-sam"
    seeds: Annotated[tuple[Annotated[int, Field(ge=0)], ...], Field(min_length=1)] = (1,)  # one member for each
    allow_overlaps: bool = False
    split: SplitRecipe = field(default_factory=SplitRecipe)
    training: SliceTraining = field(default_factory=SliceTraining)
    augmentation: SliceAugmentation = field(default_factory=SliceAugmentation)

    def __post_init__(self) -> None:
        """Refuse seeds twice."""
        if len(set(self.seeds)) != len(self.seeds):
            raise ValueError("seeds: each once")

    @property
    def outputs(self) -> tuple[str, ...]:
        """What the classifier is asked, in order."""
        return OUTPUTS if self.subtypes else OUTPUTS[:1]

    @property
    def network_parameters(self) -> dict[str, Any]:
        """What the network is built from."""
        return {
            **self.classifier.network_parameters,
            "side": self.classifier.side,
            "in_channels": len(self.classifier.hu_windows),
            "outputs": len(self.outputs),
        }

    @property
    def sha256(self) -> str:
        """Hash over all that decides the weights: not over where and on what it runs, nor which map is drawn."""
        deciding = replace(
            self,
            training=replace(self.training, device="auto", threads=0),
            data=(),
            threshold_data=(),
            map="hgi-sam",
            name="any",
        )
        plain = _adapter().dump_python(deciding, mode="json")
        return hashlib.sha256(json.dumps(plain, sort_keys=True, separators=(",", ":")).encode()).hexdigest()

    def to_plain(self) -> dict[str, Any]:
        """Return the recipe as JSON values, without folders of this machine."""
        plain: dict[str, Any] = _adapter().dump_python(self, mode="json")
        for one in (*plain["data"], *plain["threshold_data"]):
            one["path"] = Path(one["path"]).name
        if plain["split"]["file"] is not None:
            plain["split"]["file"] = Path(plain["split"]["file"]).name
        return plain


def is_slice_recipe(path: Path) -> bool:
    """Whether a recipe is one for slice labels."""
    try:
        with path.open("rb") as file:
            return "classifier" in tomllib.load(file)
    except (OSError, ValueError):
        return False  # the reader of recipes for masks says what is wrong with it


def load_slice_recipe(path: Path) -> SliceRecipe:
    """Read a recipe; raise RecipeInvalid with every fault in one sentence. Paths start at its folder."""
    recipe = read_strictly(path, _adapter())
    at, split_file = path.resolve().parent, recipe.split.file
    return replace(
        recipe,
        data=tuple(replace(one, path=at / one.path) for one in recipe.data),
        threshold_data=tuple(replace(one, path=at / one.path) for one in recipe.threshold_data),
        split=recipe.split if split_file is None else replace(recipe.split, file=at / split_file),
    )


@lru_cache(maxsize=1)
def _adapter() -> TypeAdapter[SliceRecipe]:
    return TypeAdapter(SliceRecipe)
