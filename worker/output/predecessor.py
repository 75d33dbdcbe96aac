"""The objects of the results that this one replaces, found by the UIDs that they must have had."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ichor.identity import derive_uid
from worker.output.naming import KINDS, object_name, series_name

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from ichor.catalogue.records import ResultRow
    from worker.output.naming import Kind


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplacedObject:
    """One object that was written before."""

    kind: Kind
    sop_class_uid: str
    sop_instance_uid: str
    series_instance_uid: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Predecessor:
    """A result that is replaced: its identity, and what was written for it."""

    identity_digest: str
    sop_classes: Mapping[str, str]
    """SOP Class UID by SOP Instance UID, of all its objects in all variants."""

    def objects(self, variant: str) -> tuple[ReplacedObject, ...]:
        """Give its objects of one variant; rejection notes are no results and stay."""
        uids = {
            kind: derive_uid(object_name(kind, variant), self.identity_digest) for kind in KINDS if kind != "rejection"
        }
        return tuple(
            ReplacedObject(
                kind=kind,
                sop_class_uid=self.sop_classes[uid],
                sop_instance_uid=uid,
                series_instance_uid=derive_uid(series_name(kind, variant), self.identity_digest),
            )
            for kind, uid in uids.items()
            if uid in self.sop_classes
        )


def predecessors_of(rows: Iterable[ResultRow]) -> tuple[Predecessor, ...]:
    """Give what a new result replaces, except what was provisional and never left the node."""
    return tuple(
        Predecessor(
            identity_digest=row.identity_digest,
            sop_classes={item.sop_instance_uid: item.sop_class_uid for item in row.objects},
        )
        for row in rows
        if not row.provisional
    )
