"""Derived UIDs: the same input, model and plan give the same objects, on every host and at every try.

UIDs are of the form `2.25.<integer>` (PS3.5 B.2); the integer is the first 128 bits of a SHA-256.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass

UID_ROOT = "2.25."  # PS3.5 B.2: UUID derived UID; at most 39 digits follow, 44 characters in all


def derive_uid(kind: str, *parts: str) -> str:
    """Return the UID that belongs to these parts; another kind gives another UID."""
    text = json.dumps([kind, *parts], ensure_ascii=False)
    return UID_ROOT + str(int.from_bytes(hashlib.sha256(text.encode()).digest()[:16], "big"))


@dataclass(frozen=True, slots=True, kw_only=True)
class ResultIdentity:
    """What a result depends on; the time and the host are no part of it."""

    source_sop_instance_uids: tuple[str, ...]
    attributes_digest: str
    model_digest: str
    plan_digest: str
    writer_version: str
    generation: int = 0
    """Raised by a forced retry, which makes a new result of the same input."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "source_sop_instance_uids", tuple(sorted(self.source_sop_instance_uids)))

    @property
    def digest(self) -> str:
        """SHA-256 over all parts, in hex."""
        parts = [
            list(self.source_sop_instance_uids),
            self.attributes_digest,
            self.model_digest,
            self.plan_digest,
            self.writer_version,
            self.generation,
        ]
        return hashlib.sha256(json.dumps(parts, ensure_ascii=False).encode()).hexdigest()

    def uid(self, kind: str) -> str:
        """Return the UID of one object, series or result of this identity."""
        return derive_uid(kind, self.digest)
