"""Which patients train, validate and test: by patient, never by slice, fixed by name and sealed by a hash.

Folds follow from hashes of the patients' keys, so that nobody picked them, they are of equal size, and whoever has the
same list of patients gets the same split, with or without the data. A split file is sealed by its SHA-256, which goes
into a training's manifest.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from models.training.data.case import BadDataSet

if TYPE_CHECKING:
    from models.training.data.case import Case

SHIPPED = Path(__file__).parent / "splits"
FOLDS = 5
RULE = "patients in the order of SHA-256('ichor-split-1:' + patient), dealt to 5 folds in turn"


class SplitInvalid(BadDataSet):
    """The split is not usable."""

    code = "split"


@dataclass(frozen=True, slots=True, kw_only=True)
class Split:
    """Folds of patients' keys."""

    data: str
    rule: str
    folds: tuple[tuple[str, ...], ...]

    def __post_init__(self) -> None:
        """Refuse a patient in two folds."""
        every = [patient for fold in self.folds for patient in fold]
        if len(set(every)) != len(every):
            twice = next(patient for patient in every if every.count(patient) > 1)
            raise SplitInvalid(f"The split of {self.data} has {twice} in two places.")

    @property
    def sha256(self) -> str:
        """Hash over the split as canonical JSON."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True, separators=(",", ":")).encode()).hexdigest()

    def to_json(self) -> str:
        """Return the split file."""
        return json.dumps({"schema": 1, **asdict(self), "sha256": self.sha256}, indent=1) + "\n"


def make_split(data: str, patients: Iterable[str]) -> Split:
    """Deal patients to folds by the rule."""
    dealt = _in_order(patients)
    return Split(data=data, rule=RULE, folds=tuple(tuple(sorted(dealt[fold::FOLDS])) for fold in range(FOLDS)))


def share_of(cases: Iterable[Case], fraction: float) -> tuple[Case, ...]:
    """Return the cases of a share of the patients, one at least: for learning curves, each share within the next."""
    every = tuple(cases)
    patients = _in_order(case.patient for case in every)
    kept = set(patients[: max(1, round(fraction * len(patients)))])
    return tuple(case for case in every if case.patient in kept)


def _in_order(patients: Iterable[str]) -> list[str]:
    return sorted(set(patients), key=lambda one: hashlib.sha256(f"ichor-split-1:{one}".encode()).digest())


def load_split(path: Path) -> Split:
    """Read a split file; raise SplitInvalid where it was changed after it was sealed."""
    try:
        stated = json.loads(path.read_text(encoding="utf-8"))
        split = Split(data=stated["data"], rule=stated["rule"], folds=tuple(tuple(fold) for fold in stated["folds"]))
        sealed = stated["sha256"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise SplitInvalid(f"{path.name} is no split file.") from error
    if sealed != split.sha256:
        raise SplitInvalid(f"{path.name} was changed after it was sealed: its SHA-256 does not fit.")
    return split


def parts_of(cases: Iterable[Case], split: Split, fold: int) -> tuple[tuple[Case, ...], tuple[Case, ...]]:
    """Return the cases that train and those that are held out as `fold`.

    Raises SplitInvalid for a fold that is none, and for a patient that the split does not list.
    """
    if not 0 <= fold < len(split.folds):
        raise SplitInvalid(f"The split of {split.data} has the folds 0 to {len(split.folds) - 1}, not {fold}.")
    where = {patient: number for number, patients in enumerate(split.folds) for patient in patients}
    every = tuple(cases)
    unknown = [case.patient for case in every if case.patient not in where]
    if unknown:
        raise SplitInvalid(f"The split of {split.data} does not list {unknown[0]}.")
    return (
        tuple(case for case in every if where[case.patient] != fold),
        tuple(case for case in every if where[case.patient] == fold),
    )
