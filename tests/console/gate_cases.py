"""Cases for the gate: studies of one or more series, which one is to be chosen, and what is to be said of each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from tests.worker.geometry.scans import Floats, Scan, head_hu, head_scan

WHOLE = tuple(np.arange(-80.0, 81.0, 5.0).tolist())
LOWER, UPPER = WHOLE[:16], WHOLE[16:]
Draw = Callable[[Floats], Floats]


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawn:
    """One series to draw: name, contents, heights and header elements."""

    name: str = "head"
    draw: Draw = head_hu
    heights_mm: tuple[float, ...] = WHOLE
    elements: tuple[tuple[str, Any], ...] = ()

    def scan(self) -> Scan:
        """Draw it."""
        stored = _stored(self.draw, self.heights_mm)
        return Scan(plane=stored.plane, stored_kji=stored.stored_kji, series=self.name, elements=dict(self.elements))


@cache
def _stored(draw: Draw, heights_mm: tuple[float, ...]) -> Scan:
    return head_scan(heights_mm=heights_mm, hu_of_points=draw)


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A study and its verdicts: by series, the codes of reasons (empty: fit) and of warnings."""

    name: str
    series: tuple[Drawn, ...]
    chosen: tuple[str, ...]
    """The series that would be analysed, one of each acquisition, the latest first."""
    reasons: dict[str, set[str]]
    warnings: dict[str, set[str]]

    def write(self, folder: Path) -> list[Path]:
        """Write all series, a folder each."""
        return [path for one in self.series for path in one.scan().write(folder / one.name)]


def elements(**values: Any) -> tuple[tuple[str, Any], ...]:
    return tuple(values.items())


def at(clock: str, **values: Any) -> tuple[tuple[str, Any], ...]:
    """Give elements that place a series in time, on one day (HHMMSS, UTC)."""
    return elements(AcquisitionDate="20260304", AcquisitionTime=clock, TimezoneOffsetFromUTC="+0000", **values)


def refused(code: str, *, name: str | None = None, **values: Any) -> Case:
    """Give a study of one series that its header refuses for this reason alone."""
    one = Drawn(elements=elements(**values))
    title = name or f"{code}: " + ", ".join(f"{key} {value}" for key, value in values.items())
    return Case(name=title, series=(one,), chosen=(), reasons={"head": {code}}, warnings={})


def seen(name: str, draw: Draw, *, reason: str | None = None, warns: tuple[str, ...] = (), **values: Any) -> Case:
    """Give a study of one series that its voxels decide on."""
    return Case(
        name=name,
        series=(Drawn(draw=draw, elements=elements(**values)),),
        chosen=() if reason else ("head",),
        reasons={"head": {reason} if reason else set()},
        warnings={"head": set(warns)},
    )


def study(
    name: str,
    *series: Drawn,
    chosen: str | tuple[str, ...],
    refusals: dict[str, set[str]] | None = None,
    warns: dict[str, set[str]] | None = None,
) -> Case:
    """Give a study of several series."""
    reasons: dict[str, set[str]] = {one.name: set() for one in series}
    reasons.update(refusals or {})
    names = (chosen,) if isinstance(chosen, str) else chosen
    return Case(name=name, series=series, chosen=names, reasons=reasons, warnings=warns or {})


def air(points: Floats) -> Floats:
    return np.full(points.shape[:-1], -1000.0)


def neck(points: Floats) -> Floats:
    radius = np.hypot(points[..., 0], points[..., 1])
    hu = np.where(radius < 60.0, 55.0, -1000.0)
    ring = np.hypot(points[..., 0], points[..., 1] - 10.0)
    hu[(ring > 10.0) & (ring < 20.0)] = 600.0
    return hu


def empty_skull(points: Floats) -> Floats:
    return head_hu(points, inside_hu=-990.0)


def heavy_contrast(points: Floats) -> Floats:
    return head_hu(points, inside_hu=85.0)


def vessels(points: Floats) -> Floats:
    hu = head_hu(points)
    hu[np.hypot(points[..., 0] % 24.0 - 12.0, points[..., 1] % 24.0 - 12.0) < 3.0] += 250.0
    return hu


def sharp(points: Floats) -> Floats:
    random = np.random.default_rng(abs(int(points[0, 0, 2])))
    return np.asarray(head_hu(points) + random.normal(0, 40.0, points.shape[:-1]))


def clipped(points: Floats) -> Floats:
    hu = head_hu(points)
    hu[(np.abs(points - (20.0, -10.0, 0.0)) < (4.0, 4.0, 4.0)).all(axis=-1)] = 3071.0
    return hu


def opened(points: Floats) -> Floats:
    hu = head_hu(points)
    gap = (points[..., 0] > 30.0) & (np.abs(points[..., 1]) < 45.0) & (np.abs(points[..., 2] - 10.0) < 40.0)
    hu[gap & (hu > 250.0)] = 20.0
    return hu


def drained(points: Floats) -> Floats:
    start, end = np.array([-40.0, -50.0, 45.0]), np.array([-5.0, 0.0, 0.0])
    along = (end - start) / np.linalg.norm(end - start)
    at_mm = np.clip((points - start) @ along, 0.0, float(np.linalg.norm(end - start)))
    hu = head_hu(points)
    hu[(np.linalg.norm(points - start - at_mm[..., None] * along, axis=-1) < 2.0) & (hu < 250.0)] = 400.0
    return hu


def moved(points: Floats) -> Floats:
    return head_hu(points, centre=(0.0, 12.0, 0.0) if abs(points[0, 0, 2] - 5.0) < 0.1 else (0.0, 0.0, 0.0))


BONE = Drawn(name="bone", elements=at("020000", ConvolutionKernel="H60s"))
SCOUT = Drawn(
    name="scout",
    draw=air,
    heights_mm=(0.0,),
    elements=elements(ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"]),
)

CASES = (
    study("plain head", Drawn(), chosen="head", warns={"head": set()}),
    refused("not_ct", Modality="MR"),
    refused("not_ct_image", SOPClassUID="1.2.840.10008.5.1.4.1.1.7"),
    refused("localizer", ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"]),
    refused("derived", ImageType=["DERIVED", "SECONDARY", "AXIAL"]),
    refused("projection", SeriesDescription="Head MIP 10 mm"),
    refused("projection", ImageType=["DERIVED", "PRIMARY", "MPR"]),
    refused("contrast", ContrastBolusAgent="Iomeprol"),
    refused("contrast", SeriesDescription="CTA head"),
    refused("contrast", SeriesDescription="Head +C"),
    refused("perfusion", ProtocolName="VPCT Perfusion"),
    refused("dual_energy", SeriesDescription="DE_Head Mono+ 70 keV"),
    refused("dual_energy", SeriesDescription="HEAD_VNC_3mm"),
    refused("dual_energy", SeriesDescription="Iodine map"),
    refused("dual_energy", ImageType=["DERIVED", "PRIMARY", "AXIAL", "MAT_REMOVED"]),
    refused("not_hounsfield", RescaleType="Z_EFF"),
    refused("no_hounsfield", RescaleSlope=None),
    refused("bone_kernel", ConvolutionKernel="H60s"),
    refused("bone_kernel", ConvolutionKernel="BONE"),
    refused("interventional", SeriesDescription="Cone-beam head"),
    refused("interventional", ManufacturerModelName="O-arm"),
    refused("kvp", KVP="40"),
    refused("thick_slices", SliceThickness="12"),
    refused("under_age", PatientAge="009Y"),
    seen("age unknown", head_hu, warns=("age_unknown",), PatientAge=""),
    seen("C-spine by name, head by content", head_hu, warns=("other_region_named",), SeriesDescription="C-spine"),
    seen("C-spine by content, head by name", neck, reason="no_brain"),
    seen("air", air, reason="no_brain"),
    seen("empty skull", empty_skull, reason="no_brain"),
    seen("brain too dense", heavy_contrast, reason="implausible_hu"),
    seen("contrast that no header names", vessels, reason="contrast_seen"),
    seen("sharp kernel that no header names", sharp, reason="bone_kernel_seen", ConvolutionKernel=""),
    seen("noise with a soft kernel", sharp, warns=("noisy",)),
    seen("metal", clipped, warns=("metal",)),
    seen("craniectomy", opened, warns=("craniectomy",)),
    seen("drain", drained, warns=("drain",)),
    seen("motion", moved, warns=("motion",)),
    study(
        "too few slices",
        Drawn(heights_mm=WHOLE[12:19]),
        chosen=(),
        refusals={"head": {"too_few_slices", "short_scan"}},
    ),
    study("wide gap", Drawn(heights_mm=(*WHOLE[:12], *WHOLE[15:])), chosen=(), refusals={"head": {"wide_gap"}}),
    study(
        "missing slice",
        Drawn(heights_mm=(*WHOLE[:12], *WHOLE[13:])),
        chosen="head",
        warns={"head": {"missing_slices", "wide_step"}},
    ),
    study("lower half only", Drawn(heights_mm=LOWER), chosen="head", warns={"head": {"partial_head"}}),
    study(
        "skull base and vertex apart",
        Drawn(name="base", heights_mm=LOWER, elements=at("020000")),
        Drawn(name="vertex", heights_mm=UPPER, elements=at("020100")),
        chosen=("vertex", "base"),
        warns={"vertex": {"partial_head", "other_part"}, "base": {"partial_head", "other_part"}},
    ),
    study(
        "whole head beside its half",
        Drawn(name="half", heights_mm=LOWER, elements=at("020500")),
        Drawn(name="whole", elements=at("020000")),
        chosen="whole",
        warns={"whole": set()},
    ),
    study(
        "soft, bone and scout",
        Drawn(name="soft", elements=at("020000")),
        BONE,
        SCOUT,
        chosen="soft",
        refusals={"bone": {"bone_kernel"}, "scout": {"localizer", "single_slice"}},
    ),
    study(
        "trauma: head, neck and bone",
        Drawn(name="soft", elements=at("020000")),
        Drawn(name="neck", draw=neck, elements=at("020200", SeriesDescription="C-spine 2 mm")),
        BONE,
        chosen="soft",
        refusals={"neck": {"no_brain"}, "bone": {"bone_kernel"}},
    ),
    study(
        "repeat for motion",
        Drawn(name="first", draw=moved, elements=at("020000")),
        Drawn(name="repeat", elements=at("020300")),
        chosen="repeat",
        warns={"repeat": set(), "first": {"motion"}},
    ),
    study(
        "repeat that is spoilt",
        Drawn(name="first", elements=at("020000")),
        Drawn(name="repeat", draw=moved, elements=at("020300")),
        chosen="first",
        warns={"first": set(), "repeat": {"motion"}},
    ),
    study(
        "follow-up after six hours",
        Drawn(name="first", elements=at("020000")),
        Drawn(name="later", elements=at("080000")),
        chosen=("later", "first"),
        warns={"later": {"other_acquisition"}, "first": {"other_acquisition"}},
    ),
    study(
        "native before contrast",
        Drawn(name="native", elements=at("020000")),
        Drawn(name="angio", draw=vessels, elements=at("022000")),
        chosen="native",
        refusals={"angio": {"contrast_seen"}},
        warns={"native": {"other_acquisition"}},
    ),
)
