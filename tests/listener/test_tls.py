"""The TLS port against dcmtk's senders and against peers that misbehave, with certificates that openssl made."""

from __future__ import annotations

import socket
import ssl
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from ichor.errors import StartError
from ichor.sections import CallerSettings, DicomSettings, DicomTlsSettings
from listener.dimse import serving
from listener.doors import tls_context
from listener.receipt import Receiver
from tests.listener.samples import make_ct, part10
from tests.peers.certificates import Certificates, make_certificates
from tests.peers.programs import require

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    """One set for all tests here."""
    return make_certificates(tmp_path_factory.mktemp("certificates"))


@contextmanager
def listening(receiver: Receiver, certificates: Certificates, *, mutual: bool = False) -> Iterator[tuple[int, int]]:
    """Run a listener with both ports; TLS callers only. Give the plain and the TLS port."""
    tls = DicomTlsSettings(
        port=0,
        certificate=certificates.certificate("server"),
        key=certificates.key("server"),
        client_ca=certificates.certificate("authority") if mutual else None,
    )
    dicom = DicomSettings(port=0, tls=tls, callers=(CallerSettings(tls=True),), idle_timeout_s=5, artim_timeout_s=2)
    with serving(dicom, receiver) as server:
        plain, secure = server.ports
        yield plain, secure


def run(
    program: str, port: int, *options: str | Path, files: tuple[Path, ...] = ()
) -> subprocess.CompletedProcess[str]:
    """Run a dcmtk program."""
    command = [require(program), "-aec", "ICHOR", *options, "127.0.0.1", str(port), *files]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def test_dcmtk_sends_over_tls(receiver: Receiver, certificates: Certificates, tmp_path: Path) -> None:
    """A TLS echo and a TLS store arrive; the plain port turns callers away that are known for TLS only."""
    path = tmp_path / "slice.dcm"
    path.write_bytes(part10(make_ct()))
    trust = ("+tla", "+cf", certificates.certificate("authority"))  # +tla: without a certificate of one's own
    with listening(receiver, certificates) as (plain, secure):
        assert run("echoscu", secure, *trust).returncode == 0
        sent = run("storescu", secure, *trust, files=(path,))
        assert sent.returncode == 0, sent.stderr
        assert run("echoscu", plain).returncode != 0
        assert run("echoscu", secure).returncode != 0
    (spooled,) = receiver.store.spool_dir.rglob("*.dcm")
    assert spooled.read_bytes().endswith(path.read_bytes()[-512:])


def test_mutual_certificates(receiver: Receiver, certificates: Certificates) -> None:
    """With an authority for callers, only a certificate that it signed gets in."""
    trust = ("+cf", certificates.certificate("authority"))
    with listening(receiver, certificates, mutual=True) as (_, secure):
        known = ("+tls", certificates.key("client"), certificates.certificate("client"))
        assert run("echoscu", secure, *known, *trust).returncode == 0
        assert run("echoscu", secure, "+tla", *trust).returncode != 0
        unknown = ("+tls", certificates.key("stranger"), certificates.certificate("stranger"))
        assert run("echoscu", secure, *unknown, *trust).returncode != 0


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_what_is_negotiated(receiver: Receiver, certificates: Certificates, version: ssl.TLSVersion) -> None:
    """TLS 1.2 and 1.3 end in forward secrecy and AEAD (RFC 9325 4.2)."""
    context = ssl.create_default_context(cafile=certificates.certificate("authority"))
    context.minimum_version = context.maximum_version = version
    with (
        listening(receiver, certificates) as (_, secure),
        socket.create_connection(("127.0.0.1", secure), timeout=10) as plain,
        context.wrap_socket(plain, server_hostname="localhost") as connection,
    ):
        cipher = connection.cipher()
        assert cipher is not None
        assert "GCM" in cipher[0] or "CHACHA20" in cipher[0]
        assert version is ssl.TLSVersion.TLSv1_3 or cipher[0].startswith("ECDHE")


def test_old_versions_and_weak_suites_are_refused(receiver: Receiver, certificates: Certificates) -> None:
    """No TLS 1.1 (RFC 8996), no CBC, no key exchange without forward secrecy."""
    context = tls_context(
        DicomTlsSettings(certificate=certificates.certificate("server"), key=certificates.key("server"))
    )
    assert context is not None
    assert context.minimum_version is ssl.TLSVersion.TLSv1_2
    for cipher in context.get_ciphers():
        assert cipher["aead"], cipher["name"]
    client = ssl.create_default_context(cafile=certificates.certificate("authority"))
    client.maximum_version = ssl.TLSVersion.TLSv1_2
    client.set_ciphers("ECDHE-ECDSA-AES128-SHA256:AES128-GCM-SHA256")
    with (
        listening(receiver, certificates) as (_, secure),
        socket.create_connection(("127.0.0.1", secure), timeout=10) as plain,
        pytest.raises(ssl.SSLError),
    ):
        client.wrap_socket(plain, server_hostname="localhost")


def test_a_silent_handshake_blocks_nobody(receiver: Receiver, certificates: Certificates) -> None:
    """Peers that stop before, in the middle of and after their handshake keep nobody else from the port."""
    trust = ("+tla", "+cf", certificates.certificate("authority"))
    context = ssl.create_default_context(cafile=certificates.certificate("authority"))
    with listening(receiver, certificates) as (_, secure), ExitStack() as held:
        silent = held.enter_context(socket.create_connection(("127.0.0.1", secure), timeout=30))
        halfway = held.enter_context(socket.create_connection(("127.0.0.1", secure), timeout=30))
        halfway.sendall(b"\x16\x03\x01\x02\x00\x01\x00")  # the start of a ClientHello
        plain = held.enter_context(socket.create_connection(("127.0.0.1", secure), timeout=30))
        shaken = held.enter_context(context.wrap_socket(plain, server_hostname="localhost"))
        garbage = held.enter_context(socket.create_connection(("127.0.0.1", secure), timeout=30))
        garbage.sendall(b"GET / HTTP/1.1\r\n\r\n")
        assert run("echoscu", secure, *trust).returncode == 0
        for connection in (silent, halfway, shaken):  # ARTIM ends them
            assert connection.recv(1) == b""


def test_files_that_are_no_certificates_are_one_sentence(certificates: Certificates, tmp_path: Path) -> None:
    """A node whose TLS files are missing or do not belong together does not start."""
    for certificate, key in (
        (tmp_path / "missing.pem", None),
        (certificates.certificate("server"), certificates.key("client")),
    ):
        with pytest.raises(StartError, match=r"The files of dicom\.tls cannot be used: "):
            tls_context(DicomTlsSettings(certificate=certificate, key=key))
