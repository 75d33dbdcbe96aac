"""DICOMweb client: STOW-RS of stored bytes (PS3.18 10.5), QIDO-RS for what arrived (PS3.18 10.6).

Files are posted byte for byte, one request for each: so each has an outcome of its own, and nothing is sent twice
because another object failed. A redirect is a fault: results go where the settings say and nowhere else.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from ichor.errors import PeerOffersNoQuery, PeerRejected, PeerUnreachable
from ichor.peers.tls import Certificates, client_context

BOUNDARY = "ichor-2f1d8f7e5b0c4a6f9f4f"
"""Fixed: the part ends where its Content-Length says, and no header of a DICOM file looks like this."""
DICOM_JSON = "application/dicom+json"
REFERENCED_SOP_SEQUENCE = "00081199"
FAILED_SOP_SEQUENCE = "00081198"
FAILURE_REASON = "00081197"
SOP_INSTANCE_UID = "00080018"
REFERENCED_SOP_INSTANCE_UID = "00081155"

# RFC 9110 15.5.2 (a token that ran out is renewed by somebody), 15.5.9; RFC 8470 5.2; RFC 6585 4.
COMES_AGAIN = frozenset({401, 408, 425, 429})
NEVER_WILL = frozenset({501, 505})  # RFC 9110 15.6.2, 15.6.6: a server that cannot, among those that cannot now
CONFLICT = 409  # PS3.18 Table 10.5.3-1: nothing was stored; the reason stands in the body, where there is one
DUPLICATE_SOP_INSTANCE = 0x0111  # PS3.7 C.5.7
DUPLICATES = frozenset({DUPLICATE_SOP_INSTANCE, 0xB00E})
"""Failure reasons that mean "I have something under this UID"; Google's Healthcare API says B00E."""
NO_QUERY = frozenset({405, 406, 501})


@dataclass(frozen=True, slots=True, kw_only=True)
class WebPeer:
    """Where a DICOMweb service is, and how we show who we are."""

    name: str
    url: str
    token: str = ""
    certificates: Certificates = field(default_factory=Certificates)
    timeout_s: float = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class StowOutcome:
    """What the service said to one object."""

    path: Path
    sop_instance_uid: str
    status: int
    """HTTP status, or the object's failure reason (PS3.18 Table I.2-2, from 0x0100 on) where one was given."""
    stored: bool

    @property
    def duplicate(self) -> bool:
        """Return whether the peer may have it already; only a query tells."""
        return not self.stored and (self.status in DUPLICATES or self.status == CONFLICT)

    @property
    def transient(self) -> bool:
        """Return whether the same object may be taken later."""
        if self.stored or self.duplicate:
            return False
        if self.status & 0xFF00 == 0xA700:  # PS3.18 Table I.2-2: refused, out of resources
            return True
        return self.status in COMES_AGAIN or (500 <= self.status <= 599 and self.status not in NEVER_WILL)


def store(peer: WebPeer, files: Sequence[tuple[Path, str]]) -> Iterator[StowOutcome]:
    """Post files (path, SOP Instance UID) as they are, in order, over one connection; yield each outcome as it comes.

    Raises:
        PeerUnreachable: the peer does not answer; what was yielded before stands.
        SettingsError: a certificate cannot be used.
    """
    with client_of(peer) as client:
        for path, sop_instance_uid in files:
            answer = asked(peer, client.build_request("POST", "studies", **_multipart(path)), client)
            yield _outcome(path, sop_instance_uid, answer)


def stored_instances(
    peer: WebPeer, study_instance_uid: str, by_series: Mapping[str, Collection[str]]
) -> frozenset[str]:
    """Return which of these instances (by Series Instance UID) the service shows (QIDO-RS, one query per instance).

    Raises:
        PeerOffersNoQuery: the service offers no such query.
        PeerUnreachable: it does not answer, or cannot answer now.
        PeerRejected: it refuses the query.
    """
    found: set[str] = set()
    wanted = [(series, uid) for series, uids in by_series.items() for uid in sorted(uids)]
    with client_of(peer) as client:
        for series_instance_uid, uid in wanted:
            resource = f"studies/{study_instance_uid}/series/{series_instance_uid}/instances"
            request = client.build_request(
                "GET", resource, params={"SOPInstanceUID": uid}, headers={"Accept": DICOM_JSON}
            )
            items = shown(peer, asked(peer, request, client))
            if any(str(_value(item, SOP_INSTANCE_UID)) == uid for item in items):
                found.add(uid)
    return frozenset(found)


def ping(peer: WebPeer) -> None:
    """Ask for at most one study; raise PeerUnreachable, PeerRejected or PeerOffersNoQuery where that fails."""
    with client_of(peer) as client:
        request = client.build_request("GET", "studies", params={"limit": "1"}, headers={"Accept": DICOM_JSON})
        answer = asked(peer, request, client)
        if answer.status_code == 404:
            raise PeerRejected(f"{peer.name} has no DICOMweb service at this address (404).")
        shown(peer, answer)


@contextmanager
def client_of(peer: WebPeer) -> Iterator[httpx.Client]:
    """Give a client for the service's address; raises SettingsError where a certificate cannot be used."""
    headers = {"Authorization": f"Bearer {peer.token}"} if peer.token else {}
    base = peer.url if peer.url.endswith("/") else f"{peer.url}/"
    with httpx.Client(
        base_url=base,
        headers=headers,
        timeout=peer.timeout_s,
        follow_redirects=False,
        trust_env=False,  # proxies come from settings or not at all
        verify=client_context(peer.name, peer.certificates),
    ) as client:
        yield client


def _multipart(path: Path) -> dict[str, Any]:
    # PS3.18 8.6.1.2: one part, the file as it is
    head = f"--{BOUNDARY}\r\nContent-Type: application/dicom\r\n\r\n".encode()
    return {
        "content": head + path.read_bytes() + f"\r\n--{BOUNDARY}--\r\n".encode(),
        "headers": {
            "Content-Type": f'multipart/related; type="application/dicom"; boundary={BOUNDARY}',
            "Accept": DICOM_JSON,
        },
    }


def asked(peer: WebPeer, request: httpx.Request, client: httpx.Client) -> httpx.Response:
    """Send a request; raises PeerUnreachable."""
    try:
        return client.send(request)
    except httpx.TransportError as error:
        raise PeerUnreachable(f"{peer.name} does not answer: {type(error).__name__}.") from error


def _outcome(path: Path, sop_instance_uid: str, answer: httpx.Response) -> StowOutcome:
    """Judge by the object's own entry, else by the HTTP status (PS3.18 Table 10.5.3-1)."""
    status, stored = answer.status_code, answer.is_success
    reason = _failure_reason(answer, sop_instance_uid)
    if reason is not None:
        status, stored = reason, False
    elif answer.status_code == 202 and not _listed(answer, REFERENCED_SOP_SEQUENCE, sop_instance_uid):
        stored = False  # "some were stored", and ours is not among them
    return StowOutcome(path=path, sop_instance_uid=sop_instance_uid, status=status, stored=stored)


def _failure_reason(answer: httpx.Response, sop_instance_uid: str) -> int | None:
    for item in _items(answer, FAILED_SOP_SEQUENCE):
        # One object went out, so an entry that names none is about it.
        if _value(item, REFERENCED_SOP_INSTANCE_UID) in {sop_instance_uid, None}:
            reason = _value(item, FAILURE_REASON)
            return int(reason) if isinstance(reason, int) else 0x0110  # PS3.7 C.5.21 processing failure
    return None


def _listed(answer: httpx.Response, sequence: str, sop_instance_uid: str) -> bool:
    return any(_value(item, REFERENCED_SOP_INSTANCE_UID) == sop_instance_uid for item in _items(answer, sequence))


def shown(peer: WebPeer, answer: httpx.Response) -> list[dict[str, Any]]:
    """Return the items of a QIDO-RS answer; raises PeerOffersNoQuery, PeerUnreachable, PeerRejected."""
    status = answer.status_code
    if status in {204, 404}:  # nothing matches; some services know no study that they have nothing of
        return []
    if status in NO_QUERY:
        raise PeerOffersNoQuery
    if status in COMES_AGAIN or answer.is_server_error:
        raise PeerUnreachable(f"{peer.name} cannot answer the query now ({status}).")
    if not answer.is_success:
        raise PeerRejected(f"{peer.name} refuses the query ({status}).")
    parsed = _parsed(answer)
    if not isinstance(parsed, list):
        raise PeerOffersNoQuery
    return [item for item in parsed if isinstance(item, dict)]


def _items(answer: httpx.Response, sequence: str) -> list[dict[str, Any]]:
    parsed = _parsed(answer)
    entries = [parsed] if isinstance(parsed, dict) else parsed if isinstance(parsed, list) else []
    element = entries[0].get(sequence) if entries and isinstance(entries[0], dict) else None
    values = element.get("Value") if isinstance(element, dict) else None
    return [item for item in values if isinstance(item, dict)] if isinstance(values, list) else []


def _value(item: dict[str, Any], tag: str) -> Any:
    element = item.get(tag)
    values = element.get("Value") if isinstance(element, dict) else None
    return values[0] if isinstance(values, list) and values else None


def _parsed(answer: httpx.Response) -> Any:
    try:
        return answer.json()
    except ValueError:
        return None
