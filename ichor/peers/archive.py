"""What a node asks of an archive that it fetches from, whichever protocol the archive speaks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

CT_MODALITY = "CT"


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Which studies: one by its UID, or those that began since a moment, of a modality."""

    study_instance_uid: str = ""
    since: datetime | None = None
    """Local time without offset, as DICOM writes it (PS3.3 C.7.2.1); the archive's clock and ours are taken as one."""
    modality: str = ""

    def fits(self, study: FoundStudy) -> bool:
        """Whether an answer is one of them; archives match loosely, and what they leave out counts as a match."""
        if self.modality and study.modalities and self.modality not in study.modalities:
            return False
        return self.since is None or study.began_at is None or study.began_at >= self.since


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundStudy:
    """A study that the archive says it has."""

    study_instance_uid: str
    began_at: datetime | None
    """Study Date and Time, local to the archive."""
    modalities: frozenset[str]
    instances: int | None
    """Number of Study Related Instances (0020,1208); None where the archive does not say."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fetched:
    """One instance that the archive sent, as its data set is encoded."""

    sop_class_uid: str
    sop_instance_uid: str
    transfer_syntax_uid: str
    data: memoryview


@dataclass(frozen=True, slots=True, kw_only=True)
class Retrieval:
    """How a retrieval ended, as the archive counts."""

    completed: int
    failed: int


Take = Callable[[Fetched], None]
"""Takes one instance in; raises an IchorError where it is refused."""


class Archive(Protocol):
    """Where studies are fetched from."""

    def studies(self, wanted: Wanted) -> Iterator[FoundStudy]:
        """Yield the studies that fit; raises PeerUnreachable, PeerRejected, PeerOffersNoQuery."""

    def series_instances(self, study_instance_uid: str, series_instance_uid: str) -> int | None:
        """Return how many instances the archive has of a series, None where it does not say; raises as `studies`."""

    def retrieve(self, study_instance_uid: str, take: Take) -> Retrieval:
        """Fetch a study; raises PeerUnreachable and PeerRejected."""


def study_time(date: str, time: str) -> datetime | None:
    """Read Study Date and Study Time (PS3.5 6.2, DA and TM); None where the date is none."""
    digits = "".join(part for part in time.partition(".")[0] if part.isdigit())[:6]
    try:
        return datetime.strptime(f"{date.strip()} {digits.ljust(6, '0')}", "%Y%m%d %H%M%S")  # noqa: DTZ007 - local
    except ValueError:
        return None
