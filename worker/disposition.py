"""What becomes of a job that ended in an error: one table from the error's type to a disposition.

The task is the only place that catches broadly, and it asks here. A transient error comes again, a permanent one ends
the job, a study that does not qualify gets a result that says so. What is not foreseen comes again a few times and then
fails, so that a fault that passes costs nothing and one that stays does not block the lane.
"""

from __future__ import annotations

import traceback
from enum import Enum, auto
from pathlib import Path
from typing import TYPE_CHECKING

from ichor.errors import (
    CatalogueUnreachable,
    IchorError,
    LeaseLost,
    NotAnalysable,
    PermanentError,
    StoreFull,
    TransientError,
)

if TYPE_CHECKING:
    from ichor.catalogue.records import Job
    from ichor.settings import JobSettings


class StopAsked(TransientError):
    """The worker was asked to stop while the job ran."""

    code = "stop_asked"


class Disposition(Enum):
    """What is done with the job."""

    ABANDON = auto()  # another worker has it; touch nothing
    RELEASE = auto()  # ready again at once, counts no attempt
    PUT_OFF = auto()  # ready again after the shortest pause, counts no attempt
    RETRY = auto()  # ready again after a pause
    FAIL = auto()  # ends as failed


# The first entry that fits decides. `True`: however often it happens, for what heals when somebody repairs the host.
_TABLE: tuple[tuple[type[Exception], Disposition, bool], ...] = (
    (LeaseLost, Disposition.ABANDON, True),
    (StopAsked, Disposition.RELEASE, True),
    (StoreFull, Disposition.RETRY, True),
    (CatalogueUnreachable, Disposition.PUT_OFF, True),
    (NotAnalysable, Disposition.FAIL, True),  # nothing that a result could be filed under
    (PermanentError, Disposition.FAIL, True),
    (TransientError, Disposition.RETRY, False),
    (Exception, Disposition.RETRY, False),
)


def disposition(error: Exception, job: Job, settings: JobSettings) -> Disposition:
    """Decide what is done; deliveries and alerts outlast any transient fault of their peer."""
    for kind, decided, at_any_attempt in _TABLE:
        if isinstance(error, kind):
            patient = at_any_attempt or (job.queue == "deliver" and isinstance(error, TransientError))
            return decided if patient or job.attempt < settings.max_attempts else Disposition.FAIL
    raise error


def backoff_s(attempt: int, settings: JobSettings) -> float:
    """Give the pause after this attempt: doubled each time, up to a limit."""
    return float(min(settings.backoff_base_s * 2.0 ** min(attempt - 1, 30), settings.backoff_max_s))


def error_code(error: Exception) -> str:
    """Give the stable name of an error; of one that nobody foresaw, its class."""
    return error.code if isinstance(error, IchorError) else type(error).__name__


def error_text(error: Exception) -> str:
    """Say what happened: our own sentence, else only where; a foreign message may quote patient data."""
    if isinstance(error, IchorError):
        return str(error)
    frames = traceback.extract_tb(error.__traceback__)[-8:]
    places = " < ".join(f"{Path(frame.filename).name}:{frame.lineno} {frame.name}" for frame in reversed(frames))
    return f"{type(error).__name__} at {places}"
