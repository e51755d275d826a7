"""The receiving edge: sockets become batches of lines on a channel.

    listener.py   what may be listened at; what is handed on and counted
    edge.py       what all sockets of one listener share
    udp.py        datagrams (RFC 5426)
    stream.py     connections: who may connect, how all of them end
      wire.py       one connection's octets, and how long it is waited for
      syslog.py     its conversation: lines by TCP (RFC 6587)
      relp.py       its conversation: RELP, acknowledged once it is stored

Owns listeners, connections, their limits and what is counted about them. Knows no word of what
a line says: it finds frames and hands them on as octets.

The channel is bounded: while it is full no connection is read, and TCP slows its sender down. A
datagram cannot be slowed down; the kernel's buffer is large, and what it drops is counted.
A graceful stop loses nothing that a sender has sent before it could see the stop.
"""

from __future__ import annotations

import trio

from pda.receive.edge import Edge
from pda.receive.listener import (
    ACKNOWLEDGED,
    WITH_TLS,
    Address,
    Counters,
    Lines,
    Listener,
    Network,
    Protocol,
)
from pda.receive.stream import serve_streams
from pda.receive.udp import serve_udp

__all__ = [
    "ACKNOWLEDGED", "WITH_TLS",
    "Address", "Counters", "Lines", "Listener", "Network", "Protocol",
    "serve",
]  # fmt: skip


async def serve(
    listener: Listener,
    channel: trio.MemorySendChannel[Lines],
    counters: Counters,
    stop: trio.Event,
    *,
    task_status: trio.TaskStatus[Address] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Receive for `listener` until `stop` is set; started with the address it listens at.

    All that was received before is handed on, then `channel` is closed: give each server a clone.
    Raises OSError when the address cannot be listened at.
    """
    edge = Edge(listener, channel, counters)
    async with channel:
        if listener.protocol == "udp":
            await serve_udp(edge, stop, task_status)
        else:
            await serve_streams(edge, stop, task_status)
