"""One message: what the log told of it, in order, and what became of each recipient.

Owns the words for what a line said. Everything comes from the store's story of a queue entry.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec
from quart import Response, g
from quart.app import Quart

from pda.maillog.events import (
    AccessAction,
    Connected,
    Expired,
    HandedOn,
    HeaderAction,
    HeaderInfo,
    MessageId,
    Notification,
    Pickup,
    QueueActive,
    QueueOperation,
    Reject,
    Removed,
    TakenOver,
)
from pda.store import queries
from pda.store.queries import AttemptRow, Story, StoryEvent
from pda.web.asking import Asker
from pda.web.errors import Refused
from pda.web.pages import wording
from pda.web.pages.layout import Layout

_RELATIONS: Final = {
    "continues-as": "It goes on as",
    "continued-from": "It came in as",
    "notification": "A notification about it was sent as",
    "notification-about": "It is a notification about",
}


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """A point of the timeline."""

    at: int
    what: str
    more: str = ""
    who: str = ""
    """The program that said so."""
    attempt: AttemptRow | None = None

    @property
    def key(self) -> str:
        """The kind of outcome that it looks like."""
        if self.attempt is None:
            return "expired" if self.what == "Expired" else ""
        return attempt_key(self.attempt)


class MessagePage:
    """Answers `/messages/NUMBER`."""

    def __init__(self, asker: Asker, layout: Layout) -> None:
        self._asker = asker
        self._layout = layout

    def register(self, app: Quart) -> None:
        """Takes its path."""
        app.add_url_rule("/messages/<int:number>", "message_page", self.show)

    async def show(self, number: int) -> Response:
        """The story. Raises `Refused` where there is none that one may see."""
        story = await self._asker.ask(queries.story, number, g.principal.client_id)
        if story is None:
            raise Refused(404, "there is no such message, or it is another client's")
        return await self._layout.page(
            "message.html",
            self._layout.view(),
            story=story,
            lines=timeline(story),
            links=[(_RELATIONS.get(one.relation, one.relation), one) for one in story.links],
            attempt_key=attempt_key,
        )


def timeline(story: Story) -> list[Line]:
    """Everything by time: what lines said, and every attempt."""
    found = [_event(one) for one in story.events]
    found += [
        Line(at=one.at, what=_tried(one), who="", attempt=one)
        for recipient in story.recipients
        for one in recipient.attempts
    ]
    return sorted(found, key=lambda line: line.at)


def attempt_key(attempt: AttemptRow) -> str:
    """The kind of outcome that an attempt looks like."""
    if attempt.status == "sent":
        return "late" if attempt.deferred_before else "delivered"
    if attempt.status == "deferred":
        return "pending"
    return {"hard": "hard", "soft": "soft"}.get(attempt.bounce_type or "", "unknown")


def _tried(attempt: AttemptRow) -> str:
    words = {"sent": "Accepted", "deferred": "Deferred", "bounced": "Refused"}
    return words.get(attempt.status, attempt.status.capitalize())


def _event(event: StoryEvent) -> Line:
    what, more = _words(event)
    return Line(at=event.at, what=what, more=more, who=event.syslog_name)


def _words(event: StoryEvent) -> tuple[str, str]:
    """What a line said, in two parts: the fact, and the particulars."""
    if words := _WORDS.get(type(event.record)):
        return words(event.record)
    return event.kind.replace("-", " ").capitalize(), ""


def _connected(one: Connected) -> tuple[str, str]:
    origin = f"{one.client_host}[{one.client_ip}]" if one.client_ip else one.client_host
    user = f" as {one.sasl_username}" if one.sasl_username else ""
    return "Handed in over SMTP", f"by {origin}{user}"


def _queued(one: QueueActive) -> tuple[str, str]:
    origin, count = one.sender or "the mail system", wording.counted(one.nrcpt, "recipient")
    return "In the queue", f"{wording.octets(one.size)} from {origin} to {count}"


def _rejected(one: Reject) -> tuple[str, str]:
    return one.action.capitalize(), f"at {one.where}: {one.reason}".removesuffix(": ")


def _header(one: HeaderAction) -> tuple[str, str]:
    return f"Header check: {one.action}", one.content


_WORDS: Final[Mapping[type, Callable[[Any], tuple[str, str]]]] = {
    Connected: _connected,
    Pickup: lambda one: ("Handed in on the host", f"by user {one.uid} as {one.sender or 'nobody'}"),
    MessageId: lambda one: ("Message-ID", one.message_id_raw),
    QueueActive: _queued,
    Expired: lambda _: ("Expired", "the queue's lifetime is over; it goes back to the sender"),
    Removed: lambda one: ("Left the queue", one.detail),
    Notification: lambda one: (
        "Notification sent",
        f"{one.notify} as {one.notification_queue_id}",
    ),
    HandedOn: lambda one: ("Handed on", f"as {one.to_queue_id} on {one.host}"),
    TakenOver: lambda one: ("Came from another queue entry", f"{one.from_queue_id} on {one.host}"),
    QueueOperation: lambda one: ("Queue operation", one.operation),
    Reject: _rejected,
    AccessAction: _rejected,
    HeaderAction: _header,
    HeaderInfo: _header,
}
