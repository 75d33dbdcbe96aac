"""`ichor pull` from a real Orthanc: by C-GET, by C-MOVE to a running listener, and by DICOMweb."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from pydicom import Dataset
from sqlalchemy import select

from ichor.catalogue import inputs
from ichor.catalogue.engine import Catalogue
from ichor.catalogue.schema import Instance
from ichor.sections import DicomSettings, DiskSettings
from ichor.settings import Settings
from listener.dimse import serving
from listener.intake import receiving
from tests.listener.samples import encode, make_ct, part10
from tests.peers.orthanc import Orthanc
from tests.peers.programs import LOOPBACK, free_port, wait_until

pytestmark = pytest.mark.integration


@pytest.fixture
def node_port() -> int:
    return free_port()


@pytest.fixture
def archive(start_orthanc: Callable[..., Orthanc], node_port: int) -> Orthanc:
    """An archive that knows the node under its AE title."""
    return start_orthanc(modalities={"node": ["ICHOR", LOOPBACK, node_port]})


@pytest.fixture
def settings(tmp_path: Path, node_port: int) -> Settings:
    dicom = DicomSettings(port=node_port)
    return Settings(data_dir=tmp_path / "data", dicom=dicom, disk=DiskSettings(min_free_gb=0))


@pytest.fixture
def catalogue(settings: Settings) -> Iterator[Catalogue]:
    settings.data_dir.mkdir(parents=True)
    opened = Catalogue.open(settings.resolved_catalogue_url)
    yield opened
    opened.close()


def study_of(archive: Orthanc, **attributes: Any) -> list[Dataset]:
    """Put a study into the archive."""
    first = make_ct(**attributes)
    made = [first] + [
        make_ct(
            StudyInstanceUID=first.StudyInstanceUID,
            SeriesInstanceUID=first.SeriesInstanceUID,
            InstanceNumber=number,
            **attributes,
        )
        for number in (2, 3)
    ]
    for ds in made:
        httpx.post(f"{archive.url}/instances", content=part10(ds), timeout=30).raise_for_status()
    return made


def ichor_pull(settings: Settings, archive: Orthanc, *arguments: str, source: str = "get") -> tuple[int, Any]:
    """Run the command as a person does; give its exit code and what it printed as JSON."""
    config = settings.data_dir.parent / "ichor.toml"
    dimse = f'type = "dimse"\nhost = "{LOOPBACK}"\nport = {archive.dicom_port}\nae_title = "{archive.ae_title}"\n'
    config.write_text(
        f'data_dir = "{settings.data_dir}"\n[disk]\nmin_free_gb = 0\n[dicom]\nport = {settings.dicom.port}\n'
        f'[[sources]]\nname = "get"\n{dimse}'
        f'[[sources]]\nname = "move"\n{dimse}retrieve = "move"\n'
        f'[[sources]]\nname = "web"\ntype = "dicomweb"\nurl = "{archive.url}/dicom-web"\n'
    )
    command = [sys.executable, "-m", "console.cli", "pull", "--from", source, *arguments, "--json"]
    command += ["--config", str(config)]
    ended = subprocess.run(command, check=False, capture_output=True, timeout=120, env={**os.environ, "NO_COLOR": "1"})
    printed = json.loads(ended.stdout)["studies"] if ended.stdout else ended.stderr.decode()
    return ended.returncode, printed


def channels(catalogue: Catalogue) -> dict[str, str]:
    """Give SOP Instance UID → channel of what the catalogue knows."""
    with catalogue.read() as session:
        return {row.sop_instance_uid: row.channel for row in session.scalars(select(Instance))}


@pytest.mark.parametrize("source", ["get", "web"])
def test_a_study_is_fetched_as_it_is(settings: Settings, catalogue: Catalogue, archive: Orthanc, source: str) -> None:
    """Every instance lies in the spool with the archive's bytes, marked as fetched, and calls nobody."""
    slices = study_of(archive)
    study_uid = slices[0].StudyInstanceUID
    study_of(archive)  # another one, which nobody asked for
    code, (said,) = ichor_pull(settings, archive, "--study", study_uid, source=source)
    assert (code, said["state"], said["instances"], said["new"]) == (0, "fetched", 3, 3)
    assert channels(catalogue) == {ds.SOPInstanceUID: "pull" for ds in slices}
    for ds in slices:
        (path,) = settings.spool_dir.rglob(f"{ds.SOPInstanceUID}.dcm")
        assert path.read_bytes().endswith(encode(ds)[-512:])
    with catalogue.read() as session:
        assert not inputs.study_input(session, study_uid).routed
    # Once more: it is here.
    code, (said,) = ichor_pull(settings, archive, "--study", study_uid, source=source)
    assert (code, said["state"], said["new"]) == (0, "here", 0)


def test_c_move_brings_it_to_the_listener(settings: Settings, catalogue: Catalogue, archive: Orthanc) -> None:
    """What our own C-MOVE brings to the listener counts as fetched, not as routed."""
    slices = study_of(archive)
    with receiving(settings, catalogue) as receiver, serving(settings.dicom, receiver):
        code, (said,) = ichor_pull(settings, archive, "--study", slices[0].StudyInstanceUID, source="move")
        assert (code, said["state"], said["instances"]) == (0, "fetched", 3)
        wait_until(lambda: channels(catalogue) == {ds.SOPInstanceUID: "pull" for ds in slices}, timeout_s=30)


@pytest.mark.parametrize("source", ["get", "web"])
def test_an_outage_is_made_good(settings: Settings, catalogue: Catalogue, archive: Orthanc, source: str) -> None:
    """Only what began since then and is of the modality is fetched; what is here already is not fetched again."""
    now = datetime.now()  # noqa: DTZ005  # Study Time is local
    recent, old = (
        {"StudyDate": f"{at:%Y%m%d}", "StudyTime": f"{at:%H%M%S}"} for at in (now, now - timedelta(hours=30))
    )
    missed = study_of(archive, **recent)
    study_of(archive, **old)
    study_of(archive, Modality="MR", **recent)
    code, said = ichor_pull(settings, archive, "--since", "2h", "--modality", "CT", source=source)
    assert code == 0
    assert [(one["study_instance_uid"], one["state"]) for one in said] == [(missed[0].StudyInstanceUID, "fetched")]
    assert set(channels(catalogue)) == {ds.SOPInstanceUID for ds in missed}


def test_what_cannot_be_fetched_is_said(settings: Settings, archive: Orthanc) -> None:
    """An unknown study, an unknown source and a silent archive are one sentence and exit code 1; misuse is 2."""
    settings.data_dir.mkdir(parents=True)
    code, text = ichor_pull(settings, archive, "--study", "1.2.3.4")
    assert (code, "has no such study" in text) == (1, True)
    code, text = ichor_pull(settings, archive, "--study", "1.2.3.4", source="elsewhere")
    assert (code, "known: get, move, web" in text) == (1, True)
    assert ichor_pull(settings, archive)[0] == 2
    assert ichor_pull(settings, archive, "--since", "yesterday")[0] == 2
    archive.stop()
    for source in ("get", "web"):
        code, text = ichor_pull(settings, archive, "--study", "1.2.3.4", source=source)
        assert (code, "does not answer" in text) == (1, True)
