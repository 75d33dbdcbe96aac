"""Commissioning: what is held back, for whom, and for how long."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from console.releasing import hold_again, release_due, release_held
from ichor.catalogue import releases, views
from ichor.sections import DeliverySettings
from tests.painting import PaintedSeries, paint
from tests.peers.webhook import WebhookServer
from tests.worker.run.node import Node

DESTINATION = {"name": "pacs", "host": "127.0.0.1", "port": 1, "ae_title": "PACS"}


def on_hold(make_node: Callable[..., Node], webhook_server: WebhookServer) -> Node:
    """A node on which everything is held, with a destination and two channels."""
    channels = [{"name": name, "url": webhook_server.url, "secret": "s"} for name in ("on-call", "ward")]
    return make_node(destinations=(DESTINATION,), alerts=tuple(channels), delivery={"hold": True})


def analysed(node: Node, paths: tuple[Path, ...]) -> str:
    """Let a study come in, be analysed, and its alerts go out where they may."""
    study = node.file(paths)
    node.settle(study=False)
    node.drain("analyse")
    return study


def states(node: Node, study: str) -> dict[str, str]:
    """Give the state of what stands for each destination and channel."""
    detail = node.detail(study)
    return {one.destination: one.state for one in detail.deliveries} | {one.channel: one.state for one in detail.alerts}


def test_a_release_lasts(
    make_node: Callable[..., Node], webhook_server: WebhookServer, bleed: PaintedSeries, tmp_path: Path
) -> None:
    """What was released once is held no more: neither the next study's alert, nor the correction of the first."""
    node = on_hold(make_node, webhook_server)
    study = analysed(node, bleed.paths)
    assert set(states(node, study).values()) == {"held"}
    assert release_held(node.settings, "on-call") == 1
    node.drain("deliver")
    with node.catalogue.write() as session:
        views.request_retry(session, study, force=True)
    node.drain("analyse")
    node.drain("deliver")
    said = [json.loads(call.body)["event"] for call in webhook_server.accepted()]
    assert said == ["haemorrhage_suspected", "corrected"]
    other = analysed(node, paint(bleed.paths[0].parent, tmp_path, None, seed=5).paths)
    assert states(node, other) == {"pacs": "held", "on-call": "pending", "ward": "held"}


def test_a_release_is_taken_back(
    make_node: Callable[..., Node], webhook_server: WebhookServer, bleed: PaintedSeries
) -> None:
    """Held again is what comes from then on."""
    node = on_hold(make_node, webhook_server)
    assert release_held(node.settings, "pacs") == 0
    hold_again(node.settings, "pacs")
    assert states(node, analysed(node, bleed.paths)) == {"pacs": "held", "on-call": "held", "ward": "held"}


def test_the_end_of_commissioning_lets_everything_go(
    make_node: Callable[..., Node], webhook_server: WebhookServer, bleed: PaintedSeries
) -> None:
    """With `delivery.hold` false what was held before goes out, too; until then nothing does."""
    node = on_hold(make_node, webhook_server)
    study = analysed(node, bleed.paths)
    assert release_due(node.catalogue, node.settings) == 0
    ended = node.settings.model_copy(update={"delivery": DeliverySettings(hold=False)})
    assert release_due(node.catalogue, ended) == 3
    assert release_due(node.catalogue, ended) == 0
    assert states(node, study) == {"pacs": "pending", "on-call": "pending", "ward": "pending"}


def test_what_was_recorded_while_its_channel_was_released_is_not_forgotten(
    make_node: Callable[..., Node], webhook_server: WebhookServer, bleed: PaintedSeries
) -> None:
    """Publishing and releasing may cross: the reconciler finds what was held a moment too late."""
    node = on_hold(make_node, webhook_server)
    study = analysed(node, bleed.paths)
    with node.catalogue.write() as session:
        releases.note_release(session, "on-call")
    assert release_due(node.catalogue, node.settings) == 1
    assert states(node, study) == {"pacs": "held", "on-call": "pending", "ward": "held"}
