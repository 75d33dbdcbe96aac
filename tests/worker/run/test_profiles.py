"""Each destination is sent what it asks for, in its own variant; a rejection only where there is what it rejects."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from ichor.catalogue import views
from tests.painting import PaintedSeries
from tests.worker.run.node import Node
from tests.worker.run.threshold import Threshold
from worker.analysis import Recipe
from worker.gate import load_rules
from worker.output.profile import variants_of
from worker.replay import replay

PACS = {"name": "pacs", "host": "127.0.0.1", "port": 1, "ae_title": "PACS"}
ARCHIVE = {
    "name": "archive",
    "host": "127.0.0.1",
    "port": 1,
    "ae_title": "ARCHIVE",
    "seg_encoding": "labelmap",
    "send": ["seg", "sr-record", "rejection"],
}


def test_destinations_get_their_own_objects(make_node: Callable[..., Node], bleed: PaintedSeries) -> None:
    """The default set to one, a labelmap, its record and, at the second result, the rejection to the other."""
    node = make_node(destinations=(PACS, ARCHIVE))
    study = node.file(bleed.paths)
    node.settle(study=False)
    node.drain("analyse")
    with node.catalogue.write() as session:
        views.request_retry(session, study, force=True)
    node.drain("analyse")
    detail = node.detail(study)
    sent = [(one.destination, [item.kind for item in one.objects]) for one in detail.deliveries]
    assert sent == [
        ("pacs", ["seg", "sr", "summary"]),
        ("archive", ["seg", "sr-record"]),
        ("pacs", ["seg", "sr", "summary"]),
        ("archive", ["seg", "sr-record", "rejection"]),
    ]
    uids = [{item.sop_instance_uid for item in one.objects} for one in detail.deliveries]
    assert len(set.union(*uids)) == 11
    segmentations = {one.destination: one.objects[0].sop_class_uid for one in detail.deliveries}
    assert segmentations == {"pacs": "1.2.840.10008.5.1.4.1.1.66.4", "archive": "1.2.840.10008.5.1.4.1.1.66.7"}


def test_nothing_is_rejected_that_never_left(make_node: Callable[..., Node], bleed: PaintedSeries) -> None:
    """A destination whose first result was held is told nothing of it."""
    node = make_node(destinations=(ARCHIVE,), delivery={"hold": True})
    study = node.file(bleed.paths)
    node.settle(study=False)
    node.drain("analyse")
    with node.catalogue.write() as session:
        views.request_retry(session, study, force=True)
    node.drain("analyse")
    assert [[item.kind for item in one.objects] for one in node.detail(study).deliveries] == [["seg", "sr-record"]] * 2


def test_a_replay_makes_the_variants_and_the_note_again(
    make_node: Callable[..., Node], bleed: PaintedSeries, tmp_path: Path
) -> None:
    """Bit for bit, as far as the settings still ask for them."""
    node = make_node(destinations=({**ARCHIVE, "private_tags": True},))
    study = node.file(bleed.paths)
    node.settle(study=False)
    node.drain("analyse")
    with node.catalogue.write() as session:
        views.request_retry(session, study, force=True)
    node.drain("analyse")
    recipe = Recipe(segmenter_for=Threshold, rules=load_rules(None))
    variants = variants_of(node.settings.destinations)
    replayed = replay(node.catalogue, study, lambda _: recipe, tmp_path, variants=variants)
    assert [item.kind for item in replayed.objects] == [
        "seg", "sr", "sr-record", "summary", "rejection", "seg", "sr-record", "rejection"
    ]  # fmt: skip
    assert replayed.identical
