"""A real SMTP server on loopback (aiosmtpd) that keeps every mail, and can be wrong or slow for a while."""

from __future__ import annotations

import asyncio
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from typing import Any

from aiosmtpd.controller import Controller

from tests.peers.programs import LOOPBACK, free_port


class MailServer:
    """Takes every mail unless `next_replies` says otherwise."""

    def __init__(self) -> None:
        self.host = LOOPBACK
        self.port = free_port()
        self.mails: list[EmailMessage] = []
        self.recipients: list[list[str]] = []
        self.next_replies: list[str] = []
        self.refused_addresses: dict[str, str] = {}
        self.delay_s = 0.0
        self._controller = Controller(self, hostname=self.host, port=self.port)

    def start(self) -> None:
        """Listen."""
        self._controller.start()

    def stop(self) -> None:
        """Stop listening."""
        self._controller.stop()

    async def handle_RCPT(self, _server: Any, _session: Any, envelope: Any, address: str, _options: Any) -> str:  # noqa: N802
        """Take an address, unless it is one of those refused."""
        reply = self.refused_addresses.get(address)
        if reply is not None:
            return reply
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, _server: Any, _session: Any, envelope: Any) -> str:  # noqa: N802
        """Take a mail."""
        await asyncio.sleep(self.delay_s)
        if self.next_replies:
            return self.next_replies.pop(0)
        self.mails.append(message_from_bytes(envelope.content, policy=default))
        self.recipients.append(list(envelope.rcpt_tos))
        return "250 OK"
