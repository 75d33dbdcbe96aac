"""An alert as a mail in plain text, made from the stored body, which holds no patient data.

4yz replies (RFC 5321 4.2.1) and everything on the way there come again, a refused log-in too: somebody renews the
password. Other 5yz replies are for good. Repeats of a message carry the same Message-ID.
"""

from __future__ import annotations

import json
import smtplib
import ssl
from email.message import EmailMessage
from email.utils import localtime
from typing import TYPE_CHECKING

import structlog

from ichor.errors import PeerRejected, PeerUnreachable
from worker.alert.mail import subject_of, text_of

if TYPE_CHECKING:
    from ichor.settings import SmtpChannel

log = structlog.get_logger(__name__)

PERMANENT = 500


class SmtpAlerter:
    """Brings alerts to the addresses of one channel."""

    def __init__(self, channel: SmtpChannel) -> None:
        self._channel = channel

    def send(self, body: bytes) -> None:
        """Hand the mail to the server; raise PeerUnreachable or PeerRejected where it was not accepted."""
        name = self._channel.name
        try:
            with self._connect() as server:
                refused = server.send_message(self._message(body))
        except smtplib.SMTPAuthenticationError as error:
            raise PeerUnreachable(f"Channel {name} refuses the log-in ({error.smtp_code}).") from error
        except smtplib.SMTPRecipientsRefused as error:
            codes = [code for code, _ in error.recipients.values()]
            said = f"Channel {name} refuses every address ({', '.join(str(code) for code in codes)})."
            raise (PeerRejected(said) if min(codes) >= PERMANENT else PeerUnreachable(said)) from error
        except smtplib.SMTPResponseException as error:
            said = f"Channel {name} answered {error.smtp_code}."
            raise (PeerRejected(said) if error.smtp_code >= PERMANENT else PeerUnreachable(said)) from error
        except smtplib.SMTPNotSupportedError as error:
            raise PeerRejected(f"Channel {name} does not offer what the settings want: {error}.") from error
        except (OSError, smtplib.SMTPException) as error:
            raise PeerUnreachable(f"Channel {name} does not answer: {type(error).__name__}.") from error
        if refused:
            log.warning("addresses_refused", channel=name, count=len(refused))

    def _connect(self) -> smtplib.SMTP:
        channel = self._channel
        context = ssl.create_default_context()
        if channel.tls == "implicit":
            server: smtplib.SMTP = smtplib.SMTP_SSL(
                channel.host, channel.port, timeout=channel.timeout_s, context=context
            )
        else:
            server = smtplib.SMTP(channel.host, channel.port, timeout=channel.timeout_s)
        try:
            if channel.tls == "starttls":
                server.starttls(context=context)
            if channel.username:
                server.login(channel.username, channel.password.get_secret_value())
        except BaseException:
            server.close()
            raise
        return server

    def _message(self, body: bytes) -> EmailMessage:
        said = json.loads(body)
        message = EmailMessage()
        message["From"] = self._channel.sender
        message["To"] = ", ".join(self._channel.to)
        message["Subject"] = subject_of(said)
        message["Date"] = localtime()
        # The final message has the id of the provisional one, and must not be taken for a repeat of it.
        kind = f"{said['event']}{'.provisional' if said.get('provisional') else ''}"
        message["Message-ID"] = f"<{said['id']}.{kind}@{self._channel.sender.rpartition('@')[2]}>"
        message["Auto-Submitted"] = "auto-generated"  # RFC 3834: nobody's out-of-office answers
        message["X-Ichor-Id"] = said["id"]
        message.set_content(text_of(said))
        return message
