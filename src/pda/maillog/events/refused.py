"""What was refused, at the door or in the queue: one line's reject, bounded and small.

Owns the value, and how a reply is kept: addresses that stand beside it are left out of it, so that
one reply to many people is one text, and a person stands in columns only.
"""

from __future__ import annotations

import re

import msgspec

from pda.maillog.events.records import HeaderAction, Reject

_MOST_TEXT, _MOST_ADDRESS = 500, 320
_PLACES = "\x01\x02\x03\x04"
"""In the place of recipient, sender, address and name of the client."""
_has_places = re.compile(f"[{_PLACES}]").search
_HARMLESS = dict.fromkeys(map(ord, _PLACES), "?")


class Refusal(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """A message or recipient that was refused; known by host, program, pid, second and text."""

    at: int
    grade: int
    host: str
    queue_id: str
    """Empty at the door."""
    program: str
    digest: int
    """64-bit hash of host, program, pid and text, signed."""
    action: str
    """`reject`, `milter-reject`, `proxy-reject` …"""
    stage: str
    """`RCPT`, `END-OF-MESSAGE`, `header` …"""
    reply_code: str
    dsn: str
    client_host: str
    client_ip: str
    sender: str | None
    recipient: str
    helo: str
    sasl_username: str
    reply: str
    """With `_PLACES` where it named one of these."""

    @property
    def manner(self) -> str:
        """How, as many were: in the order of `manner_of`."""
        return "\t".join((self.program, self.action, self.stage, self.reply_code, self.dsn))


def refusal(record: Reject | HeaderAction, about: tuple[int, int, str, str, str, int]) -> Refusal:
    """Of a record; `about`: the first six members."""
    host, ip = record.client_host[:_MOST_ADDRESS], record.client_ip[:_MOST_ADDRESS]
    sender = None if record.sender is None else record.sender[:_MOST_ADDRESS]
    recipient = (record.recipient or "")[:_MOST_ADDRESS]
    if isinstance(record, Reject):
        stage, code, dsn, reply = record.where, record.reply_code, record.dsn, record.reason
        helo, username = record.helo[:_MOST_ADDRESS], record.sasl_username[:_MOST_ADDRESS]
    else:
        stage, code, dsn, reply = record.content_class, "", "", record.action_text
        helo = username = ""
    reply = with_places(reply[:_MOST_TEXT], (recipient, sender or "", ip, host))
    action, stage = record.action[:40], stage[:40]
    manner = action, stage, code, dsn
    return Refusal(*about, *manner, host, ip, sender, recipient, helo, username, reply)


def with_places(reply: str, named: tuple[str, str, str, str]) -> str:
    """A reply without what stands beside it."""
    if _has_places("".join((reply, *named))):
        return reply.translate(_HARMLESS)
    recipient, sender, ip, host = named
    if len(recipient) > 3:
        reply = reply.replace(recipient, "\x01")
    if len(sender) > 3:
        reply = reply.replace(sender, "\x02")
    if len(ip) > 3:
        reply = reply.replace(ip, "\x03")
    if len(host) > 3 and host != "unknown":
        reply = reply.replace(host, "\x04")
    return reply


def without_places(reply: str, named: tuple[str, str, str, str]) -> str:
    """The reply as it was."""
    for place, text in zip(_PLACES, named, strict=True):
        reply = reply.replace(place, text)
    return reply


def manner_of(manner: str) -> list[str]:
    """Program, action, stage, reply code and enhanced code."""
    return manner.split("\t")
