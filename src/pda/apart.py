"""Reading a large file in a process of its own: work for the other core.

Owns both ends: the job that goes to the process, and the frames with parts that come back. What a
part says is worked out there, as far as that can be done without knowing what is stored: of most
queue entries up to their rows.
"""

from __future__ import annotations

import fcntl
import os
import select
import signal
import struct
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from functools import lru_cache, partial
from io import RawIOBase
from typing import BinaryIO, NoReturn, TypeVar

import msgspec

from pda import backfill, config, shipped
from pda.backfill import BackfillError, Chunk, LogFile, is_plain
from pda.bindings import client_rules
from pda.maillog import bounce
from pda.maillog.pipeline import Hosts, Pipeline, Tally
from pda.maillog.wholes import whole, worked_out
from pda.reading import FileReader, Part, Wanted
from pda.store.imports import Import
from pda.store.sheets import Sheets
from pda.tuning import tune

WORTH_A_PROCESS = 4 * 1024 * 1024
"""Octets of a log, unpacked, that are read by a process of its own."""
_PACKED = 8
"""How many octets of a log one of an archive stands for, or more."""
_LENGTH = struct.Struct(">I")
_T = TypeVar("_T")
_MEGABYTES = 2
"""Of a log, in a part: the larger, the more queue entries are whole in it."""
_AHEAD = 8
"""Parts, of a megabyte or two, that are made before somebody asks for them."""
_PIPE = 1024 * 1024
"""Octets: as much of the next part may be ready."""


class Task(msgspec.Struct, frozen=True):
    """How lines are read, and judged: the same for all files."""

    rules: bytes
    """The rule list."""
    hosts: Hosts
    clients: config.ClientSettings

    @classmethod
    def of(cls, settings: config.Settings, rules: bytes) -> Task:
        """As the settings say, with these rules."""
        hosts = Hosts(settings.hosts.aliases, settings.hosts.full_names)
        return cls(rules, hosts, settings.clients)


class Job(msgspec.Struct, frozen=True):
    """One file."""

    task: Task
    name: str
    descriptor: int
    wanted: Wanted
    head: bytes
    known: Import | None


def likely_job(settings: config.Settings, file: LogFile, wanted: Wanted) -> Job | None:
    """What will be asked about a file unless it is known, which it hardly ever is.

    None where rules are in force that this process has not read.
    """
    if settings.rules.file:
        return None
    task = Task.of(settings, shipped.rule_list())
    return Job(task, file.name, file.descriptor, wanted, backfill.head(file), None)


class Frame(msgspec.Struct, frozen=True):
    """A part and what became of its lines; without a part the end."""

    tally: Tally
    part: Part | None = None
    checkpoint: Import | None = None
    error: str = ""
    """Why the rest cannot be read."""


def is_worth_a_process(file: LogFile, octets: int = WORTH_A_PROCESS) -> bool:
    """Whether there is a processor for it, and at least so many octets, unpacked, to read."""
    if (os.cpu_count() or 1) == 1 or file.is_stream:
        return False
    return file.size * (1 if is_plain(file) else _PACKED) >= octets


# --- This side ------------------------------------------------------------------------------------


class Process:
    """A process that reads files, one after the other, until it is ended."""

    def __init__(self, end: Callable[[], None], jobs: int, frames: int) -> None:
        self._end = end
        self._jobs, self._frames = jobs, frames
        with suppress(OSError):  # more than a user may have
            fcntl.fcntl(frames, fcntl.F_SETPIPE_SZ, _PIPE)

    @classmethod
    def forked(cls, likely: Job | None = None) -> Process:
        """As this one is, with all files that are open now: for one without threads.

        It begins with the job that is likely to be given first.
        """
        theirs, jobs = os.pipe()
        frames, ours = os.pipe()
        pid = os.fork()
        if not pid:
            os.close(jobs)
            os.close(frames)
            _serve(os.fdopen(theirs, "rb"), os.fdopen(ours, "wb"), likely)
        os.close(theirs)
        os.close(ours)
        return cls(partial(_end, pid), jobs, frames)

    @classmethod
    def spawned(cls, descriptor: int) -> Process:
        """A new one, with one open file."""
        command = [sys.executable, "-m", "pda.apart"]
        theirs, jobs = os.pipe()
        frames, ours = os.pipe()
        try:
            process = subprocess.Popen(  # noqa: S603 nothing in it is anybody's
                command, stdin=theirs, stdout=ours, pass_fds=[descriptor]
            )
        finally:
            os.close(theirs)
            os.close(ours)

        def end() -> None:
            process.kill()
            process.wait()

        return cls(end, jobs, frames)

    def give(self, job: Job) -> None:
        """Begins with a file; it has no other one now."""
        octets = msgspec.msgpack.encode(job)
        with suppress(BrokenPipeError), open(self._jobs, "wb", closefd=False) as jobs:
            _send(jobs, octets)  # if it has ended, `frame` says so

    def frame(self) -> Frame:
        """The next one; blocks. Raises `EOFError` if there is none."""
        with open(self._frames, "rb", closefd=False, buffering=0) as frames:
            (length,) = _LENGTH.unpack(_exactly(frames, _LENGTH.size))
            return _decode(_exactly(frames, length))

    def end(self) -> None:
        """Kills it and waits."""
        self._end()
        os.close(self._jobs)
        os.close(self._frames)


def _end(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)


class ReadApart:
    """Reads one file in another process; one that is spawned for it ends when this is left."""

    def __init__(self, job: Job, tally: Tally, process: Process | None) -> None:
        self._job = job
        self._tally = tally
        self._keep = process is not None
        self._process = process or Process.spawned(job.descriptor)
        self._checkpoint: Import | None = None

    async def __aenter__(self) -> ReadApart:
        await _in_thread(partial(self._process.give, self._job))
        return self

    async def __aexit__(self, *_: object) -> None:
        if not self._keep:
            self._process.end()

    async def part(self) -> Part | None:
        """What the next lines say; None at the end. Raises `BackfillError`."""
        try:
            frame = await _in_thread(self._process.frame)
        except EOFError:
            raise BackfillError(
                f"{self._job.name}: the process that reads it has ended; import it again for the"
                " rest"
            ) from None
        self._tally.add(frame.tally)
        if frame.part is None:
            self._checkpoint = frame.checkpoint
        if frame.error:
            raise BackfillError(frame.error)
        return frame.part

    async def checkpoint(self, *, complete: bool) -> Import | None:  # noqa: ARG002 as it knows
        """How far the file was read, once that is known: at its end."""
        return self._checkpoint


async def _in_thread(function: Callable[[], _T]) -> _T:
    import trio  # not for the other process

    return await trio.to_thread.run_sync(function, abandon_on_cancel=True)


def _exactly(file: RawIOBase, octets: int) -> bytearray:
    """They stand in memory once: a frame has some megabytes."""
    found = bytearray(octets)
    left = memoryview(found)
    while left:
        many = file.readinto(left)
        if not many:
            raise EOFError
        left = left[many:]
    return found


_decode = msgspec.msgpack.Decoder(Frame).decode

# --- The other side -------------------------------------------------------------------------------


def main() -> None:
    """Jobs on standard input, frames to standard output."""
    _serve(sys.stdin.buffer, sys.stdout.buffer)


def _serve(jobs: BinaryIO, frames: BinaryIO, likely: Job | None = None) -> NoReturn:
    """Reads files until nobody has another one, or wants the rest; the process ends here."""
    for number in (signal.SIGINT, signal.SIGTERM):  # meant for whoever gives the jobs
        signal.signal(number, signal.SIG_IGN)
    tune()
    _rules(shipped.rule_list())  # most likely wanted; there is time until the first job comes
    begun = ahead(likely, lambda: not select.select([jobs], [], [], 0)[0]) if likely else []
    decode = msgspec.msgpack.Decoder(Job).decode
    with suppress(BrokenPipeError):
        while length := jobs.read(_LENGTH.size):
            job = decode(jobs.read(*_LENGTH.unpack(length)))
            for frame in begun if job == likely else _frames(job):
                _send(frames, frame)
                del frame  # some megabytes, while the next one is made
            begun, likely = [], None
    os._exit(0)


def ahead(job: Job, is_time: Callable[[], bool]) -> Iterable[bytes]:
    """The frames of a job; the first ones are made now, as long as there is time."""
    frames = _frames(job)
    begun: deque[bytes] = deque()
    while len(begun) < _AHEAD and is_time() and (frame := next(frames, None)):
        begun.append(frame)
    return _emptied(begun, frames)


def _emptied(begun: deque[bytes], rest: Iterator[bytes]) -> Iterator[bytes]:
    while begun:
        yield begun.popleft()
    yield from rest


def _send(out: BinaryIO, octets: bytes) -> None:
    out.write(_LENGTH.pack(len(octets)))
    out.write(octets)
    out.flush()


def _frames(job: Job) -> Iterator[bytes]:
    """What is said about a file, as octets."""
    return map(msgspec.msgpack.Encoder().encode, _parts(job))


def _parts(job: Job) -> Iterator[Frame]:
    task, clients, sheets = job.task, client_rules(job.task.clients), Sheets()
    pipeline = Pipeline(_rules(task.rules), task.hosts)
    file = LogFile(job.name, job.descriptor)
    zone = config.zone(job.wanted.zone)
    reader = FileReader(pipeline, file, job.wanted, zone, job.head, job.known)
    error = ""

    def frame(chunk: Chunk) -> Frame:
        part = reader.parse(chunk)
        lives, part.told = worked_out(part.told, clients)
        if lives:
            part.sheet = sheets.of(lives, [*map(whole, lives)])
        tally, pipeline.tally = pipeline.tally, Tally()
        return Frame(tally, part)

    try:
        # Nothing of a part is kept here while the next one is worked out.
        yield from map(frame, reader.chunks(_MEGABYTES))
    except BackfillError as problem:
        error = str(problem)
    checkpoint = reader.checkpoint(complete=not error)
    yield Frame(Tally(), checkpoint=checkpoint, error=error)


@lru_cache(1)
def _rules(xml: bytes) -> bounce.Rules:
    return bounce.load(xml)


if __name__ == "__main__":
    main()
