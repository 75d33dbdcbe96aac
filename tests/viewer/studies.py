"""Studies with results, as a hospital's PACS holds them: the slices and the objects of the default set."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import numpy as np

import models
from console.benchmark.marked import marked, phantom_labels, read_series
from ichor.settings import DimseDestination
from models.phantoms import LesionRequest, PhantomPlan, write_phantom
from models.spec import load_spec
from tests.painting import LEFT_FRONTAL_GE, paint
from worker.output.write import write_all

if TYPE_CHECKING:
    import numpy.typing as npt

    from tests.peers.orthanc import Orthanc
    from worker.output.context import WriteContext

SPEC = Path(str(models.__file__)).parent / "specs" / "blast-ct-v1.json"
DEFAULT_SET = DimseDestination.model_fields["send"].default
LESION = LesionRequest(kind="iph", volume_ml=15.0, side="left")
STRAIGHT = PhantomPlan(lesions=(LESION,), seed=3)
FINE = PhantomPlan(lesions=(LESION,), seed=4, slice_thickness_mm=1.0, slices=200)


@dataclass(frozen=True, slots=True, kw_only=True)
class ResultStudy:
    """A study whose result lies beside it; `centre_lps_mm` is where its lesion truly is."""

    context: WriteContext
    folder: Path
    centre_lps_mm: tuple[float, float, float]

    @property
    def study_instance_uid(self) -> str:
        """The study."""
        return self.context.result.study_instance_uid

    @property
    def series_instance_uid(self) -> str:
        """The series that was analysed."""
        return str(self.context.source[0].SeriesInstanceUID)

    @property
    def volume_ml(self) -> float:
        """What the report says of its only finding."""
        (found,) = self.context.result.findings
        return found.volume_ml

    def store(self, orthanc: Orthanc) -> None:
        """Put slices and the default set into a PACS."""
        volume = self.context.volume
        sources = [] if volume is None else [part.path for part in volume.slices]
        objects = [self.folder / f"{kind}.dcm" for kind in DEFAULT_SET]
        with httpx.Client(base_url=orthanc.url, timeout=60, trust_env=False) as client:
            for path in (*sources, *(path for path in objects if path.is_file())):
                client.post("/instances", content=path.read_bytes()).raise_for_status()


def phantom_study(folder: Path, plan: PhantomPlan, *, unmarked: bool = False) -> ResultStudy:
    """Make a phantom and its result, with the truth as the answer; or with nothing marked."""
    truth = write_phantom(folder, plan)
    (lesion,) = truth.lesions
    if lesion.centroid_lps_mm is None:
        raise ValueError("the scan misses its lesion")
    labels = phantom_labels(folder)
    return _study(folder, [folder / "dicom"], np.zeros_like(labels) if unmarked else labels, lesion.centroid_lps_mm)


def tilted_study(folder: Path, test_data_dir: Path) -> ResultStudy:
    """Paint a bleed into the tilted, uneven GE head and write its result, with what was painted as the answer."""
    series = paint(test_data_dir / "ge-hispeed-tilt", folder / "dicom", LEFT_FRONTAL_GE)
    _, volume = read_series(series.paths)
    labels = np.stack([series.painted_ji[part.sop_instance_uid] for part in volume.slices]).astype(np.uint8)
    return _study(folder, list(series.paths), labels, LEFT_FRONTAL_GE.centre_lps_mm)


def _study(
    folder: Path, paths: list[Path], labels_kji: npt.NDArray[np.uint8], centre_lps_mm: tuple[float, float, float]
) -> ResultStudy:
    series, volume = read_series(paths)
    context = marked(series, volume, labels_kji, load_spec(SPEC))
    write_all(context, folder)
    return ResultStudy(context=context, folder=folder, centre_lps_mm=centre_lps_mm)
