"""What people wait for, and what workers ask again and again, is answered from indexes however much there is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import event, text
from sqlalchemy.orm import Session

from ichor.catalogue.early import ask_early
from ichor.catalogue.engine import Catalogue
from ichor.catalogue.inputs import study_input
from ichor.catalogue.intake import record_instances
from ichor.catalogue.jobs import claim
from ichor.catalogue.lanes import StatRule
from ichor.catalogue.results import record_result
from ichor.catalogue.settling import settle
from ichor.catalogue.views import list_studies
from tests.ichor.catalogue.examples import result, slices

QUERIES: dict[str, Callable[[Session], object]] = {
    "worklist": lambda session: list_studies(session, limit=100),
    "claim": lambda session: claim(session, queue="analyse", owner="w", ttl_s=60),
    "input": lambda session: study_input(session, "1.2.3"),
    "settle": lambda session: settle(session, settle_s=1e6, study_settle_s=1e6),
    "early": lambda session: ask_early(session, stat=StatRule()),
}


@pytest.mark.parametrize("name", QUERIES)
def test_no_table_is_read_from_end_to_end(catalogue: Catalogue, backend: str, name: str) -> None:
    """The database's own plan of every query names an index for every table."""
    with catalogue.write() as session:
        record_instances(session, slices(3))
        record_result(session, result())
        plans = _plans(session, backend, QUERIES[name])
    assert plans
    assert [line for line in plans if _reads_all(line)] == []


def _plans(session: Session, backend: str, query: Callable[[Session], object]) -> list[str]:
    """Run a query and return the lines of the plans of its SELECTs."""
    statements: list[tuple[str, Any]] = []

    def note(_connection: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        if statement.startswith("SELECT") and " FROM " in statement.replace("\n", " "):
            statements.append((statement, parameters))

    connection = session.connection()
    event.listen(connection, "before_cursor_execute", note)
    query(session)
    event.remove(connection, "before_cursor_execute", note)
    if backend == "postgresql":
        # With few rows the planner reads them all; told not to, it does so only where there is no index.
        session.execute(text("SET LOCAL enable_seqscan = off"))
    explain = "EXPLAIN " if backend == "postgresql" else "EXPLAIN QUERY PLAN "
    lines: list[str] = []
    for statement, parameters in statements:
        lines += [str(row[-1]) for row in connection.exec_driver_sql(explain + statement, parameters)]
    return lines


def _reads_all(line: str) -> bool:
    made_here = line.startswith(("SCAN CONSTANT ROW", "SCAN ("))  # no table: an empty list of values
    return "Seq Scan" in line or (line.startswith("SCAN ") and "USING" not in line and not made_here)
