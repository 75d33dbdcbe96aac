"""Who may call: AE titles and source networks against `[dicom] callers`, and the answer to those who may not.

An AE title is a name that anybody can give; only the network, and a certificate on the TLS port, say a little more.
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv6Address, ip_address
from typing import TYPE_CHECKING

from ichor.sections import ANY_AE_TITLE

if TYPE_CHECKING:
    from ipaddress import IPv4Address

    from ichor.sections import CallerSettings, DicomSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """What a peer says in its A-ASSOCIATE-RQ, and how it came; titles without padding."""

    calling_ae: str
    called_ae: str
    address: str
    tls: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Rejection:
    """The parameters of an A-ASSOCIATE-RJ (PS3.8 Table 9-21), and the reason for log and metrics."""

    result: int
    source: int
    diagnostic: int
    code: str


REJECTED_PERMANENT, REJECTED_TRANSIENT = 0x01, 0x02
SERVICE_USER, SERVICE_PROVIDER_PRESENTATION = 0x01, 0x03

# PS3.8 Table 9-21. A known title from a foreign network is told what an unknown title is: nothing to probe with.
UNKNOWN_CALLER = Rejection(
    result=REJECTED_PERMANENT, source=SERVICE_USER, diagnostic=0x03, code="calling_ae_not_recognised"
)
UNKNOWN_CALLED = Rejection(
    result=REJECTED_PERMANENT, source=SERVICE_USER, diagnostic=0x07, code="called_ae_not_recognised"
)
TLS_NEEDED = Rejection(result=REJECTED_PERMANENT, source=SERVICE_USER, diagnostic=0x01, code="tls_needed")
LIMIT_REACHED = Rejection(
    result=REJECTED_TRANSIENT, source=SERVICE_PROVIDER_PRESENTATION, diagnostic=0x02, code="association_limit"
)

# PS3.8 Table 9-21, temporary congestion: the sender comes again, and has not sent anything in vain.
DISK_LOW = Rejection(result=REJECTED_TRANSIENT, source=SERVICE_PROVIDER_PRESENTATION, diagnostic=0x01, code="disk_low")


class Callers:
    """The callers that are let in."""

    def __init__(self, settings: DicomSettings) -> None:
        self._own_ae = settings.ae_title.strip()
        self._called_ae_check = settings.called_ae_check
        self._entries = tuple((entry, entry.ip_networks) for entry in settings.callers)

    def entry(self, call: Call) -> CallerSettings | None:
        """Return the first entry that the call satisfies in everything, None where there is none."""
        return next((one for one in self._known(call) if _terms_met(one, call)), None)

    def rejection(self, call: Call) -> Rejection | None:
        """Return the answer to a call that is not let in, None for one that is."""
        known = self._known(call)
        if not known:
            return UNKNOWN_CALLER
        if self._called_ae_check and call.called_ae != self._own_ae:
            return UNKNOWN_CALLED
        if self.entry(call) is not None:
            return None
        return UNKNOWN_CALLED if any(call.tls or not one.tls for one in known) else TLS_NEEDED

    def _known(self, call: Call) -> list[CallerSettings]:
        address = _plain(call.address)
        return [
            entry
            for entry, networks in self._entries
            if entry.ae_title in {ANY_AE_TITLE, call.calling_ae} and any(address in network for network in networks)
        ]


def _terms_met(entry: CallerSettings, call: Call) -> bool:
    return (call.tls or not entry.tls) and (not entry.called_ae_titles or call.called_ae in entry.called_ae_titles)


def _plain(address: str) -> IPv4Address | IPv6Address:
    """Return the address, as IPv4 where a dual-stack socket shows it in IPv6 (RFC 4291 2.5.5.2), without its zone."""
    parsed = ip_address(address.partition("%")[0])
    mapped = parsed.ipv4_mapped if isinstance(parsed, IPv6Address) else None
    return parsed if mapped is None else mapped
