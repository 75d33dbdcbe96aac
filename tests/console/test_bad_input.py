"""`ichor process`, `gate`, `phantom` and `models` answer bad input with one clear sentence, and write nothing wrong."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING

import pytest

from console.cli.entry import run

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(autouse=True)
def _data_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the commands out of the home directory of the person who runs the tests."""
    monkeypatch.setenv("ICHOR_DATA_DIR", str(tmp_path / "data"))


def sentence(capsys: pytest.CaptureFixture[str]) -> str:
    """Give the one sentence on stderr."""
    text = capsys.readouterr().err
    said = [line for line in text.splitlines() if line.startswith("ichor: ")]
    assert len(said) == 1
    assert "Traceback" not in text
    return said[0]


def test_empty_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A folder without files cannot be analysed, and no result is made up."""
    (tmp_path / "in").mkdir()
    assert run(["process", str(tmp_path / "in"), "--out", str(tmp_path / "out")]) == 1
    assert sentence(capsys)
    assert not (tmp_path / "out" / "result.json").exists()


def test_no_dicom(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A file that is no DICOM cannot be analysed."""
    (tmp_path / "letter.txt").write_text("Dear colleague")
    assert run(["process", str(tmp_path / "letter.txt"), "--out", str(tmp_path / "out")]) == 1
    assert sentence(capsys)


def test_missing_path(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A path that does not exist is named."""
    for command in (["process", "--out", str(tmp_path / "out")], ["gate"]):
        assert run([command[0], str(tmp_path / "nothing"), *command[1:]]) == 1
        assert "nothing" in sentence(capsys)


def test_wrong_model_name(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A model that does not exist is answered with one that does, before any file is read."""
    assert run(["process", str(tmp_path), "--out", str(tmp_path / "out"), "--model", "blast-ct-v2"]) == 1
    assert "blast-ct-v1" in sentence(capsys)


def test_out_is_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Results cannot go where a file lies."""
    (tmp_path / "out").write_text("a file")
    assert run(["process", str(tmp_path), "--out", str(tmp_path / "out")]) == 1
    assert "out" in sentence(capsys)


def test_single_slice_is_not_analysed(test_data_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One slice of a head is not analysed: exit code 3, a result.json that says why, and no SEG of an earlier run."""
    (tmp_path / "in").mkdir()
    shutil.copy(min((test_data_dir / "ge-hispeed-tilt").glob("*.dcm")), tmp_path / "in")
    out = tmp_path / "out"
    out.mkdir()
    (out / "seg.dcm").write_bytes(b"of an earlier run")
    assert run(["process", str(tmp_path / "in"), "--out", str(out)]) == 3
    assert "NOT ANALYSED" in capsys.readouterr().out
    result = json.loads((out / "result.json").read_text())
    assert result["status"] == "not_analysed"
    assert result["conclusion"] is None
    assert result["reasons"]
    assert not (out / "seg.dcm").exists()


def test_gate_judges_every_series(test_data_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The head series of the test data is fit, as a table and as JSON."""
    folder = str(test_data_dir / "ge-hispeed-tilt")
    assert run(["gate", folder]) == 0
    assert "chosen" in capsys.readouterr().out
    assert run(["gate", folder, "--json"]) == 0
    (study,) = json.loads(capsys.readouterr().out)
    assert [series["accepted"] for series in study["series"]] == [True]


def test_gate_of_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A folder without DICOM has no verdicts."""
    assert run(["gate", str(tmp_path)]) in {1, 3}
    assert "Traceback" not in capsys.readouterr().err


@pytest.mark.parametrize("lesion", ["iph", "iph:lots", "tumour:5", "iph:15:up"])
def test_phantom_with_nonsense(tmp_path: Path, capsys: pytest.CaptureFixture[str], lesion: str) -> None:
    """A lesion that cannot be made is answered with what can."""
    assert run(["phantom", str(tmp_path / "phantom"), "--lesion", lesion]) == 1
    assert sentence(capsys)


def test_models_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    """The shipped specs stand in the list."""
    assert run(["models", "list", "--json"]) == 0
    assert "blast-ct-v1" in [entry["name"] for entry in json.loads(capsys.readouterr().out)]
    assert run(["models", "show", "blast-ct-v1"]) == 0
    assert "Apache-2.0" in capsys.readouterr().out


def test_pull_checks_what_it_copies(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A weight file with other bytes than the spec records is refused."""
    (tmp_path / "weights").mkdir()
    for member in range(1, 13):
        (tmp_path / "weights" / f"model_{member}.pt").write_bytes(b"not the weights")
    assert run(["models", "pull", "blast-ct-v1", "--from", str(tmp_path / "weights")]) == 1
    assert sentence(capsys)
    assert not list((tmp_path / "data").rglob("model_1.pt"))
