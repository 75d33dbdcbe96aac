"""Whom a result calls, and who is told what became of a result that it replaces.

Each acquisition has messages of its own: one that shows haemorrhage calls once. An older scan calls nobody where a
newer one of the same study has called, unless that call is withdrawn: then it is called for after all.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ichor.catalogue import outbox, releases, results, views
from ichor.catalogue.engine import database_now
from ichor.catalogue.events import add_event
from ichor.catalogue.records import NewAlert
from ichor.catalogue.rows import study_by_uid
from ichor.clock import utc_now
from ichor.identity import derive_uid
from worker.alert.body import Occasion, alert_body
from worker.eligibility import calls_somebody, counted_ml, scan_time, why_silent
from worker.result import AnalysisResult
from worker.retraction import is_withdrawal

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from sqlalchemy.orm import Session

    from ichor.catalogue.records import AlertRow, ResultRow, StudyDetail, StudyInput
    from ichor.settings import AlertChannel, Settings
    from worker.alert.body import Event

_WENT_OUT = frozenset({"pending", "sent", "acknowledged", "escalated"})
_STANDS = frozenset({"held", "pending", "sent", "escalated"})
_CALLED = _WENT_OUT | {"held"}
NOT_DUE = "alert_not_due"
"""The event that says why a suspicion calls nobody on a channel."""


class Calling:
    """The messages that follow from one publication; all within its transaction."""

    def __init__(
        self,
        session: Session,
        study_input: StudyInput,
        replaced: Sequence[ResultRow],
        settings: Settings,
        *,
        accession_number: str | None = None,
    ) -> None:
        """With `accession_number`, speak of another order than the study has now: of one that is withdrawn."""
        self._session = session
        self._study_input = study_input
        self._replaced = frozenset(row.id for row in replaced)
        self._renamed = any(is_withdrawal(row) for row in replaced)
        self._accession_number = accession_number
        self._settings = settings
        self._now = utc_now()
        self._on_hold = releases.held_names(session, settings)

    def alerts_for(
        self,
        result: AnalysisResult,
        *,
        identity_digest: str,
        acquired_at: datetime | None,
        provisional: bool = False,
    ) -> tuple[NewAlert, ...]:
        """Call somebody, or tell those who were called about a replaced result what became of it.

        Who was called early is told that it is final, however late.
        """
        if not self._settings.finding_channels:
            return ()
        standing = self._standing()
        told_early = {row.alert_uid for row in self._alerts() if row.provisional and row.state in _CALLED}
        alerts: list[NewAlert] = []
        for channel in self._settings.finding_channels:
            before = self._told_of_replaced(channel)
            event = self._event(result, before, channel)
            if _alert_uid(channel, identity_digest) in told_early:
                event = event or "haemorrhage_suspected"
            elif event == "haemorrhage_suspected" and _newer(standing, acquired_at, self._called(channel)):
                event = None
            if event is None:
                self._note_silence(result, before, channel)
                continue
            told = {alert.channel for alert in alerts}
            messages = self._messages(
                result, event, before, channel, identity_digest=identity_digest, provisional=provisional
            )
            alerts += [message for message in messages if message.channel not in told]
        return tuple(alerts)

    def withdraw_replaced(self) -> None:
        """Let no message about a replaced result go out or call anybody any more; what was acknowledged stays so.

        That one was withdrawn is told in any case: who has its alert must hear of it, whatever came after.
        """
        for alert in self._alerts():
            if alert.result_id in self._replaced and alert.state in _STANDS and alert.event != "withdrawn":
                outbox.mark_alert(self._session, alert.id, "withdrawn", "Replaced by a later result.")

    def call_for_the_silenced(self) -> None:
        """Call for older scans that kept silent because of a newer one whose call does not stand any more."""
        if not self._replaced:
            return
        standing = self._standing()
        for row in sorted((row for row in standing if not row.provisional), key=_time, reverse=True):
            heard = {alert.channel for alert in self._alerts() if alert.result_id == row.id}
            result = AnalysisResult.from_json(row.summary_json)
            alerts = [
                message
                for channel in self._settings.finding_channels
                if channel.name not in heard
                and self._event(result, None, channel) == "haemorrhage_suspected"
                and not _newer(standing, row.acquired_at, self._called(channel))
                for message in self._messages(
                    result, "haemorrhage_suspected", None, channel, identity_digest=row.identity_digest
                )
            ]
            if alerts:
                results.add_alerts(self._session, row.id, alerts)

    def _event(self, result: AnalysisResult, before: AlertRow | None, channel: AlertChannel) -> Event | None:
        scan = scan_time(result.scanned_at, received_at=self._study_input.last_received_at)
        if before is None or before.event == "withdrawn":
            # Who was called about the wrong patient is told of the right one, however old the scan, however it came.
            renamed = before is not None and self._renamed
            now = scan.at if renamed else self._now
            source = self._study_input.calling_ae
            called = calls_somebody(result, scan, channel, now=now, source=source)
            return "haemorrhage_suspected" if called and (renamed or self._study_input.routed) else None
        if result.status != "analysed":
            return "withdrawn"  # nothing stands behind it any more; the body gives the reason
        return "corrected" if counted_ml(result, channel) >= channel.min_volume_ml else "withdrawn"

    def _note_silence(self, result: AnalysisResult, before: AlertRow | None, channel: AlertChannel) -> None:
        """Write down why a suspicion calls nobody: the study's page must answer the question."""
        if result.conclusion != "suspected" or (before is not None and before.event != "withdrawn"):
            return
        scan = scan_time(result.scanned_at, received_at=self._study_input.last_received_at)
        why = why_silent(result, scan, channel, now=self._now, source=self._study_input.calling_ae)
        if not self._study_input.routed:
            why = "the study was fetched, not sent here"
        study = study_by_uid(self._session, self._study_input.study_instance_uid)
        add_event(
            self._session,
            at=database_now(self._session),
            study_id=study.id,
            subject="alert",
            subject_key=channel.name,
            name=NOT_DUE,
            detail={"channel": channel.name, "text": why or "a later scan of the study has called already"},
        )

    def _messages(
        self,
        result: AnalysisResult,
        event: Event,
        before: AlertRow | None,
        channel: AlertChannel,
        *,
        identity_digest: str,
        provisional: bool = False,
    ) -> list[NewAlert]:
        """Give the message to a channel, and to those further down its list who were told of what it takes back."""
        alert_uid = _alert_uid(channel, identity_digest, before)
        occasion = Occasion(
            alert_uid=alert_uid,
            event=event,
            supersedes=None if before is None else before.alert_uid,
            scan=scan_time(result.scanned_at, received_at=self._study_input.last_received_at),
            received_at=self._study_input.last_received_at,
            analysed_at=self._now,
            station=self._settings.dicom.ae_title,
            link=f"{self._settings.base_url}/alerts/{alert_uid}",
            accession_number=(
                self._detail().study.accession_number if self._accession_number is None else self._accession_number
            ),
            provisional=provisional,
        )
        return [
            NewAlert(
                channel=told.name,
                alert_uid=alert_uid,
                event=event,
                body=alert_body(result, occasion, told),
                provisional=provisional,
                held=channel.name in self._on_hold,
            )
            for told in (channel, *self._told_later(before, event))
        ]

    def _told_of_replaced(self, channel: AlertChannel) -> AlertRow | None:
        told = [
            alert
            for alert in self._alerts()
            if alert.result_id in self._replaced and alert.channel == channel.name and _went_out(alert)
        ]
        return told[-1] if told else None

    def _told_later(self, before: AlertRow | None, event: Event) -> list[AlertChannel]:
        """Give who was told further down the on-call list: a correction and a withdrawal are theirs, too."""
        if before is None or event == "haemorrhage_suspected":
            return []
        told = {row.channel for row in self._alerts() if row.alert_uid == before.alert_uid and row.state in _WENT_OUT}
        return [channel for channel in self._settings.alerts if channel.name in told - {before.channel}]

    def _called(self, channel: AlertChannel) -> frozenset[int]:
        return frozenset(
            alert.result_id
            for alert in self._alerts()
            if alert.channel == channel.name and alert.event != "withdrawn" and alert.state in _CALLED
        )

    def _standing(self) -> list[ResultRow]:
        standing = results.standing_results(self._session, self._study_input.study_instance_uid)
        return [row for row in standing if row.id not in self._replaced]

    def _alerts(self) -> tuple[AlertRow, ...]:
        return self._detail().alerts

    def _detail(self) -> StudyDetail:
        return views.study_detail(self._session, self._study_input.study_instance_uid)


def _went_out(alert: AlertRow) -> bool:
    """Whether somebody has the message, or is about to; one withdrawn while it was being sent has arrived, too."""
    return alert.state in _WENT_OUT or (alert.state == "withdrawn" and alert.sent_at is not None)


def _alert_uid(channel: AlertChannel, identity_digest: str, before: AlertRow | None = None) -> str:
    """Derive the id of a message; one result may have to say what became of several, each under an id of its own."""
    told = () if before is None else (before.alert_uid,)
    return derive_uid(f"alert/{channel.name}", identity_digest, *told)


def _newer(standing: Sequence[ResultRow], acquired_at: datetime | None, called: frozenset[int]) -> bool:
    """Whether a result about a later scan has called."""
    return acquired_at is not None and any(
        row.id in called and row.acquired_at is not None and row.acquired_at > acquired_at for row in standing
    )


def _time(row: ResultRow) -> datetime:
    return row.created_at if row.acquired_at is None else row.acquired_at
