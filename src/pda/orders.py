"""Orders to the running service, and the end of whoever gives them.

Owns the messages that go over the local socket (mode 0600), and how a command sends and reads
them. Whoever may open the socket may do all of it. Needs no Trio, so that commands which only ask
begin at once; the service's end is `control`.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path
from typing import TypeAlias

import msgspec

from pda.store.accounts import AddToken, PutUser, RemoveToken, RemoveUser
from pda.store.erasure import EraseAddress

STOP = b"stop\n"
"""Sent after an order: no more of it is wanted."""


class GetStatus(msgspec.Struct, frozen=True, tag="status"):
    """How is the service?"""


Edit: TypeAlias = PutUser | RemoveUser | AddToken | RemoveToken | EraseAddress
"""Those edits that can be ordered; others are asked for over HTTP only."""


class MakeEdit(msgspec.Struct, frozen=True, tag="edit"):
    """Change something in the store; the answer is what comes of it."""

    edit: Edit


class ImportFile(msgspec.Struct, frozen=True, tag="import"):
    """Import the file whose descriptor comes with this message, until it is interrupted."""

    name: str
    zone: str = ""
    """Of stamps without one; empty: as configured, like the mail host of lines without one."""
    hostname: str = ""
    since: int | None = None
    """µs since the epoch, inclusive, as `until`."""
    until: int | None = None
    again: bool = False
    """Also what is known already."""


class ReloadRules(msgspec.Struct, frozen=True, tag="reload-rules"):
    """Read the rule list again."""


class TestAlerts(msgspec.Struct, frozen=True, tag="test-alerts"):
    """Send an alert that means nothing, at once; the answer is where to, and what came of it."""

    __test__ = False


Order: TypeAlias = GetStatus | MakeEdit | ImportFile | ReloadRules | TestAlerts


class Reply(msgspec.Struct, frozen=True):
    """One of the answers to an order; the last one is `final`."""

    final: bool
    error: str = ""
    body: msgspec.Raw = msgspec.Raw(b"null")


def running(path: Path) -> socket.socket | None:
    """A connection to the service, or None where none runs."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        sock.connect(str(path))
    except OSError:
        sock.close()
        return None
    return sock


def ask(sock: socket.socket, order: Order, descriptors: list[int] | None = None) -> Iterator[Reply]:
    """Sends an order and gives the answers; for programs without Trio."""
    with sock:
        socket.send_fds(sock, [msgspec.json.encode(order)], descriptors or [])
        with sock.makefile("rb") as answers:
            for line in answers:
                yield msgspec.json.decode(line, type=Reply)


def interrupt(sock: socket.socket) -> None:
    """Tells the service that no more of the order is wanted; its last answer still comes."""
    sock.sendall(STOP)
