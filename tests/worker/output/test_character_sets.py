"""Patient and study attributes come out as they went in, byte for byte, in every character set that hospitals use."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.dataelem import DataElement
from pydicom.valuerep import PersonName

from models.spec import ModelSpec
from tests.peers.programs import require
from tests.worker.output.cases import Geometry, context, finding, paint_ball, read_case, write_series
from worker.output.write import write_all


@dataclass(frozen=True, kw_only=True)
class Script:
    """A way of writing: how the source declares it, and a patient and a study in it (examples of PS3.5 H to K)."""

    declared: str | list[str]
    patient: str
    study: str
    dcmtk_converts: bool = True
    """Debian's dcmtk shows this script as UTF-8; else the bytes alone are compared."""


SCRIPTS = {
    "utf-8": Script(declared="ISO_IR 192", patient="Wang^XiaoDong=王^小東=", study="CT-Schädel 頭部"),
    "latin-1": Script(declared="ISO_IR 100", patient="Buc^Jérôme", study="Tête, sans produit de contraste"),
    "shift-jis": Script(declared="ISO_IR 13", patient="ﾔﾏﾀﾞ 1^ﾀﾛｳ", study="ﾄｳﾌﾞ CT 頭部"),
    "kanji": Script(
        declared=["ISO 2022 IR 13", "ISO 2022 IR 87"],
        patient="ﾔﾏﾀﾞ^ﾀﾛｳ=山田^太郎=やまだ^たろう",
        study="頭部単純",
        dcmtk_converts=False,
    ),
    "gb18030": Script(declared="GB18030", patient="Wang^XiaoDong=王^小东=", study="头颅平扫"),
    "korean": Script(
        declared=["", "ISO 2022 IR 149"], patient="Hong^Gildong=洪^吉洞=홍^길동", study="두부 CT"
    ),
}  # fmt: skip


def _raw(path: Path, keyword: str) -> bytes:
    """Give the value as it lies in the file."""
    dataset = pydicom.dcmread(path, stop_before_pixels=True)
    value = dataset.get_item(keyword).value
    return bytes(value).rstrip(b" ")


@pytest.mark.integration
@pytest.mark.filterwarnings("ignore:Failed to encode value")  # pydicom tries where it reads; what is written is ours
@pytest.mark.parametrize("name", SCRIPTS)
def test_attributes_are_copied_byte_for_byte(name: str, spec: ModelSpec, tmp_path: Path) -> None:
    """Segmentation, reports and summary, by the file's bytes, by pydicom and by dcmtk."""
    script = SCRIPTS[name]
    attributes: dict[str, object] = {
        "SpecificCharacterSet": script.declared,
        "PatientName": script.patient,
        "StudyDescription": script.study,
    }
    paths = write_series(tmp_path / "ct", Geometry(), {} if name == "shift-jis" else attributes)
    if name == "shift-jis":
        for path in paths:
            _declare_shift_jis(path, script)
    series, volume = read_case(paths)
    labels = np.zeros(volume.hu_kji.shape, dtype=np.uint8)
    paint_ball(volume, labels, 1, (30.0, 0.0, 0.0), 16.0)
    written = write_all(
        context(series, volume, labels, spec, (finding(volume, labels, spec, "IPH"),)), tmp_path / "out"
    )
    assert len(written) == 4
    expected = [_dumped(paths[0], keyword) for keyword in ("PatientName", "StudyDescription")]
    if script.dcmtk_converts:
        assert script.study.encode() in _dumped(paths[0], "StudyDescription", "+U8")
    for one in written:
        for keyword in ("PatientName", "StudyDescription"):
            assert _raw(one.path, keyword) == _raw(paths[0], keyword), f"{one.kind}: {keyword}"
        dataset = pydicom.dcmread(one.path)
        assert dataset.SpecificCharacterSet == pydicom.dcmread(paths[0]).SpecificCharacterSet
        assert str(dataset.PatientName).rstrip("=") == script.patient.rstrip("=")
        assert dataset.StudyDescription == script.study
        assert [_dumped(one.path, keyword) for keyword in ("PatientName", "StudyDescription")] == expected


def _declare_shift_jis(path: Path, script: Script) -> None:
    """Write what pydicom refuses to write: katakana beside Latin letters."""
    dataset = pydicom.dcmread(path)
    dataset.SpecificCharacterSet = script.declared
    dataset.PatientName = PersonName(script.patient.encode("shift_jis"), ["shift_jis"])
    study = script.study.encode("shift_jis")
    dataset[0x00081030] = DataElement(0x00081030, "LO", study, already_converted=True)
    dataset.save_as(path)


def _dumped(path: Path, keyword: str, *options: str) -> bytes:
    """Give the value as dcmtk reads it."""
    command = [require("dcmdump"), *options, "+P", keyword, str(path)]
    return subprocess.run(command, capture_output=True, check=True).stdout.split(b"#")[0].strip()
