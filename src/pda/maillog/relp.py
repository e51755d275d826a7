"""RELP, the server's side: a stream of octets becomes syslog messages, and answers to them.

Owns the protocol of one session as librelp speaks it (doc/relp.md there): frames, their numbers,
`open`, `syslog` and `close`, and what is answered when. Knows neither sockets nor what a message
says, nor when it is durable: that it is told (`stored`).

- A message is answered when it has been stored, in the order of the numbers, and never with an
  error: librelp drops what is refused so. Who cannot store does not answer.
- `close` is answered after all messages.
- What breaks the protocol ends the session: its connection is to be closed, and the client begins
  anew with what was not answered. There is no other recovery.
- A message over the limit keeps its first octets; the rest is skipped and the session goes on.
"""

from __future__ import annotations

import re
from itertools import chain

from pda.maillog.framing import DEFAULT_LIMIT

__all__ = ["RelpError", "RelpServer"]

# TXNR SP COMMAND SP DATALEN, then SP DATA LF, or only LF where there is no data.
_HEADER = re.compile(rb"([0-9]{1,9}) ([a-zA-Z]{1,32}) ([0-9]{1,9})([ \n])")
_BEGINNING = re.compile(rb"(?:[0-9]{1,9}(?: (?:[a-zA-Z]{1,32}(?: (?:[0-9]{1,9})?)?)?)?)?")
_MESSAGE, _ANSWER = b"%d syslog %d %b\n", b"%d rsp 6 200 OK\n"
_LF = 0x0A
_WRONG_END = "a RELP frame that does not end where it says"
_LAST_NUMBER = 999_999_999
_ANSWERS = 1000
"""Put together at a time: a client that reads none of them must not fill the memory."""
# Version 0 is librelp's only one, and a client that is offered another gives up.
_OFFERS = b"200 OK\nrelp_version=0\nrelp_software=pda\ncommands=syslog"


class RelpError(Exception):
    """The session cannot go on; its connection is to be closed."""


class RelpServer:
    """One session: `feed` it what was read, tell it what is `stored`, send what is `outgoing`.

    The messages do not depend on how the stream was cut into pieces. Memory is bounded by `limit`
    (octets of one message) and the piece that is fed.
    """

    def __init__(self, limit: int = DEFAULT_LIMIT) -> None:
        self.limit = limit
        self.oversize = 0
        """Messages cut at the limit."""
        self.error: RelpError | None = None
        """Why the session ends here; the messages before that place were returned."""
        self.ended = False
        """The client's `close` has been answered: nothing more is to be expected or sent."""
        self._rest = b""
        self._skip = 0  # octets of an oversize message that are still to come
        self._cut = b""  # what is kept of it
        self._number = 0  # of the last frame
        self._open = False
        self._closed_by = 0  # the number of `close`
        self._waiting = 0  # messages that are not stored yet
        self._stored = 0  # messages that are stored and not answered yet
        self._answered = 0  # the number of the frame that was answered last
        self._outgoing = b""

    @property
    def unanswered(self) -> int:
        """Messages that were returned by `feed` and not answered by `outgoing` yet."""
        return self._waiting + self._stored

    def feed(self, data: bytes) -> list[bytes]:
        """The messages that `data` completes; look at `error` afterwards."""
        messages: list[bytes] = []
        if self.error is None:
            buffer = self._rest + data
            try:
                self._rest = buffer[self._take(buffer, messages) :]
            except RelpError as error:
                self.error, self._rest = error, b""
            self._waiting += len(messages)
        return messages

    def stored(self, count: int) -> None:
        """The next so many messages are stored."""
        self._waiting -= count
        self._stored += count

    def outgoing(self) -> bytes:
        """What is to be sent now; ask again until there is nothing more."""
        answers = [self._outgoing]
        self._outgoing = b""
        first, count = self._answered, min(self._stored, _ANSWERS)
        numbers = [number % _LAST_NUMBER + 1 for number in range(first, first + count)]
        answers.append(_ANSWER * count % tuple(numbers))
        if count:
            self._answered = _next(first + count - 1)
        self._stored -= count
        if self._closed_by and not self.unanswered and not self.ended:
            self.ended = True
            answers.append(b"%d rsp 0\n0 serverclose 0\n" % self._closed_by)
        return b"".join(answers)

    def _take(self, buffer: bytes, messages: list[bytes]) -> int:
        """Takes the frames that are whole; where the first other one begins."""
        position = self._take_messages(buffer, messages)
        while (end := self._step(buffer, position, messages)) > position:
            position = end
        return position

    def _take_messages(self, buffer: bytes, messages: list[bytes]) -> int:
        """Takes the messages of a buffer that has nothing else, as librelp sends them; or none.

        Three times faster than step by step, which is for whatever else.
        """
        if not self._open or self._closed_by or self._skip:
            return 0
        frames = buffer.split(b"\n")
        frames.pop()
        try:
            found = [frame.split(b" ", 3)[3] for frame in frames]
        except IndexError:
            return 0
        before, last = self._number, self._number + len(found)
        fields = zip(range(before + 1, last + 1), map(len, found), found, strict=True)
        # If these are their messages, this is how they were written.
        written = _MESSAGE * len(found) % tuple(chain.from_iterable(fields))
        if not buffer.startswith(written) or last > _LAST_NUMBER:
            return 0
        if max(map(len, found), default=0) > self.limit:
            return 0
        self._number = last
        messages += found
        return len(written)

    def _step(self, buffer: bytes, position: int, messages: list[bytes]) -> int:
        """Takes one frame, or some of an oversize one; where it ends, `position` for not yet."""
        if self._skip:
            return self._step_over(buffer, position, messages)
        header = _HEADER.match(buffer, position)
        if header is None:
            if not _BEGINNING.fullmatch(buffer, position):
                raise RelpError("something else than RELP")
            return position
        number, command, start = int(header[1]), header[2], header.end()
        end = start + int(header[3])
        if header[4] == b"\n":  # it is the end of the frame, which has no data
            start, end = start - 1, end - 1
            if end > start:
                raise RelpError("a RELP frame without its data")
        if number != _next(self._number):
            raise RelpError("a RELP frame out of its order")
        if end - start > self.limit:
            return self._cut_off(header, buffer)
        if end >= len(buffer):
            return position
        if buffer[end] != _LF:
            raise RelpError(_WRONG_END)
        self._number = number
        self._obey(command, buffer[start:end], messages)
        return end + 1

    def _cut_off(self, header: re.Match[bytes], buffer: bytes) -> int:
        """Keeps the first octets of a message over the limit, once they are all here."""
        end = header.end() + self.limit
        if header[2] != b"syslog":
            raise RelpError("a RELP command with too much data")
        if end > len(buffer):
            return header.start()
        self._number = int(header[1])
        self._cut = buffer[header.end() : end]
        self._skip = int(header[3]) - self.limit + 1  # and the end of the frame
        return end

    def _step_over(self, buffer: bytes, position: int, messages: list[bytes]) -> int:
        """Steps over the rest of a message that was cut."""
        end = min(len(buffer), position + self._skip)
        self._skip -= end - position
        if not self._skip:
            if buffer[end - 1] != _LF:
                raise RelpError(_WRONG_END)
            self.oversize += 1
            self._obey(b"syslog", self._cut, messages)
            self._cut = b""
        return end

    def _obey(self, command: bytes, data: bytes, messages: list[bytes]) -> None:
        if self._closed_by:
            raise RelpError("a RELP frame after 'close'")
        if command == b"syslog" and self._open:
            messages.append(data)
        elif command == b"open" and not self._open:
            self._open = True
            self._answered = self._number
            self._outgoing += b"%d rsp %d %s\n" % (self._number, len(_OFFERS), _OFFERS)
        elif command == b"close" and self._open:
            self._closed_by = self._number
        else:
            raise RelpError("a RELP command that is not known, or not at this place")


def _next(number: int) -> int:
    return number % _LAST_NUMBER + 1
