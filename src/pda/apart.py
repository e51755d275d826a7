"""Reading a large file in a process of its own: work for the other core.

Owns both ends: the job that goes to the process, and the frames with parts that come back. What a
part says is worked out there, as far as that can be done without knowing what is stored.
"""

from __future__ import annotations

import fcntl
import signal
import struct
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from typing import BinaryIO, TypeAlias

import msgspec

from pda import config
from pda.backfill import BackfillError, LogFile
from pda.bindings import client_rules
from pda.maillog import bounce
from pda.maillog.correlate import work_out
from pda.maillog.pipeline import Hosts, Pipeline, Tally
from pda.reading import FileReader, Part, Wanted
from pda.store.imports import Import

_LENGTH = struct.Struct(">I")
_PIPE = 1024 * 1024
"""Octets: as much of the next part may be ready."""


class Task(msgspec.Struct, frozen=True):
    """How lines are read, and judged: the same for all files."""

    rules: bytes
    """The rule list."""
    hosts: Hosts
    clients: config.ClientSettings


class Job(msgspec.Struct, frozen=True):
    """One file."""

    task: Task
    name: str
    descriptor: int
    wanted: Wanted
    head: bytes
    known: Import | None


class Frame(msgspec.Struct, frozen=True):
    """A part and what became of its lines; without a part the end."""

    tally: Tally
    part: Part | None = None
    checkpoint: Import | None = None
    error: str = ""
    """Why the rest cannot be read."""


Compute: TypeAlias = Callable[[Callable[[bytes], Frame], bytes], Awaitable[Frame]]
"""Runs a function in a thread."""


# --- This side ------------------------------------------------------------------------------------


class ReadApart:
    """Reads one file in another process, which ends when this is left."""

    def __init__(self, job: Job, tally: Tally, compute: Compute) -> None:
        self._job = job
        self._tally = tally
        self._compute = compute
        self._checkpoint: Import | None = None

    async def __aenter__(self) -> ReadApart:
        import trio  # not for the other process

        self._process = await trio.lowlevel.open_process(
            [sys.executable, "-m", "pda.apart"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            pass_fds=[self._job.descriptor],
        )
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None
        assert isinstance(stdout, trio.lowlevel.FdStream)
        with suppress(OSError):  # more than a user may have
            fcntl.fcntl(stdout.fileno(), fcntl.F_SETPIPE_SZ, _PIPE)
        self._frames = stdout
        with suppress(trio.BrokenResourceError):  # it has ended: `part` says so
            await stdin.send_all(msgspec.msgpack.encode(self._job))
        await stdin.aclose()
        return self

    async def __aexit__(self, *_: object) -> None:
        import trio

        with trio.CancelScope(shield=True):
            self._process.kill()
            await self._process.wait()
            await self._frames.aclose()

    async def part(self) -> Part | None:
        """What the next lines say; None at the end. Raises `BackfillError`."""
        octets = await self._exactly(_LENGTH.size)
        frame = await self._compute(_decode, await self._exactly(*_LENGTH.unpack(octets)))
        self._tally.add(frame.tally)
        if frame.part is None:
            self._checkpoint = frame.checkpoint
        if frame.error:
            raise BackfillError(frame.error)
        return frame.part

    async def checkpoint(self, *, complete: bool) -> Import | None:
        """How far the file was read, once that is known: at its end."""
        return self._checkpoint if complete or self._checkpoint is not None else None

    async def _exactly(self, octets: int) -> bytes:
        found = bytearray()
        while len(found) < octets:
            more = await self._frames.receive_some(octets - len(found))
            if not more:
                name = self._job.name
                raise BackfillError(
                    f"{name}: the process that reads it has ended; import it again for the rest"
                )
            found += more
        return bytes(found)


_decode = msgspec.msgpack.Decoder(Frame).decode

# --- The other side -------------------------------------------------------------------------------


def main() -> None:
    """Reads the file of the job on standard input, frames to standard output."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # meant for whoever gave the job
    job = msgspec.msgpack.decode(sys.stdin.buffer.read(), type=Job)
    encode = msgspec.msgpack.Encoder().encode
    with suppress(BrokenPipeError):  # nobody wants the rest
        for frame in _frames(job):
            _send(sys.stdout.buffer, encode(frame))


def _send(out: BinaryIO, octets: bytes) -> None:
    out.write(_LENGTH.pack(len(octets)))
    out.write(octets)
    out.flush()


def _frames(job: Job) -> Iterator[Frame]:
    task, clients = job.task, client_rules(job.task.clients)
    pipeline = Pipeline(bounce.load(task.rules), task.hosts)
    file = LogFile(job.name, job.descriptor)
    zone = config.zone(job.wanted.zone)
    reader = FileReader(pipeline, file, job.wanted, zone, job.head, job.known)
    error = ""
    try:
        for chunk in reader.chunks():
            part = reader.parse(chunk)
            work_out(part.told, clients)
            tally, pipeline.tally = pipeline.tally, Tally()
            yield Frame(tally, part)
    except BackfillError as problem:
        error = str(problem)
    checkpoint = reader.checkpoint(complete=not error)
    yield Frame(Tally(), checkpoint=checkpoint, error=error)


if __name__ == "__main__":
    main()
