"""A storage and query SCP in this process that remembers the exact bytes of every data set it was sent."""

from __future__ import annotations

import hashlib
import threading
from collections import defaultdict
from typing import TYPE_CHECKING, Any

from pydicom import Dataset
from pynetdicom import AE, AllStoragePresentationContexts, evt
from pynetdicom.sop_class import (  # type: ignore[attr-defined]
    StudyRootQueryRetrieveInformationModelFind,
    Verification,
)

from tests.peers.programs import LOOPBACK, free_port

if TYPE_CHECKING:
    import ssl
    from collections.abc import Collection, Iterator


class RecordingScp:
    """Answers Success unless told otherwise; `contents` shows whether any object ever came with a second content."""

    def __init__(
        self,
        *,
        offers_query: bool = True,
        port: int | None = None,
        without_classes: Collection[str] = (),
        syntaxes: Collection[str] | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.ae_title = "RECORDER"
        self.host = LOOPBACK
        self.port = free_port() if port is None else port
        self.contents: defaultdict[str, list[str]] = defaultdict(list)
        """SOP Instance UID → SHA-256 of every data set sent under it, also of those refused."""
        self.classes: dict[str, str] = {}
        self.next_statuses: list[int] = []
        """C-STORE statuses to answer with, in turn, before going back to Success."""
        self.find_allowed = threading.Event()
        """While clear, queries wait: the sender stands between sending and confirming."""
        self.find_allowed.set()
        self.finds = 0
        self.stored: set[str] = set()
        self._offers_query = offers_query
        self.without_classes = set(without_classes)
        """SOP classes that it accepts no context for; read at `start`."""
        self._syntaxes = syntaxes
        """The transfer syntaxes that it takes; None: all."""
        self._tls = tls
        self.associations = 0
        self._server: Any = None

    def start(self) -> None:
        """Listen."""
        entity = AE(ae_title=self.ae_title)
        entity.maximum_pdu_size = 0
        for context in AllStoragePresentationContexts:
            if str(context.abstract_syntax) in self.without_classes:
                continue
            syntaxes = context.transfer_syntax if self._syntaxes is None else self._syntaxes
            entity.add_supported_context(str(context.abstract_syntax), [str(syntax) for syntax in syntaxes])
        entity.add_supported_context(Verification)
        if self._offers_query:
            entity.add_supported_context(StudyRootQueryRetrieveInformationModelFind)
        handlers: list[Any] = [(evt.EVT_C_STORE, self._on_store), (evt.EVT_C_FIND, self._on_find)]
        handlers += [(evt.EVT_ACCEPTED, self._on_accepted), *self.configure(entity)]
        self._server = entity.start_server(
            (self.host, self.port), block=False, evt_handlers=handlers, ssl_context=self._tls
        )

    def configure(self, entity: AE) -> list[Any]:  # noqa: ARG002
        """Add what a kind of peer offers besides; give its handlers."""
        return []

    def stop(self) -> None:
        """Stop listening and cut every association."""
        self.find_allowed.set()
        if self._server is not None:
            self._server.shutdown()
            self._server = None

    def second_contents(self) -> dict[str, list[str]]:
        """Give the objects that came with more than one content: must be empty."""
        return {uid: sums for uid, sums in self.contents.items() if len(set(sums)) > 1}

    def _on_accepted(self, _event: Any) -> None:
        self.associations += 1

    def _on_store(self, event: Any) -> int:
        uid = str(event.request.AffectedSOPInstanceUID)
        self.contents[uid].append(hashlib.sha256(event.request.DataSet.getvalue()).hexdigest())
        self.classes[uid] = str(event.request.AffectedSOPClassUID)
        status = self.next_statuses.pop(0) if self.next_statuses else 0x0000
        if status == 0x0000 or status & 0xF000 == 0xB000:
            self.stored.add(uid)
        return status

    def _on_find(self, event: Any) -> Iterator[tuple[int, Dataset | None]]:
        self.finds += 1
        self.find_allowed.wait(60)
        asked = event.identifier.get("SOPInstanceUID") or []
        wanted = {str(asked)} if isinstance(asked, str) else {str(uid) for uid in asked}
        for uid in sorted(self.stored & wanted if wanted else self.stored):
            answer = Dataset()
            answer.QueryRetrieveLevel = "IMAGE"
            answer.StudyInstanceUID = event.identifier.get("StudyInstanceUID", "")
            answer.SeriesInstanceUID = event.identifier.get("SeriesInstanceUID", "")
            answer.SOPInstanceUID = uid
            yield 0xFF00, answer
