"""Delivery by STOW-RS: to Orthanc, and to a service that gives every answer the standard knows."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from ichor.errors import SettingsError
from tests.painting import PaintedSeries
from tests.peers.certificates import Certificates, make_certificates
from tests.peers.orthanc import Orthanc
from tests.peers.programs import free_port
from tests.peers.stow import Answer, StowServer
from tests.worker.run.node import Node
from tests.worker.run.test_delivery import drain_until_closed, publish_three, the_delivery


def web(url: str, **options: Any) -> dict[str, Any]:
    return {"name": "pacs", "type": "dicomweb", "url": url, "timeout_s": 5.0, **options}


@pytest.fixture
def start_stow() -> Iterator[Callable[..., StowServer]]:
    """Start a DICOMweb service; each one ends with the test."""
    with ExitStack() as stack:

        def start(**options: Any) -> StowServer:
            server = StowServer(**options)
            server.start()
            stack.callback(server.stop)
            return server

        yield start


@pytest.fixture
def stow(start_stow: Callable[..., StowServer]) -> StowServer:
    """A DICOMweb service that stores everything."""
    return start_stow()


@pytest.mark.integration
def test_orthanc_takes_the_very_bytes_and_shows_them(
    make_node: Callable[..., Node], orthanc: Orthanc, bleed: PaintedSeries
) -> None:
    """Orthanc's DICOMweb plug-in stores the files as they are, and a QIDO-RS query proves it."""
    node = make_node(destinations=(web(f"{orthanc.url}/dicom-web"),))
    new = publish_three(node, bleed)
    node.drain("deliver")
    delivery = the_delivery(node, new)
    assert (delivery.state, delivery.error) == ("confirmed", "")
    held = orthanc.instances()
    assert {uid: hashlib.sha256(orthanc.file(name)).hexdigest() for uid, name in held.items()} == {
        item.sop_instance_uid: item.sha256 for item in new.objects
    }


def test_the_files_go_as_stored_with_the_token_over_one_connection(
    make_node: Callable[..., Node], stow: StowServer, bleed: PaintedSeries
) -> None:
    """Three objects, three requests, one connection; the bearer token stands in each."""
    node = make_node(destinations=(web(stow.url, token="a token"),))
    new = publish_three(node, bleed)
    node.drain("deliver")
    assert the_delivery(node, new).state == "confirmed"
    assert [hashlib.sha256(body).hexdigest() for body in stow.bodies] == [item.sha256 for item in new.objects]
    assert stow.tokens == ["Bearer a token"] * 3
    assert len(stow.connections) == 1
    assert node.drain("deliver") == 0


@pytest.mark.parametrize(
    "passing",
    [Answer(status=code) for code in (401, 408, 425, 429, 500, 503, 507)]
    + [Answer(status=code, failure_reason=0xA700) for code in (200, 202, 409)],
    ids=str,
)
def test_what_passes_comes_again(
    make_node: Callable[..., Node], stow: StowServer, bleed: PaintedSeries, passing: Answer
) -> None:
    """Overload, lack of room and a token that ran out: only the object concerned is sent again."""
    node = make_node(destinations=(web(stow.url),))
    new = publish_three(node, bleed)
    stow.next_answers = [passing]
    assert drain_until_closed(node, new).state == "confirmed"
    assert len(stow.bodies) == 4


@pytest.mark.parametrize(
    ("final", "said"),
    [(Answer(status=code), f"Refused: seg: HTTP {code}.") for code in (301, 400, 403, 404, 413, 415, 501)]
    + [
        (Answer(status=code, failure_reason=reason), f"0x{reason:04X}")
        for code in (200, 202, 409)
        for reason in (0x0122, 0xC122)
    ]
    + [(Answer(status=202, failure_reason=0xA900), "0xA900")],
    ids=str,
)
def test_a_refusal_is_for_good_and_keeps_nothing_else(
    make_node: Callable[..., Node], stow: StowServer, bleed: PaintedSeries, final: Answer, said: str
) -> None:
    """The others arrive and are proven, and what was refused is said; what a peer does not offer is no fault."""
    node = make_node(destinations=(web(stow.url),))
    new = publish_three(node, bleed)
    stow.next_answers = [final]
    node.drain("deliver")
    delivery = the_delivery(node, new)
    assert delivery.state == ("confirmed" if final.failure_reason in {0x0122, 0xC122} else "failed")
    assert said in delivery.error
    assert [item.state for item in delivery.objects] == ["failed", "confirmed", "confirmed"]
    assert len(stow.bodies) == 3


@pytest.mark.parametrize("answer", [Answer(status=409), Answer(status=409, failure_reason=0x0111)], ids=str)
@pytest.mark.parametrize("keeps", [True, False])
def test_a_conflict_counts_only_where_the_object_is_shown(
    make_node: Callable[..., Node], stow: StowServer, bleed: PaintedSeries, answer: Answer, *, keeps: bool
) -> None:
    """What the service has already is not sent again; what it only says to have is."""
    node = make_node(destinations=(web(stow.url),), delivery={"hold": False, "confirm_timeout_s": 0.0})
    new = publish_three(node, bleed)
    stow.next_answers = [Answer(status=answer.status, failure_reason=answer.failure_reason, keeps=keeps)]
    assert drain_until_closed(node, new).state == "confirmed"
    assert len(stow.bodies) == (3 if keeps else 4)


def test_a_service_without_query_leaves_it_unproven(
    make_node: Callable[..., Node], stow: StowServer, bleed: PaintedSeries
) -> None:
    """STOW-RS without QIDO-RS: `sent`, and the study's page says why."""
    stow.query_status = 501
    node = make_node(destinations=(web(stow.url),))
    new = publish_three(node, bleed)
    node.drain("deliver")
    delivery = the_delivery(node, new)
    assert delivery.state == "sent"
    assert "no query" in delivery.error


def test_a_service_that_is_away_is_waited_for(make_node: Callable[..., Node], bleed: PaintedSeries) -> None:
    """Nothing is lost and nothing failed while nobody listens."""
    node = make_node(destinations=(web(f"http://127.0.0.1:{free_port()}/dicom-web"),))
    new = publish_three(node, bleed)
    node.drain("deliver")
    assert the_delivery(node, new).state == "pending"


def shown_and_believed(certificates: Certificates) -> dict[str, Any]:
    return {
        "ca_certificates": certificates.certificate("authority"),
        "client_certificate": certificates.certificate("client"),
        "client_key": certificates.key("client"),
    }


def test_mutual_tls(
    make_node: Callable[..., Node], start_stow: Callable[..., StowServer], bleed: PaintedSeries, tmp_path: Path
) -> None:
    """A service that wants a client certificate gets the node's, and is believed only under the named authority."""
    certificates = make_certificates(tmp_path / "certificates")
    service = start_stow(certificates=certificates)
    trusted = shown_and_believed(certificates)
    node = make_node(destinations=(web(service.url, **trusted),))
    new = publish_three(node, bleed)
    node.drain("deliver")
    assert the_delivery(node, new).state == "confirmed"


@pytest.mark.parametrize("left_out", ["ca_certificates", "client_certificate"])
def test_without_its_certificates_nothing_goes_out(
    make_node: Callable[..., Node],
    start_stow: Callable[..., StowServer],
    bleed: PaintedSeries,
    tmp_path: Path,
    left_out: str,
) -> None:
    """Neither to a service that cannot show who it is, nor from a node that cannot."""
    certificates = make_certificates(tmp_path / "certificates")
    service = start_stow(certificates=certificates)
    trusted = shown_and_believed(certificates)
    without = {left_out: None} | ({"client_key": None} if left_out == "client_certificate" else {})
    node = make_node(destinations=(web(service.url, **(trusted | without)),))
    new = publish_three(node, bleed)
    node.drain("deliver")
    assert the_delivery(node, new).state == "pending"
    assert service.bodies == []


def test_a_certificate_that_is_missing_is_said_at_the_start(make_node: Callable[..., Node], tmp_path: Path) -> None:
    """A worker that could not deliver does not start, and says for which destination."""
    absent = tmp_path / "absent.pem"
    node = make_node(destinations=(web("https://127.0.0.1:1/", client_certificate=absent),))
    with pytest.raises(SettingsError, match="Peer pacs: a certificate"):
        node.drain("deliver")
