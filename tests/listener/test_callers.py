"""Who may call, and what the others are told."""

from __future__ import annotations

import socket
from contextlib import ExitStack
from typing import Any

import pytest
from pynetdicom import AE
from pynetdicom.sop_class import Verification  # type: ignore[attr-defined]

from ichor.sections import CallerSettings, DicomSettings
from listener.callers import Call, Callers
from listener.dimse import serving
from tests.listener.running import Listener, Sender
from tests.peers.programs import wait_until

CT = CallerSettings(ae_title="CT1", networks=("10.1.2.0/24", "fd00:1::/64"))
STRICT = CallerSettings(ae_title="CT2", networks=("10.0.0.0/8",), called_ae_titles=("ICHOR", "STROKE"), tls=True)
SITE = DicomSettings(callers=(CT, STRICT))


@pytest.mark.parametrize(
    ("settings", "calling", "called", "address", "tls", "code"),
    [
        (DicomSettings(), "ANY", "X", "127.0.0.1", False, None),
        (DicomSettings(), "ANY", "X", "127.9.9.9", False, None),
        (DicomSettings(), "ANY", "X", "::1", False, None),
        (DicomSettings(), "ANY", "X", "::ffff:127.0.0.1", False, None),
        (DicomSettings(), "ANY", "ICHOR", "10.0.0.1", False, "calling_ae_not_recognised"),
        (DicomSettings(), "ANY", "ICHOR", "fe80::1%eth0", False, "calling_ae_not_recognised"),
        (DicomSettings(called_ae_check=True), "ANY", "ICHOR", "127.0.0.1", False, None),
        (DicomSettings(called_ae_check=True), "ANY", "OTHER", "127.0.0.1", False, "called_ae_not_recognised"),
        (SITE, "CT1", "X", "10.1.2.200", False, None),
        (SITE, "CT1", "X", "fd00:1::9", False, None),
        (SITE, "CT1", "X", "10.1.3.1", False, "calling_ae_not_recognised"),
        (SITE, "ct1", "X", "10.1.2.200", False, "calling_ae_not_recognised"),
        (SITE, "CT1", "X", "127.0.0.1", False, "calling_ae_not_recognised"),
        (SITE, "CT2", "STROKE", "10.9.9.9", True, None),
        (SITE, "CT2", "STROKE", "10.9.9.9", False, "tls_needed"),
        (SITE, "CT2", "OTHER", "10.9.9.9", True, "called_ae_not_recognised"),
        (DicomSettings(callers=()), "ANY", "ICHOR", "127.0.0.1", False, "calling_ae_not_recognised"),
    ],
)
def test_a_call_is_let_in_or_told_why_not(
    settings: DicomSettings,
    calling: str,
    called: str,
    address: str,
    tls: bool,  # noqa: FBT001
    code: str | None,
) -> None:
    """Title, network, called title and transport decide together; titles are case-sensitive (PS3.5 6.2, AE)."""
    call = Call(calling_ae=calling, called_ae=called, address=address, tls=tls)
    rejection = Callers(settings).rejection(call)
    assert (None if rejection is None else rejection.code) == code
    if rejection is None:
        assert Callers(settings).entry(call) is not None


@pytest.mark.parametrize(
    ("update", "answer"),
    [
        ({"callers": (CT,)}, (1, 1, 3)),
        ({"called_ae_check": True, "ae_title": "OTHER"}, (1, 1, 7)),
        ({"callers": (CallerSettings(tls=True),)}, (1, 1, 1)),
        ({"max_associations": 1}, (2, 3, 2)),
    ],
)
def test_the_refused_get_a_reason(listener: Listener, update: dict[str, Any], answer: tuple[int, int, int]) -> None:
    """An A-ASSOCIATE-RJ carries result, source and diagnostic of PS3.8 Table 9-21."""
    limited = listener.settings.dicom.model_copy(update=update)
    with serving(limited, listener.receiver) as server, ExitStack() as stack:
        port = int(server.server_address[1])
        if update.get("max_associations") == 1:
            stack.enter_context(Sender(port).association())
        entity = AE(ae_title="SCANNER")
        entity.add_requested_context(Verification)
        association = entity.associate("127.0.0.1", port, ae_title="ICHOR")
        assert association.is_rejected
        said = association.acceptor.primitive
        assert said is not None
        assert (said.result, said.result_source, said.diagnostic) == answer


def test_a_place_that_was_left_is_free_again(listener: Listener) -> None:
    """The limit counts who is here, not who was: after a release, and after a broken connection."""
    limited = listener.settings.dicom.model_copy(update={"max_associations": 1})
    with serving(limited, listener.receiver) as server:
        sender = Sender(int(server.server_address[1]))
        for _ in range(3):
            with sender.association() as association:
                assert association.send_c_echo().Status == 0
        with sender.association() as association:
            transport = association.dul.socket
            assert transport is not None
            assert transport.socket is not None
            transport.socket.shutdown(socket.SHUT_RDWR)
        wait_until(lambda: not server.active_associations)
        with sender.association() as association:
            assert association.send_c_echo().Status == 0
