"""DIMSE over TLS: with dcmtk and with pynetdicom as the peer, and everything that must not be taken for a peer."""

from __future__ import annotations

import gc
import ssl
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest
from pydicom import dcmread

from ichor.errors import PeerUnreachable, SettingsError
from ichor.peers.dimse import Peer, echo, store, stored_instances
from ichor.peers.tls import Certificates, client_context
from tests.ichor.peers.test_dimse import SERIES, STUDY, write
from tests.peers.certificates import Certificates as Issued
from tests.peers.certificates import make_certificates
from tests.peers.recording import RecordingScp
from tests.peers.storescp import Storescp

# pynetdicom's AssociationSocket._shutdown_socket skips close() on a socket that never connected; Python closes it.
NEVER_CONNECTED = "ignore:Exception ignored in. <s:pytest.PytestUnraisableExceptionWarning"
pytestmark = [
    pytest.mark.filterwarnings(NEVER_CONNECTED),
    # and its acceptor lets a handshake that fails end the thread that would have served it
    pytest.mark.filterwarnings("ignore:Exception in thread:pytest.PytestUnhandledThreadExceptionWarning"),
]


@pytest.fixture(autouse=True)
def collect() -> Iterator[None]:
    """Let what pynetdicom left open be closed here, not in another module's test."""
    yield
    gc.collect()


@pytest.fixture(scope="module")
def issued() -> Iterator[Issued]:
    """Certificates of one authority for server and client."""
    with tempfile.TemporaryDirectory(prefix="ichor-") as folder:
        yield make_certificates(Path(folder))


@pytest.fixture
def start_scp() -> Iterator[Callable[..., RecordingScp]]:
    """Start a recording peer that speaks TLS; each one ends with the test."""
    with ExitStack() as stack:

        def start(tls: ssl.SSLContext) -> RecordingScp:
            scp = RecordingScp(tls=tls)
            scp.start()
            stack.callback(scp.stop)
            return scp

        yield start


def peer_of(scp: RecordingScp | Storescp, tls: Certificates) -> Peer:
    return Peer(host=scp.host, port=scp.port, ae_title=scp.ae_title, calling_ae_title="ICHOR", timeout_s=5.0, tls=tls)


def trusting(issued: Issued, *, client: bool = True) -> Certificates:
    return Certificates(
        authorities=issued.certificate("authority"),
        client=issued.certificate("client") if client else None,
        client_key=issued.key("client") if client else None,
    )


@pytest.mark.integration
def test_dcmtk_takes_objects_over_mutual_tls(issued: Issued, tmp_path: Path) -> None:
    """A peer written by other people, under the profile of PS3.15 B.9, which wants our certificate."""
    path = tmp_path / "1.dcm"
    write(path)
    scp = Storescp(tmp_path, tls=issued)
    scp.start()
    try:
        there = peer_of(scp, trusting(issued))
        echo(there)
        assert [outcome.status for outcome in store(there, [path])] == [0]
        (stored,) = scp.files()
        assert dcmread(stored) == dcmread(path)
        with pytest.raises(PeerUnreachable, match="does not answer"):
            echo(peer_of(scp, trusting(issued, client=False)))
    finally:
        scp.stop()


def test_objects_are_stored_and_read_back(
    start_scp: Callable[..., RecordingScp], issued: Issued, tmp_path: Path
) -> None:
    """Store and query alike go over TLS; a peer that wants no certificate of ours gets none."""
    uid, digest = write(tmp_path / "1.dcm")
    scp = start_scp(issued.server_context(wants_client=False))
    there = peer_of(scp, trusting(issued, client=False))
    assert [outcome.status for outcome in store(there, [tmp_path / "1.dcm"])] == [0]
    assert scp.contents == {uid: [digest]}
    assert stored_instances(there, STUDY, {SERIES: [uid]}) == {uid}


def test_who_is_not_believed_gets_nothing(
    start_scp: Callable[..., RecordingScp], issued: Issued, tmp_path: Path
) -> None:
    """An unknown authority, another name, an old version: nothing is sent, and the error says why."""
    write(tmp_path / "1.dcm")
    scp = start_scp(issued.server_context(wants_client=False))
    there = peer_of(scp, trusting(issued, client=False))
    for doubtful, said in (
        (replace(there, tls=Certificates()), "self.signed certificate in certificate chain|unable to get local issuer"),
        (replace(there, tls_name="pacs.hospital.example"), "pacs.hospital.example"),
    ):
        with pytest.raises(PeerUnreachable, match=f"is not believed.*({said})"):
            list(store(doubtful, [tmp_path / "1.dcm"]))
    old = issued.server_context(wants_client=False)
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        old.maximum_version = ssl.TLSVersion.TLSv1_1
    with pytest.raises(PeerUnreachable, match="no TLS connection"):
        echo(peer_of(start_scp(old), trusting(issued)))
    assert scp.contents == {}


def test_only_forward_secret_authenticated_ciphers_are_offered(issued: Issued) -> None:
    """RFC 9325 4.2: nothing without ephemeral keys, nothing without authenticated encryption."""
    context = client_context("pacs", trusting(issued))
    assert context.minimum_version == ssl.TLSVersion.TLSv1_2
    assert context.check_hostname
    for cipher in context.get_ciphers():
        assert cipher["aead"], cipher["name"]
        assert cipher["protocol"] == "TLSv1.3" or "ECDHE" in cipher["name"]


def test_a_certificate_that_is_missing_is_said(tmp_path: Path) -> None:
    """Which destination's, and that it is a certificate."""
    with pytest.raises(SettingsError, match="Peer pacs: a certificate cannot be used"):
        client_context("pacs", Certificates(client=tmp_path / "absent.pem"))
