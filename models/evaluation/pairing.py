"""Which truth belongs to which answer: files paired by name below two folders.

`a/b.nii.gz` has the name `a/b`. A folder per scan is known by what is in it: `truth.nii.gz`, `seg.dcm` and the like
stand for their folder, and `label_annot_1.nii.gz`, ... are several raters of one scan. A `result.json` that says that
nothing was marked is an empty answer. Images are passed over.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path

from models.evaluation.grid import SlicePlaces
from models.evaluation.mask_file import BadMask

FOR_FOLDER = frozenset({"truth", "mask", "label", "labels", "seg", "ICH_mask", "label_consensus_staple", "prediction"})
IMAGES = frozenset({"image", "CT", "ct", "brain", "label_uncertainty"})
RESULT = "result.json"
_RATER = re.compile(r"label_annot_\d+$")
_SUFFIXES = (".nii.gz", ".nii")


@dataclass(frozen=True, slots=True, kw_only=True)
class MaskFiles:
    """The masks of one scan below one folder: a single one, or several raters'; `mask` may be their consensus."""

    mask: Path | None = None
    raters: tuple[Path, ...] = ()
    none_marked: bool = False  # `ichor process` looked and marked nothing, and therefore wrote no segmentation


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """One scan's truth and answer."""

    name: str
    truth: MaskFiles
    answer: MaskFiles
    image: Path | None = None  # the scan; where it is known, its affine holds for masks of its shape
    slices: SlicePlaces | None = None  # of a scan whose slices lie at uneven distances


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """A scan that could not be scored, and why."""

    name: str
    code: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Pairing:
    """What was found below the two folders."""

    pairs: tuple[Pair, ...]
    faults: tuple[Fault, ...]


def find_masks(folder: Path) -> dict[str, MaskFiles]:
    """Return the masks below a folder by name; raise BadMask where there is no folder, or two files claim a name."""
    if not folder.is_dir():
        raise BadMask(f"There is no folder {folder}.")
    single: dict[str, Path] = {}
    empty: set[str] = set()
    raters: dict[str, list[Path]] = {}
    for path in sorted(folder.rglob("*")):
        stem = _stem(path)
        parent = path.parent.relative_to(folder).as_posix()
        if path.name == RESULT and parent != "." and _says_none_marked(path):
            empty.add(parent)
        if stem is None or stem in IMAGES or path.name.startswith("."):
            continue
        if _RATER.match(stem):
            raters.setdefault(parent, []).append(path)
            continue
        stands_for_folder = stem in FOR_FOLDER and parent != "."
        name = parent if stands_for_folder else (path.parent.relative_to(folder) / stem).as_posix()
        if name in single:
            raise BadMask(f"{single[name]} and {path} are both the mask of {name!r}.")
        single[name] = path
    return {
        name: MaskFiles(
            mask=single.get(name),
            raters=tuple(raters.get(name, ())),
            none_marked=name in empty and name not in single,
        )
        for name in sorted({*single, *raters, *empty})
    }


def find_images(folder: Path) -> dict[str, Path]:
    """Return the NIfTI images below a folder by the name of their scan."""
    found: dict[str, Path] = {}
    for path in sorted(folder.rglob("*")):
        stem = _stem(path)
        if stem is None or path.suffix == ".dcm":
            continue
        parent = path.parent.relative_to(folder)
        stands_for_folder = stem in IMAGES and parent != Path()
        found.setdefault(parent.as_posix() if stands_for_folder else (parent / stem).as_posix(), path)
    return found


def pair_masks(truth_folder: Path, answer_folder: Path) -> Pairing:
    """Pair the masks below two folders; a name on one side only is a fault."""
    truths, answers = find_masks(truth_folder), find_masks(answer_folder)
    faults = [
        Fault(name=name, code="missing_answer", text=f"{name}: there is a truth but no answer.")
        for name in truths
        if name not in answers
    ]
    faults += [
        Fault(name=name, code="missing_truth", text=f"{name}: there is an answer but no truth.")
        for name in answers
        if name not in truths
    ]
    pairs = tuple(Pair(name=name, truth=truths[name], answer=answers[name]) for name in truths if name in answers)
    return Pairing(pairs=pairs, faults=tuple(faults))


def _says_none_marked(path: Path) -> bool:
    """Whether a `result.json` says that the scan was analysed and nothing marked: an answer, and not a missing one."""
    try:
        result = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return (
        isinstance(result, dict)
        and result.get("status") == "analysed"
        and result.get("conclusion") == "none_marked"
        and not result.get("findings")
    )


def _stem(path: Path) -> str | None:
    """Return the name without its suffix; None for a file that is no mask. Of DICOM files only `seg.dcm` is one."""
    if path.name.endswith("seg.dcm"):
        return path.name.removesuffix(".dcm")
    for suffix in _SUFFIXES:
        if path.name.endswith(suffix):
            return path.name.removesuffix(suffix)
    return None
