from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tests.painting import LEFT_FRONTAL_GE, PaintedSeries, paint
from tests.worker.run.node import Node


@pytest.fixture
def make_node(short_dir: Path) -> Iterator[Callable[..., Node]]:
    """Make a node's ground with settings of the test's own; it is closed with the test."""
    with ExitStack() as stack:

        def make(**settings: Any) -> Node:
            node = Node(short_dir / "data", **settings)
            stack.callback(node.close)
            return node

        yield make


@pytest.fixture
def node(make_node: Callable[..., Node]) -> Node:
    """A node's ground with default settings, quick leases and nothing held back."""
    return make_node()


@pytest.fixture(scope="session")
def bleed(test_data_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> PaintedSeries:
    """A real head with about 15 mL painted in, acquired just now."""
    now = datetime.now(tz=UTC).astimezone()
    return paint(
        test_data_dir / "ge-hispeed-tilt",
        tmp_path_factory.mktemp("bleed"),
        LEFT_FRONTAL_GE,
        attributes={
            "AcquisitionDate": now.strftime("%Y%m%d"),
            "AcquisitionTime": now.strftime("%H%M%S"),
            "PatientName": "Marked^Patient",
            "PatientID": "MARKED-ID",
            "AccessionNumber": "MARKED-ACC",
        },
    )
