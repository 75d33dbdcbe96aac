"""Delivery as HL7 v2.5.1 ORU^R01 over MLLP: the message, its acknowledgements, and a listener that misbehaves."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from pydicom import Dataset

from console.doctor import Level, check_destinations
from ichor.catalogue.records import StudyDetail
from tests.painting import PaintedSeries
from tests.peers.certificates import Certificates, make_certificates
from tests.peers.mllp import MllpServer
from tests.peers.programs import free_port, wait_until
from tests.peers.tls_front import TlsFront
from tests.worker.run.node import Node
from tests.worker.run.test_delivery import publish_three
from worker.deliver.oru import Address, oru
from worker.reason import Reason
from worker.result import AnalysisResult, ResultFinding

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
ADDRESS = Address(
    sending_application="ICHOR", sending_facility="", receiving_application="RIS", receiving_facility="A&B"
)
EMPTY = AnalysisResult(
    status="analysed", written_at=NOW, study_instance_uid="1.2.3", conclusion="none_marked", total_haemorrhage_ml=0.0
)

REFUSED = replace(
    EMPTY,
    status="not_analysed",
    conclusion=None,
    total_haemorrhage_ml=None,
    reasons=(Reason(code="contrast", text="contrast-enhanced series"),),
)
IPH = ResultFinding(
    label="IPH",
    title="Intraparenchymal",
    haemorrhage=True,
    volume_ml=15.2,
    volume_range_ml=(14.1, 16.4),
    laterality="left",
    touches_edge=False,
    components=1,
    long_axis_mm=34.1,
    short_axis_mm=29.8,
    abc2_ml=None,
    median_hu=67.9,
    share_above_100_hu=0.0,
    bounding_box_lps_mm=((10.0, -20.0, 5.0), (45.0, 15.0, 40.0)),
    centroid_lps_mm=(27.0, -3.0, 22.0),
)


@pytest.fixture
def mllp_server() -> Iterator[MllpServer]:
    """An MLLP listener of this test's own."""
    server = MllpServer()
    server.start()
    yield server
    server.stop()


def header(**values: str) -> Dataset:
    dataset = Dataset()
    given = {"SOPInstanceUID": "2.25.9", "PatientID": "P|1", "IssuerOfPatientID": "HOSP", "AccessionNumber": "A1"}
    given |= {"PatientName": "Doe^Jane^Q^Dr^MD=漢字", "PatientBirthDate": "19500102", "PatientSex": "F"}
    for keyword, value in (given | {"StudyDate": "20260301", "StudyTime": "114500.123"} | values).items():
        setattr(dataset, keyword, value)
    return dataset


def segments(message: bytes) -> dict[str, list[list[str]]]:
    """Take a message apart: name → the fields of each segment of that name."""
    found: dict[str, list[list[str]]] = {}
    lines = message.decode().split("\r")
    assert lines.pop() == ""
    for line in lines:
        fields = line.split("|")
        found.setdefault(fields[0], []).append(fields)
    return found


def test_a_message_names_patient_order_and_result() -> None:
    """Every field that the profile wants, with what has a meaning in HL7 escaped."""
    message = segments(oru(EMPTY, header(), ADDRESS, priority=True))
    assert list(message) == ["MSH", "PID", "PV1", "ORC", "OBR", "OBX"]
    (msh,), (pid,), (obr,) = message["MSH"], message["PID"], message["OBR"]
    assert msh[1:9] == ["^~\\&", "ICHOR", "", "RIS", "A\\T\\B", "20260301120000+0000", "", "ORU^R01^ORU_R01"]
    assert (len(msh[9]), msh[10:12], msh[17]) == (20, ["P", "2.5.1"], "UNICODE UTF-8")
    assert pid == ["PID", "1", "", "P\\F\\1^^^HOSP", "", "Doe^Jane^Q^MD^Dr", "", "19500102", "F"]
    assert (obr[3], obr[4].split("^")[0], obr[7], obr[18], obr[25]) == ("A1", "AIICH", "20260301114500", "A1", "R")
    report = message["OBX"][0]
    assert report[5].startswith("No region marked. This does NOT exclude haemorrhage")
    assert [obx[2] for obx in message["OBX"]] == ["TX", "NM", "ST"]
    assert message["OBX"][-1][5] == "1.2.3"


def test_nothing_is_ever_final() -> None:
    """OBR-25 and OBX-11 are `R`, whatever the result."""
    for result in (EMPTY, REFUSED, bleeding()):
        message = segments(oru(result, header(), ADDRESS, priority=False))
        assert {fields[11] for fields in message["OBX"]} | {message["OBR"][0][25]} == {"R"}
    assert "NOT ANALYSED" in segments(oru(REFUSED, header(), ADDRESS, priority=False))["OBX"][0][5]


def bleeding() -> AnalysisResult:
    return replace(EMPTY, conclusion="suspected", total_haemorrhage_ml=15.2, alert=True, findings=(IPH,))


def test_volumes_are_numbers_in_millilitres() -> None:
    """One NM observation per label and one for the total."""
    numbers = [
        fields for fields in segments(oru(bleeding(), header(), ADDRESS, priority=False))["OBX"] if fields[2] == "NM"
    ]
    assert [(fields[3].split("^")[0], fields[4], fields[5], fields[6]) for fields in numbers] == [
        ("118565006", "IPH", "15.2", "mL^milliliter^UCUM"),
        ("TOTAL", "", "15.2", "mL^milliliter^UCUM"),
    ]


@pytest.mark.parametrize(
    ("priority", "alert", "said"), [(True, True, True), (True, False, False), (False, True, False)]
)
def test_priority_is_said_where_it_is_asked_for(*, priority: bool, alert: bool, said: bool) -> None:
    """TQ1-9 is `S` for a volume at or above the alert threshold, and only on a destination that wants it."""
    message = segments(oru(replace(bleeding(), alert=alert), header(), ADDRESS, priority=priority))
    assert [fields[9] for fields in message.get("TQ1", [])] == (["S"] if said else [])


@pytest.mark.parametrize(("age", "said"), [(timedelta(hours=4), True), (timedelta(hours=4, seconds=1), False)])
def test_an_old_scan_is_not_stat(age: timedelta, *, said: bool) -> None:
    """Moving up the worklist is for patients now in the house: not for priors, replays and late arrivals."""
    result = replace(bleeding(), alert=True, scanned_at=NOW - age)
    assert ("TQ1" in segments(oru(result, header(), ADDRESS, priority=True))) is said


def test_the_same_result_is_the_same_bytes() -> None:
    """A repeat is recognised by its control ID and content."""
    assert oru(EMPTY, header(), ADDRESS, priority=False) == oru(EMPTY, header(), ADDRESS, priority=False)


def hl7_node(make_node: Callable[..., Node], port: int, **options: Any) -> Node:
    entry = {"name": "pacs", "type": "hl7", "host": "127.0.0.1", "port": port, "timeout_s": 2.0, **options}
    return make_node(destinations=(entry,))


def publish(node: Node, bleed: PaintedSeries) -> str:
    """Record a result whose delivery is one summary with its `result.json` beside it."""
    new = publish_three(node, bleed, kinds=("summary",))
    result = replace(REFUSED, study_instance_uid=new.study_instance_uid)
    Path(new.directory / "result.json").write_text(result.to_json())
    return new.study_instance_uid


def closed(node: Node, study: str) -> StudyDetail:
    wait_until(
        lambda: node.drain("deliver") >= 0 and node.detail(study).deliveries[0].state in {"confirmed", "failed"},
        timeout_s=10.0,
        what="delivery closed",
    )
    return node.detail(study)


def test_an_acknowledged_message_is_confirmed(
    make_node: Callable[..., Node], mllp_server: MllpServer, bleed: PaintedSeries
) -> None:
    """AA is the application's own word; one message, with the patient of the study."""
    node = hl7_node(make_node, mllp_server.port)
    study = publish(node, bleed)
    node.drain("deliver")
    assert node.detail(study).deliveries[0].state == "confirmed"
    (message,) = mllp_server.messages
    assert "|MARKED-ID|" in message
    assert "|Marked^Patient" in message


@pytest.mark.parametrize(
    "answer",
    [
        ("AE", 207),
        ("AE", 206),
        ("AR", 207),
        ("AR", None),
        b"",
        b"\x0bnonsense\x1c\r",
        b"\x0bMSH|^~\\&|\rMSA|AA|OTHER\r\x1c\r",
    ],
)
def test_what_passes_comes_again_as_the_same_message(
    make_node: Callable[..., Node], mllp_server: MllpServer, bleed: PaintedSeries, answer: Any
) -> None:
    """Internal errors, rejects without a reason, silence, nonsense, and an answer to another message."""
    node = hl7_node(make_node, mllp_server.port)
    study = publish(node, bleed)
    mllp_server.next_answers = [answer]
    assert closed(node, study).deliveries[0].state == "confirmed"
    first, second = mllp_server.messages
    assert first == second


@pytest.mark.parametrize(
    ("answer", "said"), [(("AE", 101), "required field missing, 101"), (("AR", 203), "version ID, 203")]
)
def test_a_refusal_is_for_good(
    make_node: Callable[..., Node], mllp_server: MllpServer, bleed: PaintedSeries, answer: Any, said: str
) -> None:
    """What the application will never understand is said on the study's page."""
    node = hl7_node(make_node, mllp_server.port)
    study = publish(node, bleed)
    mllp_server.next_answers = [answer]
    (delivery,) = closed(node, study).deliveries
    assert delivery.state == "failed"
    assert said in delivery.error


def test_a_listener_that_is_slow_or_away_is_waited_for(
    make_node: Callable[..., Node], mllp_server: MllpServer, bleed: PaintedSeries
) -> None:
    """Nothing is lost while it is away, nor while it takes longer than the timeout."""
    mllp_server.delay_s = 0.5
    node = hl7_node(make_node, mllp_server.port, timeout_s=0.2)
    study = publish(node, bleed)
    node.drain("deliver")
    assert node.detail(study).deliveries[0].state == "pending"
    mllp_server.delay_s = 0.0
    assert closed(node, study).deliveries[0].state == "confirmed"


def test_messages_go_over_mutual_tls(
    make_node: Callable[..., Node], mllp_server: MllpServer, bleed: PaintedSeries, tmp_path: Path
) -> None:
    """The engine is believed by its certificate and wants ours; the acknowledgement comes the same way."""
    issued = make_certificates(tmp_path / "certificates")
    with TlsFront(mllp_server.port, issued.server_context()) as front:
        node = hl7_node(make_node, front.port, **shown(issued))
        assert [check.level for check in check_destinations(node.settings)] == [Level.OK]
        study = publish(node, bleed)
        node.drain("deliver")
        assert node.detail(study).deliveries[0].state == "confirmed"
        assert (front.passed, len(mllp_server.messages)) == (2, 1)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"ca_certificates": "stranger"}, "its certificate is not believed"),
        ({"tls_name": "engine.hospital.example"}, "engine.hospital.example"),
        (
            {"client_certificate": None, "client_key": None},
            "does not answer|ended",
        ),
        (
            {"tls": False, "ca_certificates": None, "client_certificate": None, "client_key": None},
            "does not answer|ended",
        ),
    ],
)
def test_whoever_is_not_believed_gets_no_message(  # one argument per fixture
    make_node: Callable[..., Node],
    mllp_server: MllpServer,
    bleed: PaintedSeries,
    tmp_path: Path,
    change: dict[str, Any],
    said: str,
) -> None:
    """Another authority, another name, no certificate of ours, no TLS: nothing is sent, and it may come again."""
    issued = make_certificates(tmp_path / "certificates")
    options = {**shown(issued), **change}
    if change.get("ca_certificates") == "stranger":
        options["ca_certificates"] = issued.certificate("stranger")
    with TlsFront(mllp_server.port, issued.server_context()) as front:
        node = hl7_node(make_node, front.port, **options)
        study = publish(node, bleed)
        node.drain("deliver")
        detail = node.detail(study)
    assert detail.deliveries[0].state == "pending"
    assert mllp_server.messages == []
    (text,) = [event.detail["text"] for event in detail.events if event.name == "job_delayed"]
    assert re.search(said, text), text


def shown(issued: Certificates) -> dict[str, Any]:
    """Give the settings of a destination behind mutual TLS."""
    return {
        "tls": True,
        "ca_certificates": issued.certificate("authority"),
        "client_certificate": issued.certificate("client"),
        "client_key": issued.key("client"),
    }


def test_nobody_listening(make_node: Callable[..., Node], bleed: PaintedSeries) -> None:
    """An interface engine that is down may come back."""
    node = hl7_node(make_node, free_port())
    study = publish(node, bleed)
    node.drain("deliver")
    assert node.detail(study).deliveries[0].state == "pending"
