"""Which generation of results an analysis makes: 0, or one of its own where a new result of the same input is wanted.

The generation is part of a result's identity. An analysis that is ended half-way and begun again must come to the same
one, or what it had published already would be made, sent and told twice.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ichor.catalogue.records import Job, StudyDetail

UNFORCED = 0


def generation_of(job: Job, study: StudyDetail) -> int:
    """Give how many results the study had when a new one was last asked for; UNFORCED where the job asks for none."""
    if not job.force:
        return UNFORCED
    made = before = 0
    for event in study.events:
        if event.name == "result_recorded":
            made += 1
        elif event.name == "retry_asked" and event.detail["force"]:
            before = made
    return before


def next_generation(study: StudyDetail) -> int:
    """Give one that no result of the study has."""
    return len(study.results)
