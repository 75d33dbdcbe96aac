"""What the benchmark of the queue says of routine studies: the loop of a real worker on a real catalogue."""

from __future__ import annotations

from itertools import count
from pathlib import Path

from console.benchmark.fairness import AFTER, BEFORE, RUN, measure_fairness
from console.benchmark.queue import StubHandler
from console.benchmark.queued_studies import queue_studies
from ichor.catalogue.engine import Catalogue


def test_every_fifth_study_is_routine_however_many_stat_studies_come(tmp_path: Path) -> None:
    """Before they have waited for long, routine studies wait; after that, one study in five is theirs."""
    catalogue = Catalogue.open(f"sqlite:///{tmp_path}/catalogue.sqlite")
    queue_studies(catalogue, 20)
    figures = measure_fairness(catalogue, StubHandler(catalogue, sleep_s=0.0), count(), jobs=20)
    assert {figure.what: figure.value for figure in figures} == {BEFORE: 0.0, AFTER: 20.0, RUN: 4}
    catalogue.close()
