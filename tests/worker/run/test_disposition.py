from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from ichor.catalogue.records import Job
from ichor.errors import (
    CatalogueUnreachable,
    GeometryError,
    LeaseLost,
    ModelCorrupted,
    NotAnalysable,
    PeerRejected,
    PeerUnreachable,
    QueueUnreachable,
    StoreFull,
)
from ichor.settings import JobSettings
from worker.disposition import Disposition, StopAsked, backoff_s, disposition, error_code, error_text

SETTINGS = JobSettings(max_attempts=3, backoff_base_s=2.0, backoff_max_s=300.0)
JOB = Job(
    id=1,
    queue="analyse",
    kind="analyse",
    study_instance_uid="1.2.3",
    subject_id=None,
    final=True,
    force=False,
    attempt=1,
    priority=0,
    created_at=datetime(2026, 1, 1, tzinfo=UTC),
    lease_owner="me",
)


@pytest.mark.parametrize(
    ("error", "attempt", "expected"),
    [
        (LeaseLost(), 1, Disposition.ABANDON),
        (StopAsked(), 9, Disposition.RELEASE),
        (StoreFull(), 99, Disposition.RETRY),
        (CatalogueUnreachable(), 99, Disposition.PUT_OFF),
        (QueueUnreachable(), 2, Disposition.RETRY),
        (QueueUnreachable(), 3, Disposition.FAIL),
        (GeometryError(), 1, Disposition.FAIL),
        (ModelCorrupted(), 1, Disposition.FAIL),
        (NotAnalysable("no_images", "None."), 1, Disposition.FAIL),
        (ValueError("unforeseen"), 2, Disposition.RETRY),
        (ValueError("unforeseen"), 3, Disposition.FAIL),
    ],
)
def test_every_error_of_an_analysis_has_a_disposition(error: Exception, attempt: int, expected: Disposition) -> None:
    """What passes comes again, what does not ends, and nothing comes again for ever but what heals with the host."""
    assert disposition(error, replace(JOB, attempt=attempt), SETTINGS) is expected


@pytest.mark.parametrize(
    ("error", "attempt", "expected"),
    [
        (PeerUnreachable(), 500, Disposition.RETRY),
        (PeerRejected(), 1, Disposition.FAIL),
        (ValueError("unforeseen"), 3, Disposition.FAIL),
    ],
)
def test_a_delivery_outlasts_its_peers_absence(error: Exception, attempt: int, expected: Disposition) -> None:
    """A PACS may be down for days; a refusal is for good."""
    job = replace(JOB, queue="deliver", kind="deliver", attempt=attempt)
    assert disposition(error, job, SETTINGS) is expected


def test_pauses_double_up_to_a_limit() -> None:
    """2, 4, 8 seconds and so on, never more than the setting."""
    assert [backoff_s(attempt, SETTINGS) for attempt in (1, 2, 3, 8, 9, 10_000)] == [2, 4, 8, 256, 300, 300]


def test_a_foreign_message_is_never_quoted() -> None:
    """An exception of a library may quote a patient's name; ours never do."""
    with pytest.raises(ValueError, match="Doe") as caught:
        int("Doe^Jane")
    assert error_code(caught.value) == "ValueError"
    assert "Doe" not in error_text(caught.value)
    assert "test_disposition.py" in error_text(caught.value)
    assert error_text(StoreFull()) == "The disk is too full to take in more."
