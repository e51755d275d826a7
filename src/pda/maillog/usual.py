"""What most lines of a log look like, found in all of a block of lines by one pattern.

Owns the forms that make up nearly every log: a header as most have it, and the few kinds of text
that Postfix writes again and again. Each is narrower than what `syslog` and `postfix` read, and
says what those would say (tests/maillog/test_usual.py); whatever has another form is left to them.
Nothing can be forged: no form crosses a line, and each begins where its line begins.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TypeAlias

from pda.maillog.events import (
    AnyRecord,
    Delivery,
    HeaderInfo,
    MessageId,
    Notification,
    QueueActive,
)
from pda.maillog.postfix import IGNORED, REMOVED, read_client

Row: TypeAlias = tuple[str, ...]
"""What the groups of the pattern found in a line, in their order; empty where they found nothing.
The first four are of the header, the fifth is what a delivery says behind `to=<`, the last the text
of another form, with the process id."""

# Everything is bounded, so that no text is longer than one of Postfix's may be. What may cross a
# line feed, as it is matched faster so, is found out by the number of rows. A branch is passed over
# at once where it begins with a letter, not with a group; `(?:…|)` costs less than `(?:…)?`, and a
# set of ranges less than one that has a class.
_HEADER = (
    r"(?:<\d{1,3}>|)(?P<stamp>[^:]{1,20}:\d\d:[0-5]\d)(?:\.(?P<fraction>\d{1,6})|)"
    r"(?P<who>[^0-9.[\n][^[\n]{0,300})"
)
# No word of Postfix's that may stand in its place begins so.
_ID = r"(?P<queue_id>[0-9A-F][0-9A-Za-z]{5,30}): "
_ADDRESS = r'(?!")[^>]'
_DELIVERY = (
    rf"to=<(?P<delivery>(?P<recipient>{_ADDRESS}{{1,320}})>, "
    rf"(?:orig_to=<(?P<orig_to>{_ADDRESS}{{1,320}})>, |)"
    r"relay=(?P<relay>[^,]{1,300}), (?:conn_use=(?P<conn_use>\d{1,9}), |)"
    r"delay=(?P<delay>\d{1,9}(?:\.\d{1,9})?), delays=(?P<delays>[0-9./]{1,80}), "
    r"(?:tls=(?P<tls>[^, \n]{1,80}), |)dsn=(?P<dsn>\d\.\d{1,3}\.\d{1,3}), "
    r"status=(?P<status>sent|deferred|bounced|SOFTBOUNCE) \((?P<reason>.{0,3000})\))"
)
_ACTIVE = (
    rf"from=<(?P<sender>{_ADDRESS}{{0,320}})>, size=(?P<size>\d{{1,18}}),"
    r" nrcpt=(?P<nrcpt>\d{1,9}) \(queue active\)"
)
# The one ` from ` before such an origin is where the content ends.
_INFO = (
    r"info: header (?P<content>[^:;\n]{1,100}:[^;\n]{0,300})"
    r" from (?P<client_host>[0-9A-Za-z_.-]{1,255})\[(?P<client_ip>[0-9A-Za-z_.:]{1,60})\];"
    r' from=<(?P<info_from>[^"> \t\n\r\f\v]{0,320})> to=<(?P<info_to>[^"> \t\n\r\f\v]{0,320})>'
    r"(?: proto=\w{1,20}|)(?: helo=<[^> \t\n\r\f\v]{0,255}>|)"
)
_WITH_ID = (
    _DELIVERY,
    _ACTIVE,
    r"message-id=(?P<message_id>.{1,3000})",
    r"remove(?P<removed>d)",
    r"client=(?P<client>.{1,600})",
    _INFO,
    r"sender non-delivery notification: (?P<notification>\w{1,255})",
    r"(?:host|lost|conversation) .{0,3000}",
)
_IGNORED = (
    r"(?:connect from|disconnect from|connect to|statistics:|warning:|lost connection"
    r"|(?:Anonymous|Trusted|Untrusted|Verified) TLS) .{0,3000}"
)
_LINE = re.compile(
    rf"{_HEADER}(?:\[\d{{1,10}}\]: (?:{_ID}(?:{'|'.join(_WITH_ID)})|{_IGNORED})\n"
    r"|(?P<behind>\[.*)\n)|.*\n",
    re.ASCII,
)
_ENDS = b"\r\n\0"


def rows(lines: Sequence[bytes]) -> Sequence[Row]:
    """A row for each line."""
    octets = b"\n".join(lines)
    if b"\r" in octets or b"\0" in octets:
        octets = b"\n".join([line.strip(_ENDS) for line in lines])
    if octets.count(b"\n") == len(lines) - 1:
        found = _find(octets)
        if len(found) == len(lines):
            return found
    # A line that holds a line feed, or one that would be the beginning of another one.
    return [row for line in lines for row in _find(b"" if b"\n" in line else line.strip(_ENDS))]


def _find(octets: bytes) -> list[Row]:
    return _LINE.findall(octets.decode("utf-8", "backslashreplace") + "\n")


def records(rows: Sequence[Row]) -> list[AnyRecord | None]:
    """What the texts say, if they are of programs of Postfix's; None where one has another form.

    REMOVED as said by the queue manager.
    """
    found: list[AnyRecord | None] = []
    for (
        _, _, who, _, delivery, recipient, orig_to, relay, conn_use, delay, delays, tls, dsn,
        status, reason, sender, size, nrcpt, message_id, removed, client, content, client_host,
        client_ip, info_from, info_to, notification, behind,
    ) in rows:  # fmt: skip
        record: AnyRecord | None = None
        if delivery:
            uses = int(conn_use) if conn_use else 0
            record = Delivery(
                recipient, relay, float(delay), status, reason, dsn, delays, uses, orig_to, tls
            )
        elif size:
            record = QueueActive(sender, int(size), int(nrcpt))
        elif message_id:
            record = MessageId(message_id)
        elif removed:
            record = REMOVED
        elif client:
            record = read_client(f"client={client}")
        elif content:
            ip = "" if client_ip == "unknown" else client_ip
            record = HeaderInfo("info", "header", content, client_host, ip, info_from, info_to)
        elif notification:
            record = Notification("sender", "non-delivery", notification)
        elif who and not behind:
            record = IGNORED
        found.append(record)
    return found
