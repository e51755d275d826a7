"""Encrypted database files: key, connections, pragmas, and who may write.

Owns everything between a path and an open connection. Knows no table. Opening never overwrites:
a wrong key, a missing key or a file that is no database of ours is one clear error.
"""

from __future__ import annotations

import fcntl
import os
import secrets
import stat
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Protocol, TypeAlias, cast

from pda.store.driver import dbapi2

APPLICATION_ID = 0x70646132  # "pda2": the first form of the tables was never released
SCHEMA = 18
"""The number of migrations in `schema`, which takes a reader too long to load."""
KEY_BYTES = 32
# 8 KiB pages are a fifth faster in bulk than SQLCipher's 4 KiB. Part of the file's format.
_PAGE_SIZE = 8192
_CREDENTIAL = "pda.key"
# KiB of pages in memory: what is written again and again, and what a question looks at again.
# More made nothing faster, and a long run larger; half of a reader's made questions a third slower.
_WRITERS_CACHE, READERS_CACHE = 16_384, 8192
UPKEEPS_CACHE = 2048
"""For a reader that looks at nearly every page once: more would only take their room."""

Value: TypeAlias = str | int | float | bytes | bytearray | None
Row: TypeAlias = tuple[Value, ...]

DatabaseError: type[Exception] = dbapi2.DatabaseError
OperationalError: type[Exception] = dbapi2.OperationalError


class StoreError(Exception):
    """The store cannot be used; the message says what, where, and what to do."""


class InUseError(StoreError):
    """Another process writes the database."""


class Cursor(Protocol):
    """What is used of a DB-API cursor."""

    def fetchone(self) -> tuple[Value, ...] | None: ...
    def fetchall(self) -> list[tuple[Value, ...]]: ...
    def fetchmany(self, size: int) -> list[tuple[Value, ...]]: ...


class Connection(Protocol):
    """What is used of a DB-API connection."""

    @property
    def in_transaction(self) -> bool: ...
    def execute(self, sql: str, values: Sequence[Value] = ..., /) -> Cursor: ...
    def executemany(self, sql: str, rows: Iterable[Sequence[Value]], /) -> Cursor: ...
    def create_function(
        self, name: str, arguments: int, function: Callable[..., Value], /
    ) -> None: ...
    def interrupt(self) -> None: ...
    def close(self) -> None: ...


class Key:
    """The database's key; never shown."""

    def __init__(self, raw: bytes) -> None:
        if len(raw) != KEY_BYTES:
            raise StoreError(f"the database key has {len(raw)} bytes, not {KEY_BYTES}")
        self._hex = raw.hex()

    def __repr__(self) -> str:
        return "Key(…)"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Key) and self._hex == other._hex

    def __hash__(self) -> int:
        return hash(self._hex)

    def pragma(self) -> str:
        """The statement that unlocks a database; never to be logged."""
        return f"PRAGMA key = \"x'{self._hex}'\""

    def rekey_pragma(self) -> str:
        """The statement that encrypts an unlocked database with this key; never to be logged."""
        return f"PRAGMA rekey = \"x'{self._hex}'\""


def find_key(database: Path, key_file: Path, key_hex: str = "", *, make: bool = True) -> Key:
    """The key: given in hexadecimal, as a systemd credential, or in its file.

    Where there is neither database nor key file, a key is made, or with `make` unset refused.
    Raises `StoreError`.
    """
    if key_hex:
        return _from_text(key_hex, "PDA_STORE_KEY")
    credential = Path(os.environ.get("CREDENTIALS_DIRECTORY", "/nonexistent")) / _CREDENTIAL
    if credential.exists():
        return _read_key(credential)  # who may read it is systemd's business, by ACL
    if _is_there(key_file):
        return _key_that_fits(database, key_file)
    if _has_content(database):
        raise StoreError(
            f"the database {database} is there but its key file {key_file} is not: put the key"
            " back or name it by [store] key_file; nothing was changed"
        )
    if not make:
        raise StoreError(_nothing_to_read(database))
    return make_key(key_file)


def _key_that_fits(database: Path, key_file: Path) -> Key:
    """That of the key file; where a change of keys was interrupted, the one that opens it."""
    key = read_key_file(key_file)
    coming = coming_key_file(key_file)
    if not _is_there(coming) or not _has_content(database) or opens(database, key):
        return key
    return read_key_file(coming)


def coming_key_file(key_file: Path) -> Path:
    """Where the next key stands while the database is being encrypted with it."""
    return key_file.with_name(f"{key_file.name}.new")


def read_key_file(path: Path) -> Key:
    """The key in a file that nobody else can read. Raises `StoreError`."""
    if not _is_there(path):
        raise StoreError(f"there is no key file {path}")
    _refuse_if_readable_by_others(path)
    return _read_key(path)


def opens(database: Path, key: Key) -> bool:
    """Whether this is the key of a database of ours."""
    try:
        connect(database, key, new=False).close()
    except StoreError:
        return False
    return True


def make_key(path: Path) -> Key:
    """A new key in a new file of mode 0600. Raises `StoreError`, also if there is such a file."""
    raw = secrets.token_bytes(KEY_BYTES)
    new = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        _write_durably(new, raw.hex() + "\n")
        os.link(new, path)  # whole or not at all, and never over another one
        sync_directory(path.parent)
    except FileExistsError:
        raise StoreError(f"{path} is there already; a key is never overwritten") from None
    except OSError as error:
        raise StoreError(f"the key file {path} cannot be written: {error.strerror}") from error
    finally:
        with suppress(OSError):
            new.unlink()
    return Key(raw)


def _write_durably(path: Path, text: str) -> None:
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(handle, "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


def sync_directory(path: Path) -> None:
    """A new name outlasts a power cut only then."""
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _refuse_if_readable_by_others(path: Path) -> None:
    if stat.S_IMODE(path.stat().st_mode) & 0o077:
        raise StoreError(f"the key file {path} can be read by others: chmod 0600 {path}")


def _read_key(path: Path) -> Key:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise StoreError(f"the key file {path} cannot be read: {error.strerror}") from error
    if len(content) == KEY_BYTES:
        return Key(content)
    return _from_text(content.decode("latin-1"), path)


def _from_text(text: str, where: str | Path) -> Key:
    try:
        return Key(bytes.fromhex(text.strip()))
    except (ValueError, StoreError):
        raise StoreError(
            f"{where} holds no database key: {2 * KEY_BYTES} hexadecimal digits are expected"
        ) from None


def open_writer(path: Path, key: Key) -> Connection:
    """The connection that writes, with a database of ours behind it, made if there is none."""
    new = not _has_content(path)
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    connection = connect(path, key, new=new)
    try:
        if new:
            connection.execute("PRAGMA auto_vacuum = INCREMENTAL")  # before there is any page
            connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute("PRAGMA journal_mode = WAL").fetchone()
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute(f"PRAGMA cache_size = -{_WRITERS_CACHE}")
        connection.execute("PRAGMA journal_size_limit = 67108864")
        # Only a foreign program can lock it: who sends is slowed down, and it is said soon.
        connection.execute("PRAGMA busy_timeout = 5000").fetchone()
    except DatabaseError as error:
        raise StoreError(f"the database {path} cannot be written: {error}") from error
    return connection


def open_reader(path: Path, key: Key, cache: int = READERS_CACHE) -> Connection:
    """A connection that only reads, with so many KiB of pages in memory.

    Raises `StoreError` where there is nothing to read.
    """
    if not _has_content(path):
        raise StoreError(_nothing_to_read(path))
    connection = connect(path, key, new=False)
    try:
        refuse_newer(connection)
    except StoreError:
        connection.close()
        raise
    connection.execute("PRAGMA query_only = ON")
    connection.execute(f"PRAGMA cache_size = -{cache}")
    return connection


def each_row(rows: Cursor, at_a_time: int) -> Iterator[Row]:
    """All of them, with so many in memory: of many rows all at once would take megabytes."""
    while some := rows.fetchmany(at_a_time):
        yield from some


@contextmanager
def transaction(connection: Connection) -> Iterator[None]:
    """All that is written within it, durable when it ends; nothing where something is raised."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        roll_back(connection)
        raise


@contextmanager
def snapshot(connection: Connection) -> Iterator[None]:
    """All that is read within it is as it was at one moment; within another one, at that one's."""
    if connection.in_transaction:
        yield
        return
    connection.execute("BEGIN")
    try:
        yield
    finally:
        roll_back(connection)


def roll_back(connection: Connection) -> None:
    """Nothing of the open transaction stays; SQLite does so itself where the disk is full."""
    if connection.in_transaction:
        connection.execute("ROLLBACK")


def forget_pages(connection: Connection) -> None:
    """What is not being written is read from the disk again, where it may be sound by now.

    A page that the disk gave as zeros would else stay in memory: SQLCipher cannot tell it from one
    that was never written.
    """
    connection.execute("PRAGMA shrink_memory").fetchone()


def refuse_newer(connection: Connection) -> int:
    """The version of the tables; raises `StoreError` where this program does not know it yet."""
    (version,) = connection.execute("PRAGMA user_version").fetchone() or (0,)
    assert isinstance(version, int)
    if version > SCHEMA:
        raise StoreError(
            f"the database is of a newer version of pda (schema {version}, this one knows"
            f" {SCHEMA}): install that version; nothing was changed"
        )
    return version


def _nothing_to_read(path: Path) -> str:
    return f"there is no database {path} yet: start the service or a backfill first"


def connect(path: Path, key: Key, *, new: bool) -> Connection:
    """A connection to a database of ours, or a `new` one. Raises `StoreError`."""
    before = os.umask(0o077)  # the -wal and -shm files get the mode of the database
    try:
        connection = cast(
            Connection,
            dbapi2.connect(str(path), isolation_level=None, check_same_thread=False, timeout=30),
        )
        connection.execute(key.pragma())
        connection.execute("PRAGMA cipher_log_level = NONE")
        # The default as well: VACUUM copies into a database that it makes by the defaults.
        connection.execute(f"PRAGMA cipher_default_page_size = {_PAGE_SIZE}")
        connection.execute(f"PRAGMA cipher_page_size = {_PAGE_SIZE}")
        connection.execute("PRAGMA temp_store = MEMORY")
        found = connection.execute("PRAGMA application_id").fetchone()
        connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    except DatabaseError as error:
        raise StoreError(_unreadable(path, error)) from None
    finally:
        os.umask(before)
    if not new and found != (APPLICATION_ID,):
        connection.close()
        raise StoreError(f"{path} is a database, but not one of pda's; nothing was changed")
    return connection


def _unreadable(path: Path, error: Exception) -> str:
    if "not a database" in str(error) or "malformed" in str(error):
        return (
            f"{path} cannot be opened: it was made with another key or is no database of pda's;"
            " nothing was changed"
        )
    return f"the database {path} cannot be opened: {error}"


def _has_content(path: Path) -> bool:
    if _is_there(path) and path.is_dir():
        raise StoreError(f"{path} is a directory, not a database")
    return _is_there(path) and path.stat().st_size > 0


def _is_there(path: Path) -> bool:
    try:
        return path.exists()
    except OSError as error:
        raise StoreError(f"{path} cannot be read: {error.strerror}") from error


class WriteLock:
    """Held by the one process that writes; released when it ends, however it ends."""

    def __init__(self, database: Path) -> None:
        path = database.with_name(database.name + ".lock")
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise StoreError(f"{path} cannot be written: {error.strerror}") from error
        try:
            fcntl.flock(self._handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(self._handle)
            raise InUseError(f"another process writes {database} already") from None

    def note(self, text: str) -> str:
        """Writes a short text into its file; what stood there, whoever held it then.

        A disk that refuses changes nothing: the text is not worth a stop.
        """
        before = os.pread(self._handle, 1000, 0).decode("ascii", "replace")
        with suppress(OSError):
            os.ftruncate(self._handle, 0)
            os.pwrite(self._handle, text.encode("ascii"), 0)
            os.fsync(self._handle)
        return before

    def release(self) -> None:
        """Lets another process write."""
        os.close(self._handle)
