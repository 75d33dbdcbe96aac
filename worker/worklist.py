"""STAT from the modality worklist: what was ordered as urgent goes first, wherever it came from.

Each study is asked for once, as soon as it arrives; studies without an accession number cannot be.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog

from ichor.catalogue import lanes
from ichor.log import hashed_uid
from ichor.peers.dimse import Peer
from ichor.peers.tls import tls_of
from ichor.peers.worklist import priorities
from ichor.watch import Watch

if TYPE_CHECKING:
    from ichor.catalogue.engine import Catalogue
    from ichor.settings import Settings

log = structlog.get_logger(__name__)

URGENT = frozenset({"STAT", "HIGH"})
"""PS3.3 C.4.11, Requested Procedure Priority; MEDIUM, ROUTINE and LOW are routine."""


class WorklistWatch(Watch):
    """Asks while it is open, where the settings name a worklist."""

    def __init__(self, catalogue: Catalogue, settings: Settings) -> None:
        super().__init__("worklist", asks=bool(settings.lanes.worklist.host))
        self._catalogue = catalogue
        self._peer = worklist_peer(settings)
        self._asked = 0
        """The last study that was asked for; studies are asked for in the order of their ids."""

    def tick(self) -> int:
        """Ask for every study that is new; return how many became urgent. Raises PeerError, CatalogueUnreachable."""
        hastened = 0
        with self._catalogue.read() as session:
            studies = lanes.routine_studies(session, after_id=self._asked)
        for study in studies:
            if study.accession_number and priorities(self._peer, study.accession_number) & URGENT:
                with self._catalogue.write() as session:
                    hastened += lanes.make_urgent(session, study.study_instance_uid)
                log.info("study_is_urgent", study=hashed_uid(study.study_instance_uid))
            self._asked = study.id
        return hastened


def worklist_peer(settings: Settings) -> Peer:
    """Give the peer that the settings describe."""
    worklist = settings.lanes.worklist
    return Peer(
        host=worklist.host,
        port=worklist.port,
        ae_title=worklist.ae_title,
        calling_ae_title=settings.dicom.ae_title,
        timeout_s=worklist.timeout_s,
        tls=tls_of(worklist),
        tls_name=worklist.tls_name,
    )
