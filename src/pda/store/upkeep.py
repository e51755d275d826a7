"""What is done to a database as a whole: check, measure, back up, restore, pack, change its key.

Owns the files beside the database while that goes on. Each new file is complete and on the disk
before it takes the place of another one: a kill at any moment leaves one that a key at hand opens.
Whoever calls what replaces the database holds the write lock. Raises `StoreError`.
"""

from __future__ import annotations

import os
from contextlib import closing, suppress
from pathlib import Path

import msgspec

from pda.store.database import (
    Connection,
    DatabaseError,
    Key,
    StoreError,
    coming_key_file,
    connect,
    make_key,
    open_reader,
    open_writer,
    opens,
    read_key_file,
    sync_directory,
)

_MOST_FINDINGS = 20
_STRAY = {
    "attempts without their queue entry":
        "SELECT count(*) FROM attempt WHERE entry_id NOT IN (SELECT id FROM entry)",
    "outcomes without their queue entry":
        "SELECT count(*) FROM outcome WHERE entry_id NOT IN (SELECT id FROM entry)",
    "outcomes that the feed does not lead to":
        "SELECT (SELECT count(*) FROM outcome) - (SELECT count(*) FROM changed n JOIN outcome o"
        " ON o.entry_id = n.entry_id AND o.change = n.change)",
    "changes without their outcome":
        "SELECT count(*) FROM changed n WHERE NOT EXISTS ("
        "SELECT 1 FROM outcome o WHERE o.entry_id = n.entry_id AND o.change = n.change)",
    "attempts whose relay is not there":
        "SELECT count(*) FROM attempt WHERE relay_id NOT IN (SELECT id FROM relay)",
    "failures whose reply is not there":
        "SELECT count(*) FROM attempt WHERE reason_id IS NOT NULL"
        " AND reason_id NOT IN (SELECT id FROM reason)",
    "attempts whose manner is not there":
        "SELECT count(*) FROM attempt WHERE manner_id NOT IN (SELECT id FROM manner)",
    "queue entries whose host or client is not there":
        "SELECT count(*) FROM entry WHERE host_id NOT IN (SELECT id FROM host)"
        " OR client_id NOT IN (SELECT id FROM client)",
}  # fmt: skip


class Measures(msgspec.Struct, frozen=True):
    """How large a database is."""

    schema: int
    octets: int
    """Of its file."""
    free_octets: int
    """Of them, in pages that hold nothing."""
    gives_back: bool
    """Whether free pages can be given back while the service runs."""
    rows: dict[str, int]
    """By table."""


def check(path: Path, key: Key) -> list[str]:
    """What is wrong with a database, a sentence each; it may be in use meanwhile."""
    with closing(open_reader(path, key)) as connection:
        return _findings(connection)


def _findings(connection: Connection) -> list[str]:
    try:
        found = [str(row[0]) for row in _rows(connection, "PRAGMA cipher_integrity_check")]
        if not found:  # else the pages cannot be read
            checked = f"PRAGMA integrity_check({_MOST_FINDINGS})"
            found = [str(row[0]) for row in _rows(connection, checked) if row[0] != "ok"]
        if not found:
            counts = {text: _rows(connection, sql)[0][0] for text, sql in _STRAY.items()}
            found = [f"there are {count} {text}" for text, count in counts.items() if count]
    except DatabaseError as error:
        found = [str(error)]
    return found[:_MOST_FINDINGS]


def measure(path: Path, key: Key) -> Measures:
    """How large a database is."""
    with closing(open_reader(path, key)) as connection:
        tables = _rows(connection, "SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY 1")
        counts = {
            str(table): _number(connection, f'SELECT count(*) FROM "{table}"')
            for (table,) in tables
        }
        page = _number(connection, "PRAGMA page_size")
        return Measures(
            schema=_number(connection, "PRAGMA user_version"),
            octets=_number(connection, "PRAGMA page_count") * page,
            free_octets=_number(connection, "PRAGMA freelist_count") * page,
            gives_back=_number(connection, "PRAGMA auto_vacuum") == 2,
            rows=counts,
        )


def back_up(path: Path, key: Key, target: Path, other: Key | None = None) -> int:
    """Writes a copy as of now into a new file, encrypted with the same or another key; its octets.

    The database may be in use meanwhile.
    """
    if target.exists():
        raise StoreError(f"{target} is there already; a backup is never overwritten")
    part = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        _copy(path, key, part, other)
        os.link(part, target)
        sync_directory(target.parent)
    except OSError as error:
        raise StoreError(f"the backup {target} cannot be written: {error.strerror}") from error
    finally:
        part.unlink(missing_ok=True)
    return target.stat().st_size


def restore(backup: Path, its_key: Key, path: Path, key: Key) -> Path | None:
    """Puts a backup into the place of the database; where that is kept which stood there."""
    coming = path.with_name(f"{path.name}.restoring")
    coming.unlink(missing_ok=True)
    if findings := check(backup, its_key):
        raise StoreError(f"the backup {backup} is damaged ({findings[0]}); nothing was changed")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        _copy(backup, its_key, coming, key)
        _give(coming, path if path.exists() else path.parent)
        kept = _kept(path, key) if path.exists() else None
        for name in ("-wal", "-shm", "-journal"):  # what they hold is not the backup's
            path.with_name(path.name + name).unlink(missing_ok=True)
        coming.replace(path)
        sync_directory(path.parent)
    except OSError as error:
        raise StoreError(f"{path} cannot be replaced: {error.strerror}") from error
    return kept


def _kept(path: Path, key: Key) -> Path:
    """Another name for the database that is about to be replaced, with all that it holds."""
    with suppress(StoreError, DatabaseError), closing(connect(path, key, new=False)) as connection:
        _rows(connection, "PRAGMA wal_checkpoint(TRUNCATE)")  # where it is not beyond help
    kept = _free_name(path, "replaced")
    os.link(path, kept)
    wal = path.with_name(f"{path.name}-wal")
    if wal.exists():
        os.link(wal, kept.with_name(f"{kept.name}-wal"))
    return kept


def pack(path: Path, key: Key) -> tuple[int, int]:
    """Rewrites a database without its free pages; its octets before and after."""
    before = path.stat().st_size
    with closing(open_writer(path, key)) as connection:
        try:
            connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
            connection.execute("VACUUM")
            _rows(connection, "PRAGMA wal_checkpoint(TRUNCATE)")
        except DatabaseError as error:
            raise StoreError(f"{path} cannot be rewritten: {error}") from error
    return before, path.stat().st_size


def change_key(path: Path, key: Key, key_file: Path) -> Path:
    """Encrypts a database with a new key, which takes the place of the one in its file.

    Returns where the old key is kept, for older backups.
    """
    finish_change_of_key(path, key_file)
    new = make_key(coming_key_file(key_file))
    encrypt_with(path, key, new)
    return _take_new_key(key_file)


def finish_change_of_key(path: Path, key_file: Path) -> None:
    """Ends a change that was interrupted: with the new key where the database has it already."""
    coming = coming_key_file(key_file)
    path.with_name(f"{path.name}.rekeying").unlink(missing_ok=True)
    if not coming.exists():
        return
    if not path.exists() or opens(path, read_key_file(key_file)):
        coming.unlink()
    elif opens(path, read_key_file(coming)):
        _take_new_key(key_file)
    else:
        raise StoreError(f"neither the key in {key_file} nor that in {coming} opens {path}")


def _take_new_key(key_file: Path) -> Path:
    kept = _free_name(key_file, "old")
    os.link(key_file, kept)
    _give(coming_key_file(key_file), key_file)
    coming_key_file(key_file).replace(key_file)
    sync_directory(key_file.parent)
    return kept


def encrypt_with(path: Path, key: Key, new: Key) -> None:
    """Puts a copy with a new key into the place of a database that nobody uses."""
    coming = path.with_name(f"{path.name}.rekeying")
    coming.unlink(missing_ok=True)
    with closing(connect(path, key, new=False)) as connection:
        _shut_others_out(connection, path)
        try:
            _copy(path, key, coming, new, connection)
            _give(coming, path)
            coming.replace(path)
            sync_directory(path.parent)
        except OSError as error:
            raise StoreError(f"{path} cannot be replaced: {error.strerror}") from error


def _shut_others_out(connection: Connection, path: Path) -> None:
    """All is in the one file then, and nobody reads it."""
    try:
        connection.execute("PRAGMA busy_timeout = 5000").fetchall()
        connection.execute("PRAGMA locking_mode = EXCLUSIVE").fetchall()
        connection.execute("PRAGMA journal_mode = DELETE").fetchall()
        connection.execute("BEGIN EXCLUSIVE")
        connection.execute("COMMIT")
    except DatabaseError as error:
        raise StoreError(
            f"another process reads {path} ({error}): try again when it has ended;"
            " nothing was changed"
        ) from error


def _copy(
    path: Path, key: Key, target: Path, other: Key | None, connection: Connection | None = None
) -> None:
    """A whole copy on the disk, for the owner only, by a connection that is there or not."""
    before = os.umask(0o077)
    try:
        if connection is None:
            with closing(connect(path, key, new=False)) as own:
                own.execute("VACUUM INTO ?", (str(target),))
        else:
            connection.execute("VACUUM INTO ?", (str(target),))
        if other is not None and other != key:
            _encrypt_copy(target, key, other)
    except DatabaseError as error:
        target.unlink(missing_ok=True)
        raise StoreError(f"{path} cannot be copied to {target}: {error}") from error
    finally:
        os.umask(before)
    with target.open("rb") as file:
        os.fsync(file.fileno())


def _encrypt_copy(copy: Path, key: Key, other: Key) -> None:
    """Encrypts a copy, that nobody relies on yet, with another key, and checks all of it."""
    with closing(connect(copy, key, new=False)) as connection:
        _rows(connection, "PRAGMA journal_mode = OFF")
        _rows(connection, other.rekey_pragma())
    with closing(connect(copy, other, new=False)) as connection:
        if findings := _rows(connection, "PRAGMA cipher_integrity_check"):
            raise StoreError(f"the copy {copy} is damaged ({findings[0][0]}); nothing was changed")


def _give(new: Path, old: Path) -> None:
    """To the owner of what it replaces, or of the folder, where root works for a service."""
    if os.geteuid() != 0:
        return
    owner = old.stat()
    handle = os.open(new, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        os.fchown(handle, owner.st_uid, owner.st_gid)
    finally:
        os.close(handle)


def _free_name(path: Path, word: str) -> Path:
    """`PATH.WORD-1`, or the first number that is free."""
    number = 1
    while (name := path.with_name(f"{path.name}.{word}-{number}")).exists():
        number += 1
    return name


def _rows(connection: Connection, sql: str) -> list[tuple[object, ...]]:
    return list(connection.execute(sql).fetchall())


def _number(connection: Connection, sql: str) -> int:
    (number,) = _rows(connection, sql)[0]
    return int(str(number))
