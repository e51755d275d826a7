"""What the web needs of the rest: readers of the store, the running service, settings.

Owns these contracts only. Whoever wires the service implements `Service`; no page or API may know
more of it. Times are µs since the epoch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Protocol, TypeAlias

import msgspec
from msgspec import Meta

from pda.maillog.events import Failure, Verdict
from pda.store.alerts import Finding
from pda.store.audit import Author
from pda.store.database import Connection
from pda.store.edits import Edit, T
from pda.store.queries import Bounds
from pda.store.readers import Readers
from pda.store.suppressions import Thresholds

TEST_RECIPIENT = "test@pda-test.invalid"
"""Of the message that somebody tries with."""
OriginalCategory: TypeAlias = Callable[[Verdict], str]
"""The original's name for a verdict: `pda.maillog.bounce.original_category`."""


class Pace(msgspec.Struct, frozen=True):
    """How quickly something goes on."""

    now: Annotated[float, Meta(description="A second, in the last ten seconds.")] = 0.0
    lately: Annotated[float, Meta(description="A second, in the last five minutes.")] = 0.0
    line: Annotated[
        Sequence[float],
        Meta(description="A second, over the last quarter of an hour, in steps of equal length."),
    ] = ()


class ListenerStatus(msgspec.Struct, frozen=True, kw_only=True):
    """A socket that lines are received from."""

    protocol: str
    """`udp`, `tcp` …"""
    address: str
    """As bound, with the port: `127.0.0.1:5514`, `[::1]:5514`."""
    last_line_at: int
    """0 where none has come yet."""
    counters: Mapping[str, int]
    """By the names of `receive.Counters`, without `last_line_at`."""
    dropped: Mapping[str, int] = {}
    """Those of them that tell of lines that were not taken, or not whole; but for zeros."""
    pace: Pace = Pace()
    """Lines."""


class RunningImport(msgspec.Struct, frozen=True, kw_only=True):
    """A file that is being imported."""

    name: str
    octets: int
    """Read so far, as they stand in the file."""
    size: int
    """Octets of the file; 0 where it is not known."""
    lines: int
    pace: Pace = Pace()
    """Lines."""


class RulesStatus(msgspec.Struct, frozen=True, kw_only=True):
    """The rule list in force, and how far history was judged by it."""

    source: str
    """A file, an address, or that it came with pda."""
    rules: int
    digest: str
    loaded_at: int
    refused: str
    """Why the last reload left an older list in force; empty if it did not."""
    refused_at: int
    """0 where nothing was refused."""
    entries: int
    entries_left: int
    """Queue entries whose verdicts may still be those of an earlier list."""
    changed: int
    """Attempts that got another verdict."""
    judged_at: int
    """When all of history was judged; 0 while it is not."""


class Draft(msgspec.Struct, frozen=True, kw_only=True):
    """A rule that is being written, as it was filled in."""

    id: str = ""
    category: str = ""
    type: str = ""
    """Empty: what the category says of a final failure."""
    on: str = "reply"
    """What its patterns are looked for in: `reply` or `text`."""
    dsn: str = ""
    """Pattern of the enhanced status code; empty where any will do."""
    patterns: tuple[str, ...] = ()
    before: str = ""
    """Id of the rule before which it is to stand; empty: it is the last one."""


class RuleBook(Protocol):
    """The rules in force and what can be asked of them.

    Answers are values that stand in JSON as they are. What takes a connection may be slow, and is
    to be asked in a thread.
    """

    def described(self) -> Sequence[msgspec.Struct]:
        """The rules in force, in their order."""

    def explained(self, failure: Failure) -> msgspec.Struct:
        """The verdict on a failure, and why."""

    def usage(self, connection: Connection) -> Sequence[msgspec.Struct]:
        """How often each rule decided about what is stored, when last, and about which text."""

    def unclassified(self, connection: Connection, limit: int) -> Sequence[msgspec.Struct]:
        """Stored failures that no rule knows, grouped, most frequent first."""

    def trial(self, connection: Connection, xml: bytes) -> msgspec.Struct:
        """What a list would change of what is stored; raises ValueError with its mistakes."""

    @property
    def categories(self) -> Sequence[str]:
        """Those that a rule may name."""

    @property
    def why_not_saved(self) -> str:
        """Why the list cannot be written, in a sentence; empty where it can be."""

    def drafted(self, stub: str) -> Draft:
        """What a rule to start from says, as of `unclassified`; raises ValueError."""

    def composed(self, draft: Draft) -> bytes:
        """The list in force with one more rule, unchecked; raises ValueError."""

    def attempt(self, connection: Connection, draft: Draft) -> msgspec.Struct:
        """Mistakes, what the rule matches and what it would change; raises ValueError."""

    def save(self, draft: Draft, digest: str) -> None:
        """Writes the list with one more rule in the place of the one of this digest.

        Blocks the calling thread. Raises ValueError, with why, where nothing was written. The rules
        in force are those from before until they are reloaded.
        """


class News(Protocol):
    """Tells of commits whoever waits for changes: see `pda.news`."""

    @property
    def closed(self) -> bool:
        """Whether there will be no more."""

    async def beyond(self, change: int, client: str | None) -> None:
        """Waits for something beyond that number, or until there will be no more."""

    def quiet_to(self, change: int, client: str | None) -> int:
        """The number up to which nothing more concerns whoever has read up to `change`."""


@dataclass(frozen=True, slots=True)
class Reception:
    """What became of all lines, and what never came."""

    fates: Mapping[str, int]
    """Each line once."""
    kernel_drops: int
    lost_before: Mapping[str, int]
    """By mail host: lines that its own syslog daemon says it has lost."""


@dataclass(frozen=True, slots=True)
class Commits:
    """Transactions, and what they were about."""

    number: int = 0
    attempts: int = 0
    """New or better known ones, in all of them."""
    seconds: float = 0.0
    """Spent in them."""


@dataclass(frozen=True, slots=True)
class Writing:
    """How writing goes since the start, and what is kept."""

    done: Commits
    lately: Commits
    """In the last five minutes."""
    failures: int
    """Transactions that the disk refused."""
    removed: int
    """Queue entries that were too old."""
    horizon: int
    """Lines before it are refused; 0 where none are."""
    keep_days: float = 0.0
    """What is older is removed; 0: nothing for its age."""
    keep_octets: int = 0
    """The oldest is removed where the database is larger; 0: nothing for that."""


class AlertWords(msgspec.Struct, frozen=True):
    """What is told of an alert."""

    title: str
    """What and where, in a few words."""
    measure: str
    """How much, against what is usual; may be empty."""
    advice: str
    """What to do."""


class Service(Protocol):
    """The running service, as the web sees it; every method but the coroutines is quick."""

    @property
    def version(self) -> str: ...

    @property
    def started_at(self) -> int:
        """When this process began to serve."""

    @property
    def restarted_at(self) -> int:
        """When it last began anew (re-indexed) without a new process; else `started_at`."""

    @property
    def last_line_at(self) -> int:
        """When the last line was received, at whatever listener; 0 where none was."""

    @property
    def oldest_unstored(self) -> int:
        """When the oldest of the live lines came that are not stored yet; 0 if all are."""

    def listeners(self) -> Sequence[ListenerStatus]: ...

    def imports_running(self) -> Sequence[RunningImport]: ...

    def reception(self) -> Reception: ...

    def writing(self) -> Writing: ...

    @property
    def tells_alerts(self) -> bool:
        """Whether anybody is to be told what is wrong; without, nothing is looked for."""

    def alert_words(self, finding: Finding) -> AlertWords:
        """What is told of what was found wrong."""

    def problem(self) -> str:
        """Why it cannot do its work now (disk full …), in a sentence; empty when all is well."""

    @property
    def is_ready(self) -> bool:
        """Whether lines are taken now."""

    def resident_memory(self) -> int:
        """Octets."""

    def sizes(self) -> Mapping[str, int]:
        """Sizes of what grows, named with their unit: `database octets`, `open entries` …"""

    def metrics(self) -> bytes:
        """All metrics in Prometheus' text format."""

    def stop(self, *, restart: bool) -> None:
        """Begins a graceful stop; with `restart` the exit status asks to be started again."""

    @property
    def news(self) -> News: ...

    @property
    def rulebook(self) -> RuleBook: ...

    def rules_status(self) -> RulesStatus: ...

    async def reload_rules(self, by: Author | None = None) -> str:
        """Reads the rules again; says in a sentence what is in force now, also when refused.

        Begins to judge history by them. `rules_status` says whether they were refused.
        """

    async def make(self, edit: Edit[T], by: Author) -> T:
        """Makes an edit in the store, by the one writer; it is durable when this returns.

        Raises what the edit raises, as `NotThereError`, and `DatabaseError` where the disk
        refuses; nothing is changed then. Pages and APIs ask by `editing.Editor`.
        """

    def soon(self, edit: Edit[object], by: Author) -> None:
        """Makes an edit that nobody waits for, and that may be lost where the disk refuses."""

    async def check_destination(self, url: str) -> None:
        """Raises ValueError, with a sentence, where nothing may be sent to."""

    async def send_test_message(self) -> str:
        """Sends the log lines of one delivery to a listener of its own; why not, if not."""

    async def reindex(self, by: Author) -> str:
        """Begins to reload the rules, re-classify history and catch up the configured logs.

        Returns at once, with a sentence that says what was begun.
        """


@dataclass(frozen=True, slots=True)
class Settings:
    """What can be configured of the web."""

    allow_actions: bool = False
    """Whether the original's GET actions (`/agent-shutdown` …) work for admins."""
    request_timeout: float = 100.0
    """Seconds a question may take."""
    allowed_hosts: tuple[str, ...] = ()
    """Names in the Host header beside `localhost` and addresses; without any, those who log in may
    use every name."""
    proxies: tuple[str, ...] = ()
    """Networks of reverse proxies whose forwarded headers are believed."""
    prefix: str = ""
    """The path under which a proxy serves us: `/pda`."""
    metrics: tuple[str, ...] = ("127.0.0.0/8", "::1/128")
    """Networks to which `/metrics` is open without log-in."""
    healthz: tuple[str, ...] = ("0.0.0.0/0", "::/0")
    """The same for `/healthz` and `/readyz`."""
    session_idle: float = 43_200.0
    """Seconds without a request after which a browser has to log in again."""
    session_longest: float = 604_800.0
    """Seconds after which it has to in any case."""
    most_requests: int = 250
    """Requests that are answered at a time."""
    page: Bounds = field(default_factory=Bounds)
    """How much a page of a list may cost."""
    suppressions: Thresholds = field(default_factory=Thresholds)
    """From when on an address is better not mailed."""
    log_file: Path = Path("/var/log/mail.log")
    """Named in the advice for an empty database."""


@dataclass(frozen=True, slots=True)
class Site:
    """Everything the web is made of."""

    readers: Readers
    service: Service
    original_category: OriginalCategory
    settings: Settings = field(default_factory=Settings)
