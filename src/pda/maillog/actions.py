"""What Postfix's tables, and milters, did with a message or at the door: one text → one record.

Owns the grammar of `ACTION: WHERE …`: header and body checks, access tables, rejects, and which of
the words in it a client may have chosen. Knows nothing of other texts; `postfix` asks it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import islice
from typing import TypeAlias

from pda.maillog.attributes import ADDRESS
from pda.maillog.events import AccessAction, AnyRecord, HeaderAction, HeaderInfo, Reject

# cleanup/cleanup_message.c: 200 bytes of the header at most, then who sent it.
_CONTENT_ACTION = re.compile(r"((?:milter-header-)?[a-z]+): (header|body|content) ")
_ORIGIN = re.compile(r" from (?:([^\s\[]+)\[([^\]\s]*)\](?::\d+)?|local|unknown);")
_MOST_CONTENT = 256  # logs that were made anonymous have a few more
# Behind an origin: within what the client chose.
_CHOSEN = re.compile(
    r' from=<(?:"(?:[^"\\]|\\.)*|.* to=<"(?:[^"\\]|\\.)*|.* helo=<[^>]*)$', re.DOTALL
)
# A header that was only logged, as most are. The one ` from ` before such an origin is where the
# content ends.
_USUAL_INFO = re.compile(
    r"info: header ([^:;]{1,100}+:[^;]{0,150}) from ([0-9A-Za-z_.-]++)\[([0-9A-Za-z_.:]++)\];"
    r' from=<([^"> \t\n\r\f\v]*+)> to=<([^"> \t\n\r\f\v]*+)>'
    r"(?: proto=\w++|)(?: helo=<[^> \t\n\r\f\v]*+>|)",
    re.ASCII,
)
# smtp_header_checks (smtp/smtp_proto.c) and nested headers have no origin.
_BARE_CONTENT_ACTION = re.compile(
    r"((?:milter-header-)?[a-z]+): (header|body|content|mime-error) (.*)$", re.DOTALL
)
# Each ends where the next one begins, and is not tried again: linear in what a client may choose.
_NAMED = rf"(?>{ADDRESS}>(?=,? ?(?:to=<|proto=|helo=|sasl_)|: | \d+$|$))"
_ATTRIBUTES = (
    rf"(?:,? ?from=<{_NAMED})?(?:,? ?to=<{_NAMED})?(?:,? ?proto=(\S+?)(?=,| |:|$))?"
    r"(?:,? ?helo=(?:<(.*?)>)?)?(?:,? ?sasl_method=<?([^\s>]+)>?)?"
    r"(?:,? ?sasl_username=(<?[^>]+?>?))?(?:,? ?sasl_sender=<?[^\s>]+>?)?"
    r"(?: (?!sasl_)[0-9A-Za-z_-]{1,64}=[^\s<>]*)*"  # not known yet
)
_ENVELOPE = re.compile(rf"{_ATTRIBUTES}(?:: (.*)| \d+)?$", re.DOTALL)
# Only cleanup writes a text behind them.
_REJECTED = re.compile(rf"{_ATTRIBUTES}(?: \d+)?$", re.DOTALL)
_USUAL_ENVELOPE = re.compile(
    r'(?: from=<([^">]*)>)?(?: to=<([^">]*)>)?(?: proto=\w+)?(?: helo=<[^>]*>)?$'
)
# The same behind most rejects; and where such attributes may begin.
_USUAL_REJECTED = re.compile(r'; from=<([^">]*)> to=<([^">]*)> proto=(\w+) helo=<([^<>]*)>$')
_BEFORE_ENVELOPE = re.compile(r";(?= ?(?:from=<|to=<|proto=|helo=<)|$)")
_MOST_BEGINNINGS = 20
_QUOTING = re.compile(r'\\(.)|"')
_Envelope: TypeAlias = Sequence[str | None]
"""Sender, recipient, protocol, HELO name, SASL method and user."""
_ACCESS_ACTION = re.compile(
    r"((?:milter-|proxy-)?[a-z_]+): ([A-Z-]+)(?: command)?"
    r"(?: from ([^\s\[]*)\[([^\]\s]*)\](?::\d+)?)?: (.*)$",
    re.DOTALL,
)
_REPLY = re.compile(r"(?:([245]\d\d)[ -])?(?:([245]\.\d{1,3}\.\d{1,3}) )?")

ACTIONS = frozenset(
    """info warning hold reject discard filter redirect replace prepend bcc pass strip delay
    warn permit reject_warning milter-reject milter-hold milter-discard proxy-accept
    proxy-reject""".split()
)


def read_action(tail: str) -> AnyRecord | None:
    """`ACTION: WHERE …`: cleanup says header, body or content; smtpd names the SMTP stage."""
    usual = _USUAL_INFO.fullmatch(tail)
    if usual is not None:
        content, host, ip, sender, recipient = usual.groups()
        ip = "" if ip == "unknown" else ip
        return HeaderInfo("info", "header", content, host, ip, sender, recipient)
    return _unusual_action(tail)


def _unusual_action(tail: str) -> AnyRecord | None:
    found = _CONTENT_ACTION.match(tail)
    origin = _origin(tail, found.end()) if found else None
    if found is not None and origin is not None:
        content = tail[found.end() : origin.start()]
        return _content_action(found.groups(), content, origin.groups(""), tail[origin.end() :])
    if tail.startswith("reject: mime-error "):
        return _mime_error(tail)
    bare = _BARE_CONTENT_ACTION.match(tail)
    if bare is not None:
        action, content_class, content = bare.groups()
        return _content_action((action, content_class), content, ("", ""), "")
    return _access_action(tail)


def _origin(tail: str, begin: int) -> re.Match[str] | None:
    """The last ` from ORIGIN;` behind a content, since a header may hold such words itself.

    So may an address or a HELO name, behind it.
    """
    origin = None
    for found in _ORIGIN.finditer(tail, begin):
        if found.start() - begin > _MOST_CONTENT:
            break
        if origin is None or not _CHOSEN.match(tail[origin.end() : found.start()]):
            origin = found
    return origin


def _mime_error(tail: str) -> AnyRecord | None:
    """cleanup's `reject: mime-error WHAT: TEXT from ORIGIN; …` (cleanup/cleanup_message.c)."""
    reason, envelope = _split_envelope(tail.removeprefix("reject: mime-error "))
    text, _, origin = reason.rpartition(" from ")
    host, _, ip = origin.rstrip("]").partition("[")
    host = host if ip else ""
    return _rejected(("reject", "mime-error", host, ip), text, envelope)


def _content_action(
    what: Sequence[str], content: str, client: Sequence[str], rest: str
) -> AnyRecord | None:
    action, content_class = what
    if action.removeprefix("milter-header-") not in ACTIONS:
        return None
    usual = _USUAL_ENVELOPE.match(rest)
    envelope = None if usual else _ENVELOPE.match(rest)
    sender, recipient = usual.groups() if usual else (None, None)
    text = None
    if envelope is not None:
        sender, recipient, text = envelope.group(1, 2, 7)
    is_header = content_class == "header" and ":" in content
    make = HeaderInfo if is_header and action in {"info", "warning"} else HeaderAction
    host, ip = client
    return make(
        action,
        content_class,
        content,
        client_host=host,
        client_ip="" if ip == "unknown" else ip,
        sender=sender,
        recipient=recipient,
        action_text=text or "",
    )


def _access_action(tail: str) -> AnyRecord | None:
    found = _ACCESS_ACTION.match(tail)
    if found is None:
        return None
    action, where, host, ip, rest = found.groups("")
    if action not in ACTIONS:
        return None
    reason, envelope = _split_envelope(rest)
    return _rejected((action, where, host, ip), reason, envelope)


def _rejected(
    what: tuple[str, str, str, str],
    reason: str,
    envelope: _Envelope | None,
) -> AnyRecord:
    action, where, host, ip = what
    reply = _REPLY.match(reason)
    code, dsn = reply.groups("") if reply else ("", "")
    make = Reject if action.endswith("reject") else AccessAction
    sender, recipient, proto, helo, _, username = envelope or (None,) * 6
    return make(
        action=action,
        where=where,
        client_host=host,
        client_ip="" if ip == "unknown" else ip,
        reply_code=code,
        dsn=dsn,
        reason=reason,
        sender=sender,
        recipient=recipient,
        proto=proto or "",
        helo=helo or "",
        sasl_username=_sasl_username(action, username or ""),
    )


def _sasl_username(action: str, said: str) -> str:
    """Named in brackets by smtpd.c alone; in a line of smtpd_check.c they end a HELO name."""
    if action.startswith(("milter-", "proxy-")):
        return said.strip("<>")
    return "" if ">" in said else said


def _split_envelope(rest: str) -> tuple[str, _Envelope | None]:
    """The text, and the `from=<…> to=<…> …` behind it.

    A client may choose a HELO name or an address that looks like such attributes, and the text may
    repeat it in angle brackets: of the places where they may begin, the last one counts that has no
    other in the text before it but for what the attributes there name.
    """
    begin = rest.find("; from=<")
    usual = _USUAL_REJECTED.match(rest, begin) if begin >= 0 else None
    if usual is not None and _BEFORE_ENVELOPE.search(rest, 0, begin) is None:
        return rest[:begin], (*usual.groups(), None, None)
    split: tuple[str, _Envelope | None] = rest, None
    for found in islice(_BEFORE_ENVELOPE.finditer(rest), _MOST_BEGINNINGS):
        envelope = _REJECTED.match(rest[found.end() :])
        if envelope is None:
            continue
        text, values = rest[: found.start()], envelope.groups()
        if split[1] is None or not _BEFORE_ENVELOPE.search(_without_names(text, values)):
            split = text, values
    return split


def _without_names(text: str, envelope: _Envelope) -> str:
    """The text of a reject without sender, recipient and HELO name, of which it may speak."""
    for name in (envelope[0], envelope[1], envelope[3]):
        if name:
            # Addresses are quoted in the attributes (Postfix 3.5), and not in the text.
            for said in (name, _QUOTING.sub(r"\1", name)):
                text = text.replace(f"<{said}>", "<>")
    return text
