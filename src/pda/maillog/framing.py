"""RFC 6587: a stream of octets, cut anywhere, becomes syslog frames.

Owns the detection of the framing, frame by frame, and the limits of one stream. Knows neither
sockets nor what a frame says. What rsyslog, syslog-ng and Vector do differs; the rules here are:

- `MSG-LEN SP` before `<` is octet counting (RFC 6587 §3.4.1). MSG-LEN has at most 8 digits. Any
  other digit begins a text: a message may start with a year.
- Everything else is non-transparent framing (§3.4.2): LF, CRLF or NUL ends a frame. Empty frames
  are keep-alives of some senders and vanish.
- A frame over the limit keeps its first octets; the rest is skipped and the stream goes on. One
  without count that has no end for very long never will: its stream is broken.
- A stream that cannot be syslog, or has lost its count, is broken: it ends there.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

__all__ = ["DEFAULT_LIMIT", "FrameDecoder", "FramingError", "trim", "trimmed"]

DEFAULT_LIMIT = 65536
"""Octets of one frame; syslog-ng's default, and more than any UDP datagram holds."""

_ENDLESS = 256
"""Limits of a frame that a text may have without an end: 16 MiB."""

_TRAILER = b"\r\n\0"
_TEXT_END = re.compile(rb"[\n\0]")
# MSG-LEN SP SYSLOG-MSG, where SYSLOG-MSG begins with its PRI; some senders add a trailer (§3.4.1).
_MSG_LEN = re.compile(rb"[\n\0]?([1-9][0-9]{0,7}) (?=<)")
# One pattern for each trailer: `re` finds a first literal ten times faster than a first class.
_NEXT_MSG_LEN = tuple(re.compile(end + rb"(?=[1-9][0-9]{0,7} <)") for end in (b"\n", b"\0"))
# What strays to a plain port: a control octet first (a TLS record begins with 0x16), or HTTP.
_FOREIGN = re.compile(rb"[\x01-\x08\x0b\x0c\x0e-\x1f]|[A-Z]{3,8} [^ \n\0]+ HTTP/")


class FramingError(Exception):
    """The stream cannot be read any further; its connection is to be closed."""


def trim(frame: bytes) -> bytes:
    """The frame without the trailer that senders leave in counted frames and in datagrams."""
    return frame.rstrip(_TRAILER)


def trimmed(frames: Iterable[bytes]) -> list[bytes]:
    """The frames without such trailers; of those that have nothing else, nothing."""
    return [line for frame in frames if (line := frame.rstrip(_TRAILER))]


class FrameDecoder:
    """The frames of one stream: `feed` it what was read, then `close` it at its end.

    The frames do not depend on how the stream was cut into pieces. Memory is bounded by `limit`
    (octets of one frame) and the piece that is fed.
    """

    def __init__(self, limit: int = DEFAULT_LIMIT) -> None:
        self.limit = limit
        self.oversize = 0
        """Frames cut at the limit."""
        self.incomplete = 0
        """Counted frames whose end never came."""
        self.error: FramingError | None = None
        """Why the stream ends here; the frames before that place were returned."""
        self._rest = b""
        self._untouched = True  # no octet of the stream was consumed
        self._counts = False  # this stream had a counted frame
        self._skip_octets = 0  # octets of an oversize counted frame that are still to come
        self._skip_text = False  # inside an oversize text
        self._length = 0  # octets of that text so far

    def feed(self, data: bytes) -> list[bytes]:
        """The frames that `data` completes; look at `error` afterwards."""
        frames: list[bytes] = []
        if self.error:
            return frames
        buffer, position = self._rest + data, 0
        if self._untouched and _FOREIGN.match(buffer, 0, self.limit):
            self.error = FramingError("TLS, HTTP or something else that is not syslog")
        while not self.error and (end := self._step(buffer, position, frames)) > position:
            position = end
            self._untouched = False
        self._rest = b"" if self.error else buffer[position:]
        return frames

    def close(self) -> bytes | None:
        """The text without trailer that the stream ended with; it may have been cut anywhere.

        A counted frame that ended early is known to be cut: it is counted, not returned.
        """
        rest, self._rest = self._rest, b""
        if self._skip_text or self.error:
            return None
        if self._skip_octets or _MSG_LEN.match(rest):
            self.incomplete += 1
            return None
        return trim(rest) or None

    def _step(self, buffer: bytes, position: int, frames: list[bytes]) -> int:
        """Take what can be taken at `position`; where it ends, or `position` if more is needed."""
        if self._skip_octets or self._skip_text:
            return self._skip_oversize(buffer, position)
        if _MSG_LEN.match(buffer, position):
            self._counts = True
            return self._take_counted(buffer, position, frames)
        return self._take_texts(buffer, position, frames)

    def _take_counted(self, buffer: bytes, position: int, frames: list[bytes]) -> int:
        """Octet counting, as many frames as there are in a row."""
        size, match, append = len(buffer), _MSG_LEN.match, frames.append
        while header := match(buffer, position):
            start = header.end()
            end = start + int(header[1])
            if end > size or end - start > self.limit:
                return self._take_oversize(buffer, header, frames)
            append(buffer[start:end].rstrip(_TRAILER))
            position = end
        return position

    def _take_oversize(self, buffer: bytes, header: re.Match[bytes], frames: list[bytes]) -> int:
        """The first octets of a frame over the limit; a frame that is not all here has to wait."""
        length, end = int(header[1]), header.end() + self.limit
        if length <= self.limit or end > len(buffer):
            return header.start()
        frames.append(trim(buffer[header.end() : end]))
        self.oversize += 1
        self._skip_octets = length - self.limit
        return end

    def _take_texts(self, buffer: bytes, position: int, frames: list[bytes]) -> int:
        """Non-transparent framing, up to the last trailer or the next counted frame."""
        last = _end_of_texts(buffer, position)
        if last >= 0:
            end = last + 1
        elif len(buffer) - position > self.limit:
            end = last = len(buffer)
            self._skip_text, self._length = True, end - position
            self._bound(self._length)
        else:
            return position
        octets = buffer[position:last]
        texts = octets.replace(b"\0", b"\n").split(b"\n")
        if max(map(len, texts)) > self.limit:
            texts = self._cut(texts)
        if b"\r" in octets:
            texts = [text.rstrip(b"\r") for text in texts]
        frames += filter(None, texts)
        return end

    def _cut(self, texts: list[bytes]) -> list[bytes]:
        """The texts within the limit; or those before the first over it, if the stream counts."""
        cut = []
        for text in texts:
            if len(text) > self.limit:
                if self._counts:
                    self.error = FramingError("the octet count was lost: no frame ends in time")
                    break
                self.oversize += 1
                self._bound(len(text))
            cut.append(text[: self.limit])
            if self.error:
                break
        return cut

    def _bound(self, length: int) -> None:
        """Of a text: what is so long is no line."""
        if length > _ENDLESS * self.limit:
            self.error = FramingError("a line that does not end")

    def _skip_oversize(self, buffer: bytes, position: int) -> int:
        """Step over the rest of a frame that was cut."""
        if self._skip_octets:
            end = min(len(buffer), position + self._skip_octets)
            self._skip_octets -= end - position
            return end
        found = _TEXT_END.search(buffer, position)
        self._skip_text = found is None
        self._length += (found.start() if found else len(buffer)) - position
        self._bound(self._length)
        return found.end() if found else len(buffer)


def _end_of_texts(buffer: bytes, position: int) -> int:
    """Where the texts in a row end: before the next counted frame or at the last trailer, or -1."""
    found = [pattern.search(buffer, position) for pattern in _NEXT_MSG_LEN]
    if counted := [match.start() for match in found if match]:
        return min(counted)
    return max(buffer.rfind(b"\n", position), buffer.rfind(b"\0", position))
