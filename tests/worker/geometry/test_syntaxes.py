"""Every transfer syntax that a head CT comes in decodes to the same Hounsfield units."""

from __future__ import annotations

import base64
import subprocess
from pathlib import Path

import numpy as np
import pydicom
import pytest
from openjpeg.utils import encode_array
from pydicom import Dataset
from pydicom.encaps import encapsulate
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    HTJ2KLossless,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    RLELossless,
)

from ichor.errors import NotAnalysable
from tests.peers.programs import require
from tests.worker.geometry.scans import Scan, axial
from worker.series import read_studies
from worker.volume import Volume, read_volume

# 8 x 8 signed 16-bit values, 37 apart from -500 on, encoded losslessly by OpenJPH 0.26 (nothing installed here can).
HTJ2K_RAMP = base64.b64decode(
    "/0//UQApQAAAAAAIAAAACAAAAAAAAAAAAAAACAAAAAgAAAAAAAAAAAABjwEB/1AACAACAAAACv9SAAwAAgABAAUEBEAB/1wAEyCIkJCQkJCQkJ"
    "CQkJCQiIiI/2QAFwABT3BlbkpQSCBWZXIgMC4yNi4zLv+QAAoAAAAAAFkAAf+TwAAmCP4CB3QAAADAABLAABMAUAGHdACM+gMHdADAABNAABOA"
    "JNIBAnQAMpXpAKNUAMAAKiAAFWAIgiCqcIJ1AE46ceLkwEIB7LYA/9k="
)


def read(paths: list[Path]) -> Volume:
    (series,) = read_studies(paths)[0].series
    return read_volume(series)


@pytest.fixture(scope="module")
def head_paths(test_data_dir: Path) -> list[Path]:
    """Slices of the real head at the skull base, in the middle, and at the vertex."""
    paths = sorted((test_data_dir / "ge-hispeed-tilt").glob("*.dcm"))
    return [paths[0], paths[13], paths[-1]]


def same(source: list[Path], coded: list[Path], syntax: str) -> None:
    """Check that the copies are in the syntax and hold the same numbers."""
    assert {str(pydicom.dcmread(path).file_meta.TransferSyntaxUID) for path in coded} == {syntax}
    assert np.array_equal(read(coded).hu_kji, read(source).hu_kji)


@pytest.mark.parametrize("syntax", [RLELossless, JPEGLSLossless])
def test_by_pydicom(head_paths: list[Path], tmp_path: Path, syntax: str) -> None:
    """RLE and JPEG-LS as pydicom's plug-ins write them."""
    for path in head_paths:
        dataset = pydicom.dcmread(path)
        dataset.compress(syntax, generate_instance_uid=False)
        dataset.save_as(tmp_path / path.name)
    same(head_paths, sorted(tmp_path.iterdir()), syntax)


@pytest.mark.parametrize("syntax", [DeflatedExplicitVRLittleEndian, ImplicitVRLittleEndian])
def test_uncompressed(head_paths: list[Path], tmp_path: Path, syntax: str) -> None:
    """Deflated and implicit data sets."""
    for path in head_paths:
        dataset = pydicom.dcmread(path)
        dataset.decode()
        dataset.file_meta.TransferSyntaxUID = UID(syntax)
        dataset.save_as(tmp_path / path.name, implicit_vr=syntax == ImplicitVRLittleEndian, little_endian=True)
    same(head_paths, sorted(tmp_path.iterdir()), syntax)


def test_jpeg_2000_by_openjpeg(head_paths: list[Path], tmp_path: Path) -> None:
    """JPEG 2000, reversible."""
    for path in head_paths:
        dataset = pydicom.dcmread(path)
        encapsulated(dataset, encode_array(dataset.pixel_array, photometric_interpretation=2), JPEG2000Lossless)
        dataset.save_as(tmp_path / path.name)
    same(head_paths, sorted(tmp_path.iterdir()), JPEG2000Lossless)


@pytest.mark.integration
@pytest.mark.parametrize(
    ("name", "options", "syntax"),
    [
        ("dcmcjpeg", ["+e1"], JPEGLosslessSV1),
        ("dcmcjpeg", ["+el"], JPEGLossless),
        ("dcmcjpls", ["+el"], JPEGLSLossless),
        ("dcmcrle", [], RLELossless),
    ],
)
def test_lossless_by_dcmtk(head_paths: list[Path], tmp_path: Path, name: str, options: list[str], syntax: str) -> None:
    """JPEG lossless of both kinds, JPEG-LS and RLE as dcmtk writes them."""
    for path in head_paths:
        subprocess.run([require(name), *options, str(path), str(tmp_path / path.name)], check=True)
    same(head_paths, sorted(tmp_path.iterdir()), syntax)


def lossy(folder: Path, option: str, bits: int) -> tuple[Volume, np.ndarray[tuple[int, ...], np.dtype[np.int64]]]:
    """Encode two smooth slices with loss, at the best quality; give what is read back and the HU put in."""
    j, i = np.mgrid[:64, :64]
    smooth = (2 ** (bits - 1) * (1 + 0.8 * np.sin(j / 9.0) * np.cos(i / 7.0))).astype(np.int64)
    stored = smooth.astype(np.uint8 if bits == 8 else np.uint16)
    elements = {"BitsAllocated": 8 if bits == 8 else 16, "BitsStored": bits, "HighBit": bits - 1}
    scan = Scan(plane=axial((0.0, 5.0), size=64), stored_kji=np.stack([stored] * 2), intercept=-40.0, elements=elements)
    coded = [folder / f"{k}.dcm" for k in range(2)]
    for path, to in zip(scan.write(folder / "plain"), coded, strict=True):
        subprocess.run([require("dcmcjpeg"), option, "+q", "100", str(path), str(to)], check=True)
    return read(coded), smooth - 40


@pytest.mark.integration
def test_baseline_jpeg_stays_near(tmp_path: Path) -> None:
    """JPEG baseline at its best quality loses 2 HU at most; the rescale is applied as ever."""
    volume, hu_ji = lossy(tmp_path, "+eb", 8)
    assert np.abs(volume.hu_kji - hu_ji).max() <= 2


@pytest.mark.integration
def test_extended_jpeg_of_12_bits_is_refused_in_words(tmp_path: Path) -> None:
    """No decoder under a permissive licence reads it: the reason says so, nothing crashes."""
    with pytest.raises(NotAnalysable) as refused:
        lossy(tmp_path, "+ee", 12)
    assert refused.value.code == "undecodable"


def test_htj2k(tmp_path: Path) -> None:
    """High-throughput JPEG 2000."""
    ramp = (np.arange(64).reshape(8, 8) * 37 - 500).astype(np.int16)
    scan = Scan(plane=axial((0.0, 5.0), size=8), stored_kji=np.stack([ramp, ramp]))
    paths = []
    for k in range(2):
        dataset = scan.dataset(k)
        encapsulated(dataset, HTJ2K_RAMP, HTJ2KLossless)
        paths.append(tmp_path / f"{k}.dcm")
        dataset.save_as(paths[-1], enforce_file_format=True)
    assert np.array_equal(read(paths).hu_kji, np.maximum(np.stack([ramp, ramp]), -1024))


def encapsulated(dataset: Dataset, codestream: bytes, syntax: str) -> None:
    """Put one frame's codestream into a data set."""
    dataset.PixelData = encapsulate([codestream])
    dataset["PixelData"].VR = "OB"
    dataset["PixelData"].is_undefined_length = True
    dataset.file_meta.TransferSyntaxUID = UID(syntax)
