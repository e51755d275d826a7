"""How most lines of a log begin, found in all of a block of lines by one pattern.

Owns the forms that make up nearly every log: a header as most have it, then a text about a queue
entry, which `postfix` reads, or one of those that are ignored. Each is narrower than what `syslog`
and `postfix` read of a whole line, and says the same (tests/maillog/test_usual.py); whatever has
another form is left to them. Nothing can be forged: no form crosses a line, and each begins where
its line begins.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TypeAlias

Row: TypeAlias = tuple[str, ...]
"""What the groups of the pattern found in a line, in their order; empty where they found nothing:
stamp, its fraction, the key of an origin, queue id, text behind that, and, with the process id,
what has another form. Nothing but the first three: what is ignored."""

# Everything is bounded, so that no text is longer than one of Postfix's may be. What may cross a
# line feed, as it is matched faster so, is found out by the number of rows. `(?:…|)` costs less
# than `(?:…)?`, what gives nothing back (`+` behind) less than what may, and a set of three
# characters less than one of two, for which there is no table.
_HEADER = (
    r"(?:<\d{1,3}+>|)(?P<stamp>[^:]{1,20}+:\d\d:[0-5]\d)(?:\.(?P<fraction>\d{1,6}+)|)"
    r"(?P<who>[^0-9.[\n][^[\r\n]{0,300}+)"
)
# Without lower-case vowels (global/safe_ultostr.c): no word that may stand in its place is like it.
_ID = r"(?P<queue_id>[0-9A-F][0-9A-Zb-df-hj-np-tv-z]{5,30}+): "
_IGNORED = (
    r"(?:connect from|disconnect from|connect to|statistics:|warning:|lost connection"
    r"|(?:Anonymous|Trusted|Untrusted|Verified) TLS) .{0,3000}+"
)
_LINE = re.compile(
    rf"{_HEADER}(?:\[\d{{1,10}}+\]: (?:{_ID}(?:(?:host|lost|conversation) .{{0,3000}}+"
    rf"|(?P<text>.{{1,3000}}+))|{_IGNORED})\n|(?P<behind>\[.*+)\n)|.*+\n",
    re.ASCII,
)
_ENDS = b"\r\n\0"


def rows(lines: Sequence[bytes]) -> Sequence[Row]:
    """A row for each line."""
    octets = b"\n".join(lines)
    if b"\r" in octets or b"\0" in octets:
        octets = b"\n".join([line.strip(_ENDS) for line in lines])
    if b"\n" not in b"".join(lines):  # ten times faster than to count those of `octets`
        found = _find(octets)
        if len(found) == len(lines):
            return found
    # A line that holds a line feed, or one that would be the beginning of another one.
    return [row for line in lines for row in _find(b"" if b"\n" in line else line.strip(_ENDS))]


def _find(octets: bytes) -> list[Row]:
    return _LINE.findall(octets.decode("utf-8", "backslashreplace") + "\n")
