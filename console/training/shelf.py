"""Arrays made of a scan's files, kept on disk for the next time: whole or not at all, memory-mapped when read."""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import numpy.typing as npt

    from models.training.data.case import Case

    Arrays = Mapping[str, npt.NDArray[Any]]

_META = "sample.json"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Shelved:
    """The arrays by name, and a hash over the files that they are made of."""

    arrays: Mapping[str, npt.NDArray[Any]]
    sha256: str


def shelved(shelf: Path, case: Case, stated: list[Any], make: Callable[[], Arrays]) -> Shelved:
    """Return what an earlier run made of the same files under the same `stated` conditions, else make and keep it."""
    place = shelf / _key(case, stated)
    if not (place / _META).is_file():
        _write(place, shelf, case, make())
    arrays = {path.stem: np.load(path, mmap_mode="r") for path in sorted(place.glob("*.npy"))}
    return Shelved(arrays=arrays, sha256=json.loads((place / _META).read_text(encoding="utf-8"))["sha256"])


def files_of(case: Case) -> list[Path]:
    """Return every file that a scan and its truth are made of."""
    masks = [*([] if case.masks.mask is None else [case.masks.mask]), *case.masks.raters]
    return [*([] if case.image is None else [case.image]), *case.dicom, *masks]


def _write(place: Path, shelf: Path, case: Case, arrays: Arrays) -> None:
    digest = hashlib.sha256()
    for path in files_of(case):
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    shelf.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".making-", dir=shelf) as scratch:
        new = Path(scratch) / "sample"
        new.mkdir()
        for name, array in arrays.items():
            np.save(new / f"{name}.npy", array)
        (new / _META).write_text(json.dumps({"name": case.name, "sha256": digest.hexdigest()}), encoding="utf-8")
        if place.exists():  # half of an earlier one
            shutil.rmtree(place)
        new.rename(place)


def _key(case: Case, stated: list[Any]) -> str:
    """Return the name on disk: another one for other files or other conditions."""
    every = list(stated)
    for path in files_of(case):
        status = path.stat()
        every.append([str(path.resolve()), status.st_size, status.st_mtime_ns])
    return hashlib.sha256(json.dumps(every).encode()).hexdigest()[:40]
