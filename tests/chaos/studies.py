"""Studies for the chaos run: a few phantoms, drawn once, and as many copies with UIDs of their own as are wanted."""

from __future__ import annotations

import hashlib
import random
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pydicom

from ichor.identity import derive_uid
from models.phantoms import PhantomPlan, write_phantom
from models.phantoms.lesions import LesionRequest

LESIONS = (
    (LesionRequest(kind="iph", volume_ml=25.0, side="left"),),
    (),
)
"""Every second study is without blood, so that a missing and a superfluous alert would both show."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SentStudy:
    """One study as its sender holds it."""

    study_instance_uid: str
    paths: tuple[Path, ...]
    bleeds: bool
    data_set_sums: dict[str, str]
    """SOP Instance UID → SHA-256 of the data set's bytes."""


def make_studies(folder: Path, count: int, *, seed: int) -> tuple[SentStudy, ...]:
    """Write `count` small head CTs, acquired now."""
    templates = [_template(folder / f"template{number}", lesions) for number, lesions in enumerate(LESIONS)]
    rng = random.Random(seed)
    salt = f"{datetime.now(tz=UTC).isoformat()}/{rng.random()}"
    studies = []
    for number in range(count):
        template = number % len(templates)
        sums: dict[str, str] = {}
        study_uid = derive_uid("chaos-study", salt, str(number))
        series_uid = derive_uid("chaos-series", salt, str(number))
        place = folder / f"study{number:03d}"
        place.mkdir()
        for k, slice_ in enumerate(templates[template]):
            slice_.StudyInstanceUID, slice_.SeriesInstanceUID = study_uid, series_uid
            slice_.SOPInstanceUID = derive_uid("chaos-instance", salt, str(number), str(k))
            slice_.file_meta.MediaStorageSOPInstanceUID = slice_.SOPInstanceUID
            slice_.PatientID, slice_.AccessionNumber = f"CHAOS-{number}", f"CHAOS{number:04d}"
            path = place / f"{k:03d}.dcm"
            slice_.save_as(path, enforce_file_format=True)
            sums[str(slice_.SOPInstanceUID)] = data_set_sum(path.read_bytes())
        studies.append(
            SentStudy(
                study_instance_uid=study_uid,
                paths=tuple(sorted(place.iterdir())),
                bleeds=bool(LESIONS[template]),
                data_set_sums=sums,
            )
        )
    return tuple(studies)


def data_set_sum(content: bytes) -> str:
    """Give the SHA-256 of a file's data set: what follows the file meta information (PS3.10 7.1)."""
    group_length = int.from_bytes(content[140:144], "little")
    return hashlib.sha256(content[144 + group_length :]).hexdigest()


def _template(folder: Path, lesions: tuple[LesionRequest, ...]) -> list[pydicom.FileDataset]:
    plan = PhantomPlan(
        lesions=lesions,
        slice_thickness_mm=8.0,
        rows=192,
        columns=192,
        pixel_spacing_mm=1.15,
        acquired_at=datetime.now(tz=UTC),
        fresh_uids=True,
    )
    write_phantom(folder, plan)
    return [pydicom.dcmread(path) for path in sorted((folder / "dicom").iterdir())]
