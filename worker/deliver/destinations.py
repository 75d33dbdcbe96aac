"""From settings to destinations, each with its own protocol."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ichor.settings import DicomwebDestination, DimseDestination
from worker.deliver.dicomweb import DicomwebPeer
from worker.deliver.dimse import DimsePeer
from worker.deliver.hl7 import Hl7Peer

if TYPE_CHECKING:
    from ichor.catalogue.engine import Catalogue
    from ichor.settings import Settings
    from worker.deliver.destination import Destination


def destinations_of(settings: Settings, catalogue: Catalogue) -> dict[str, Destination]:
    """Give every destination by its name; raise SettingsError where one cannot be used."""
    destinations: dict[str, Destination] = {}
    for item in settings.destinations:
        if isinstance(item, DimseDestination):
            destinations[item.name] = DimsePeer(
                item,
                catalogue,
                calling_ae_title=settings.dicom.ae_title,
                confirm_timeout_s=settings.delivery.confirm_timeout_s,
            )
        elif isinstance(item, DicomwebDestination):
            destinations[item.name] = DicomwebPeer(item)
        else:
            destinations[item.name] = Hl7Peer(item, sending_application=settings.dicom.ae_title)
    return destinations
