"""The peers that tests rely on do what the tests think they do."""

from __future__ import annotations

import shutil
import subprocess
from typing import TYPE_CHECKING

import httpx
import pytest
from pynetdicom import AE
from pynetdicom.sop_class import Verification  # type: ignore[attr-defined]

from tests.peers.programs import require

if TYPE_CHECKING:
    from pathlib import Path

    from tests.peers.orthanc import Orthanc
    from tests.peers.recording import RecordingScp
    from tests.peers.redis import RedisServer
    from tests.peers.storescp import Storescp
    from tests.peers.webhook import WebhookServer


def _send(folder: Path, ae_title: str, port: int) -> None:
    command = [require("dcmsend"), "-aec", ae_title, "--scan-directories", "127.0.0.1", str(port), str(folder)]
    subprocess.run(command, check=True)


@pytest.fixture
def two_slices(test_data_dir: Path, tmp_path: Path) -> Path:
    folder = tmp_path / "two"
    folder.mkdir()
    for path in sorted((test_data_dir / "ge-hispeed-tilt").glob("*.dcm"))[:2]:
        shutil.copy(path, folder)
    return folder


@pytest.mark.integration
def test_redis_forgets_on_request(redis_server: RedisServer) -> None:
    """The tests' Redis is empty after FLUSHALL."""
    with redis_server.client() as client:
        client.lpush("queue", "message")
        redis_server.flush_all()
        assert client.llen("queue") == 0


@pytest.mark.integration
def test_orthanc_counts_by_modality(orthanc: Orthanc, two_slices: Path) -> None:
    """What is sent by C-STORE is counted."""
    _send(two_slices, orthanc.ae_title, orthanc.dicom_port)
    assert orthanc.modalities() == {"CT": 2}
    assert len(orthanc.instances()) == 2


@pytest.mark.integration
def test_storescp_keeps_files(storescp: Storescp, two_slices: Path) -> None:
    """The storage SCP of dcmtk writes one file per instance."""
    _send(two_slices, storescp.ae_title, storescp.port)
    assert len(storescp.files()) == 2


@pytest.mark.integration
def test_recorder_sees_the_same_bytes_twice(recording_scp: RecordingScp, two_slices: Path) -> None:
    """The same object sent twice is one content."""
    for _ in range(2):
        _send(two_slices, recording_scp.ae_title, recording_scp.port)
    assert [len(sums) for sums in recording_scp.contents.values()] == [2, 2]
    assert recording_scp.second_contents() == {}


def test_recorder_answers_echo(recording_scp: RecordingScp) -> None:
    """C-ECHO is answered with Success."""
    entity = AE()
    entity.add_requested_context(Verification)
    association = entity.associate(recording_scp.host, recording_scp.port)
    assert association.send_c_echo().Status == 0
    association.release()


def test_webhook_server_fails_as_told(webhook_server: WebhookServer) -> None:
    """The server answers with the statuses it was given, and remembers the bodies."""
    webhook_server.next_statuses = [201]
    assert httpx.post(webhook_server.url, content=b"{}").status_code == 201
    assert [received.body for received in webhook_server.accepted()] == [b"{}"]
