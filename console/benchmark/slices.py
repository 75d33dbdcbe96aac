"""Slices to send: one made-up CT slice, saved under as many UIDs as asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

if TYPE_CHECKING:
    from pathlib import Path

SIDE = 512


def write_slices(folder: Path, *, count: int) -> tuple[Path, ...]:
    """Write one series of `count` slices of 512 KiB of pixels each."""
    study, series = generate_uid(), generate_uid()
    pixels = np.random.default_rng(1).integers(-1000, 1500, (SIDE, SIDE), dtype=np.int16).tobytes()
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for number in range(count):
        path = folder / f"{number:05d}.dcm"
        one_slice(number, study=study, series=series, pixels=pixels).save_as(path, enforce_file_format=True)
        paths.append(path)
    return tuple(paths)


def one_slice(number: int, *, study: str, series: str, pixels: bytes) -> Dataset:
    """Make a CT Image (PS3.3 A.3) with what a listener needs to file it."""
    data = Dataset()
    data.file_meta = FileMetaDataset()
    data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data.SOPClassUID = data.file_meta.MediaStorageSOPClassUID = CTImageStorage
    data.SOPInstanceUID = data.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    data.StudyInstanceUID, data.SeriesInstanceUID = study, series
    data.Modality, data.PatientID, data.PatientName = "CT", "BENCHMARK", "Benchmark^Ingest"
    data.StudyDate, data.StudyTime, data.AccessionNumber, data.StudyID = "20200101", "120000", "", "1"
    data.SeriesNumber, data.InstanceNumber = 1, number + 1
    data.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    data.ImagePositionPatient = [-115, -115, number * 0.5]
    data.PixelSpacing, data.SliceThickness = [0.45, 0.45], 0.5
    data.Rows = data.Columns = SIDE
    data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
    data.BitsAllocated, data.BitsStored, data.HighBit, data.PixelRepresentation = 16, 16, 15, 1
    data.RescaleSlope, data.RescaleIntercept = 1, 0
    data.PixelData = pixels
    return data
