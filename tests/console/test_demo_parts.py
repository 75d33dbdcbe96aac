"""The demo's own parts: the small PACS, the alert receiver, the refusal of other hosts."""

from __future__ import annotations

import hashlib
import hmac
from typing import TYPE_CHECKING

import httpx
import pytest

from console.benchmark.slices import write_slices
from console.demo.loopback import node_environment, refuse_other_hosts
from console.demo.pacs import OrthancPacs, SmallPacs, kind_of
from console.demo.receiver import AlertReceiver
from ichor.errors import PeerError, SettingsError
from ichor.peers.dimse import Peer, store, stored_instances
from tests.peers.programs import require

if TYPE_CHECKING:
    from pathlib import Path

CT = "1.2.840.10008.5.1.4.1.1.2"
SECRET = "correct horse"


@pytest.mark.parametrize("host", ["0.0.0.0", "192.168.1.5", "pacs.example", "::"])  # noqa: S104 - refused, not bound
def test_other_hosts_are_refused(host: str) -> None:
    """The demo does not listen beyond this machine, whatever the environment says."""
    with pytest.raises(SettingsError, match="loopback"):
        refuse_other_hosts({"ICHOR_DICOM__HOST": host})


def test_settings_of_another_node_do_not_leak_into_the_demo() -> None:
    """Only the folder of weights is taken over from the environment."""
    environ = {"ICHOR_DATA_DIR": "/var/lib/ichor", "ICHOR_WEIGHTS": "/weights", "PATH": "/bin"}
    assert node_environment(environ) == {"ICHOR_WEIGHTS": "/weights", "PATH": "/bin"}


def test_receiver_tells_right_from_wrong_signatures() -> None:
    """Only the HMAC-SHA-256 of the raw body under the shared secret counts."""
    receiver = AlertReceiver(SECRET)
    receiver.start()
    body = b'{"schema": 1}'
    right = "sha256=" + hmac.new(SECRET.encode(), body, hashlib.sha256).hexdigest()
    try:
        for signature in (right, "sha256=" + "0" * 64, ""):
            httpx.post(receiver.url, content=body, headers={"X-Ichor-Signature": signature}, trust_env=False)
    finally:
        receiver.stop()
    assert [alert.signed for alert in receiver.received] == [True, False, False]


def test_small_pacs_stores_and_answers(tmp_path: Path) -> None:
    """The small PACS keeps what it is sent and proves it by C-FIND."""
    paths = write_slices(tmp_path / "slices", count=2)
    pacs = SmallPacs(tmp_path / "pacs", node_ae_title="ICHORDEMO")
    pacs.start()
    try:
        outcomes = list(store(pacs.peer, paths))
        assert all(outcome.stored for outcome in outcomes)
        uids = [outcome.sop_instance_uid for outcome in outcomes]
        assert pacs.kinds() == [CT, CT]
        assert stored_instances(pacs.peer, "", {"": [*uids, "1.2.3"]}) == frozenset(uids)
    finally:
        pacs.stop()


@pytest.mark.integration
def test_orthanc_takes_the_demo_node_only(tmp_path: Path) -> None:
    """Orthanc stores for the demo's node and refuses any other AE title."""
    paths = write_slices(tmp_path / "slices", count=1)
    pacs = OrthancPacs(tmp_path / "pacs", program=require("Orthanc"), node_ae_title="ICHORDEMO", node_port=11112)
    pacs.start()
    try:
        assert [outcome.stored for outcome in store(pacs.peer, paths)] == [True]
        stranger = Peer(
            host=pacs.peer.host, port=pacs.port, ae_title=pacs.ae_title, calling_ae_title="STRANGER", timeout_s=5.0
        )
        assert not refused_nothing(stranger, paths)
        assert pacs.kinds() == [CT]
    finally:
        pacs.stop()


def refused_nothing(peer: Peer, paths: tuple[Path, ...]) -> bool:
    """Say whether everything was stored."""
    try:
        return all(outcome.stored for outcome in store(peer, paths))
    except PeerError:
        return False


def test_kinds_by_sop_class() -> None:
    """Results are told apart by their SOP class."""
    assert kind_of("1.2.840.10008.5.1.4.1.1.66.4") == "seg"
    assert kind_of("1.2.840.10008.5.1.4.1.1.88.33") == "sr"
    assert kind_of("1.2.840.10008.5.1.4.1.1.7") == "summary"
    assert kind_of(CT) == CT
