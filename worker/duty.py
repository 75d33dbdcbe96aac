"""What a worker does for its queue: the jobs it knows, and what it sees to before and between them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ichor.catalogue.records import JobKind
    from worker.loop import Handler


class Duty(Protocol):
    """The work on one queue."""

    @property
    def handlers(self) -> Mapping[JobKind, Handler]:
        """Who does each kind of job."""

    def warm(self) -> None:
        """Get ready, so that the first job does not wait for it; raise what makes the work impossible."""

    def after_job(self) -> None:
        """See to what a job leaves for others."""

    def after_all(self) -> None:
        """See to what is left when nothing more is ready."""
