"""One Postfix line → one record.

Owns the grammar of what Postfix writes about a message's way (its 1.1 to 3.12), anchored at
`QUEUE_ID: keyword`: what a client, sender or remote server may choose stands behind a keyword and
can never become one. Knows nothing of other lines, of time or of the header in front.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import lru_cache
from itertools import islice
from typing import TypeAlias

from pda.maillog.events import (
    AccessAction,
    AnyRecord,
    Connected,
    Delivery,
    Expired,
    HeaderAction,
    HeaderInfo,
    Ignored,
    LinesLost,
    MessageId,
    Notification,
    Pickup,
    QueueActive,
    QueueOperation,
    Reject,
    Removed,
    Unknown,
)

PROGRAMS = frozenset(
    """anvil bounce cleanup defer discard dnsblog error flush lmtp local master nqmgr oqmgr pickup
    pipe postalias postdrop postfix postfix-script postlog postlogd postmap postqueue postscreen
    postsuper proxymap qmgr qmqpd retry scache sendmail showq smtp smtpd spawn tlsmgr tlsproxy
    trace trivial-rewrite verify virtual""".split()
)
_QUEUE_MANAGERS = frozenset(["qmgr", "nqmgr", "oqmgr"])
# Numbers are bounded in the patterns: what is longer is no number of Postfix's.
TEXT_LIMIT = 8192
"""Characters; Postfix writes 2000 bytes at most (util/msg_syslog.c). Longer is not its own."""

_REMEMBERED = 4096
"""Texts of one kind that were read lately: a sender or client comes again and again."""

NOQUEUE = "NOQUEUE"
"""Stands in the place of a queue id while there is none."""

_LOGGERS = ("rsyslogd", "systemd-journal")
_LOST_WITHIN = 400
# rsyslog's ratelimit.c and imuxsock.c; journald-server.c and journald-syslog.c.
_LOST = re.compile(
    r"\b([0-9]{1,9}) messages lost due to rate-limiting"
    r"|\blost ([0-9]{1,9}) messages from pid [0-9]+ due to rate-limiting"
    r"|\bSuppressed ([0-9]{1,9}) messages from \S*postfix"
    r"|\bForwarding to syslog missed ([0-9]{1,9}) messages"
)

IGNORED = Ignored()
UNKNOWN = Unknown()
REMOVED = Removed()

# Ids are `[0-9A-Za-z_]{1,255}` (global/mail_queue.c), six characters or more in practice; words
# such as `statistics` and `warning` stand in the same place.
_ID = re.compile(r"[0-9A-Za-z_]{6,255}|[0-9A-F]{5}")
_WORD = re.compile(r"[A-Za-z_-]+")
_NOT_IDS = frozenset(
    "statistics warning TLSRPT mynetworks postfix reject Deleted Requeued Expired".split()
)

# An address in brackets: a quoted local part may hold anything, `>` included (Postfix 3.5+); the
# unquoted form of earlier versions ends where the legal continuation follows. Most have neither.
_ADDRESS = r'([^">]*|"(?:[^"\\]|\\.)*"[^>]*|.*?)'
# Some logs have lost their angle brackets.
_BARE = r"([^<>,\s]+)"
# What follows an address, where that ends: it is not looked for again.
_RELAYED = r", relay=[^,]*, (?:conn_use|delay)="
_DELIVERY = re.compile(
    rf"to=(?:<(?>{_ADDRESS}>(?=, orig_to=|{_RELAYED}))|{_BARE}), "
    rf"(?:orig_to=(?:<(?>{_ADDRESS}>(?={_RELAYED}))|{_BARE}), )?"
    r"relay=([^,]*), "
    r"(?:conn_use=(\d{1,9}), )?"
    r"delay=(\d{1,9}(?:\.\d{1,9})?)(?:, delays=([\d./]{1,80}))?(?:, tls=([^, ]*))?"
    r"(?:, (?!dsn=|status=)[a-z_]+=[^, ]*)*(?:, dsn=(\d\.\d{1,3}\.\d{1,3}))?, "
    r"status=([A-Za-z-]+)(?: \((.*))?$",
    re.DOTALL,
)
_ACTIVE = re.compile(
    rf"from=<{_ADDRESS}>, size=(\d{{1,18}})(?:, nrcpt=(\d{{1,9}}))?(?: \(queue \w+\))? *$"
)
_EXPIRED = re.compile(rf"from=<{_ADDRESS}>, status=((?:force-)?expired), returned to sender$")
_MESSAGE_ID = frozenset(["message-id", "resent-message-id"])
# The connection alone, as most lines have it.
_USUAL_CLIENT = re.compile(
    r"client=([^\s\[]+)\[([^\]\s]+)\](?:, sasl_method=(\w+), sasl_username=([^,]+))?$"
)
_CLIENT = re.compile(
    r"client=(\S+?)\[([^\]\s]*)\](?::\d+)?(?:, sasl_method=([^,\s]+))?"
    r"(?:, sasl_username=(.*?))?(?:, sasl_sender=(.*?))?"
    r"(?:, orig_queue_id=(\w*))?(?:, orig_client=(\S+?))?,?$"
)
_PICKUP = re.compile(rf"uid=(\d{{1,10}}) from=(?:<{_ADDRESS}>|{_BARE})(?: orig_id=(\w+))?$")
_REMOVED = re.compile(r"removed \((canceled|discarded)\)$")
_NOTIFICATION = re.compile(
    r"(sender|postmaster) (non-delivery|delay|delivery status) notification: (\w+)$"
)
_QUEUE_OPERATION = re.compile(r"(placed on hold|released from hold|requeued|expired)$")
# cleanup/cleanup_message.c: 200 bytes of the header at most, then who sent it.
_CONTENT_ACTION = re.compile(r"((?:milter-header-)?[a-z]+): (header|body|content) ")
_ORIGIN = re.compile(r" from (?:([^\s\[]+)\[([^\]\s]*)\](?::\d+)?|local|unknown);")
_MOST_CONTENT = 256  # logs that were made anonymous have a few more
# Behind an origin: within what the client chose.
_CHOSEN = re.compile(
    r' from=<(?:"(?:[^"\\]|\\.)*|.* to=<"(?:[^"\\]|\\.)*|.* helo=<[^>]*)$', re.DOTALL
)
# smtp_header_checks (smtp/smtp_proto.c) and nested headers have no origin.
_BARE_CONTENT_ACTION = re.compile(
    r"((?:milter-header-)?[a-z]+): (header|body|content|mime-error) (.*)$", re.DOTALL
)
# Each ends where the next one begins, and is not tried again: linear in what a client may choose.
_NAMED = rf"(?>{_ADDRESS}>(?=,? ?(?:to=<|proto=|helo=|sasl_)|: | \d+$|$))"
_ATTRIBUTES = (
    rf"(?:,? ?from=<{_NAMED})?(?:,? ?to=<{_NAMED})?(?:,? ?proto=(\S+?)(?=,| |:|$))?"
    r"(?:,? ?helo=(?:<(.*?)>)?)?(?:,? ?sasl_method=<?([^\s>]+)>?)?"
    r"(?:,? ?sasl_username=(<?[^\s>]+>?))?(?:,? ?sasl_sender=<?[^\s>]+>?)?"
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

_ACTIONS = frozenset(
    """info warning hold reject discard filter redirect replace prepend bcc pass strip delay
    warn permit reject_warning milter-reject milter-hold milter-discard proxy-accept
    proxy-reject""".split()
)
# Behind a queue id, and nothing about what became of the message: replies of a server that was
# not the last one tried, lost sessions, hand-overs between agents.
_IGNORED_KEYWORDS = frozenset(
    """host lost conversation connect enabling disabling passing skipped timeout too status
    SASL Cannot TLS server certificate Server Untrusted Trusted Verified Anonymous subject_CN issuer
    re-using reusing replacing sender_bcc recipient_bcc breaking resent table uid_map enqueued
    smtp_tls DANE Host Name mail message delivery save""".split()
)
_CHATTER = ("connect from ", "disconnect from ", "statistics: ")
"""What Postfix says most of all that is ignored."""
_IGNORED_TEXT = re.compile(
    r"(?:dis)?connect(?:ed)? (?:from|to) |statistics: |(?:warning|error|fatal|panic): "
    r"|lost connection |timeout |too many errors |improper command |SSL_(?:accept|connect) "
    r"|setting up TLS |(?:Anonymous|Trusted|Untrusted|Verified|Server) TLS |TLS |TLSRPT: "
    r"|certificate verification |(?:subject|issuer)[_ ]|save session |\S+ TLS |initializing "
    r"|daemon started |reload|terminating |stopping |starting |refreshing |the Postfix mail system "
    r"|cache \S+ |close database |database \S+ |addr \S+ listed |CONNECT from |PASS |HANGUP "
    r"|PREGREET |DNSBL |NON-SMTP |COMMAND |BARE NEWLINE |(?:ALLOW|DENY|WHITE|BLACK)LIST\w* "
    r"|sql_|SASL |Trusted|Deleted: |Requeued: |Placed on hold: |Released from hold: |Expired: "
    r"|table |using backwards-|name_mask: |postfix-script|Postfix |fallback |mail_queue|watchdog "
    r"|Peer |[a-z]+ cache|smtp_stream"
)


def read(text: str, program: str, syslog_name: str = "postfix") -> tuple[str, AnyRecord]:
    """Queue id and record of a line: empty where there is no id, `NOQUEUE` at the door.

    `Ignored` is what is known and no matter here, or not Postfix's.
    """
    if program not in PROGRAMS and not is_postfix(program, syslog_name):
        return "", IGNORED if text.startswith(_CHATTER) else _not_ours(text, program)
    queue_id, _, tail = text.partition(": ")
    usual = len(queue_id) > 5 and queue_id.isalnum() and queue_id.isascii()
    if not (usual or _ID.fullmatch(queue_id)) or queue_id in _NOT_IDS:
        return "", IGNORED if text.startswith(_CHATTER) else _without_id(text)
    if len(text) > TEXT_LIMIT:
        return queue_id, UNKNOWN
    reader = _READERS.get(tail[:_START])
    record = reader(tail) if reader else None
    if record is None:
        record = _unread(tail)
    elif record is REMOVED:
        record = removed_by(program)
    elif queue_id == NOQUEUE and type(record) is Delivery:
        record = UNKNOWN
    return queue_id, record


def removed_by(program: str) -> Removed:
    """That an entry has gone, said by a program without more words."""
    return REMOVED if program in _QUEUE_MANAGERS else Removed("", program)


def forget() -> None:
    """Forgets the texts that were read lately: somebody in them is to be forgotten."""
    for reader in (_unread, _from, read_client):
        reader.cache_clear()


def _not_ours(text: str, program: str) -> AnyRecord:
    """What matters of another program's line: that lines were lost before they were sent."""
    found = _LOST.search(text[:_LOST_WITHIN]) if program.startswith(_LOGGERS) else None
    return LinesLost(int(found[found.lastindex or 0])) if found else IGNORED


@lru_cache(_REMEMBERED)
def _unread(tail: str) -> AnyRecord:
    word = _WORD.match(tail)
    return IGNORED if word and word[0] in _IGNORED_KEYWORDS else UNKNOWN


def is_postfix(program: str, syslog_name: str) -> bool:
    """By the tag: a program of Postfix's under any syslog name, or Postfix's name by itself."""
    if syslog_name:
        return program in PROGRAMS or syslog_name.startswith("postfix")
    return program.startswith("postfix") or program in PROGRAMS


def _without_id(text: str) -> AnyRecord:
    if len(text) > TEXT_LIMIT:
        return UNKNOWN
    if _IGNORED_TEXT.match(text):
        return IGNORED
    reader = _READERS.get(text[:_START])
    record = reader(text) if reader else None  # an id got lost on the way, or was never there
    return UNKNOWN if record is None else record


def _delivery(tail: str) -> AnyRecord | None:
    found = _DELIVERY.match(tail)
    if found is None:
        return None
    to, bare, orig_to, bare_orig, relay, conn_use, delay, delays, tls, dsn, status, reason = (
        found.groups("")
    )
    return Delivery(
        recipient=to or bare,
        relay=relay,
        delay=float(delay),
        status=status,
        reason=_reason(reason),
        dsn=dsn,
        delays=delays,
        conn_use=int(conn_use or 0),
        orig_to=orig_to or bare_orig,
        tls=tls,
    )


# Some collectors put a number behind the line.
_BEHIND = re.compile(r"\)(?: \d+)?$")


def _reason(text: str) -> str:
    """The text in the outer brackets, whose closing one is lost where Postfix cut the line."""
    return text[:-1] if text.endswith(")") else _BEHIND.sub("", text, count=1)


@lru_cache(_REMEMBERED)
def _from(tail: str) -> AnyRecord | None:
    active = _ACTIVE.match(tail)
    if active is not None:
        sender, size, nrcpt = active.groups()
        return QueueActive(sender, int(size), int(nrcpt or 0))
    expired = _EXPIRED.match(tail)
    if expired is None:
        return None
    return Expired(expired[1], expired[2])


def _message_id(tail: str) -> AnyRecord | None:
    name, _, value = tail.partition("=")
    return MessageId(value, name.startswith("resent-")) if name in _MESSAGE_ID else None


@lru_cache(_REMEMBERED)
def read_client(tail: str) -> AnyRecord | None:
    """What stands behind the queue id where that is `client=…`."""
    usual = _USUAL_CLIENT.match(tail)
    if usual is not None:
        host, ip, method, username = usual.groups("")
        return Connected(host, "" if ip == "unknown" else ip, method, username)
    found = _CLIENT.match(tail)
    if found is None:
        return None
    host, ip, method, username, sender, orig_queue_id, orig_client = found.groups("")
    return Connected(
        client_host=host,
        client_ip="" if ip == "unknown" else ip,
        sasl_method=method,
        sasl_username=username,
        sasl_sender=sender,
        orig_queue_id=orig_queue_id,
        orig_client=orig_client,
    )


def _pickup(tail: str) -> AnyRecord | None:
    found = _PICKUP.match(tail)
    if found is None:
        return None
    return Pickup(int(found[1]), found[2] or found[3] or "", found[4] or "")


def _removed(tail: str) -> AnyRecord | None:
    if tail == "removed":
        return REMOVED
    found = _REMOVED.match(tail)
    return Removed(found[1]) if found else None


def _notification(tail: str) -> AnyRecord | None:
    found = _NOTIFICATION.match(tail)
    if found is None:
        return None
    return Notification(found[1], found[2], found[3])


def _queue_operation(tail: str) -> AnyRecord | None:
    found = _QUEUE_OPERATION.match(tail)
    return None if found is None else QueueOperation(found[1])


def _action(tail: str) -> AnyRecord | None:
    """`ACTION: WHERE …`: cleanup says header, body or content; smtpd names the SMTP stage."""
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
    return _rejected(("reject", "mime-error", host, ip), text, envelope)


def _content_action(
    what: Sequence[str], content: str, client: Sequence[str], rest: str
) -> AnyRecord | None:
    action, content_class = what
    if action.removeprefix("milter-header-") not in _ACTIONS:
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
    if action not in _ACTIONS:
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


_START = 3
_KEYWORDS: dict[str, Callable[[str], AnyRecord | None]] = {
    "to=": _delivery,
    "from": _from,
    "message-id": _message_id,
    "resent-message-id": _message_id,
    "client": read_client,
    "uid": _pickup,
    "removed": _removed,
    "sender": _notification,
    "postmaster": _notification,
    "placed": _queue_operation,
    "released": _queue_operation,
    "requeued": _queue_operation,
    "expired": _queue_operation,
    "milter-header": _action,
    **dict.fromkeys(_ACTIONS, _action),
}
_READERS = {keyword[:_START]: reader for keyword, reader in _KEYWORDS.items()}
"""By how the text behind a queue id begins: no two readers share that."""
