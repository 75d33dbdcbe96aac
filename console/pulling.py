"""Fetching studies from an archive into the spool: the same way in as a sender's, marked as fetched."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from ichor.catalogue import views
from ichor.errors import IchorError, StudyNotFound
from listener.receipt import Arrival

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from ichor.catalogue.engine import Catalogue
    from ichor.peers.archive import Archive, Fetched, FoundStudy
    from listener.receipt import Receiver


@dataclass(frozen=True, slots=True, kw_only=True)
class Pulled:
    """What became of one study."""

    study_instance_uid: str
    state: Literal["fetched", "here", "incomplete", "failed"]
    """`here`: the node had as many instances before; `incomplete`: the archive could not send all of it."""
    instances: int
    """Sent by the archive, whether or not they were here before."""
    new: int
    error: str = ""


@dataclass(slots=True)
class _Counts:
    instances: int = 0
    new: int = 0


def pull(
    archive: Archive,
    studies: Sequence[FoundStudy],
    *,
    receiver: Receiver,
    catalogue: Catalogue,
    source_ae: str,
    on_progress: Callable[[float], None],
) -> Iterator[Pulled]:
    """Fetch one study after the other; a study that fails does not keep the others.

    Args:
        archive: that has them.
        studies: as the archive found them.
        receiver: takes the instances in.
        catalogue: tells what is here already.
        source_ae: stands for the sender.
        on_progress: gets the fraction that is done, from 0 to 1.
    """
    for index, study in enumerate(studies):
        uid = study.study_instance_uid
        on_progress(index / len(studies))
        held = _held(catalogue, uid)
        if study.instances is not None and held >= study.instances:
            yield Pulled(study_instance_uid=uid, state="here", instances=0, new=0)
            continue
        counts = _Counts()

        def take(fetched: Fetched, counts: _Counts = counts, index: int = index, study: FoundStudy = study) -> None:
            arrival = Arrival(
                sop_class_uid=fetched.sop_class_uid,
                sop_instance_uid=fetched.sop_instance_uid,
                transfer_syntax_uid=fetched.transfer_syntax_uid,
                calling_ae=source_ae,
                called_ae="",
                channel="pull",
            )
            counts.new += receiver.receive(arrival, fetched.data).outcome == "stored"
            counts.instances += 1
            within = min(counts.instances / study.instances, 1.0) if study.instances else 0.0
            on_progress((index + within) / len(studies))

        try:
            ended = archive.retrieve(uid, take)
        except IchorError as error:
            yield Pulled(
                study_instance_uid=uid, state="failed", instances=counts.instances, new=counts.new, error=str(error)
            )
            continue
        # Of a C-MOVE the images come to the listener: only the archive has counted them.
        came = max(counts.instances, ended.completed)
        missing = ended.failed > 0 or (study.instances is not None and came < study.instances)
        yield Pulled(
            study_instance_uid=uid,
            state="incomplete" if missing else "fetched",
            instances=came,
            new=counts.new,
            error=f"{ended.failed} instances were not sent or not taken" if ended.failed else "",
        )


def _held(catalogue: Catalogue, study_instance_uid: str) -> int:
    try:
        with catalogue.read() as session:
            return views.study_detail(session, study_instance_uid).study.instance_count
    except StudyNotFound:
        return 0
