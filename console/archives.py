"""From settings to archives that studies are fetched from."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ichor.errors import SettingsError
from ichor.peers.dicomweb import WebPeer
from ichor.peers.dimse import Peer
from ichor.peers.dimse_archive import DimseArchive
from ichor.peers.tls import certificates_of
from ichor.peers.web_archive import WebArchive
from ichor.settings import DimseSource
from listener.admission import STORED_CLASSES

if TYPE_CHECKING:
    from ichor.peers.archive import Archive
    from ichor.settings import Settings, Source


def source_named(settings: Settings, name: str) -> Source:
    """Give a source; raise SettingsError, naming those there are, where there is none of this name."""
    for source in settings.sources:
        if source.name == name:
            return source
    known = ", ".join(source.name for source in settings.sources) or "none"
    raise SettingsError(f"The settings name no source {name!r}; known: {known}.")


def archive_of(source: Source, settings: Settings, *, timeout_s: float | None = None) -> Archive:
    """Give the archive behind a source."""
    patience_s = source.timeout_s if timeout_s is None else timeout_s
    if isinstance(source, DimseSource):
        own_ae = settings.dicom.ae_title
        peer = Peer(
            host=source.host,
            port=source.port,
            ae_title=source.ae_title,
            calling_ae_title=own_ae,
            timeout_s=patience_s,
        )
        return DimseArchive(
            peer, sop_class_uids=tuple(STORED_CLASSES), move_to=own_ae if source.retrieve == "move" else ""
        )
    return WebArchive(
        WebPeer(
            name=source.name,
            url=source.url,
            token=source.token.get_secret_value(),
            certificates=certificates_of(source),
            timeout_s=patience_s,
        )
    )
