"""Nobody is left in silence: the on-call list, what stops it, and studies that end in no result."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from console.alerts import acknowledge, alerts_named
from console.releasing import release_held
from ichor.catalogue import intake, outbox, results
from ichor.catalogue.records import NewAlert, NewResult
from ichor.identity import derive_uid
from tests.painting import PaintedSeries
from tests.peers.programs import free_port
from tests.peers.webhook import WebhookServer
from tests.worker.run.node import QUICK_JOBS, Node
from tests.worker.run.test_analysis_job import Broken, analysed
from worker.alert import watch

UID = "2.25.77"


def channel(name: str, server: WebhookServer | None, **options: Any) -> dict[str, Any]:
    url = f"http://127.0.0.1:{free_port()}/" if server is None else f"{server.url}/{name}"
    return {"name": name, "url": url, "secret": "s", "timeout_s": 2.0, **options}


def on_call_list(server: WebhookServer, *, first: WebhookServer | None, **options: Any) -> tuple[dict[str, Any], ...]:
    """A first channel, a second and a third one behind it."""
    return (
        channel("first", first, escalate_to=("second", "third"), **({"escalate_after_s": 0.5} | options)),
        channel("second", server, role="escalation"),
        channel("third", server, role="escalation", include=("accession_number",)),
    )


def publish_alert(
    node: Node, bleed: PaintedSeries, *, held: bool = False, scanned_at: datetime | None = None
) -> NewResult:
    """Record a result whose alert goes to the channel `first`."""
    study = node.file(bleed.paths[:1])
    moment = datetime.now(tz=UTC) if scanned_at is None else scanned_at
    body = {"id": UID, "event": "haemorrhage_suspected", "scanned_at": moment.isoformat(), "study_instance_uid": study}
    new = NewResult(
        result_uid=derive_uid("result", study),
        identity_digest="0" * 64,
        study_instance_uid=study,
        job_id=None,
        input_version=1,
        status="analysed",
        conclusion="suspected",
        summary_json="{}",
        directory=node.settings.results_dir,
        model_digest="",
        provisional=False,
        supersedes_id=None,
        objects=(),
        deliveries=(),
        alerts=(
            NewAlert(
                channel="first",
                alert_uid=UID,
                event="haemorrhage_suspected",
                body=json.dumps(body).encode(),
                held=held,
            ),
        ),
    )
    with node.catalogue.write() as session:
        results.record_result(session, new)
    return new


def heard(server: WebhookServer) -> list[str]:
    """Give the channels that were told, in order."""
    return [request.path.rpartition("/")[2] for request in server.accepted()]


def round_after(node: Node, seconds: float) -> None:
    """Let time pass, watch, and send."""
    time.sleep(seconds)
    watch.tick(node.catalogue, node.settings)
    node.drain("deliver")


def states(node: Node, study: str) -> dict[str, str]:
    return {alert.channel: alert.state for alert in node.detail(study).alerts}


def test_silence_goes_down_the_on_call_list(
    make_node: Callable[..., Node], webhook_server: WebhookServer, bleed: PaintedSeries
) -> None:
    """One after the other, under the same id, each told once and with its own identifiers only."""
    node = make_node(alerts=on_call_list(webhook_server, first=webhook_server))
    study = publish_alert(node, bleed).study_instance_uid
    node.drain("deliver")
    watch.tick(node.catalogue, node.settings)
    assert heard(webhook_server) == ["first"]
    round_after(node, 0.6)
    assert heard(webhook_server) == ["first", "second"]
    for _ in range(3):
        round_after(node, 0.6)
    assert heard(webhook_server) == ["first", "second", "third"]
    bodies = [json.loads(request.body) for request in webhook_server.accepted()]
    assert {body["id"] for body in bodies} == {UID}
    assert ["study_instance_uid" in body for body in bodies] == [True, False, False]
    assert [body.get("accession_number") for body in bodies] == [None, None, "MARKED-ACC"]
    assert states(node, study) == {"first": "escalated", "second": "sent", "third": "sent"}
    told = [dict(event.detail) for event in node.detail(study).events if event.name == "alert_escalated"]
    assert told == [{"channel": "first", "to": "second"}, {"channel": "first", "to": "third"}]


def test_an_acknowledgement_stops_it(
    make_node: Callable[..., Node], webhook_server: WebhookServer, bleed: PaintedSeries
) -> None:
    """Whoever of those told acknowledges, the next one sleeps on."""
    node = make_node(alerts=on_call_list(webhook_server, first=webhook_server))
    publish_alert(node, bleed)
    node.drain("deliver")
    round_after(node, 0.6)
    with node.catalogue.write() as session:
        acknowledge(session, UID, "Dr Night")
    round_after(node, 0.6)
    assert heard(webhook_server) == ["first", "second"]


def test_a_channel_that_is_down_does_not_end_in_silence(
    make_node: Callable[..., Node], webhook_server: WebhookServer, bleed: PaintedSeries
) -> None:
    """The next one is told while the first one is still being tried."""
    node = make_node(alerts=on_call_list(webhook_server, first=None))
    study = publish_alert(node, bleed).study_instance_uid
    node.drain("deliver")
    round_after(node, 0.6)
    assert heard(webhook_server) == ["second"]
    assert states(node, study)["first"] == "pending"


def test_a_channel_that_refuses_is_passed_over_at_once(
    make_node: Callable[..., Node], webhook_server: WebhookServer, bleed: PaintedSeries
) -> None:
    """Nobody heard it, so nobody is waited for."""
    node = make_node(alerts=on_call_list(webhook_server, first=webhook_server, escalate_after_s=600.0))
    publish_alert(node, bleed)
    webhook_server.next_statuses = [404]
    node.drain("deliver")
    round_after(node, 0.0)
    assert heard(webhook_server) == ["second"]


def test_a_replaced_result_calls_nobody_any_more(
    make_node: Callable[..., Node], webhook_server: WebhookServer, bleed: PaintedSeries
) -> None:
    """What was said of an older result is not escalated."""
    node = make_node(alerts=on_call_list(webhook_server, first=webhook_server))
    new = publish_alert(node, bleed)
    node.drain("deliver")
    with node.catalogue.write() as session:
        before = results.latest_result(session, new.study_instance_uid)
        assert before is not None
        later = replace(new, result_uid="2.25.1", identity_digest="1" * 64, alerts=(), supersedes_id=before.id)
        results.record_result(session, later)
    round_after(node, 0.6)
    assert heard(webhook_server) == ["first"]


def test_a_run_that_fails_takes_the_alert_back_visibly(
    make_node: Callable[..., Node], webhook_server: WebhookServer, bleed: PaintedSeries
) -> None:
    """Late slices whose analysis fails: the old alert is withdrawn, and the message says that nothing was shown."""
    node = make_node(alerts=(channel("first", webhook_server),), jobs=QUICK_JOBS | {"max_attempts": 1})
    node.file(bleed.paths[:-2])
    node.settle(study=False)
    node.drain("analyse")
    node.drain("deliver")
    study = node.file(bleed.paths)
    node.settle(study=False)
    node.drain("analyse", Broken())
    node.drain("deliver")
    first, withdrawn = node.detail(study).alerts
    assert (first.state, first.error) == ("withdrawn", "Replaced by a later result.")
    assert (withdrawn.state, withdrawn.event) == ("sent", "withdrawn")
    body = json.loads(webhook_server.accepted()[-1].body)
    assert (body["event"], body["supersedes"], body["total_haemorrhage_ml"]) == ("withdrawn", first.alert_uid, None)
    assert "This does NOT exclude haemorrhage" in json.dumps(body["warnings"])


def test_two_lists_may_lead_to_one_channel(
    make_node: Callable[..., Node], webhook_server: WebhookServer, bleed: PaintedSeries
) -> None:
    """It is told once, and both lists go on from there."""
    lists = {"escalate_to": ("second", "third"), "escalate_after_s": 0.5}
    node = make_node(
        alerts=(
            channel("first", webhook_server, **lists),
            channel("other", webhook_server, **lists),
            channel("second", webhook_server, role="escalation"),
            channel("third", webhook_server, role="escalation"),
        )
    )
    study = analysed(node, bleed).study.study_instance_uid
    node.drain("deliver")
    for _ in range(3):
        round_after(node, 0.6)
    assert sorted(heard(webhook_server)) == ["first", "other", "second", "third"]
    assert set(states(node, study)) == {"first", "other", "second", "third"}


def test_who_was_told_later_hears_of_the_withdrawal(
    make_node: Callable[..., Node], webhook_server: WebhookServer, bleed: PaintedSeries
) -> None:
    """A correction or withdrawal goes down the list as far as the alert went, under one id, and calls nobody else."""
    node = make_node(alerts=on_call_list(webhook_server, first=webhook_server), jobs=QUICK_JOBS | {"max_attempts": 1})
    node.file(bleed.paths[:-2])
    node.settle(study=False)
    node.drain("analyse")
    node.drain("deliver")
    round_after(node, 0.6)
    assert heard(webhook_server) == ["first", "second"]
    node.file(bleed.paths)
    node.settle(study=False)
    node.drain("analyse", Broken())
    node.drain("deliver")
    round_after(node, 0.6)
    assert heard(webhook_server) == ["first", "second", "first", "second"]
    withdrawals = [json.loads(request.body) for request in webhook_server.accepted()[2:]]
    assert [body["event"] for body in withdrawals] == ["withdrawn", "withdrawn"]
    assert len({body["id"] for body in withdrawals}) == len({body["supersedes"] for body in withdrawals}) == 1


@pytest.mark.parametrize(("age", "state"), [(timedelta(hours=1), "pending"), (timedelta(hours=5), "withdrawn")])
def test_release_calls_nobody_about_old_scans(
    make_node: Callable[..., Node], bleed: PaintedSeries, age: timedelta, state: str
) -> None:
    """What was held during commissioning is judged by the age of the scan when it is let go."""
    node = make_node(alerts=(channel("first", None),), delivery={"hold": True})
    study = publish_alert(node, bleed, held=True, scanned_at=datetime.now(tz=UTC) - age).study_instance_uid
    assert release_held(node.settings, "first") == (1 if state == "pending" else 0)
    assert states(node, study) == {"first": state}


def test_commissioning_keeps_the_alert_for_the_release(
    make_node: Callable[..., Node], webhook_server: WebhookServer, bleed: PaintedSeries
) -> None:
    """Held alerts call nobody, and go out when the channel is released in time."""
    node = make_node(alerts=(channel("first", webhook_server),), delivery={"hold": True})
    detail = analysed(node, bleed)
    assert [alert.state for alert in detail.alerts] == ["held"]
    assert node.drain("deliver") == 0
    assert release_held(node.settings, "first") == 1
    node.drain("deliver")
    assert heard(webhook_server) == ["first"]


def test_a_study_without_a_result_is_told_once(
    make_node: Callable[..., Node], webhook_server: WebhookServer, bleed: PaintedSeries
) -> None:
    """To the administrator alone, without a patient's data, and again only where more came."""
    node = make_node(
        alerts=(channel("on-call", webhook_server), channel("admin", webhook_server, role="administrator")),
        watch={"unresolved_after_min": 0.005},
    )
    study = node.file(bleed.paths[:2])
    round_after(node, 0.4)
    round_after(node, 0.4)
    assert heard(webhook_server) == ["admin"]
    body = json.loads(webhook_server.accepted()[0].body)
    assert (body["event"], body["state"]) == ("study_unresolved", "receiving")
    raw = webhook_server.accepted()[0].body.decode()
    assert all(secret not in raw for secret in (study, "MARKED", "Marked"))
    names = [event.name for event in node.detail(study).events]
    assert names.count("study_unresolved") == names.count("notice_sent") == 1
    node.file(bleed.paths)
    round_after(node, 0.4)
    assert heard(webhook_server) == ["admin", "admin"]


def test_a_resolved_study_is_not_told(
    make_node: Callable[..., Node], webhook_server: WebhookServer, bleed: PaintedSeries
) -> None:
    """A result, also one that says "not analysed" or "failed", is no silence."""
    node = make_node(
        alerts=(channel("admin", webhook_server, role="administrator"),), watch={"unresolved_after_min": 0.0001}
    )
    new = publish_alert(node, bleed)
    with node.catalogue.write() as session:
        (alert,) = alerts_named(session, UID)
        outbox.mark_alert(session, alert.id, "sent")
    for _ in range(3):
        round_after(node, 0.1)
    assert webhook_server.received == []
    assert node.detail(new.study_instance_uid).study.state == "analysed"


def test_a_failed_study_that_nobody_could_tell_of_is_told(
    make_node: Callable[..., Node], webhook_server: WebhookServer, bleed: PaintedSeries
) -> None:
    """Where not even the result that says "failed" could be written, the administrator hears of it."""
    node = make_node(
        alerts=(channel("admin", webhook_server, role="administrator"),), watch={"unresolved_after_min": 0.0001}
    )
    study = node.file(bleed.paths[:1])
    with node.catalogue.write() as session:
        intake.mark_study(session, study, "failed")
    round_after(node, 0.1)
    assert json.loads(webhook_server.accepted()[0].body)["state"] == "failed"


def test_what_does_not_arrive_is_told_once(
    make_node: Callable[..., Node], webhook_server: WebhookServer, bleed: PaintedSeries
) -> None:
    """An alert that nobody takes, and a PACS that is away: the administrator hears where, and no patient's data."""
    pacs = {"name": "pacs", "type": "dicomweb", "url": f"http://127.0.0.1:{free_port()}/", "timeout_s": 1.0}
    node = make_node(
        destinations=(pacs,),
        jobs=QUICK_JOBS | {"backoff_base_s": 60.0, "backoff_max_s": 60.0},
        alerts=(channel("first", None), channel("admin", webhook_server, role="administrator")),
        watch={"unresolved_after_min": 0.001},
    )
    study = analysed(node, bleed).study.study_instance_uid
    for _ in range(3):
        round_after(node, 0.2)
    (request,) = webhook_server.accepted()
    body = json.loads(request.body)
    assert (body["event"], body["missing_at"]) == ("study_undelivered", ["first", "pacs"])
    assert all(secret not in request.body.decode() for secret in (study, "MARKED", "Marked"))
