"""The whole node with real peers: what a department relies on."""

from __future__ import annotations

import hashlib
import hmac
import json
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx
import pydicom
import pytest

from tests.integration.node import SECRET, Node, destination, webhook
from tests.painting import LEFT_FRONTAL_GE, PaintedSeries, paint
from tests.peers.orthanc import Orthanc
from tests.peers.programs import LOOPBACK, require
from tests.peers.recording import RecordingScp
from tests.peers.webhook import WebhookServer

pytestmark = pytest.mark.integration

StartNode = Callable[..., Node]


@pytest.fixture
def start_node(short_dir: Path, weights_dir: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[StartNode]:
    monkeypatch.setenv("ICHOR_WEIGHTS", str(weights_dir))
    with ExitStack() as stack:

        def start(**options: object) -> Node:
            node = Node(short_dir, **options)  # type: ignore[arg-type]
            stack.callback(node.stop)
            node.start()
            return node

        yield start


def send(node: Node, series: PaintedSeries) -> None:
    paths = [str(path) for path in series.paths]
    command = [require("dcmsend"), "-aec", "ICHOR", LOOPBACK, str(node.dicom_port), *paths]
    subprocess.run(command, check=True, capture_output=True, timeout=120)


@pytest.fixture
def painted(test_data_dir: Path, tmp_path: Path) -> PaintedSeries:
    return paint(test_data_dir / "ge-hispeed-tilt", tmp_path / "painted", LEFT_FRONTAL_GE)


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_a_bleed_sent_by_dcmsend_ends_in_the_pacs_and_in_one_signed_alert(
    start_node: StartNode, orthanc: Orthanc, webhook_server: WebhookServer, painted: PaintedSeries
) -> None:
    """One SEG, one SR, one summary, one alert; the same series again makes nothing new."""
    toml = destination("pacs", orthanc.host, orthanc.dicom_port, orthanc.ae_title) + webhook(webhook_server.url)
    node = start_node(extra_toml=toml, model="blast-ct-v1", members=12)
    send(node, painted)
    node.wait(lambda: node.state(painted.study_instance_uid) == "analysed", 1200)
    node.wait(lambda: orthanc.modalities() == {"SEG": 1, "SR": 1, "OT": 1}, 60)
    node.wait(lambda: len(webhook_server.accepted()) == 1, 60)

    alert = webhook_server.accepted()[0]
    signature = hmac.new(SECRET.encode(), alert.body, hashlib.sha256).hexdigest()
    assert alert.headers["x-ichor-signature"] == f"sha256={signature}"
    body = json.loads(alert.body)
    assert body["event"] == "haemorrhage_suspected"
    iph = next(finding for finding in body["findings"] if finding["label"] == "IPH")
    assert iph["laterality"] == "left"
    assert iph["volume_ml"] == pytest.approx(painted.sampled_ml, rel=0.10)
    for word in (painted.study_instance_uid, "PatientName", "patient_id"):
        assert word not in alert.body.decode()
    _confirmed(node, painted)

    before = node.study(painted.study_instance_uid)
    send(node, painted)
    time.sleep(12)  # past both settling times
    after = node.study(painted.study_instance_uid)
    for part in ("jobs", "results", "deliveries", "alerts"):
        assert len(after[part]) == len(before[part]), part
    assert orthanc.modalities() == {"SEG": 1, "SR": 1, "OT": 1}
    assert len(webhook_server.received) == 1
    assert node.stop() == 0


def _confirmed(node: Node, painted: PaintedSeries) -> None:
    def proven() -> bool:
        deliveries = node.study(painted.study_instance_uid)["deliveries"]
        return [delivery["state"] for delivery in deliveries] == ["confirmed"]

    node.wait(proven, 60)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_killed_workers_cost_seconds_and_no_object_gets_a_second_content(
    start_node: StartNode, recording_scp: RecordingScp, painted: PaintedSeries
) -> None:
    """A kill -9 of the analysis worker in its run, then of the delivery worker between sending and confirming."""
    toml = destination("pacs", recording_scp.host, recording_scp.port, recording_scp.ae_title)
    node = start_node(extra_toml=toml, model="blast-ct-v1", members=1)
    recording_scp.find_allowed.clear()
    send(node, painted)
    node.wait(lambda: node.state(painted.study_instance_uid) == "running", 60)
    time.sleep(1)
    node.worker("analyse").kill()
    node.wait(lambda: node.state(painted.study_instance_uid) == "analysed", 600)

    node.wait(lambda: recording_scp.finds > 0, 60)
    node.worker("deliver").kill()
    recording_scp.find_allowed.set()
    _confirmed(node, painted)

    assert recording_scp.second_contents() == {}
    assert len(recording_scp.contents) == 3
    assert len(node.study(painted.study_instance_uid)["results"]) == 1


@pytest.mark.timeout(600)
def test_one_association_per_slice_with_pauses_ends_in_one_result(
    start_node: StartNode, orthanc: Orthanc, test_data_dir: Path, tmp_path: Path
) -> None:
    """A scanner that opens an association for every slice, and pauses, gets one result."""
    series = paint(test_data_dir / "ge-hispeed-tilt", tmp_path / "slow", None)
    toml = destination("pacs", orthanc.host, orthanc.dicom_port, orthanc.ae_title)
    node = start_node(extra_toml=toml, model="phantom-demo", members=1)
    for number, path in enumerate(series.paths):
        command = [require("dcmsend"), "-aec", "ICHOR", LOOPBACK, str(node.dicom_port), str(path)]
        subprocess.run(command, check=True, capture_output=True, timeout=60)
        if number in {5, 17}:
            time.sleep(2)
    node.wait(lambda: node.state(series.study_instance_uid) == "analysed", 120)
    _confirmed(node, series)
    time.sleep(8)
    assert len(node.study(series.study_instance_uid)["results"]) == 1
    assert orthanc.modalities()["OT"] == 1


@pytest.mark.timeout(300)
def test_a_localizer_study_is_not_analysed_and_says_why(
    start_node: StartNode, orthanc: Orthanc, webhook_server: WebhookServer, test_data_dir: Path
) -> None:
    """A study without a fit series ends in a summary that gives the reason, and in no alert."""
    toml = destination("pacs", orthanc.host, orthanc.dicom_port, orthanc.ae_title) + webhook(webhook_server.url)
    node = start_node(extra_toml=toml, model="phantom-demo", members=1, settle_s=1.0)
    folder = test_data_dir / "philips-ingenuity" / "localizers"
    paths = sorted(folder.glob("I*"))
    command = [require("dcmsend"), "-aec", "ICHOR", LOOPBACK, str(node.dicom_port), *map(str, paths)]
    subprocess.run(command, check=True, capture_output=True, timeout=60)
    study_uid = str(pydicom.dcmread(paths[0], stop_before_pixels=True).StudyInstanceUID)
    node.wait(lambda: node.state(study_uid) == "not_analysed", 60)
    node.wait(lambda: orthanc.modalities() == {"OT": 1}, 60)
    assert webhook_server.received == []
    page = httpx.get(f"{node.url}/studies/{study_uid}", timeout=10).text
    assert "NOT ANALYSED" in page
