"""What a training is told, as one TOML file read strictly: an unknown key or a value out of range is named and refused.

name = "my-unet"
labels = ["IPH", "EAH", "oedema", "IVH"]
[[data]]
path = "benchmark/train"
[model]
network = "unet-3d"
spacing_zyx_mm = [4.0, 1.5, 1.5]
patch = [16, 64, 64]
"""

from __future__ import annotations

import hashlib
import json
import tomllib
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, TypeVar

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError

from ichor.errors import PermanentError
from models.spec import LabelSpec, Name, PositiveMm
from models.vocabulary import label_named

Loss = Literal["dice", "dice-ce", "dice-focal", "dice-ce-present", "dice-ce-patch", "slice-dice", "boundary"]
Pretraining = Literal[
    "context-restoration",
    "global-contrastive",
    "local-contrastive",  # global besides
    "binary-classification",
    "multi-class-classification",
]
Share = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=1)]
Sides = tuple[Count, Count, Count]
HuWindow = tuple[float, float]

Kind = TypeVar("Kind")

_STRICT = ConfigDict(extra="forbid")


class RecipeInvalid(PermanentError):
    """The training's recipe is not usable."""

    code = "recipe"


@dataclass(frozen=True, slots=True, kw_only=True)
class DataRecipe:
    """A data set to train on; a path that is not absolute starts at the recipe's folder."""

    __pydantic_config__: ClassVar[ConfigDict] = _STRICT

    path: Path
    reader: str | None = None  # recognised by the layout where this is not given
    label_map: str | None = None  # of a plain folder: four-class, five-subtype, binary or 1=IPH,2=IVH


@dataclass(frozen=True, slots=True, kw_only=True)
class SplitRecipe:
    """Who validates and who is left out, by patient: five folds that follow from the patients' names."""

    __pydantic_config__: ClassVar[ConfigDict] = _STRICT

    by: str = "patient"
    validation_fold: Annotated[int, Field(ge=0)] = 0
    test_fold: Annotated[int, Field(ge=0)] | None = None  # seen neither by training nor by validation
    label_fraction: Annotated[float, Field(gt=0, le=1)] = 1.0  # share of the training patients that is used
    file: Path | None = None  # a sealed split file; else the shipped one of that data set, else by the rule
    most_scans: Count | None = None  # of a data set, to train on, to validate on, to look at: for smoke tests

    def __post_init__(self) -> None:
        """Refuse slices of one patient on both sides, and a test that chooses the weights."""
        if self.by != "patient":
            raise ValueError("by: only 'patient'; other splits put one patient's slices on both sides")
        if self.test_fold == self.validation_fold:
            raise ValueError("test_fold: is the validation_fold, which chooses the weights")


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelRecipe:
    """The network and what it sees; `patch` and `window` are in the order of the network's axes."""

    __pydantic_config__: ClassVar[ConfigDict] = _STRICT

    network: str
    spacing_zyx_mm: tuple[PositiveMm, PositiveMm, PositiveMm]
    patch: Sides
    window: Sides | None = None  # what it sees at once in service; None: a patch
    overlap: Annotated[float, Field(ge=0, lt=1)] = 0.25
    hu_windows: Annotated[tuple[HuWindow, ...], Field(min_length=1)] = ((-20.0, 120.0),)  # one input channel for each
    orientation: str = "SPL"  # where the network's axes lead, see docs/models.md
    mirror_image: bool = False  # what lies opposite in the head, a second channel for each window
    network_parameters: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuse windows without width."""
        if any(low >= high for low, high in self.hu_windows):
            raise ValueError("hu_windows: each must be [low, high] with low < high")

    @property
    def hu_range(self) -> HuWindow:
        """The range that holds all windows: what the spec's `hu_window` says."""
        return min(low for low, _ in self.hu_windows), max(high for _, high in self.hu_windows)


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingRecipe:
    """The budget and how it is spent."""

    __pydantic_config__: ClassVar[ConfigDict] = _STRICT

    steps: Count = 2000  # of the optimiser
    batch: Count = 2  # patches at once
    accumulate: Count = 1  # batches before each step
    learning_rate: Annotated[float, Field(gt=0, le=1)] = 1e-3
    weight_decay: Annotated[float, Field(ge=0)] = 1e-4
    loss: Loss = "dice-ce"
    loss_hu: HuWindow | None = None  # voxels outside are neither taught nor, in service, answered (masked loss)
    empty_slice_weight: Annotated[float, Field(gt=0, le=1)] = 0.2  # of `slice-dice`
    empty_patch_weight: Annotated[float, Field(ge=0, le=10)] = 0.0  # of `dice-ce-present` and `-patch`
    ranking_weight: Annotated[float, Field(ge=0, le=10)] = 0.0  # of the ranking part beside the loss; 0: none
    on_lesion: Share = 0.75  # of the patches that are laid round a labelled voxel
    validate_every: Count = 200  # steps
    patience: Annotated[int, Field(ge=0)] = 0  # validations without a better one before it stops; 0: never
    checkpoint_every: Count = 100  # steps
    precision: Literal["auto", "float32", "bfloat16"] = "auto"  # auto: bfloat16 on a GPU that computes it
    device: str = "auto"
    threads: Annotated[int, Field(ge=0)] = 0  # 0: torch's own choice

    def __post_init__(self) -> None:
        """Refuse a window without width."""
        if self.loss_hu is not None and self.loss_hu[0] >= self.loss_hu[1]:
            raise ValueError("loss_hu: must be [low, high] with low < high")


@dataclass(frozen=True, slots=True, kw_only=True)
class PretrainingRecipe:
    """What the network learns before it sees a mask."""

    __pydantic_config__: ClassVar[ConfigDict] = _STRICT

    kind: Pretraining
    steps: Count = 1000
    batch: Count = 4  # patches at once; in contrastive kinds the others of a batch are the strangers
    learning_rate: Annotated[float, Field(gt=0, le=1)] = 1e-3
    patch: Sides | None = None  # None: the model's; for classification as wide as a slice is best
    data: tuple[DataRecipe, ...] = ()  # none: the training patients of the recipe's own data, whatever label_fraction

    def __post_init__(self) -> None:
        """Refuse a contrast without strangers."""
        if self.kind.endswith("contrastive") and self.batch < 2:
            raise ValueError("batch: a contrastive pre-training needs two patches at once, at least")

    @property
    def uses_slices(self) -> bool:
        """Whether it needs to know what is on which slice."""
        return self.kind.endswith("classification")


@dataclass(frozen=True, slots=True, kw_only=True)
class TeacherRecipe:
    """Noisy Student (Lin and Yuh, arXiv 2105.00582): a model of the registry labels scans that nobody did."""

    __pydantic_config__: ClassVar[ConfigDict] = _STRICT

    model: Name
    data: Annotated[tuple[DataRecipe, ...], Field(min_length=1)]  # masks that there may be are not read
    above: Share = 0.7  # this probability is a label
    below: Share = 0.3  # less than this of everything is background; what lies between is ignored
    top_share: Annotated[float, Field(gt=0, le=1)] = 0.1  # of all slices, the likeliest to show blood; no others count

    def __post_init__(self) -> None:
        """Refuse thresholds that leave a voxel two things at once."""
        if not self.above >= 0.5 or not self.below <= 0.5:
            raise ValueError("above: must be 0.5 at least, and below 0.5 at most")


@dataclass(frozen=True, slots=True, kw_only=True)
class Augmentation:
    """How patches are changed; nothing that a scanner does not do. What is turned, scaled or bent is also blurred."""

    __pydantic_config__: ClassVar[ConfigDict] = _STRICT

    mirror: Share = 0.5  # how often left and right are exchanged
    contrast: Annotated[float, Field(ge=0, le=0.5)] = 0.07  # about 35 HU
    brightness_hu: Annotated[float, Field(ge=0, le=50)] = 2.0
    noise_hu: Annotated[float, Field(ge=0, le=50)] = 1.5  # greatest standard deviation
    warped: Share = 1.0  # of the patches that the next three change
    rotation_deg: Annotated[float, Field(ge=0, le=180)] = 0.0  # within the slice, either way
    scaling: Annotated[float, Field(ge=0, le=0.5)] = 0.0  # 0.1: from 0.9 to 1.1 times
    elastic_mm: Annotated[float, Field(ge=0, le=20)] = 0.0  # standard deviation of smooth displacements


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """One training."""

    __pydantic_config__: ClassVar[ConfigDict] = _STRICT

    name: Name
    labels: Annotated[tuple[str, ...], Field(min_length=1)]
    model: ModelRecipe
    data: tuple[DataRecipe, ...] = ()
    version: str = "1"
    title: str | None = None
    seeds: Annotated[tuple[Annotated[int, Field(ge=0)], ...], Field(min_length=1)] = (1,)  # one member for each
    allow_overlaps: bool = False  # between data sets that show the same patients
    split: SplitRecipe = field(default_factory=SplitRecipe)
    training: TrainingRecipe = field(default_factory=TrainingRecipe)
    augmentation: Augmentation = field(default_factory=Augmentation)
    pretraining: PretrainingRecipe | None = None
    teacher: TeacherRecipe | None = None

    def __post_init__(self) -> None:
        """Refuse seeds and labels twice; names that are no label raise ModelSpecInvalid."""
        if len(set(self.seeds)) != len(self.seeds):
            raise ValueError("seeds: each once")
        names = [label.name for label in self.label_specs]
        if len(set(names)) != len(names):
            raise ValueError("labels: each once")

    @property
    def label_specs(self) -> tuple[LabelSpec, ...]:
        """The labels with their codes."""
        return tuple(label_named(name, index) for index, name in enumerate(self.labels, start=1))

    @property
    def sha256(self) -> str:
        """Hash over all that decides the weights: not over where and on what it runs."""
        plain = plain_of(replace(self, training=replace(self.training, device="auto", threads=0), data=()))
        for part in ("pretraining", "teacher"):
            if plain[part] is not None:
                del plain[part]["data"]  # the hash of the scans stands for it
        return hashlib.sha256(json.dumps(plain, sort_keys=True, separators=(",", ":")).encode()).hexdigest()

    def to_plain(self) -> dict[str, Any]:
        """Return the recipe as JSON values, without folders of this machine."""
        plain = plain_of(self)
        for part in (plain, plain["pretraining"], plain["teacher"]):
            for one in () if part is None else part["data"]:
                one["path"] = Path(one["path"]).name
        if plain["split"]["file"] is not None:
            plain["split"]["file"] = Path(plain["split"]["file"]).name
        return plain


def load_recipe(path: Path) -> Recipe:
    """Read a recipe; raise RecipeInvalid with every fault in one sentence."""
    recipe = read_strictly(path, _adapter())
    at = path.resolve().parent
    split_file, pretraining, teacher = recipe.split.file, recipe.pretraining, recipe.teacher
    return replace(
        recipe,
        data=_placed(recipe.data, at),
        pretraining=None if pretraining is None else replace(pretraining, data=_placed(pretraining.data, at)),
        teacher=None if teacher is None else replace(teacher, data=_placed(teacher.data, at)),
        split=recipe.split if split_file is None else replace(recipe.split, file=at / split_file),
    )


def plain_of(recipe: Recipe) -> dict[str, Any]:
    """Return a recipe as JSON values."""
    plain: dict[str, Any] = _adapter().dump_python(recipe, mode="json")
    return plain


def _placed(data: tuple[DataRecipe, ...], at: Path) -> tuple[DataRecipe, ...]:
    return tuple(replace(one, path=at / one.path) for one in data)


def read_strictly(path: Path, adapter: TypeAdapter[Kind]) -> Kind:
    """Read a recipe of one kind from TOML; raise RecipeInvalid with every fault in one sentence."""
    try:
        with path.open("rb") as file:
            return adapter.validate_python(tomllib.load(file))
    except OSError as error:
        raise RecipeInvalid(f"The recipe {path} cannot be read: {error.strerror}.") from error
    except ValidationError as error:
        faults = "; ".join(f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors())
        raise RecipeInvalid(f"The recipe {path} is not valid: {faults}.") from error
    except ValueError as error:
        raise RecipeInvalid(f"The recipe {path} is not valid: {error}.") from error


@lru_cache(maxsize=1)
def _adapter() -> TypeAdapter[Recipe]:
    return TypeAdapter(Recipe)
