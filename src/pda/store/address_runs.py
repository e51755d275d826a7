"""Blocks of addresses that hardly change: put together, and rid of what has gone.

Owns runs: blocks in the order of their addresses, each of which stands there once for all queue
entries of a piece, later of a stretch of four pieces. What takes the place of what is worked out on
a reading connection (`find_together`, `find_left`), a second or less, and written at once (`put`).
Between the two nobody else may change a block, besides the writer the small ones. Where blocks are
not in order, as after an erasure, an address stands there more than once, and nothing is missed.

Owns the table `address_left`: pieces of which entries have gone that a block may still name.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from itertools import chain, groupby, islice
from operator import attrgetter, itemgetter
from typing import Final, NamedTuple, TypeAlias

from pda.store.address_blocks import (
    ADDRESSES,
    DROP,
    ENTRIES,
    PIECE_BITS,
    PUT,
    WIDE_BITS,
    Addressed,
    Packing,
    Span,
    addressed,
    base_of,
    numbers_of,
    octets_of,
    parts,
    parts_of,
)
from pda.store.database import Connection, Row, Value, each_row, snapshot, transaction
from pda.store.names import number_of

TABLE: Final = "CREATE TABLE address_left (piece INTEGER PRIMARY KEY)"
_WIDEST: Final = (1 << WIDE_BITS) - 1

_PACKED: Final = 4096
"""Addresses of a block of a run."""
_LEVEL: Final = 9
_ROWS: Final = 1000
"""Read at a time: all at once would take megabytes."""
_SMALL_DUE, _SMALL_AT_A_TIME = 16, 128
"""Small blocks of a piece that are put together."""
_SORTED_AT_A_TIME, _UNTIL_THEN = 8, 128
"""Small blocks that are sorted in memory: of all together the addresses would take 20 MB; and
addresses that they are packed by again until it is their turn."""
_RUNS_DUE, _RUNS_AT_A_TIME = 4, 32
"""Runs of a stretch that are put together."""
_DUE: Final = """
SELECT max(last >> {bits}) FROM address_block INDEXED BY address_block_last
WHERE {which} AND last < (SELECT max(id) >> {bits} << {bits} FROM entry)
GROUP BY last >> {bits} HAVING count(DISTINCT {one}) >= {due} LIMIT 1
"""
_OF: Final = """
SELECT number, first, last FROM address_block INDEXED BY address_block_last
WHERE {which} AND last BETWEEN ?1 << {bits} AND (?1 + 1 << {bits}) - 1
ORDER BY last, first, number DESC
"""
_SMALL: Final = {"bits": PIECE_BITS, "which": "number > 0"}
_RUNS: Final = {"bits": WIDE_BITS, "which": "number < 0"}
_SMALL_OF, _RUNS_OF = _OF.format(**_SMALL), _OF.format(**_RUNS)
_DUE_SMALL: Final = _DUE.format(**_SMALL, one="number", due=_SMALL_DUE)
_DUE_RUNS: Final = _DUE.format(**_RUNS, one="first || ' ' || last", due=_RUNS_DUE)
_NAMING: Final = f"""
SELECT number, first, last FROM address_block INDEXED BY address_block_last
WHERE last BETWEEN ?1 << {PIECE_BITS} AND (?1 + 1 << {PIECE_BITS}) + {_WIDEST}
    AND first < (?1 + 1) << {PIECE_BITS}
"""
_ENDING: Final = """
SELECT number, first, last FROM address_block INDEXED BY address_block_last
WHERE last BETWEEN ? AND ?
"""
_GONE_WHOLE: Final = "DELETE FROM address_block WHERE last < (SELECT min(id) FROM entry)"
_STORED: Final = """
SELECT entry_id, recipient FROM outcome WHERE entry_id BETWEEN ?1 AND ?2
UNION ALL SELECT entry_id, address FROM outcome
    WHERE entry_id BETWEEN ?1 AND ?2 AND address IS NOT NULL
UNION ALL SELECT id, sender FROM entry WHERE id BETWEEN ?1 AND ?2 AND sender IS NOT NULL
"""


class Changed(NamedTuple):
    """Blocks, and the numbers of those that they take the place of."""

    gone: list[Row]
    put: list[Row]
    pieces: list[Row]
    """In which nothing is left to be taken away."""


_Packed: TypeAlias = Sequence[Value]
"""The addresses of a block, and their entries."""


class _Block(NamedTuple):
    number: int
    first: int
    last: int

    @property
    def span(self) -> Span:
        return self.first, self.last


def find_together(connection: Connection) -> Changed | None:
    """What takes the place of some blocks of entries that hardly change; None where that is done.

    For a reading connection.
    """
    with snapshot(connection):
        piece = connection.execute(_DUE_SMALL).fetchone()
        if piece is not None:
            small = _blocks(connection, _SMALL_OF, piece)[:_SMALL_AT_A_TIME]
            return _together(connection, small, _sorted(connection, small))
        stretch = connection.execute(_DUE_RUNS).fetchone()
        if stretch is not None:
            blocks = _blocks(connection, _RUNS_OF, stretch)
            every = (list(run) for _, run in groupby(blocks, key=attrgetter("span")))
            runs = list(islice(every, _RUNS_AT_A_TIME))
            in_order = [_in_order(map(partial(_packed, connection), run)) for run in runs]
            return _together(connection, list(chain.from_iterable(runs)), in_order)
    return None


def find_left(connection: Connection) -> Changed | None:
    """What takes the place of blocks that name what has gone; None where that is done.

    For a reading connection.
    """
    with snapshot(connection):
        piece = connection.execute("SELECT min(piece) FROM address_left").fetchone()
        if piece is None or piece[0] is None:
            return None
        changed, gone = Changed([], [], [piece]), _gone(connection, number_of(piece[0]))
        for block in _blocks(connection, _NAMING, piece):
            _change(changed, connection, block, partial(_without, gone))
    return changed


def put(connection: Connection, changed: Changed) -> None:
    """Writes what was found, in a transaction of its own."""
    with transaction(connection):
        connection.executemany(DROP, changed.gone)
        connection.executemany(PUT, changed.put)
        connection.executemany("DELETE FROM address_left WHERE piece = ?", changed.pieces)


def leave(connection: Connection, entries: Iterable[int]) -> None:
    """These entries go, in the transaction that is open: `find_left` finds who names them."""
    pieces = {entry >> PIECE_BITS for entry in entries}
    connection.executemany(
        "INSERT OR IGNORE INTO address_left VALUES (?)", [(piece,) for piece in pieces]
    )
    # What was part of another entry is in none that goes.
    connection.execute(_GONE_WHOLE)


def rewrite(connection: Connection, between: Span, change: Callable[[str], str], word: str) -> None:
    """Changes addresses that have a word (lower case), in the transaction that is open.

    Those of the blocks that end with one of these entries, from one to another, as a whole.
    """
    changed = Changed([], [], [])
    octets = word.encode()
    for block in _blocks(connection, _ENDING, between):
        if octets in Packing().text(_packed(connection, block)[0]):
            _change(changed, connection, block, partial(_renamed, change, octets))
    connection.executemany(DROP, changed.gone)
    connection.executemany(PUT, changed.put)


def recompute(connection: Connection) -> None:
    """The table, anew from the rows, in the transaction that is open."""
    connection.execute("DELETE FROM address_block")
    (last,) = connection.execute("SELECT coalesce(max(id), 0) FROM entry").fetchone() or (0,)
    for piece in range((number_of(last) >> PIECE_BITS) + 1):
        begin = piece << PIECE_BITS
        rows = connection.execute(_STORED, (begin, begin + (1 << PIECE_BITS) - 1)).fetchall()
        named = [(number_of(number), str(address)) for number, address in rows if address]
        if named:
            span = min(number for number, _ in named), max(number for number, _ in named)
            run = _run(Packing(_LEVEL), _next_number(connection), span, addressed(named))
            connection.executemany(PUT, run)


def _blocks(connection: Connection, sql: str, values: Sequence[Value]) -> list[_Block]:
    return [_Block(*map(number_of, row)) for row in connection.execute(sql, values).fetchall()]


def _packed(connection: Connection, block: _Block) -> _Packed:
    (addresses,) = connection.execute(ADDRESSES, (block.number,)).fetchall()[0]
    (entries,) = connection.execute(ENTRIES, (block.number,)).fetchall()[0]
    return addresses, entries


def _unpacked(packed: _Packed) -> Iterator[Addressed]:
    entries, begin = Packing().entries(packed[1])
    every = parts_of(Packing().text(packed[0]))
    for (domain, local), at, end in zip(every, begin, begin[1:], strict=False):
        yield domain, local, entries[at:end]


def _in_order(packed: Iterable[_Packed]) -> Iterator[Addressed]:
    """Of blocks that follow on one another, each unpacked when it is its turn."""
    return chain.from_iterable(map(_unpacked, packed))


def _sorted(connection: Connection, small: Sequence[_Block]) -> list[Iterator[Addressed]]:
    """Some of these blocks at a time in order: packed again until it is their turn."""
    found = []
    for at in range(0, len(small), _SORTED_AT_A_TIME):
        some = small[at : at + _SORTED_AT_A_TIME]
        each = [iter(sorted(_unpacked(_packed(connection, block)))) for block in some]
        run = [row[-2:] for row in _run(Packing(), 0, some[0].span, _merged(each), _UNTIL_THEN)]
        found.append(_in_order(run))
    return found


def _together(
    connection: Connection, blocks: Sequence[_Block], in_order: list[Iterator[Addressed]]
) -> Changed:
    """One run in the place of these blocks."""
    span = min(block.first for block in blocks), max(block.last for block in blocks)
    put = _run(Packing(_LEVEL), _next_number(connection), span, _merged(in_order))
    return Changed([(block.number,) for block in blocks], list(put), [])


def _merged(runs: list[Iterator[Addressed]]) -> Iterator[Addressed]:
    for (domain, local), same in groupby(heapq.merge(*runs), key=itemgetter(0, 1)):
        yield domain, local, b"".join([entries for _, _, entries in same])


def _run(
    packing: Packing, number: int, span: Span, every: Iterable[Addressed], most: int = _PACKED
) -> Iterator[Row]:
    """The blocks of a run, of so many addresses each."""
    every = iter(every)
    while some := list(islice(every, most)):
        yield packing.block(number, span, some)
        number -= 1


def _next_number(connection: Connection) -> int:
    (first,) = connection.execute("SELECT min(number) FROM address_block").fetchone() or (0,)
    return min(0, number_of(first or 0)) - 1


def _change(
    changed: Changed,
    connection: Connection,
    block: _Block,
    change: Callable[[Addressed], Addressed | None],
) -> None:
    """The block without what becomes None, if that makes a difference."""
    before = list(_unpacked(_packed(connection, block)))
    now = [one for one in map(change, before) if one is not None]
    if now == before:
        return
    changed.gone.append((block.number,))
    if now:
        changed.put.append(Packing(_LEVEL).block(block.number, block.span, sorted(now)))


def _gone(connection: Connection, piece: int) -> bytearray:
    """1 for each entry of a piece that is not there any more, by its number as blocks have it."""
    begin, end = piece << PIECE_BITS, piece + 1 << PIECE_BITS
    (last,) = connection.execute("SELECT coalesce(max(id), 0) FROM entry").fetchall()[0]
    base, end = base_of(begin), min(end, number_of(last) + 1)
    gone = bytearray(_WIDEST + 1)
    gone[begin - base : end - base] = b"\1" * (end - begin)
    rows = connection.execute("SELECT id FROM entry WHERE id >= ? AND id < ?", (begin, end))
    for (number,) in each_row(rows, _ROWS):
        gone[number_of(number) - base] = 0
    return gone


def _without(gone: bytearray, one: Addressed) -> Addressed | None:
    domain, local, entries = one
    numbers = numbers_of(entries)
    left = [number for number in numbers if not gone[number]]
    if len(left) == len(numbers):
        return one
    return (domain, local, octets_of(left)) if left else None


def _renamed(change: Callable[[str], str], word: bytes, one: Addressed) -> Addressed:
    domain, local, entries = one
    address = local + b"@" + domain
    if word not in address:
        return one
    text = address.decode("utf-8", "surrogatepass")
    now = change(text)
    return one if now == text else (*parts(now), entries)
