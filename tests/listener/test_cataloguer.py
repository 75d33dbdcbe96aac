"""Rows follow the spool: in batches, after a crash, and never twice."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from pydicom.dataset import Dataset
from pydicom.uid import SecondaryCaptureImageStorage
from sqlalchemy import select

from ichor.catalogue.engine import Catalogue
from ichor.catalogue.schema import Event, Instance, Result, ResultObject, Study
from ichor.clock import utc_now
from ichor.store import Store
from listener.cataloguer import CONFLICT_EVENT, Cataloguer
from listener.receipt import Receiver
from tests.listener.running import ListRegister
from tests.listener.samples import encode, make_ct
from tests.listener.test_receipt import arrival_of
from tests.peers.programs import wait_until


def rows(catalogue: Catalogue) -> list[str]:
    """Return the paths of all instances in the catalogue."""
    with catalogue.read() as session:
        return sorted(session.scalars(select(Instance.path)))


def events(catalogue: Catalogue) -> list[Event]:
    """Return the conflicts in the catalogue."""
    with catalogue.read() as session:
        return list(session.scalars(select(Event).where(Event.name == CONFLICT_EVENT)))


def entered(catalogue: Catalogue, store: Store, work: Callable[[Receiver], None] | None = None) -> None:
    """Run a cataloguer, do some work with a receiver of its, and close it."""
    cataloguer = Cataloguer(catalogue, store)
    cataloguer.start()
    if work is not None:
        work(Receiver(store, cataloguer, min_free_bytes=0))
    cataloguer.close()


def test_what_is_received_gets_a_row(catalogue: Catalogue, store: Store) -> None:
    """Every instance of a series gets one row, and closing waits for them."""
    uids = {"StudyInstanceUID": "1.2.3", "SeriesInstanceUID": "1.2.3.4"}
    slices = [make_ct(**uids, InstanceNumber=number) for number in range(20)]

    def work(receiver: Receiver) -> None:
        for ds in slices * 2:
            receiver.receive(arrival_of(ds), memoryview(encode(ds)))

    entered(catalogue, store, work)
    assert len(rows(catalogue)) == 20
    with catalogue.read() as session:
        study = session.scalars(select(Study)).one()
    assert (study.instance_count, study.patient_name, study.calling_ae) == (20, "Zz^Test", "SCANNER")


def test_rows_are_made_again_from_the_spool(
    catalogue: Catalogue, store: Store, receiver: Receiver, register: ListRegister
) -> None:
    """What lies in the spool without a row gets one at the start; a second start changes nothing."""
    for number in range(3):
        ds = make_ct(StudyInstanceUID=f"1.2.{number}")
        receiver.receive(arrival_of(ds), memoryview(encode(ds)))
    assert len(register.filings) == 3  # kept by a register that no catalogue hears of
    cataloguer = Cataloguer(catalogue, store)
    cataloguer.start()
    wait_until(lambda: len(rows(catalogue)) == 3)
    cataloguer.close()
    with catalogue.read() as session:
        before = {study.id: study.updated_at for study in session.scalars(select(Study))}
    again = Cataloguer(catalogue, store)
    again.start()
    ds = make_ct(StudyInstanceUID="1.2.9")
    Receiver(store, again, min_free_bytes=0).receive(arrival_of(ds), memoryview(encode(ds)))
    wait_until(lambda: len(rows(catalogue)) == 4)
    again.close()
    with catalogue.read() as session:
        after = {study.id: study.updated_at for study in session.scalars(select(Study)) if study.id in before}
    assert after == before


def test_rubbish_in_the_spool_stops_nothing(catalogue: Catalogue, store: Store, receiver: Receiver) -> None:
    """Files that no receiver wrote are left alone and keep nothing else from its row."""
    ds = make_ct()
    path = receiver.receive(arrival_of(ds), memoryview(encode(ds))).path
    (path.parent / "1.2.3.dcm").write_bytes(b"rubbish")
    (path.parent / ".partial-0").write_bytes(b"half")
    cataloguer = Cataloguer(catalogue, store)
    cataloguer.start()
    wait_until(lambda: rows(catalogue) == [str(path)])
    cataloguer.close()


def test_a_conflict_is_an_event_of_the_first_study(catalogue: Catalogue, store: Store) -> None:
    """Other bytes under a known UID are one event, however often they come, and no second row."""
    first = make_ct()
    second = make_ct(
        SOPInstanceUID=first.SOPInstanceUID,
        StudyInstanceUID=first.StudyInstanceUID,
        SeriesInstanceUID=first.SeriesInstanceUID,
        PixelData=bytes(512),
    )

    def work(receiver: Receiver) -> None:
        for ds in (first, second, second, first):
            receiver.receive(arrival_of(ds), memoryview(encode(ds)))

    entered(catalogue, store, work)
    assert len(rows(catalogue)) == 1
    (event,) = events(catalogue)
    assert event.detail["calling_ae"] == "SCANNER"


def test_a_uid_known_from_another_series_is_a_conflict(catalogue: Catalogue, store: Store) -> None:
    """An instance that comes again in another series is put aside; the first keeps its place."""
    first = make_ct()
    second = make_ct(SOPInstanceUID=first.SOPInstanceUID)
    paths: list[Path] = []

    def work(receiver: Receiver) -> None:
        paths.extend(receiver.receive(arrival_of(ds), memoryview(encode(ds))).path for ds in (first, second))

    entered(catalogue, store, work)
    assert rows(catalogue) == [str(paths[0])]
    assert not paths[1].exists()
    (aside,) = store.quarantine_dir.iterdir()
    assert aside.read_bytes().endswith(encode(second))
    assert len(events(catalogue)) == 1


def test_own_objects_that_come_back_are_no_news(catalogue: Catalogue, store: Store) -> None:
    """A result that a PACS routes back is accepted, makes no row and is not kept twice."""
    image, summary = make_ct(), make_ct(SOPClassUID=SecondaryCaptureImageStorage, Modality="OT")
    entered(catalogue, store, lambda receiver: _receive(receiver, image))
    with catalogue.write() as session:
        study = session.scalars(select(Study)).one()
        written = ResultObject(
            kind="summary",
            sop_instance_uid=summary.SOPInstanceUID,
            sop_class_uid=summary.SOPClassUID,
            path="summary.dcm",
            sha256="00",
        )
        session.add(_result(study.id, written))
    entered(catalogue, store, lambda receiver: _receive(receiver, summary))
    assert len(rows(catalogue)) == 1
    assert [path.stem for path in store.spool_dir.rglob("*.dcm")] == [image.SOPInstanceUID]


def _receive(receiver: Receiver, ds: Dataset) -> None:
    assert receiver.receive(arrival_of(ds), memoryview(encode(ds))).outcome == "stored"


def _result(study_id: int, written: ResultObject) -> Result:
    return Result(
        result_uid="2.25.1",
        identity_digest="0",
        study_id=study_id,
        input_version=1,
        status="analysed",
        summary_json="{}",
        directory="",
        model_digest="",
        created_at=utc_now(),
        objects=[written],
    )
