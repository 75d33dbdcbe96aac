"""A stored result is made again, bit for bit, without a trace; damage and another input are told."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from ichor.catalogue import views
from ichor.errors import RowNotFound
from tests.painting import PaintedSeries
from tests.worker.run.node import Node
from tests.worker.run.threshold import Threshold
from worker.analysis import Recipe
from worker.gate import load_rules
from worker.replay import NotReplayable, Replay, replay

DESTINATION = {"name": "pacs", "host": "127.0.0.1", "port": 1, "ae_title": "PACS"}
CHANNEL = {"name": "on-call", "url": "http://127.0.0.1:1/", "secret": "s"}


@pytest.fixture
def node(make_node: Callable[..., Node]) -> Node:
    """A node with a destination and an alert channel, nothing held."""
    return make_node(destinations=(DESTINATION,), alerts=(CHANNEL,))


def replayed(node: Node, study: str, out: Path) -> Replay:
    recipe = Recipe(segmenter_for=Threshold, rules=load_rules(None))
    return replay(node.catalogue, study, lambda _: recipe, out)


def test_a_result_is_reproduced_without_a_trace(node: Node, bleed: PaintedSeries, tmp_path: Path) -> None:
    """Every object has the same bytes; catalogue and outbox are as before; damage shows."""
    study = node.file(bleed.paths)
    with pytest.raises(RowNotFound):
        replayed(node, study, tmp_path)
    node.settle(study=False)
    node.drain("analyse")
    with node.catalogue.write() as session:
        views.request_retry(session, study, force=True)
    node.drain("analyse")
    before = node.detail(study)
    assert len(before.results) == 2

    same = replayed(node, study, tmp_path / "same")
    assert same.identical
    assert [item.kind for item in same.objects] == ["seg", "sr", "sr-record", "summary", "rejection"]
    assert same.result_uid == before.results[1].result_uid
    assert node.detail(study) == before

    stored = before.results[1].objects[1].path
    stored.write_bytes(stored.read_bytes() + b"\0")
    damaged = replayed(node, study, tmp_path / "damaged")
    assert not damaged.identical
    assert [item.kind for item in damaged.objects if not item.identical] == ["sr"]


def test_another_input_is_not_taken_for_it(node: Node, bleed: PaintedSeries, tmp_path: Path) -> None:
    """Late slices would give another result: that is said, not shown as a difference."""
    study = node.file(bleed.paths[1:])
    node.settle(study=False)
    node.drain("analyse")
    node.file(bleed.paths)
    node.settle(study=False)
    with pytest.raises(NotReplayable, match="would give another result"):
        replayed(node, study, tmp_path)


def test_a_refusal_is_reproduced(node: Node, test_data_dir: Path, tmp_path: Path) -> None:
    """Also "not analysed" can be made again."""
    study = node.file(sorted((test_data_dir / "philips-ingenuity" / "localizers").glob("I*")))
    node.settle()
    node.drain("analyse")
    again = replayed(node, study, tmp_path)
    assert again.identical
    assert [item.kind for item in again.objects] == ["summary"]
