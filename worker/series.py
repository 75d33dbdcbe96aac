"""Files into studies and series, tolerantly: what cannot be used is named with a code and a phrase, never raised.

Pixel data are not read here. The order in which files come makes no difference to what is returned.
"""

from __future__ import annotations

import struct
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pydicom
from pydicom.errors import BytesLengthException, InvalidDicomError
from pydicom.uid import UID, MediaStorageDirectoryStorage

from worker.scarcity import is_scarcity
from worker.slices import Slice, slices_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from pydicom import Dataset

__all__ = ["Series", "Slice", "Study", "Unreadable", "read_studies"]

_DAMAGE = (
    EOFError,
    OSError,
    ValueError,
    KeyError,
    AttributeError,
    TypeError,
    NotImplementedError,
    IndexError,
    RecursionError,
    struct.error,
    BytesLengthException,
)
"""What pydicom raises on data sets that are cut or scrambled."""
DAMAGED = frozenset({"truncated", "damaged", "missing"})
"""Codes of files that may have held a slice; the others hold none, or one that is there already."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Unreadable:
    """A file that holds no usable image."""

    path: Path
    code: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """One series: headers without pixel data, and its slices in no particular order."""

    study_instance_uid: str
    series_instance_uid: str
    header: Dataset
    """Header of the first instance (by SOP Instance UID)."""
    headers: tuple[Dataset, ...]
    """Header of each instance, sorted by SOP Instance UID."""
    slices: tuple[Slice, ...]
    """Empty where the objects carry no slice geometry (some localizers, captures)."""
    paths: tuple[Path, ...]

    @property
    def number(self) -> int | None:
        """The SeriesNumber; None where the header names none, or what stands there is no number."""
        try:
            return int(str(self.header.get("SeriesNumber")))
        except ValueError:
            return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Study:
    """All series of one study, sorted by UID, and the files that were passed over.

    Files that belong to no study stand with every study; where there is no study at all they stand with one whose
    study_instance_uid is empty.
    """

    study_instance_uid: str
    series: tuple[Series, ...]
    unreadable: tuple[Unreadable, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Image:
    path: Path
    header: Dataset
    slices: tuple[Slice, ...]


def read_studies(paths: Iterable[Path]) -> tuple[Study, ...]:
    """Read the headers of all files, folders walked, into studies sorted by UID.

    What the host lacks (memory, files) is raised as it came: a study short of slices would be another study.
    """
    images: dict[str, dict[str, dict[str, _Image]]] = defaultdict(lambda: defaultdict(dict))
    passed_over: dict[str, list[Unreadable]] = defaultdict(list)
    for path in sorted(set(_walk(paths))):
        try:
            image = _read(path)
        except _PassedOver as why:
            passed_over[why.study_instance_uid].append(Unreadable(path=path, code=why.code, text=why.text))
            continue
        study_uid, series_uid = str(image.header.StudyInstanceUID), str(image.header.SeriesInstanceUID)
        if images[study_uid][series_uid].setdefault(str(image.header.SOPInstanceUID), image) is not image:
            passed_over[study_uid].append(
                Unreadable(path=path, code="copy", text="second copy of an instance; the first is used")
            )
    homeless = tuple(one for uid, found in passed_over.items() if uid not in images for one in found)
    if not images and homeless:
        return (Study(study_instance_uid="", series=(), unreadable=homeless),)
    return tuple(
        Study(
            study_instance_uid=uid,
            series=tuple(_series(of_series) for _, of_series in sorted(images[uid].items())),
            unreadable=(*passed_over.get(uid, ()), *homeless),
        )
        for uid in sorted(images)
    )


def _walk(paths: Iterable[Path]) -> Iterator[Path]:
    for path in paths:
        if path.is_dir():
            yield from (child for child in path.rglob("*") if child.is_file())
        else:
            yield path


def _series(by_sop_uid: dict[str, _Image]) -> Series:
    images = [image for _, image in sorted(by_sop_uid.items())]
    header = images[0].header
    return Series(
        study_instance_uid=str(header.StudyInstanceUID),
        series_instance_uid=str(header.SeriesInstanceUID),
        header=header,
        headers=tuple(image.header for image in images),
        slices=tuple(one for image in images for one in image.slices),
        paths=tuple(image.path for image in images),
    )


class _PassedOver(Exception):
    """A file is no image; carries why and, where known, the study it belongs to."""

    def __init__(self, code: str, text: str, header: Dataset | None = None) -> None:
        super().__init__(text)
        self.code = code
        self.text = text
        self.study_instance_uid = "" if header is None else str(header.get("StudyInstanceUID") or "")


def _read(path: Path) -> _Image:
    """Read one file's header and check that its object is an image and whole; raise _PassedOver where it is not."""
    try:
        header, rest_bytes = _read_header(path)
        if header.file_meta.get("MediaStorageSOPClassUID") == MediaStorageDirectoryStorage:
            raise _PassedOver("dicomdir", "a directory of files, not an image")
        if any(not header.get(key) for key in ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID")):
            raise _PassedOver("damaged", "the data set is cut or damaged: an identifier is missing", header)
        if not header.get("SOPClassUID") or not header.get("Rows") or not header.get("Columns"):
            raise _PassedOver("no_image", "the object holds no image", header)
        missing = _missing_bytes(header, rest_bytes)
        if missing > 0:
            raise _PassedOver("truncated", f"the file is cut: {missing} bytes of pixel data are missing", header)
        return _Image(path=path, header=header, slices=slices_of(path, header))
    except FileNotFoundError as error:
        raise _PassedOver("missing", "there is no such file") from error
    except InvalidDicomError as error:
        raise _PassedOver("not_dicom", "the file is not DICOM") from error
    except _DAMAGE as error:
        if is_scarcity(error):
            raise
        raise _PassedOver("damaged", "the data set is cut or damaged") from error


def _read_header(path: Path) -> tuple[Dataset, int]:
    """Read up to the pixel data; give the header and how many bytes follow it."""
    with path.open("rb") as file:
        start = file.read(132)
        file.seek(0)
        # A data set without preamble and prefix (PS3.10 7.1) is taken where it opens with group 0008.
        bare = start[128:132] != b"DICM" and start[:2] == b"\x08\x00"
        header = pydicom.dcmread(file, stop_before_pixels=True, force=bare)
        position = file.tell()
        return header, file.seek(0, 2) - position


def _missing_bytes(header: Dataset, rest_bytes: int) -> int:
    """Count the bytes by which native pixel data fall short; compressed and deflated ones show it when decoded."""
    syntax = header.file_meta.get("TransferSyntaxUID")
    if syntax is None or UID(syntax).is_compressed or UID(syntax).is_deflated or not header.get("BitsAllocated"):
        return 0
    samples = int(header.get("SamplesPerPixel") or 1) * int(header.get("NumberOfFrames") or 1)
    expected = int(header.Rows) * int(header.Columns) * samples * int(header.BitsAllocated) // 8
    return expected - rest_bytes
