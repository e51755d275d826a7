"""One Postfix line → one record.

Owns the grammar of what Postfix writes about a message's way (its 1.1 to 3.12), anchored at
`QUEUE_ID: keyword`: what a client, sender or remote server may choose stands behind a keyword and
can never become one. Knows nothing of other lines, of time or of the header in front.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache, lru_cache

from pda.maillog.actions import ACTIONS, read_action
from pda.maillog.attributes import ADDRESS, BARE, others
from pda.maillog.events import (
    AnyRecord,
    Connected,
    Delivery,
    Expired,
    Ignored,
    LinesLost,
    MessageId,
    Notification,
    Pickup,
    QueueActive,
    QueueOperation,
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
_REMOVERS = ("qmgr", "nqmgr", "oqmgr", "postsuper")
_CUT_TAG = 32
"""Characters of a tag that rsyslog's forward templates leave; the program may be cut, too."""
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
_NOTHING = (Ignored, Unknown)

# Ids are `[0-9A-Za-z_]{1,255}` (global/mail_queue.c), six characters or more in practice; words
# such as `statistics` and `warning` stand in the same place.
_ID = re.compile(r"[0-9A-Za-z_]{6,255}|[0-9A-F]{5}")
_WORD = re.compile(r"[A-Za-z_-]+")
_NOT_IDS = ACTIONS.union("statistics TLSRPT mynetworks postfix Deleted Requeued Expired".split())

# The same as most are: no quoted address, all attributes that are always there, nothing behind.
_PLAIN = r'(?!")([^>]*+)'
_USUAL_DELIVERY = re.compile(
    rf"to=<{_PLAIN}>, (?:orig_to=<{_PLAIN}>, |)relay=([^,]*+), (?:conn_use=(\d{{1,9}}+), |)"
    r"delay=(\d{1,9}+(?:\.\d{1,9}+|)), delays=([0-9./]{1,80}+), (?:tls=([^, ]++), |)"
    r"dsn=(\d\.\d{1,3}+\.\d{1,3}+), status=([A-Za-z-]++) \((.*)\)",
    re.DOTALL | re.ASCII,
)
_USUAL_ACTIVE = re.compile(
    rf"from=<{_PLAIN}>, size=(\d{{1,18}}+), nrcpt=(\d{{1,9}}+) \(queue active\)", re.ASCII
)
_EXPIRED = re.compile(rf"from=<{ADDRESS}>, status=((?:force-)?expired), returned to sender *$")
_MESSAGE_ID = frozenset(["message-id", "resent-message-id"])
# The connection alone, as most lines have it.
_USUAL_CLIENT = re.compile(
    r"client=([^\s\[]+)\[([^\]\s]+)\](?:, sasl_method=(\w+), sasl_username=([^,]+))?$"
)
_PICKUP = re.compile(rf"uid=(\d{{1,10}}) from=(?:<{ADDRESS}>|{BARE})(?: orig_id=(\w+))? *$")
_REMOVED = re.compile(r"removed(?: \((canceled|discarded)\))? *$")
_NOTIFICATION = re.compile(
    r"(sender|postmaster) (non-delivery|delay|delivery status) notification: (\w+) *$"
)
_QUEUE_OPERATION = re.compile(r"(placed on hold|released from hold|requeued|expired) *$")
# Behind a queue id, and nothing about what became of the message: replies of a server that was
# not the last one tried, lost sessions, hand-overs between agents.
_IGNORED_KEYWORDS = frozenset(
    """host lost conversation connect enabling disabling passing skipped timeout too status
    SASL Cannot TLS server certificate Server Untrusted Trusted Verified Anonymous subject_CN issuer
    re-using reusing replacing sender_bcc recipient_bcc breaking resent table uid_map enqueued
    smtp_tls DANE Host Name mail message delivery save not Used using discarding""".split()
)
_CHATTER = ("connect from ", "disconnect from ", "statistics: ")
"""What Postfix says most of all that is ignored."""
_IGNORED_TEXT = re.compile(
    r"(?:dis)?connect(?:ed)? (?:from|to) |statistics: |(?:warning|error|fatal|panic): "
    r"|lost connection |timeout |too many errors |improper command |SSL_(?:accept|connect)[ :]"
    r"|setting up TLS |(?:Anonymous|Trusted|Untrusted|Verified|Server) TLS |TLS |TLSRPT: "
    r"|certificate verification |(?:subject|issuer)[_ ]|save session |\S+ TLS |initializing "
    r"|daemon started |reload|terminating |stopping |starting |refreshing |the Postfix mail system "
    r"|cache \S+ |close database |database \S+ |addr \S+ listed |CONNECT from |PASS |HANGUP "
    r"|PREGREET |DNSBL |NON-SMTP |COMMAND |BARE NEWLINE |(?:ALLOW|DENY|WHITE|BLACK)LIST\w* "
    r"|DISCONNECT |(?:DATA|BDAT) without |(?:entering|leaving) STRESS |discarding |using DANE "
    r"|[^\s\[]{1,300}\[[^\s\]]{1,300}\](?::\d+)?: (?:subject_CN=|Matched |[Rr]e-using |TLS |depth=)"
    r"|See http|To disable backwards |Renamed to match |[<>] [^\s\[]{1,300}\["
    r"|sql_|SASL |Trusted|Deleted: |Requeued: |Placed on hold: |Released from hold: |Expired: "
    r"|table |using backwards-|name_mask: |postfix-script|Postfix |fallback |mail_queue|watchdog "
    r"|Peer |[a-z]+ cache|smtp_stream"
)


def read(text: str, program: str, syslog_name: str = "postfix") -> tuple[str, AnyRecord]:
    """Queue id and record of a line: empty where there is no id, `NOQUEUE` at the door.

    `Ignored` is what is known and no matter here, or not Postfix's.
    """
    if program not in PROGRAMS and not is_postfix(program, syslog_name):
        return "", IGNORED if text.startswith(_CHATTER) else _not_ours(text, program, syslog_name)
    queue_id, _, tail = text.partition(": ")
    usual = len(queue_id) > 5 and queue_id.isalnum() and queue_id.isascii()
    if not (usual or _ID.fullmatch(queue_id)) or queue_id in _NOT_IDS:
        return "", IGNORED if text.startswith(_CHATTER) else _without_id(text)
    if len(text) > TEXT_LIMIT:
        return queue_id, UNKNOWN
    reader = _READERS.get(tail[:START])
    record = reader(tail) if reader else None
    if record is None:
        record = unread(tail)
    elif record is REMOVED:
        record = removed_by(program)
    elif queue_id == NOQUEUE and type(record) is Delivery:
        record = UNKNOWN
    return queue_id, record


def removed_by(program: str) -> Removed:
    """That an entry has gone, said by a program, whose name may be cut, without more words."""
    if program in _QUEUE_MANAGERS:
        return REMOVED
    agent = next((name for name in _REMOVERS if name.startswith(program)), program)
    return REMOVED if agent in _QUEUE_MANAGERS else Removed("", agent)


def forget() -> None:
    """Forgets the texts that were read lately: somebody in them is to be forgotten."""
    for reader in (unread, _from, _client):
        reader.cache_clear()


def _not_ours(text: str, program: str, syslog_name: str) -> AnyRecord:
    """What matters of another program's line: that lines were lost before they were sent.

    If its name was cut, it may be one of Postfix's: it is not passed over, and not believed either.
    """
    found = _LOST.search(text[:_LOST_WITHIN]) if program.startswith(_LOGGERS) else None
    if found:
        return LinesLost(int(found[found.lastindex or 0]))
    is_like_ours = _is_cut(program, syslog_name) and not isinstance(read(text, "smtp")[1], _NOTHING)
    return UNKNOWN if is_like_ours else IGNORED


@lru_cache(_REMEMBERED)
def unread(tail: str) -> AnyRecord:
    """What a text behind a queue id is that no reader knows: `Ignored` or `Unknown`."""
    word = _WORD.match(tail)
    return IGNORED if word and word[0] in _IGNORED_KEYWORDS else UNKNOWN


def is_postfix(program: str, syslog_name: str) -> bool:
    """By the tag: a program of Postfix's under any syslog name, or Postfix's name by itself."""
    if program in PROGRAMS:
        return True
    if not syslog_name:
        return program.startswith("postfix")
    if syslog_name.startswith("postfix"):
        return True
    return _is_cut(program, syslog_name) and any(name.startswith(program) for name in PROGRAMS)


def _is_cut(program: str, syslog_name: str) -> bool:
    slash = 1 if syslog_name else 0
    return len(syslog_name) + slash + len(program) == _CUT_TAG


def _without_id(text: str) -> AnyRecord:
    if len(text) > TEXT_LIMIT:
        return UNKNOWN
    if _IGNORED_TEXT.match(text):
        return IGNORED
    reader = _READERS.get(text[:START])
    record = reader(text) if reader else None  # an id got lost on the way, or was never there
    return UNKNOWN if record is None else record


def _delivery(tail: str) -> AnyRecord | None:
    usual = _USUAL_DELIVERY.fullmatch(tail)
    if usual is None:
        return _unusual_delivery(tail)
    recipient, orig_to, relay, conn_use, delay, delays, tls, dsn, status, reason = usual.groups("")
    uses = int(conn_use) if conn_use else 0
    return Delivery(recipient, relay, float(delay), status, reason, dsn, delays, uses, orig_to, tls)


@cache
def _delivery_pattern() -> re.Pattern[str]:
    """Of all forms; it takes some time to be made, and many logs have the usual one alone."""
    # Postfix writes its attributes in this order; others may come between any two of them.
    more = others("to orig_to relay conn_use delay delays tls dsn status")
    relay = r"[^,]*+|[^,\[]*+\[[^\]]*+\][^,]*+"  # the path of a socket may hold commas
    # What follows an address, where that ends: it is not looked for again.
    relayed = rf"{more}, relay=(?:{relay}){more}, (?:conn_use|delay)="
    return re.compile(
        rf"to=(?:<(?>{ADDRESS}>(?={more}, orig_to=|{relayed}))|{BARE}){more}, "
        rf"(?:orig_to=(?:<(?>{ADDRESS}>(?={relayed}))|{BARE}){more}, )?"
        rf"relay=({relay}){more}, (?:conn_use=(\d{{1,9}}){more}, )?"
        rf"delay=(\d{{1,9}}(?:\.\d{{1,9}})?){more}(?:, delays=([\d./]{{1,80}}){more})?"
        rf"(?:, tls=([^, ]*){more})?(?:, dsn=(\d\.\d{{1,3}}\.\d{{1,3}}){more})?, "
        r"status=([A-Za-z-]+(?= \()|sent|deferred|bounced)(?: \((.*))?$",  # no text before 2.1
        re.DOTALL,
    )


def _unusual_delivery(tail: str) -> AnyRecord | None:
    found = _delivery_pattern().match(tail)
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


# Some collectors put a number behind the line, or blanks.
_BEHIND = re.compile(r"\)(?: \d+)? *$")


def _reason(text: str) -> str:
    """The text in the outer brackets, whose closing one is lost where Postfix cut the line."""
    return text[:-1] if text.endswith(")") else _BEHIND.sub("", text, count=1)


@lru_cache(_REMEMBERED)
def _from(tail: str) -> AnyRecord | None:
    usual = _USUAL_ACTIVE.fullmatch(tail)
    if usual is not None:
        sender, size, nrcpt = usual.groups()
        return QueueActive(sender, int(size), int(nrcpt))
    return _unusual_from(tail)


@cache
def _active_pattern() -> re.Pattern[str]:
    more = others("from size nrcpt status")
    return re.compile(
        rf"from=<{ADDRESS}>{more}, size=(\d{{1,18}}){more}(?:, nrcpt=(\d{{1,9}}))?"
        r"(?: \(queue \w+\))? *$"
    )


def _unusual_from(tail: str) -> AnyRecord | None:
    active = _active_pattern().match(tail)
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


@cache
def _client_pattern() -> re.Pattern[str]:
    """As `_delivery_pattern`. What a user's name holds that looks like an attribute is one.

    Nobody can tell whether it is; a name with a comma and a blank in it is the rarer of the two.
    """
    more = others("sasl_method sasl_username sasl_sender orig_queue_id orig_client")
    return re.compile(
        rf"client=(\S+?)\[([^\]\s]*)\](?::\d+)?{more}(?:, sasl_method=([^,\s]+){more})?"
        rf"(?:, sasl_username=((?:(?!, sasl_sender=).)*?){more})?(?:, sasl_sender=(.*?){more})?"
        rf"(?:, orig_queue_id=(\w*){more})?(?:, orig_client=(\S+?){more})?,? *$"
    )


@lru_cache(_REMEMBERED)
def _client(tail: str) -> AnyRecord | None:
    """What stands behind the queue id where that is `client=…`."""
    usual = _USUAL_CLIENT.match(tail)
    if usual is not None:
        host, ip, method, username = usual.groups("")
        return Connected(host, "" if ip == "unknown" else ip, method, username)
    found = _client_pattern().match(tail)
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
    if found is None:
        return None
    return Removed(found[1]) if found[1] else REMOVED


def _notification(tail: str) -> AnyRecord | None:
    found = _NOTIFICATION.match(tail)
    if found is None:
        return None
    return Notification(found[1], found[2], found[3])


def _queue_operation(tail: str) -> AnyRecord | None:
    found = _QUEUE_OPERATION.match(tail)
    return None if found is None else QueueOperation(found[1])


START = 3
"""Characters that tell readers apart."""
_KEYWORDS: dict[str, Callable[[str], AnyRecord | None]] = {
    "to=": _delivery,
    "from": _from,
    "message-id": _message_id,
    "resent-message-id": _message_id,
    "client": _client,
    "uid": _pickup,
    "removed": _removed,
    "sender": _notification,
    "postmaster": _notification,
    "placed": _queue_operation,
    "released": _queue_operation,
    "requeued": _queue_operation,
    "expired": _queue_operation,
    "milter-header": read_action,
    **dict.fromkeys(ACTIONS, read_action),
}
_READERS = {keyword[:START]: reader for keyword, reader in _KEYWORDS.items()}
"""By how the text behind a queue id begins: no two readers share that."""

_COMMON = ("to=", "from", "message-id", "client", "removed", "info", "sender")
COMMON_READERS = {keyword[:START]: _KEYWORDS[keyword] for keyword in _COMMON}
"""Of what makes up nearly every log; none of it is a reject."""
