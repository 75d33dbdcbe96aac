"""What the listener counts: bytes, associations, refusals."""

from __future__ import annotations

from pynetdicom import AE

from ichor.catalogue.engine import Catalogue
from ichor.metrics import NodeMetrics
from ichor.sections import DicomSettings
from ichor.settings import Settings
from listener.dimse import serving
from listener.intake import receiving
from tests.listener.running import Listener
from tests.listener.samples import encode, make_ct
from tests.peers.programs import wait_until


def test_bytes_and_associations_are_counted(settings: Settings, catalogue: Catalogue) -> None:
    """Each stored byte once, however often it comes; associations while they are open; refusals by reason."""
    metrics = NodeMetrics()

    def value(name: str, **labels: str) -> float:
        return metrics.registry.get_sample_value(name, labels) or 0.0

    strict = DicomSettings(**{**settings.dicom.model_dump(), "called_ae_check": True})
    with (
        receiving(settings, catalogue) as receiver,
        serving(strict, receiver, catalogue, metrics) as server,
    ):
        listener = Listener(server.ports[0], settings, catalogue, receiver)
        ct = make_ct()
        assert [listener.send(ct), listener.send(ct)] == [0, 0]
        assert value("ichor_received_bytes_total", by="dimse") == len(encode(ct))
        assert value("ichor_instances_received_total", by="dimse", outcome="stored") == 1
        assert value("ichor_instances_received_total", by="dimse", outcome="duplicate") == 1
        with listener.association():
            wait_until(lambda: value("ichor_associations_open", by="dimse") == 1, what="one association")
        wait_until(lambda: value("ichor_associations_open", by="dimse") == 0, what="none")
        stranger = AE()
        stranger.add_requested_context("1.2.840.10008.1.1")
        assert stranger.associate("127.0.0.1", listener.port, ae_title="OTHER").is_rejected
        assert value("ichor_associations_refused_total", reason="called_ae_not_recognised") == 1
