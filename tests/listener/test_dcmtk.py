"""The listener against dcmtk's senders and real CT series."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pydicom
import pytest
from sqlalchemy import select

from ichor.catalogue.schema import Series
from tests.listener.running import Listener
from tests.listener.samples import make_ct, part10
from tests.peers.programs import require, wait_until

pytestmark = pytest.mark.integration


def run(program: str, listener: Listener, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run a dcmtk program against the listener."""
    command = [require(program), "-aec", "ICHOR", "-aet", "DCMTK", *arguments[:-1], "127.0.0.1", str(listener.port)]
    return subprocess.run([*command, *arguments[-1:]], capture_output=True, text=True, timeout=120, check=False)


def instances(listener: Listener) -> int:
    """Return how many instances the catalogue counts."""
    with listener.catalogue.read() as session:
        return sum(session.scalars(select(Series.instance_count)))


def test_echoscu(listener: Listener) -> None:
    """Echoscu is answered."""
    command = [require("echoscu"), "-aec", "ICHOR", "127.0.0.1", str(listener.port)]
    assert subprocess.run(command, timeout=30, check=False).returncode == 0


@pytest.mark.parametrize("program", ["dcmsend", "storescu"])
def test_a_real_series_arrives_bit_for_bit(listener: Listener, test_data_dir: Path, program: str) -> None:
    """Twenty-eight real slices arrive with the data sets that were sent; sent again they change nothing."""
    folder = test_data_dir / "ge-hispeed-tilt"
    for _ in range(2):
        sent = run(program, listener, *(["+sd"] if program == "dcmsend" else []), "+sd", folder)
        assert sent.returncode == 0, sent.stderr
    wait_until(lambda: instances(listener) == 28)
    spooled = listener.spooled()
    assert len(spooled) == 28
    sources = {pydicom.dcmread(path, stop_before_pixels=True).SOPInstanceUID: path for path in folder.glob("*.dcm")}
    for path in spooled:
        got = pydicom.dcmread(path)
        assert got.PixelData == pydicom.dcmread(sources[got.SOPInstanceUID]).PixelData
        assert got.file_meta.SourceApplicationEntityTitle == "DCMTK"


def test_a_folder_with_other_files_gives_what_is_dicom(listener: Listener, test_data_dir: Path) -> None:
    """A sender that skips what is no DICOM delivers the rest of a study: axial slices, scouts and captures."""
    sent = run("dcmsend", listener, "--recurse", "--no-halt", "+sd", test_data_dir / "philips-ingenuity")
    assert sent.returncode == 0, sent.stderr
    wait_until(lambda: instances(listener) == 28 + 1 + 6)


@pytest.mark.parametrize(
    ("encoder", "option", "proposal"),
    [("dcmcjpeg", "+e1", "-xs"), ("dcmcjpls", "+el", "-xt"), ("dcmcrle", "", "-xr"), ("dcmconv", "+td", "-xd")],
)
def test_compressed_slices_are_stored_as_sent(
    listener: Listener, test_data_dir: Path, tmp_path: Path, encoder: str, option: str, proposal: str
) -> None:
    """JPEG lossless, JPEG-LS, RLE and deflated slices are kept in the encoding they were sent in."""
    source = test_data_dir / "ge-hispeed-tilt" / "01.dcm"
    packed = tmp_path / "packed.dcm"
    subprocess.run([require(encoder), *([option] if option else []), source, packed], timeout=60, check=True)
    sent = run("storescu", listener, "-R", proposal, packed)
    assert sent.returncode == 0, sent.stderr
    (path,) = listener.spooled()
    wanted, got = pydicom.dcmread(packed), pydicom.dcmread(path)
    assert got.file_meta.TransferSyntaxUID == wanted.file_meta.TransferSyntaxUID
    assert got.PixelData == wanted.PixelData


def test_a_truncated_file_is_refused(listener: Listener, tmp_path: Path) -> None:
    """A slice cut short is refused by one side or the other, and never listed."""
    path = tmp_path / "cut.dcm"
    path.write_bytes(part10(make_ct())[:-200])
    run("storescu", listener, path)
    assert listener.spooled() == []
