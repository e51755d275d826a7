"""Alerts by e-mail: channels `mail ADDRESS` of the outbox.

Owns the SMTP session and the headers. Our own mail may go through the very Postfix whose log is
read here: it says who made it, so that nothing is told about it.
"""

from __future__ import annotations

import smtplib
import socket
import ssl
from collections.abc import Callable
from datetime import UTC, datetime
from email.message import EmailMessage
from email.utils import format_datetime
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

import msgspec
import trio

from pda.alerts.wording import Mail
from pda.config import AlertSettings
from pda.outbox import DeliveryError
from pda.store.alerts import CLIENT
from pda.store.outbox import Item

KIND = "mail"
_TIMEOUT_S = 30.0
_PORTS = {"smtp": 25, "starttls": 587, "smtps": 465}


class Mailer:
    """Sends mails by one SMTP server."""

    def __init__(self, settings: Callable[[], AlertSettings]) -> None:
        self.trusted = ssl.create_default_context()
        """Authorities of the server."""
        self._settings = settings

    async def send(self, recipient: str, item: Item) -> None:
        """The server has it when this returns; raises `DeliveryError`."""
        mail = msgspec.json.decode(item.body, type=Mail)
        message = made(mail, recipient, self._settings(), item)
        with trio.move_on_after(2 * _TIMEOUT_S):
            await trio.to_thread.run_sync(
                partial(self._send, message, recipient), abandon_on_cancel=True
            )
            return
        raise DeliveryError("the mail server is too slow")

    def _send(self, message: EmailMessage, recipient: str) -> None:
        settings = self._settings()
        try:
            with self._session(settings) as session:
                if settings.smtp_user:
                    password = Path(settings.smtp_password_file).read_text("utf-8").strip()
                    session.login(settings.smtp_user, password)
                session.send_message(message, sender_of(settings), [recipient])
        except smtplib.SMTPRecipientsRefused as error:
            ((code, said),) = error.recipients.values()
            why = f"the mail server refuses a recipient: {code} {said.decode(errors='replace')}"
            raise DeliveryError(why, for_good=500 <= code < 600) from None
        except smtplib.SMTPResponseException as error:
            text = error.smtp_error
            said = text if isinstance(text, bytes) else str(text).encode()
            why = f"the mail server answers {error.smtp_code} {said.decode(errors='replace')}"
            raise DeliveryError(why) from None
        except (OSError, smtplib.SMTPException) as error:
            raise DeliveryError(f"no mail server ({type(error).__name__}: {error})") from None

    def _session(self, settings: AlertSettings) -> smtplib.SMTP:
        """A connection, with TLS where it is to have it."""
        parts = urlsplit(settings.smtp)
        host, port = str(parts.hostname), parts.port or _PORTS[parts.scheme]
        if parts.scheme == "smtps":
            return smtplib.SMTP_SSL(host, port, timeout=_TIMEOUT_S, context=self.trusted)
        session = smtplib.SMTP(host, port, timeout=_TIMEOUT_S)
        if parts.scheme == "starttls":
            try:
                session.starttls(context=self.trusted)
            except BaseException:
                session.close()
                raise
        return session


def sender_of(settings: AlertSettings) -> str:
    """The address that mails are from."""
    return settings.sender or f"pda@{socket.getfqdn()}"


def made(mail: Mail, recipient: str, settings: AlertSettings, item: Item) -> EmailMessage:
    """The mail with its headers. Sent again it has the same Message-ID."""
    message = EmailMessage()
    message["From"] = f"pda <{sender_of(settings)}>"
    message["To"] = recipient
    message["Subject"] = mail.subject
    message["Date"] = format_datetime(datetime.fromtimestamp(item.created_at / 1e6, UTC))
    # Both ways by which pda learns of a client id: this mail is its own.
    message["Message-ID"] = f"<98494.{item.created_at}.{item.id}@{CLIENT}>"
    message["client-id"] = CLIENT
    message["Auto-Submitted"] = "auto-generated"
    message["X-Auto-Response-Suppress"] = "All"
    message.set_content(mail.text)
    return message
