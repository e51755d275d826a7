"""One person erased everywhere: a pseudonym in the place of the address, in every table.

Owns the walk over the database, a little at a time between two transactions of the live stream; it
goes on after a stop or a kill. While it goes on the address stands in `erased`, afterwards its hash
alone. Tables are found by looking: one that is added later is walked over too.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import NamedTuple

import msgspec

from pda.maillog.events import address_key, pack_facts
from pda.maillog.pseudonyms import Pseudonyms
from pda.store import address_runs, address_sums, bounced, pieces, replies
from pda.store.audit import Deed
from pda.store.counting import Counting
from pda.store.database import Connection, Row, Value, transaction
from pda.store.edits import NotThereError
from pda.store.facts import InRow, PackedFacts
from pda.store.names import number_of
from pda.store.removal import pseudonyms, secret_for_writing
from pda.store.terms import Kind, term

_OF_ENTRIES = {"entry": "id", "attempt": "entry_id", "outcome": "entry_id"}
"""Tables that are walked over by queue entry; all others are searched whole."""
_OWN = frozenset(
    [
        "erased", "erasure_secret", "journal_secret",
        "term", "address_block", "import", "sqlite_sequence",
    ]
)  # fmt: skip


class Erasure(msgspec.Struct, frozen=True):
    """How far one is; of whom only the pseudonym's hash says."""

    hash: str
    erased_at: int
    """µs since the epoch, as `finished_at`."""
    finished_at: int
    """0 while it goes on."""
    rows: int
    """That named the address."""
    entries_left: int


class EraseAddress(msgspec.Struct, frozen=True, tag="erase-address"):
    """Erases an address from now on; what is stored already is for `step` and `finish`."""

    address: str

    def write(self, connection: Connection, at: int) -> str:
        """Its pseudonym."""
        if "@" not in self.address.strip("@"):
            raise NotThereError("this is no address: LOCAL@DOMAIN is expected")
        known = secret_for_writing(connection)
        connection.execute(
            "INSERT OR REPLACE INTO erased VALUES (?, ?, 0, 0, ?, 0)",
            (bytearray(known.hash(self.address)), self.address, at),
        )
        # A client that is named so gets its pseudonym first: else a later line would make another.
        _rewrite_all(connection, "client", pseudonyms(connection))
        return known.pseudonym(self.address)

    def deed(self, result: str) -> Deed:
        """The audit names the pseudonym only."""
        return Deed("erase address", result)


class Ongoing(NamedTuple):
    """An erasure that has not come to its end."""

    hash: bytes
    address: str
    done_to: int


class Found(NamedTuple):
    """A row that may name the address."""

    table: str
    key: tuple[Value, ...]


def erasures(connection: Connection) -> list[Erasure]:
    """All of them, the latest first."""
    last = _last_entry(connection)
    rows = connection.execute(
        "SELECT hash, erased_at, finished_at, rows, done_to FROM erased ORDER BY erased_at DESC"
    ).fetchall()
    return [
        Erasure(
            hash=hashed.hex() if isinstance(hashed, bytes) else "",
            erased_at=number_of(erased_at),
            finished_at=number_of(finished_at),
            rows=number_of(count),
            entries_left=0 if finished_at else max(last - number_of(done_to), 0),
        )
        for hashed, erased_at, finished_at, count, done_to in rows
    ]


def ongoing(connection: Connection) -> Ongoing | None:
    """The oldest one that has not come to its end."""
    row = connection.execute(
        "SELECT hash, address, done_to FROM erased WHERE address IS NOT NULL ORDER BY erased_at"
    ).fetchone()
    if row is None or not isinstance(row[0], bytes):
        return None
    return Ongoing(row[0], str(row[1]), number_of(row[2]))


def step(connection: Connection, entries: int) -> bool:
    """Rewrites the next queue entries in a transaction of its own; whether there are more."""
    one = ongoing(connection)
    if one is None:
        return False
    end = min(one.done_to + entries, _last_entry(connection))
    if one.done_to >= end:
        return False
    walk = _Walk(connection, one.address)
    with transaction(connection):
        with Counting(connection).around(walk.named(one.done_to, end)):
            rows = walk.entries(one.done_to, end)
        connection.execute(
            "UPDATE erased SET done_to = ?, rows = rows + ? WHERE hash = ?",
            (end, rows, bytearray(one.hash)),
        )
    return True


def search(connection: Connection) -> list[Found]:
    """Rows outside of queue entries that may name the address; asked of any connection."""
    one = ongoing(connection)
    if one is None:
        return []
    found = []
    for table in _tables(connection):
        if table not in _OF_ENTRIES and table not in _OWN:
            found += [Found(table, key) for key in _naming(connection, table, one.address)]
    return found


def finish(connection: Connection, found: Sequence[Found], at: int) -> None:
    """Rewrites what was found; the address is known by its hash alone then."""
    one = ongoing(connection)
    if one is None:
        return
    known, rows = pseudonyms(connection), 0
    with transaction(connection):
        for table, key in found:
            shape = _shape(connection, table)
            rows += _rewrite(connection, shape, known, _equal(shape.keys), key)
        connection.execute(
            "UPDATE erased SET address = NULL, finished_at = ?, rows = rows + ? WHERE hash = ?",
            (at, rows, bytearray(one.hash)),
        )


class _Shape(NamedTuple):
    """What of a table may name somebody, and what tells its rows apart."""

    table: str
    keys: list[str]
    texts: list[str]


class _Walk:
    """Rewrites queue entries with all that belongs to them."""

    def __init__(self, connection: Connection, address: str) -> None:
        self._connection = connection
        self._known = pseudonyms(connection)
        self._facts, self._replies = PackedFacts(), replies.PackedReplies()
        self._like = _like(address)
        self._word = _word(address)

    def named(self, after: int, to: int) -> list[int]:
        """Those of these entries whose rows, besides their facts, may name the address."""
        found: set[int] = set()
        for table, column in _OF_ENTRIES.items():
            where, values = _alike(_shape(self._connection, table).texts, self._like)
            rows = self._connection.execute(
                f'SELECT {column} FROM "{table}"'
                f" WHERE {column} > ? AND {column} <= ? AND ({where})",
                (after, to, *values),
            ).fetchall()
            found.update(number_of(number) for (number,) in rows)
        return sorted(found)

    def entries(self, after: int, to: int) -> int:
        """Those with these numbers; how many rows named the address."""
        count = self._rewrite_facts(after, to) + self._rewrite_packed(after, to)
        self._remove_evidence(after, to)
        self._rewrite_terms(after, to)
        self._rewrite_replies(after, to)
        address_runs.rewrite(self._connection, (after + 1, to), self._known.text, self._word)
        for table, column in _OF_ENTRIES.items():
            shape = _shape(self._connection, table)
            where, values = _alike(shape.texts, self._like)
            where = f"{column} > ? AND {column} <= ? AND ({where})"
            count += _rewrite(self._connection, shape, self._known, where, (after, to, *values))
        bounced.fill(self._connection, after, to)
        return count

    def _remove_evidence(self, after: int, to: int) -> None:
        """It follows from the outcomes as they are afterwards: what was delivered is none."""
        rows = self._connection.execute(
            "SELECT recipient, entry_id FROM outcome WHERE entry_id > ? AND entry_id <= ?"
            " AND recipient LIKE ? ESCAPE '\\'",
            (after, to, self._like),
        ).fetchall()
        self._connection.executemany(bounced.REMOVE, rows)

    def _rewrite_facts(self, after: int, to: int) -> int:
        rows = self._connection.execute(
            "SELECT id, facts, born, message_id, sender FROM entry WHERE id > ? AND id <= ?",
            (after, to),
        ).fetchall()
        changed: list[Row] = []
        for number, octets, *others in rows:
            facts = self._facts.unpack(octets, InRow.of(*others))
            if self._word.encode() not in facts.lower():
                continue
            now = self._known.facts(facts)
            if now is not None:
                # The rest of the row is rewritten after them.
                in_row = InRow.of(*[_without(value, self._known) for value in others])
                changed.append((bytearray(self._facts.pack(pack_facts(now), in_row)), number))
        self._connection.executemany("UPDATE entry SET facts = ? WHERE id = ?", changed)
        return len(changed)

    def _rewrite_terms(self, after: int, to: int) -> None:
        """What the entries are found by: before their rows are rewritten."""
        like = self._like
        by_recipient = self._connection.execute(
            "SELECT entry_id, recipient FROM outcome WHERE entry_id > ? AND entry_id <= ?"
            " AND recipient LIKE ? ESCAPE '\\'",
            (after, to, like),
        ).fetchall()
        by_id = self._connection.execute(
            "SELECT id, message_id FROM entry WHERE id > ? AND id <= ?"
            " AND message_id LIKE ? ESCAPE '\\' UNION ALL"
            " SELECT id, msg_id FROM entry WHERE id > ? AND id <= ? AND msg_id LIKE ? ESCAPE '\\'",
            (after, to, like, after, to, like),
        ).fetchall()
        for number, text in by_recipient:
            self._rewrite_term("recipient", number_of(number), str(text))
        for number, text in by_id:
            self._rewrite_term("message-id", number_of(number), str(text))

    def _rewrite_term(self, kind: Kind, number: int, text: str) -> None:
        now = self._known.text(text)
        if now == text:
            return
        pieces.remove(self._connection, [(term(kind, text), number)])
        now_key = address_key(now) if kind == "recipient" else now
        if kind == "recipient":
            address_sums.note(self._connection, [(number, text), (number, now_key)])
        pieces.put(self._connection, [(term(kind, now_key), number)])

    def _rewrite_replies(self, after: int, to: int) -> None:
        """Replies about the address, where its local part may stand alone."""
        rows = self._connection.execute(
            "SELECT a.entry_id, a.digest, a.copy, a.recipient, coalesce(a.orig_to, ''),"
            " a.reason_id, coalesce(a.reply, r.name, '')"
            " FROM attempt a LEFT JOIN reason r ON r.id = a.reason_id"
            " WHERE a.entry_id > ? AND a.entry_id <= ? AND (a.recipient LIKE ? ESCAPE '\\'"
            " OR a.orig_to LIKE ? ESCAPE '\\') AND typeof(a.reply) <> 'blob'",
            (after, to, self._like, self._like),
        ).fetchall()
        for *key, recipient, orig_to, reason_id, reply in rows:
            now = self._known.reply(str(reply), [str(recipient), str(orig_to)])
            if now == reply:
                continue
            if reason_id is not None:
                self._connection.execute(
                    "UPDATE reason SET name = ? WHERE id = ?", (now, reason_id)
                )
            else:
                self._connection.execute(
                    "UPDATE attempt SET reply = ? WHERE entry_id = ? AND digest = ? AND copy = ?",
                    (now, *key),
                )

    def _rewrite_packed(self, after: int, to: int) -> int:
        """Replies that are packed; how many of them named the address where nothing else did."""
        rows = self._connection.execute(
            "SELECT entry_id, digest, copy, recipient, coalesce(orig_to, ''), reply FROM attempt"
            " WHERE entry_id > ? AND entry_id <= ? AND typeof(reply) = 'blob'",
            (after, to),
        ).fetchall()
        changed: list[Row] = []
        count = 0
        for *key, recipient, orig_to, octets in rows:
            reply, named = replies.text_of(octets), [str(recipient), str(orig_to)]
            if self._word not in reply.lower():
                continue
            now = self._known.reply(reply, named)
            if now != reply:
                changed.append((self._replies.pack(now), *key))
                count += [*map(self._known.text, named)] == named
        self._connection.executemany(
            "UPDATE attempt SET reply = ? WHERE entry_id = ? AND digest = ? AND copy = ?", changed
        )
        return count


def _rewrite_all(connection: Connection, table: str, known: Pseudonyms) -> None:
    _rewrite(connection, _shape(connection, table), known, "1", ())


def _rewrite(
    connection: Connection, shape: _Shape, known: Pseudonyms, where: str, values: Sequence[Value]
) -> int:
    """Rewrites rows of a table; one that is there already under the pseudonym stays as it is."""
    named, count = ", ".join(_quoted([*shape.keys, *shape.texts])), 0
    rows = connection.execute(f'SELECT {named} FROM "{shape.table}" WHERE {where}', values)
    for row in rows.fetchall():
        key, before = row[: len(shape.keys)], row[len(shape.keys) :]
        now = [_without(value, known) for value in before]
        if now == list(before):
            continue
        count += 1
        sets = ", ".join(f"{name} = ?" for name in _quoted(shape.texts))
        here = _equal(shape.keys)
        connection.execute(
            f'UPDATE OR IGNORE "{shape.table}" SET {sets} WHERE {here}', (*now, *key)
        )
        if connection.execute("SELECT changes()").fetchall() == [(0,)]:
            connection.execute(f'DELETE FROM "{shape.table}" WHERE {here}', key)
    return count


def _without(value: Value, known: Pseudonyms) -> Value:
    """A value without erased addresses; octets where they are a text, as JSON is."""
    if isinstance(value, str):
        return known.text(value)
    if isinstance(value, bytes):
        with suppress(UnicodeDecodeError):
            now = known.text(text := value.decode())
            return value if now == text else bytearray(now.encode())
    return value


def _naming(connection: Connection, table: str, address: str) -> Iterator[tuple[Value, ...]]:
    """The keys of rows that may name the address."""
    shape = _shape(connection, table)
    if not shape.texts:
        return
    where, values = _alike(shape.texts, _like(address))
    keys = ", ".join(_quoted(shape.keys))
    sql = f'SELECT {keys} FROM "{table}" WHERE {where}'
    yield from connection.execute(sql, values).fetchall()


def _tables(connection: Connection) -> list[str]:
    rows = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
    return [str(name) for (name,) in rows]


def _shape(connection: Connection, table: str) -> _Shape:
    rows = connection.execute(f'PRAGMA table_info("{table}")').fetchall()
    columns = [(str(name), str(kind).upper(), number_of(key)) for _, name, kind, _, _, key in rows]
    keys = [name for _, name in sorted((key, name) for name, _, key in columns if key)]
    # Facts are packed, and walked over for themselves.
    texts = [name for name, kind, _ in columns if kind in {"TEXT", "BLOB", ""} and name != "facts"]
    return _Shape(table, keys or ["rowid"], texts)


def _like(address: str) -> str:
    """A pattern for whatever has its local part; more is for `Pseudonyms` to tell."""
    local = _word(address)
    for special in "\\%_":
        local = local.replace(special, f"\\{special}")
    return f"%{local}%"


def _word(address: str) -> str:
    """What has to stand wherever it is named; empty where case cannot be folded so simply."""
    local = address.rpartition("@")[0].strip('"').partition("+")[0]
    return local.lower() if local.isascii() else ""


def _alike(texts: Sequence[str], like: str) -> tuple[str, list[Value]]:
    each = [f"CAST({name} AS TEXT) LIKE ? ESCAPE '\\'" for name in _quoted(texts)]
    return " OR ".join(each), [like] * len(texts)


def _equal(names: Sequence[str]) -> str:
    return " AND ".join(f"{name} IS ?" for name in _quoted(names))


def _quoted(names: Sequence[str]) -> list[str]:
    return [f'"{name}"' if name != "rowid" else name for name in names]


def _last_entry(connection: Connection) -> int:
    row = connection.execute("SELECT coalesce(max(id), 0) FROM entry").fetchone()
    return number_of(row[0]) if row else 0
