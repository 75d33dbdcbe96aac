"""Modality worklist as a user (PS3.4 K.6): how urgent is what was ordered under an accession number?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydicom import Dataset
from pynetdicom import build_context
from pynetdicom.sop_class import (  # type: ignore[attr-defined]  # built from a table when imported
    ModalityWorklistInformationFind,
)

from ichor.errors import PeerOffersNoQuery
from ichor.peers.dimse import associated, check_find_status, status_of

if TYPE_CHECKING:
    from ichor.peers.dimse import Peer


def priorities(peer: Peer, accession_number: str) -> frozenset[str]:
    """Return every Requested Procedure Priority (0040,1003) that the worklist gives for an accession number.

    Answers that are about another accession number are passed over: some worklists ignore keys that they do not match
    by (PS3.4 K.4.1.1.3.2: only a few of them are required).

    Raises:
        PeerOffersNoQuery: the peer does not accept the query.
        PeerUnreachable: the peer does not answer, or cannot answer now.
        PeerRejected: the peer refuses the association, or finds the query wrong.
    """
    step = Dataset()
    step.ScheduledStationAETitle = ""
    step.ScheduledProcedureStepStartDate = ""
    step.Modality = ""
    query = Dataset()
    query.AccessionNumber = accession_number
    query.RequestedProcedureID = ""
    query.RequestedProcedurePriority = ""
    query.ScheduledProcedureStepSequence = [step]
    found: set[str] = set()
    with associated(peer, [build_context(ModalityWorklistInformationFind)]) as association:
        if not association.is_established:
            raise PeerOffersNoQuery
        for answer, identifier in list(association.send_c_find(query, ModalityWorklistInformationFind)):
            check_find_status(peer, status_of(peer, answer))
            if identifier is not None and str(identifier.get("AccessionNumber", "")).strip() == accession_number:
                found.add(str(identifier.get("RequestedProcedurePriority") or "").strip().upper())
    return frozenset(found - {""})
