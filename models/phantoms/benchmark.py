"""A fixed set of phantom studies, the same for everybody: 60 to train on, 40 to test on, and 20 that are shifted.

`benchmark.csv` holds one recipe per study; images are made on demand. The table was drawn once (kinds in turn, volumes
even over their logarithm, a quarter of the heads without blood) and stays as it is: its SHA-256 names the benchmark.
The shifted part has older heads, fainter blood, more noise of other kernels and steeper gantries than the others. A
ranking on phantoms is about pipelines; it says nothing of patients, and is never set beside published figures.
"""

from __future__ import annotations

import csv
import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args

from models.phantoms.lesions import PhantomInvalid, parse_lesion
from models.phantoms.plan import PhantomPlan
from models.phantoms.shift import Shift
from models.phantoms.study import TRUTH_FILE, write_phantom

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

Part = Literal["train", "test", "shifted"]
PARTS: tuple[Part, ...] = get_args(Part)
TABLE = Path(__file__).with_name("benchmark.csv")
SEAL = "benchmark.json"

_MATRIX, _PIXEL_MM = 160, 1.5  # as fine as the lattice: coarse enough to be made, and trained on, by a processor


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchmarkStudy:
    """One study of the set."""

    part: Part
    name: str
    plan: PhantomPlan


def table_sha256() -> str:
    """Return the hash that names the benchmark, in hex."""
    return hashlib.sha256(TABLE.read_bytes()).hexdigest()


def benchmark_studies() -> tuple[BenchmarkStudy, ...]:
    """Return all studies, in the order of the table."""
    with TABLE.open(newline="", encoding="ascii") as lines:
        return tuple(_study(row) for row in csv.DictReader(lines))


def write_benchmark(
    out: Path, parts: Sequence[Part] = PARTS, *, on_progress: Callable[[float], None] | None = None
) -> tuple[BenchmarkStudy, ...]:
    """Write the studies of these parts as `out/PART/NAME/`; those that an earlier run finished stay.

    Raises PhantomInvalid where `out` holds another version of the benchmark.
    """
    _seal(out)
    studies = tuple(study for study in benchmark_studies() if study.part in parts)
    for number, study in enumerate(studies, start=1):
        place = out / study.part / study.name
        if not (place / TRUTH_FILE).is_file():  # written last
            write_phantom(place, study.plan)
        if on_progress is not None:
            on_progress(number / len(studies))
    return studies


def _seal(out: Path) -> None:
    path, stated = out / SEAL, {"schema": 1, "benchmark_sha256": table_sha256()}
    if path.is_file():
        if json.loads(path.read_text(encoding="utf-8")) != stated:
            raise PhantomInvalid(f"{out} holds another version of the benchmark; choose an empty folder.")
        return
    out.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(stated) + "\n", encoding="utf-8")


def _study(row: dict[str, str]) -> BenchmarkStudy:
    part = next(one for one in PARTS if one == row["part"])
    lesions = tuple(parse_lesion(text) for text in row["lesions"].split("+") if text)
    plan = PhantomPlan(
        seed=int(row["seed"]),
        lesions=lesions,
        tilt_deg=float(row["tilt_deg"]),
        slice_thickness_mm=float(row["thickness_mm"]),
        noise_hu=float(row["noise_hu"]),
        rows=_MATRIX,
        columns=_MATRIX,
        pixel_spacing_mm=_PIXEL_MM,
        shift=Shift(
            ageing=float(row["ageing"]),
            blood_hu=float(row["blood_hu"]),
            kernel_cycles_per_mm=float(row["kernel_per_mm"]),
        ),
    )
    return BenchmarkStudy(part=part, name=row["name"], plan=plan)
