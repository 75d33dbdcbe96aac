"""The gate's table through one running node: every study in every order in which its series can arrive."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import permutations
from pathlib import Path
from typing import Any

import httpx
import pytest
from pydicom.uid import generate_uid

from tests.console.gate_cases import CASES, Case, Drawn
from tests.integration.node import Node
from tests.integration.quiet_model import write_quiet_model
from tests.peers.programs import LOOPBACK, require

pytestmark = pytest.mark.integration

ENDED = frozenset({"analysed", "not_analysed", "failed"})
NO_RESULT = frozenset({"not_ct", "not_ct_image"})
"""Reasons of studies that hold no CT image: they are filed, and nobody waits for a result."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrival:
    """One study of the table, and the order in which its series come."""

    case: Case
    order: tuple[Drawn, ...]

    @property
    def study_uid(self) -> str:
        """A study of its own."""
        return generate_uid(entropy_srcs=[self.case.name, *(one.name for one in self.order)])

    def datasets(self, position: int) -> Iterator[Any]:
        """Draw the series that comes at this position."""
        drawn = self.order[position]
        scan = drawn.scan()
        elements = {**scan.elements, "StudyInstanceUID": self.study_uid}
        one = replace(scan, series=f"{self.study_uid}/{drawn.name}", elements=elements)
        for k in range(len(one.plane.positions)):
            ds = one.dataset(k)
            ds.PatientID, ds.PatientName = self.study_uid[-16:], "Table^Gate"
            ds.file_meta.MediaStorageSOPClassUID = ds.SOPClassUID
            yield ds

    def names(self) -> dict[str, str]:
        """Give the name of each series by its UID."""
        return {generate_uid(entropy_srcs=[f"{self.study_uid}/{one.name}"]): one.name for one in self.order}


ARRIVALS = tuple(Arrival(case=case, order=order) for case in CASES for order in permutations(case.series))


@pytest.fixture
def node(short_dir: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Node]:
    """A node whose model costs nothing."""
    monkeypatch.setenv("ICHOR_MODELS_DIR", str(short_dir / "models"))
    node = Node(short_dir, extra_toml="", model=write_quiet_model(short_dir / "models"), members=1, settle_s=2.0)
    node.start()
    yield node
    node.stop()


def send(node: Node, arrivals: tuple[Arrival, ...], position: int, folder: Path) -> None:
    """Send what comes at this position of each study, in one association."""
    folder.mkdir()
    for number, arrival in enumerate(arrivals):
        for k, ds in enumerate(arrival.datasets(position)):
            ds.save_as(folder / f"{number:03}-{k:03}.dcm", enforce_file_format=True)
    command = [require("dcmsend"), "-aec", "ICHOR", "+sd", LOOPBACK, str(node.dicom_port), str(folder)]
    subprocess.run(command, check=True, capture_output=True, timeout=600)


def ended(node: Node, expected: dict[str, int]) -> bool:
    """Say whether every study holds what was sent, and came to its end."""
    studies = httpx.get(f"{node.url}/api/studies", params={"limit": 1000}, timeout=30).raise_for_status().json()
    done = {one["study_instance_uid"] for one in studies if one["state"] in ENDED}
    held = {one["study_instance_uid"]: one["instances"] for one in studies}
    return held == expected and done == expected.keys()


def codes(said: dict[str, Any], key: str) -> set[str]:
    return {item["code"] for item in said[key]}


@pytest.mark.timeout(1800)
def test_the_table_in_every_order_of_arrival(node: Node, tmp_path: Path) -> None:
    """What is analysed, and why the rest is not, is as the table says, whichever series came first."""
    expected: dict[str, int] = {}
    for position in range(max(len(arrival.order) for arrival in ARRIVALS)):
        arriving = tuple(arrival for arrival in ARRIVALS if position < len(arrival.order))
        for arrival in arriving:
            count = len(arrival.order[position].heights_mm)
            expected[arrival.study_uid] = expected.get(arrival.study_uid, 0) + count
        send(node, arriving, position, tmp_path / str(position))
        node.wait(lambda: ended(node, expected), 900)
    for arrival in ARRIVALS:
        study, case = node.study(arrival.study_uid), arrival.case
        where = f"{case.name}, {[one.name for one in arrival.order]}"
        main = study["result"]
        if case.reasons.get("head", set()) & NO_RESULT:
            assert (main, study["study"]["state"]) == (None, "not_analysed"), where
            continue
        if not case.chosen:
            assert (main["status"], codes(main, "reasons")) == ("not_analysed", case.reasons["head"]), where
            continue
        analysed = [one["series_instance_uid"] for one in (main, *study["further"])]
        assert tuple(arrival.names()[uid] for uid in analysed) == case.chosen, where
        assert {one["status"] for one in (main, *study["further"])} == {"analysed"}, where
        warned = case.warnings.get(case.chosen[0], codes(main, "warnings"))
        # A result that was written before the other scan came does not speak of it.
        assert warned - {"other_acquisition", "other_part"} <= codes(main, "warnings") <= warned, where
