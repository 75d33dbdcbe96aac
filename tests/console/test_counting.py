"""A series is complete as soon as it has as many slices as its source has counted, asked of a real Orthanc."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import httpx
import pytest

from console.counting import CountWatch
from ichor.catalogue import intake, settling, views
from ichor.catalogue.engine import Catalogue, database_now
from ichor.settings import DicomwebSource, DimseSource, Settings
from tests.ichor.catalogue.examples import slices
from tests.listener.samples import make_ct, part10
from tests.peers.orthanc import Orthanc
from tests.peers.programs import LOOPBACK

pytestmark = pytest.mark.integration
STUDY, SERIES = "1.2.3", "1.2.3.1"


class Watched:
    """A catalogue whose series an archive has counted."""

    def __init__(self, data_dir: Path, source: DimseSource | DicomwebSource) -> None:
        self.settings = Settings(data_dir=data_dir, sources=(source,))
        self.catalogue = Catalogue.open(f"sqlite:///{data_dir}/catalogue.sqlite")
        self.watch = CountWatch(self.catalogue, self.settings)

    def receives(self, count: int) -> None:
        """File so many slices."""
        with self.catalogue.write() as session:
            intake.record_instances(session, slices(count))

    def settles(self, after_s: float) -> bool:
        """Whether the series settles when so much time has passed since its last slice."""
        with self.catalogue.write() as session:
            now = database_now(session) + timedelta(seconds=after_s)
            settling.settle(session, settle_s=1000, study_settle_s=5000, now=now)
            return views.study_detail(session, STUDY).series[0].state == "settled"


@pytest.fixture(params=["dimse", "dicomweb"])
def watched(
    request: pytest.FixtureRequest, tmp_path: Path, start_orthanc: Callable[..., Orthanc]
) -> Iterator[tuple[Watched, Orthanc]]:
    archive = start_orthanc()
    for number in range(4):
        ds = make_ct(StudyInstanceUID=STUDY, SeriesInstanceUID=SERIES, InstanceNumber=number)
        httpx.post(f"{archive.url}/instances", content=part10(ds), timeout=30).raise_for_status()
    source: DimseSource | DicomwebSource
    if request.param == "dimse":
        source = DimseSource(
            name="pacs", host=LOOPBACK, port=archive.dicom_port, ae_title=archive.ae_title, counts=True, timeout_s=5
        )
    else:
        source = DicomwebSource(name="pacs", url=f"{archive.url}/dicom-web", counts=True, timeout_s=5)
    made = Watched(tmp_path, source)
    yield made, archive
    made.catalogue.close()


def test_the_source_s_count_decides(watched: tuple[Watched, Orthanc]) -> None:
    """With fewer slices the series waits beyond `settle_s`, with as many it is complete at once."""
    node, _ = watched
    node.receives(3)
    assert not node.settles(10)
    assert node.watch.tick(quiet_s=0) == 1
    assert not node.settles(1100)
    node.receives(4)
    assert node.settles(0)
    with node.catalogue.read() as session:
        events = {event.name: dict(event.detail) for event in views.study_detail(session, STUDY).events}
    assert events["series_counted"] == {"at_source": 4, "instances": 3}
    node.receives(5)  # a late slice that the source does not know yet: the timer decides
    assert not node.settles(10)
    assert node.settles(1100)


def test_a_source_that_has_more_is_not_waited_for_for_ever(watched: tuple[Watched, Orthanc]) -> None:
    """After `study_settle_s` what is here is all there is."""
    node, _ = watched
    node.receives(2)
    node.watch.tick(quiet_s=0)
    assert not node.settles(4900)
    assert node.settles(5100)
