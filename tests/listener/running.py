"""A listener that runs in the process of the test, and the sender's side of it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import UID, CTImageStorage, ExplicitVRLittleEndian
from pynetdicom import AE
from pynetdicom.association import Association

from ichor.catalogue.engine import Catalogue
from ichor.settings import Settings
from listener.receipt import Filing, Receiver


@dataclass
class ListRegister:
    """A register that keeps what it is told."""

    filings: list[Filing] = field(default_factory=list)

    def submit(self, filing: Filing) -> None:
        """Keep it."""
        self.filings.append(filing)


@dataclass
class Sender:
    """A storage SCU to a port of the loopback address."""

    port: int

    @contextmanager
    def association(
        self,
        sop_class_uids: tuple[str, ...] = (CTImageStorage,),
        transfer_syntaxes: tuple[str, ...] = (ExplicitVRLittleEndian,),
    ) -> Iterator[Association]:
        """Associate as a storage SCU, and release at the end."""
        entity = AE(ae_title="SCANNER")
        entity.dimse_timeout = 10
        for uid in ("1.2.840.10008.1.1", *sop_class_uids):
            entity.add_requested_context(uid, list(transfer_syntaxes))
        association = entity.associate("127.0.0.1", self.port, ae_title="ICHOR")
        assert association.is_established
        try:
            yield association
        finally:
            if association.is_established:
                association.release()
            transport = association.dul.socket
            if transport is not None and transport.socket is not None:
                transport.socket.close()  # pynetdicom leaves it open where the listener died

    def send(self, ds: Dataset, **options: Any) -> int:
        """Send one data set in an association of its own; return the status."""
        ds.file_meta = FileMetaDataset()
        ds.file_meta.TransferSyntaxUID = UID(options.get("transfer_syntaxes", (ExplicitVRLittleEndian,))[0])
        with self.association((ds.SOPClassUID,), **options) as association:
            return int(association.send_c_store(ds).Status)


@dataclass
class Listener(Sender):
    """A listener that runs in this process, and the sender's side of it."""

    settings: Settings
    catalogue: Catalogue
    receiver: Receiver

    def spooled(self) -> list[Path]:
        """Return the instances of the spool."""
        return sorted((self.settings.data_dir / "spool").rglob("*.dcm"))
