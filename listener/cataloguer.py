"""The thread that enters what was received into the catalogue, in batches, off the sender's path.

The spool is the record of receipt; a row that a crash kept from being written is made again at the next start. Here
the node recognises its own objects that a PACS routes back, and tells instances whose UID came before apart: the same
pixels under another patient or order are a correction, anything else is a conflict.
"""

from __future__ import annotations

import contextlib
import queue
import threading
from typing import TYPE_CHECKING, Literal

import structlog
from sqlalchemy import select

from ichor.catalogue.early import release_series
from ichor.catalogue.engine import database_now
from ichor.catalogue.events import add_event
from ichor.catalogue.intake import known_instances, record_instances
from ichor.catalogue.records import ReceivedInstance
from ichor.catalogue.schema import Event, Instance, ResultObject, Series
from ichor.errors import IchorError, TransientError
from ichor.log import hashed_uid
from listener.admission import CT_IMAGE_CLASSES
from listener.receipt import Filing, InstanceConflict, Repeat, encoded_in, read_registration, read_spooled
from listener.release import SeriesReleased
from listener.version import same_image

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from sqlalchemy.orm import Session

    from ichor.catalogue.engine import Catalogue
    from ichor.store import Store

log = structlog.get_logger(__name__)

MAX_BATCH = 500
GATHER_S = 0.5
"""How long a batch waits for more: its sync to the disk competes with those of the spool, and settling takes longer."""
RETRY_S = (0.2, 1.0, 5.0)
"""Pauses between tries while the catalogue does not answer; the last one repeats."""
CONFLICT_EVENT = "instance_conflict"
OUTDATED_EVENT = "outdated_version_received"


class Cataloguer:
    """Enters filings into the catalogue until it is closed."""

    def __init__(self, catalogue: Catalogue, store: Store) -> None:
        self._catalogue = catalogue
        self._store = store
        self._filings: queue.SimpleQueue[Filing | None] = queue.SimpleQueue()
        self._closing = threading.Event()
        self._hurry = threading.Event()
        # A daemon: what it has not entered when the process ends is found in the spool at the next start.
        self._thread = threading.Thread(target=self._run, name="cataloguer", daemon=True)

    def start(self) -> None:
        """Start the thread; beside what is submitted it enters what lies in the spool without a row."""
        self._thread.start()

    def submit(self, filing: Filing) -> None:
        """Take note of what was received; returns at once."""
        self._filings.put(filing)
        if isinstance(filing, SeriesReleased):  # its sender is done, and the model may begin
            self._hurry.set()

    def close(self, timeout_s: float = 10.0) -> None:
        """Enter what is waiting, then stop; what does not fit into the time is found again at the next start."""
        self._closing.set()
        self._filings.put(None)
        self._hurry.set()
        if self._thread.is_alive():
            self._thread.join(timeout_s)

    def _run(self) -> None:
        folders = _series_folders(self._store.data_dir / "spool")
        folder = next(folders, None)
        while True:
            gathered = self._gather(wait=folder is None)
            batch = [filing for filing in gathered if filing is not None]
            if batch:
                self._enter_until_done(batch)
            if len(batch) < len(gathered):
                return
            if folder is not None:
                self._rebuild(folder)
                folder = next(folders, None)

    def _gather(self, *, wait: bool) -> list[Filing | None]:
        """Return what is waiting; with `wait`, at least one, and what comes in the moment after. None is the end."""
        gathered: list[Filing | None] = []
        if wait:
            gathered.append(self._filings.get())
            # Asleep all the while: to be woken by every instance would cost its sender more than the entry does here.
            self._hurry.wait(GATHER_S)
            self._hurry.clear()
        with contextlib.suppress(queue.Empty):
            while len(gathered) < MAX_BATCH and (not gathered or gathered[-1] is not None):
                gathered.append(self._filings.get_nowait())
        return gathered

    def _rebuild(self, folder: Path) -> None:
        """Enter the instances of a series' folder that the catalogue does not know."""
        paths = sorted(folder.glob("*.dcm"))
        for start in range(0, len(paths), MAX_BATCH):
            found: list[ReceivedInstance] = []
            for path in self._unknown(paths[start : start + MAX_BATCH]):
                try:
                    found.append(read_spooled(path))
                except (IchorError, OSError) as error:
                    log.error("spool_file_unreadable", error=type(error).__name__)  # noqa: TRY400
            if found:
                log.info("spool_rebuilt", instances=len(found))
                # Versions of one instance are judged in the order in which they came.
                found.sort(key=lambda instance: instance.received_at)
                self._enter_until_done(found)

    def _unknown(self, paths: Sequence[Path]) -> list[Path]:
        """Return the files that no row names; all of them where the catalogue does not answer: entering is safe."""
        names = {path.stem.partition("-")[0] for path in paths}
        try:
            with self._catalogue.read() as session:
                known = set(session.scalars(select(Instance.path).where(Instance.sop_instance_uid.in_(names))))
        except TransientError:
            return list(paths)
        return [path for path in paths if str(path) not in known]

    def _enter_until_done(self, batch: Sequence[Filing]) -> None:
        tries = 0
        while True:
            try:
                self._enter(batch)
            except TransientError as error:
                log.warning("catalogue_not_writable", code=error.code, instances=len(batch), tries=tries + 1)
            except Exception:
                # One that cannot be entered must not stop the others; it stays in the spool.
                if len(batch) > 1:
                    for filing in batch:
                        self._enter_until_done([filing])
                    return
                log.exception("catalogue_entry_dropped")
                return
            else:
                return
            if self._closing.wait(RETRY_S[min(tries, len(RETRY_S) - 1)]):
                return
            tries += 1

    def _enter(self, batch: Sequence[Filing]) -> None:
        with self._catalogue.write() as session:
            batch, own = _without_own(session, batch)
            new, conflicts = _sorted_out(session, batch)
            record_instances(session, new)
            for conflict in conflicts:
                _record_conflict(session, conflict)
            for filing in batch:
                if isinstance(filing, Repeat):
                    _record_repeat(session, filing)
        for filing in batch:
            if isinstance(filing, SeriesReleased):
                with self._catalogue.write() as session:
                    release_series(session, filing.study_instance_uid, filing.series_instance_uid)
        for instance in own:
            # The object lies in the results already, as it was written.
            instance.path.unlink(missing_ok=True)
            log.info("own_object_came_back", sop_instance=hashed_uid(instance.sop_instance_uid))
        for conflict in conflicts:
            self._set_aside(conflict)

    def _set_aside(self, conflict: InstanceConflict) -> None:
        """Move a conflicting file out of the spool, unless the receiver wrote it to the quarantine itself."""
        instance = conflict.instance
        path = self._store.quarantine_path(f"{instance.sop_instance_uid}.{instance.sha256[:16]}.dcm")
        if instance.path != path and instance.path.exists():
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            instance.path.replace(path)
        log.warning(CONFLICT_EVENT, sop_instance=hashed_uid(instance.sop_instance_uid))


def _series_folders(spool: Path) -> Iterator[Path]:
    """Yield the folders of series, which lie in those of their studies, in a stable order."""
    for study in sorted(spool.iterdir() if spool.is_dir() else ()):
        yield from sorted(path for path in study.iterdir() if path.is_dir())


def _without_own(session: Session, batch: Iterable[Filing]) -> tuple[list[Filing], list[ReceivedInstance]]:
    """Part off the objects that this node wrote itself; they are no CT images, so images are not looked up."""
    candidates = [
        filing.sop_instance_uid
        for filing in batch
        if isinstance(filing, ReceivedInstance) and filing.sop_class_uid not in CT_IMAGE_CLASSES
    ]
    known: set[str] = set()
    if candidates:
        known.update(
            session.scalars(
                select(ResultObject.sop_instance_uid).where(ResultObject.sop_instance_uid.in_(candidates)),
            ),
        )
    rest: list[Filing] = []
    own: list[ReceivedInstance] = []
    for filing in batch:
        if isinstance(filing, ReceivedInstance) and filing.sop_instance_uid in known:
            own.append(filing)
        else:
            rest.append(filing)
    return rest, own


def _sorted_out(session: Session, batch: Iterable[Filing]) -> tuple[list[ReceivedInstance], list[InstanceConflict]]:
    """Part new instances and corrections from those whose UID is taken by another image."""
    batch = list(batch)
    known = known_instances(session, [one.sop_instance_uid for one in batch if isinstance(one, ReceivedInstance)])
    current = {uid: instance.path for uid, instance in known.items()}
    new: list[ReceivedInstance] = []
    conflicts: list[InstanceConflict] = []
    for filing in batch:
        if isinstance(filing, SeriesReleased):
            continue
        if isinstance(filing, InstanceConflict):
            conflicts.append(filing)
        if not isinstance(filing, ReceivedInstance):
            continue
        path = current.get(filing.sop_instance_uid)
        if path is not None and (path == filing.path or _filed(session, filing)):
            continue
        difference = None if path is None else _difference(path, filing.path)
        if difference is None:
            new.append(filing)
            current[filing.sop_instance_uid] = filing.path
        else:
            conflicts.append(InstanceConflict(instance=filing, difference=difference))
    return new, conflicts


def _difference(current: Path, later: Path) -> Literal["pixels", "header"] | None:
    """Say what keeps an instance from being a correction of the one that counts now; None where it is one."""
    if not same_image(encoded_in(current), encoded_in(later)):
        return "pixels"
    return None if read_registration(current).corrected_by(read_registration(later)) else "header"


def _filed(session: Session, filing: ReceivedInstance) -> bool:
    """Whether these bytes have a row already: an older version, told of twice."""
    same = (Instance.sop_instance_uid == filing.sop_instance_uid) & (Instance.sha256 == filing.sha256)
    return session.scalars(select(Instance.id).where(same)).first() is not None


def _record_repeat(session: Session, repeat: Repeat) -> None:
    """Write down, once, that a sender still has what a correction replaced; nothing flips back."""
    row = session.execute(
        select(Instance.superseded_at, Series.study_id)
        .join(Series, Instance.series_id == Series.id)
        .where(Instance.sop_instance_uid == repeat.sop_instance_uid, Instance.sha256 == repeat.sha256)
    ).one_or_none()
    if row is None or row.superseded_at is None:
        return
    _add_event_once(
        session, row.study_id, OUTDATED_EVENT, repeat.sop_instance_uid, repeat.sha256, {"calling_ae": repeat.calling_ae}
    )


def _record_conflict(session: Session, conflict: InstanceConflict) -> None:
    """Write the event into the timeline of the study that holds the first instance, once for these bytes."""
    instance = conflict.instance
    study_id = session.scalar(
        select(Series.study_id)
        .join(Instance, Instance.series_id == Series.id)
        .where(Instance.sop_instance_uid == instance.sop_instance_uid, Instance.superseded_at.is_(None)),
    )
    if study_id is None:
        return
    detail = {
        "difference": conflict.difference,
        "series_instance_uid": instance.series_instance_uid,
        "study_instance_uid": instance.study_instance_uid,
        "calling_ae": instance.calling_ae,
        "received_at": instance.received_at.isoformat(),
    }
    _add_event_once(session, study_id, CONFLICT_EVENT, instance.sop_instance_uid, instance.sha256, detail)


def _add_event_once(  # one argument per column
    session: Session, study_id: int, name: str, sop_instance_uid: str, sha256: str, detail: Mapping[str, str]
) -> None:
    """Write an event about one content of an instance, unless it stands there."""
    there = session.scalars(
        select(Event.detail).where(
            Event.study_id == study_id, Event.name == name, Event.subject_key == sop_instance_uid
        ),
    )
    if any(known.get("sha256") == sha256 for known in there):
        return
    add_event(
        session,
        at=database_now(session),
        study_id=study_id,
        subject="instance",
        subject_key=sop_instance_uid,
        name=name,
        detail={"sha256": sha256, **detail},
    )
