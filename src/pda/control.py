"""The running service's end of the local socket (mode 0600) over which it is given orders.

Owns the socket, and what becomes of an order that is not understood or fails. Whoever may open the
socket may do all of it; opened files come with the message (SCM_RIGHTS), so the service reads what
the caller may read and no path is sent.
"""

from __future__ import annotations

import array
import logging
import os
import socket
import struct
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TypeAlias

import msgspec
import trio

from pda.orders import ImportFile, Order, Reply

log = logging.getLogger(__name__)

_MOST_OCTETS = 64 * 1024


class CallerGoneError(OSError):
    """Who gave the order waits for no answer any more."""


class Caller:
    """Who gave an order: to be called with each answer (`CallerGoneError` where nobody listens)."""

    def __init__(self, peer: trio.socket.SocketType) -> None:
        import trio  # as in `serve`

        self.interrupted = trio.Event()
        """Set when it wants no more of what it asked for; not when it has just gone."""
        self.uid = _uid(peer)
        """Who it is, as the kernel says."""
        self._peer = peer

    async def __call__(self, reply: Reply) -> None:
        data = msgspec.json.encode(reply) + b"\n"
        try:
            while data:
                data = data[await self._peer.send(data) :]
        except OSError as error:
            raise CallerGoneError from error

    async def watch(self) -> None:
        """Until it says `orders.STOP`, or nothing more."""
        with suppress(OSError):
            if await self._peer.recv(1024):
                self.interrupted.set()


Handler: TypeAlias = Callable[[Order, list[int], Caller], Awaitable[None]]
"""Takes an order, its descriptors (to be closed), and a way to answer."""


async def serve(
    path: Path,
    handle: Handler,
    *,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Takes orders until cancelled. The caller holds the write lock: an old socket is removed."""
    _remove(path)
    sock = trio.socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    before = os.umask(0o177)
    try:
        await sock.bind(str(path))
    finally:
        os.umask(before)
    sock.listen()
    task_status.started()
    try:
        # It also outlasts the moments in which the process has no descriptor left.
        await trio.serve_listeners(partial(_one, handle), [trio.SocketListener(sock)])
    finally:
        sock.close()
        _remove(path)


def _remove(path: Path) -> None:
    with suppress(FileNotFoundError):
        path.unlink()


async def _one(handle: Handler, stream: trio.SocketStream) -> None:
    """One connection brings one order."""
    peer = stream.socket
    caller = Caller(peer)
    with peer, suppress(CallerGoneError):
        try:
            order, descriptors = await _receive(peer)
        except (OSError, ValueError, msgspec.DecodeError) as error:
            await caller(Reply(final=True, error=f"the order is not understood: {error}"))
            return
        async with trio.open_nursery() as nursery:
            nursery.start_soon(caller.watch)
            await _obey(handle, order, descriptors, caller)
            nursery.cancel_scope.cancel()


async def _obey(handle: Handler, order: Order, descriptors: list[int], caller: Caller) -> None:
    try:
        await handle(order, descriptors, caller)
    except CallerGoneError:
        pass
    except Exception as error:  # an order that fails must not end the service
        log.exception("the order %s failed", type(order).__name__)
        with suppress(CallerGoneError):
            await caller(Reply(final=True, error=f"the service failed: {error}"))


async def _receive(peer: trio.socket.SocketType) -> tuple[Order, list[int]]:
    """An order, with one descriptor if it is about a file. Raises ValueError, keeps none then."""
    data, ancillary, _, _ = await peer.recvmsg(_MOST_OCTETS, socket.CMSG_SPACE(4))
    descriptors = _descriptors(ancillary)
    try:
        order: Order = msgspec.json.decode(data, type=Order)
        if len(descriptors) != isinstance(order, ImportFile):
            raise ValueError(f"{len(descriptors)} descriptors came with it")  # noqa: TRY301
    except (ValueError, msgspec.DecodeError):
        for descriptor in descriptors:
            os.close(descriptor)
        raise
    return order, descriptors


def _uid(peer: trio.socket.SocketType) -> int:
    """Of the process at the other end (SO_PEERCRED: pid, uid, gid)."""
    found = peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    return int(struct.unpack("3i", found)[1])


def _descriptors(ancillary: list[tuple[int, int, bytes]]) -> list[int]:
    found = array.array("i")
    for level, kind, data in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            found.frombytes(data[: len(data) - len(data) % found.itemsize])
    return list(found)
