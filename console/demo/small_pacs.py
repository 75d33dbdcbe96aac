"""A storage and query SCP that fits on a page: `python -m console.demo.small_pacs AE PORT FOLDER`, loopback only.

Stores what it is sent as files and answers C-FIND at IMAGE level about them, which is what proves arrival to the node.
"""

from __future__ import annotations

import hashlib
import signal
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydicom import Dataset, dcmread
from pynetdicom import AE, ALL_TRANSFER_SYNTAXES, AllStoragePresentationContexts, evt
from pynetdicom.sop_class import (  # type: ignore[attr-defined]
    StudyRootQueryRetrieveInformationModelFind,
    Verification,
)

from console.demo.loopback import LOOPBACK

if TYPE_CHECKING:
    from collections.abc import Iterator

SUCCESS, PENDING, OUT_OF_RESOURCES = 0x0000, 0xFF00, 0xA700  # PS3.4 B.2.3 and C.4.1.1.4
KEYS = ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID")


def store(event: Any, folder: Path) -> int:
    """Write the data set as it came (PS3.10), under a name of our own."""
    uid = str(event.request.AffectedSOPInstanceUID)
    partial = folder / f"{hashlib.sha256(uid.encode()).hexdigest()}.part"  # a UID from outside is no file name
    try:
        partial.write_bytes(event.encoded_dataset())
        partial.rename(partial.with_suffix(".dcm"))
    except OSError:
        return OUT_OF_RESOURCES
    return SUCCESS


def find(event: Any, folder: Path) -> Iterator[tuple[int, Dataset | None]]:
    """Answer with the stored instances that match the UIDs of the query (PS3.4 C.2.2.2.1 and C.2.2.2.2)."""
    for path in sorted(folder.glob("*.dcm")):
        stored = dcmread(path, specific_tags=[*KEYS, "SOPClassUID"])
        if all(
            str(stored.get(key)) in wanted(event.identifier, key) or not wanted(event.identifier, key) for key in KEYS
        ):
            answer = Dataset()
            answer.QueryRetrieveLevel = "IMAGE"
            for key in KEYS:
                setattr(answer, key, stored.get(key))
            yield PENDING, answer


def wanted(identifier: Dataset, key: str) -> set[str]:
    """Give the UIDs that a query lists under a key; none means any."""
    value = identifier.get(key)
    if not value:
        return set()
    return {str(value)} if isinstance(value, str) else {str(uid) for uid in value}


def main(argv: list[str]) -> None:
    """Serve until SIGTERM."""
    ae_title, port, folder = argv[0], int(argv[1]), Path(argv[2])
    entity = AE(ae_title=ae_title)
    for context in AllStoragePresentationContexts:
        entity.add_supported_context(str(context.abstract_syntax), ALL_TRANSFER_SYNTAXES)
    entity.add_supported_context(Verification)
    entity.add_supported_context(StudyRootQueryRetrieveInformationModelFind)
    handlers: list[Any] = [(evt.EVT_C_STORE, store, [folder]), (evt.EVT_C_FIND, find, [folder])]
    server = entity.start_server((LOOPBACK, port), block=False, evt_handlers=handlers)
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    stop.wait()
    if server is not None:
        server.shutdown()


if __name__ == "__main__":
    main(sys.argv[1:])
