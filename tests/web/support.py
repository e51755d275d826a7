"""A web application over a real store, and requests to it."""

from __future__ import annotations

import base64
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, tzinfo
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
from quart import Response
from quart_trio import QuartTrio
from quart_trio.testing import TrioClient

from pda.alerts.wording import words
from pda.config import RuleSettings
from pda.maillog.bounce import original_category
from pda.news import News
from pda.rulebook import RuleBook
from pda.store.accounts import PutUser, UserRow
from pda.store.alerts import Finding
from pda.store.audit import Author
from pda.store.database import DatabaseError
from pda.store.edits import Edit, T
from pda.store.readers import Readers
from pda.web.app import create_app
from pda.web.passwords import hash_password
from pda.web.ports import (
    AlertWords,
    Commits,
    ListenerStatus,
    Pace,
    Reception,
    RulesStatus,
    RunningImport,
    Settings,
    Site,
    Writing,
)
from tests.support import Store

LOOPBACK = "127.0.0.1"
PASSWORD = "correct horse"
STARTED_AT = 1_773_136_800_123_456
LISTENER = ListenerStatus(
    protocol="tcp",
    address="127.0.0.1:5514",
    last_line_at=STARTED_AT,
    counters={"lines": 12345, "oversize": 3, "connections_open": 1},
    dropped={"oversize": 3},
    pace=Pace(17.2, 4.0, (0.0, 4.0, 17.2)),
)


@dataclass
class RunningService:
    """A service that stands still: says what it is told to, and notes what it is asked to do."""

    version: str = "1.2.3"
    started_at: int = STARTED_AT
    restarted_at: int = STARTED_AT
    last_line_at: int = 0
    oldest_unstored: int = 0
    trouble: str = ""
    is_ready: bool = True
    importing: list[RunningImport] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    rulebook: RuleBook = field(default_factory=partial(RuleBook, RuleSettings()))
    refusal: str = ""
    news: News = field(default_factory=News)
    store: Store | None = None
    tells_alerts: bool = True

    def listeners(self) -> Sequence[ListenerStatus]:
        return [LISTENER]

    def imports_running(self) -> Sequence[RunningImport]:
        return self.importing

    def reception(self) -> Reception:
        return Reception({"new": 7, "known": 1}, 2, {"mx1": 3})

    def writing(self) -> Writing:
        return Writing(Commits(4, 10, 0.5), Commits(2, 6, 0.1), 0, 3, 0, 90.0)

    def alert_words(self, finding: Finding) -> AlertWords:
        return words(finding)

    def problem(self) -> str:
        return self.trouble

    def resident_memory(self) -> int:
        return 50_000_000

    def sizes(self) -> Mapping[str, int]:
        return {"database octets": 81920, "open entries": 7}

    def metrics(self) -> bytes:
        return b"pda_lines_total 12345\n"

    def stop(self, *, restart: bool) -> None:
        self.asked.append("restart" if restart else "stop")

    def rules_status(self) -> RulesStatus:
        edition = self.rulebook.edition
        return RulesStatus(
            source=self.rulebook.source,
            rules=len(edition.rules.rules),
            digest=edition.digest,
            loaded_at=edition.loaded_at,
            refused=self.refusal,
            refused_at=0,
            entries=9,
            entries_left=4,
            changed=3,
            judged_at=0,
        )

    async def make(self, edit: Edit[T], by: Author) -> T:
        if self.trouble:
            raise DatabaseError(self.trouble)
        assert self.store is not None
        return self.store.make(edit, by, time.time_ns() // 1000)

    def soon(self, edit: Edit[object], by: Author) -> None:
        if self.store is not None and not self.trouble:
            self.store.make(edit, by, time.time_ns() // 1000)

    async def check_destination(self, url: str) -> None:
        if not url.startswith("https://hooks."):
            raise ValueError("nothing is sent there")

    async def reload_rules(self, by: Author | None = None) -> str:
        self.asked.append("reload")
        assert by is not None
        return "42 rules are in force"

    async def send_test_message(self) -> str:
        self.asked.append("test message")
        return self.trouble

    async def reindex(self, by: Author) -> str:
        self.asked.append("reindex")
        assert by.who
        return "2 log files are being caught up"


@dataclass
class Web:
    """An application, and its store to write to."""

    app: QuartTrio
    store: Store
    service: RunningService
    readers: Readers

    async def get(
        self,
        path: str,
        *,
        peer: str | None = LOOPBACK,
        method: str = "GET",
        user: str = "",
        password: str = PASSWORD,
        headers: Mapping[str, str] | None = None,
        data: bytes | None = None,
    ) -> Response:
        """The answer to a request; `path` may hold a query, and stands as sent."""
        sent = dict(headers or {})
        if user:
            sent["Authorization"] = basic(user, password)
        raw = path.partition("?")[0].encode("latin-1")
        scope: dict[str, Any] = {"raw_path": raw, "client": (peer, 40000) if peer else None}
        client = TrioClient(self.app)
        return await client.open(path, method=method, headers=sent, data=data, scope_base=scope)

    async def result(self, path: str, **how: Any) -> Any:
        """The result in the original's envelope, which has to say that all went well."""
        response = await self.get(path, **how)
        answer = msgspec.json.decode(await response.get_data(as_text=False))
        assert answer["status"]["message"] == "OK", answer
        assert response.status_code == 200
        return answer["result"]

    async def text(self, path: str, **how: Any) -> str:
        """The body of an answer."""
        return await (await self.get(path, **how)).get_data(as_text=True)


@contextmanager
def web(
    folder: Path,
    lines: Iterable[bytes] = (),
    *,
    zone: tzinfo = UTC,
    settings: Settings = Settings(),  # noqa: B008 frozen
    users: Iterable[UserRow] = (),
) -> Iterator[Web]:
    """The web over a store of these lines."""
    store = Store(folder)
    store.add(lines, zone, live=False)
    for each in users:
        store.make(PutUser(each.name, each.password_hash, each.role, each.client_id))
    readers, service = Readers(store.path, store.key, 2), RunningService(store=store)
    try:
        app = create_app(Site(readers, service, original_category, settings))
        yield Web(app, store, service, readers)
    finally:
        readers.close()
        store.close()


def user(name: str, role: str = "reader", client_id: str = "") -> UserRow:
    """A user with the usual password."""
    return UserRow(name, hash_password(PASSWORD), role, client_id)


def basic(name: str, password: str) -> str:
    """An Authorization header."""
    return "Basic " + base64.b64encode(f"{name}:{password}".encode()).decode("ascii")
