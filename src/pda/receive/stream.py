"""Connections of one listener: who may connect, and how all of them end.

Owns accepting, the maximum of connections, and that one connection's failure never hurts another.
What is said on a connection is its conversation's business.
"""

from __future__ import annotations

import errno
import logging
import socket
from collections.abc import Callable, Mapping
from typing import Protocol

import trio

from pda.receive.edge import BACKLOG, NOT_ALLOWED, Edge, bind, readable, wake_at
from pda.receive.listener import Address
from pda.receive.relp import Relp
from pda.receive.syslog import Syslog
from pda.receive.wire import Wire

log = logging.getLogger(__name__)

_NO_DESCRIPTOR = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
_NO_DESCRIPTOR_PAUSE = 0.1


class Conversation(Protocol):
    """What is said on one connection."""

    async def run(self) -> None:
        """Until it ends; what was read is handed on, whatever the end is."""

    def finish(self) -> None:
        """Begins the end, which `run` then comes to in bounded time."""


_CONVERSATIONS: Mapping[str, Callable[[Wire], Conversation]] = {
    "tcp": Syslog,
    "tls": Syslog,
    "relp": Relp,
    "relps": Relp,
}


async def serve_streams(
    edge: Edge, stop: trio.Event, task_status: trio.TaskStatus[Address]
) -> None:
    """Accept until `stop` is set, and then let every connection end."""
    listening = bind(edge.listener)
    async with trio.open_nursery() as nursery:
        connections = _Connections(edge, nursery)
        with listening as sock:
            task_status.started(sock.getsockname()[:2])
            nursery.start_soon(wake_at, stop, sock)
            while await readable(sock, stop):
                await connections.accept(sock)
            # Those that wait to be accepted may have sent already.
            await connections.accept(sock)
        connections.finish()


class _Connections:
    """The open connections of one listener."""

    def __init__(self, edge: Edge, nursery: trio.Nursery) -> None:
        self._edge = edge
        self._nursery = nursery
        self._converse = _CONVERSATIONS[edge.listener.protocol]
        self._open: set[Conversation] = set()

    async def accept(self, sock: socket.socket) -> None:
        """Take in the connections that wait."""
        for _ in range(BACKLOG):
            try:
                accepted, sender = sock.accept()
            except BlockingIOError:
                return
            except OSError as error:  # the peer has gone, or no descriptor is free (accept(2))
                self._edge.counters.connection_errors += 1
                if error.errno in _NO_DESCRIPTOR:
                    await trio.sleep(_NO_DESCRIPTOR_PAUSE)
                    return
                continue
            self._take_in(accepted, sender[0])

    def finish(self) -> None:
        """Ask every sender to end."""
        for conversation in self._open:
            conversation.finish()

    def _take_in(self, accepted: socket.socket, sender: str) -> None:
        if not self._welcomes(sender):
            accepted.close()
            return
        wire = Wire(accepted, sender, self._edge)
        conversation = self._converse(wire)
        self._open.add(conversation)
        self._edge.counters.connections += 1
        self._edge.counters.connections_open += 1
        self._nursery.start_soon(self._run, conversation, wire)

    def _welcomes(self, host: str) -> bool:
        counters = self._edge.counters
        if not self._edge.admits(host):
            counters.refused_senders += 1
            self._edge.complain(host, NOT_ALLOWED.format("connection"))
            return False
        if len(self._open) >= self._edge.listener.max_connections:
            counters.refused_connections += 1
            self._edge.complain(host, "refused a connection more than max_connections")
            return False
        return True

    async def _run(self, conversation: Conversation, wire: Wire) -> None:
        try:
            if await wire.open():
                await conversation.run()
        except Exception as error:  # one connection's failure never hurts another
            if _nobody_takes(error):
                raise
            self._edge.counters.connection_errors += 1
            if self._edge.complain(wire.sender, f"failed at a connection ({error!r})"):
                log.exception("how it failed")  # a mistake of ours; not for each that meets it
        finally:
            await wire.aclose()
            self._open.discard(conversation)
            self._edge.counters.connections_open -= 1


def _nobody_takes(error: Exception) -> bool:
    """Whether it says that nobody takes lines any more, which is all connections' business."""
    if isinstance(error, ExceptionGroup):
        return error.subgroup(trio.BrokenResourceError) is not None
    return isinstance(error, trio.BrokenResourceError)
