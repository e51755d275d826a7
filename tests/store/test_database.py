"""Keys, and databases that must not be opened, made or overwritten."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from pda.store import migrations
from pda.store.database import (
    SCHEMA,
    Key,
    StoreError,
    WriteLock,
    find_key,
    open_reader,
    open_writer,
)
from pda.store.driver import dbapi2
from tests.support import Store, attempt


def refused(folder: Path, message: str) -> None:
    """Opening says so, and leaves every file as it was."""
    before = {path: path.read_bytes() for path in folder.iterdir()}
    with pytest.raises(StoreError, match=message):
        Store(folder)
    after = {path: path.read_bytes() for path in folder.iterdir() if path.suffix != ".lock"}
    assert {path: data for path, data in after.items() if path in before} == before


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A database with something in it, closed."""
    store = Store(tmp_path)
    store.add([attempt()])
    store.close()
    return tmp_path


def test_the_first_start_makes_a_key_that_only_the_owner_reads(folder: Path) -> None:
    assert stat.S_IMODE((folder / "pda.key").stat().st_mode) == 0o600
    assert stat.S_IMODE((folder / "pda.db").stat().st_mode) == 0o600
    assert len(bytes.fromhex((folder / "pda.key").read_text())) == 32


def test_nothing_can_be_read_without_the_key(folder: Path) -> None:
    for path in folder.glob("pda.db*"):
        content = path.read_bytes()
        assert b"example.org" not in content
        assert not content.startswith(b"SQLite format 3")


def test_a_wrong_key(folder: Path) -> None:
    (folder / "pda.key").write_text("00" * 32)
    refused(folder, "made with another key")


def test_a_missing_key_of_a_database_that_is_there(folder: Path) -> None:
    (folder / "pda.key").unlink()
    refused(folder, "its key file .* is not")
    assert not (folder / "pda.key").exists()


def test_a_key_that_others_can_read(folder: Path) -> None:
    (folder / "pda.key").chmod(0o640)
    refused(folder, "can be read by others")
    (folder / "pda.key").chmod(0o400)
    Store(folder).close()


@pytest.mark.parametrize("content", ["", "00", "zz" * 32, "00" * 33])
def test_what_is_no_key(folder: Path, content: str) -> None:
    (folder / "pda.key").write_text(content)
    refused(folder, "64 hexadecimal digits")


@pytest.mark.parametrize("content", [b"hello" * 1000, b"SQLite format 3\0" + b"\0" * 5000])
def test_a_file_that_is_no_database(tmp_path: Path, content: bytes) -> None:
    find_key(tmp_path / "pda.db", tmp_path / "pda.key")
    (tmp_path / "pda.db").write_bytes(content)
    refused(tmp_path, "no database of pda's")


def test_a_database_of_somebody_else_with_our_key(tmp_path: Path) -> None:
    key = find_key(tmp_path / "pda.db", tmp_path / "pda.key")
    other = dbapi2.connect(str(tmp_path / "pda.db"))
    other.execute(key.pragma())
    other.execute("PRAGMA cipher_page_size = 8192")
    other.execute("CREATE TABLE theirs (x)")
    other.close()
    refused(tmp_path, "not one of pda's")


def test_a_database_of_a_newer_version(folder: Path) -> None:
    store = Store(folder)
    store.connection.execute(f"PRAGMA user_version = {len(migrations.MIGRATIONS) + 1}")
    store.close()
    refused(folder, "newer version of pda")
    with pytest.raises(StoreError, match="newer version of pda"):
        open_reader(store.path, store.key)


def test_readers_know_how_many_migrations_there_are() -> None:
    assert len(migrations.MIGRATIONS) == SCHEMA


def test_a_key_is_taken_from_the_environment_or_a_credential(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = (folder / "pda.key").read_text()
    (folder / "pda.key").rename(folder / "elsewhere")
    open_reader(folder / "pda.db", find_key(folder / "pda.db", folder / "pda.key", key)).close()
    credentials = folder / "credentials"
    credentials.mkdir()
    (credentials / "pda.key").write_text(key)
    (credentials / "pda.key").chmod(0o440)  # as systemd may present it, with an ACL
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(credentials))
    open_reader(folder / "pda.db", find_key(folder / "pda.db", folder / "pda.key")).close()


def test_a_reader_makes_nothing_and_writes_nothing(tmp_path: Path, folder: Path) -> None:
    with pytest.raises(StoreError, match="there is no database"):
        open_reader(tmp_path / "other.db", Key(bytes(32)))
    assert not (tmp_path / "other.db").exists()
    reader = open_reader(folder / "pda.db", find_key(folder / "pda.db", folder / "pda.key"))
    with pytest.raises(dbapi2.OperationalError, match="readonly"):
        reader.execute("DELETE FROM attempt")
    reader.close()


def test_the_key_does_not_show() -> None:
    assert "00" not in repr(Key(bytes(32)))


def test_one_process_writes(tmp_path: Path) -> None:
    lock = WriteLock(tmp_path / "pda.db")
    with pytest.raises(StoreError, match="another process writes"):
        WriteLock(tmp_path / "pda.db")
    lock.release()
    WriteLock(tmp_path / "pda.db").release()


def test_the_writer_waits_for_the_disk(tmp_path: Path) -> None:
    connection = open_writer(tmp_path / "pda.db", find_key(tmp_path / "pda.db", tmp_path / "k"))
    assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    (level,) = connection.execute("PRAGMA synchronous").fetchone() or ("",)
    assert str(level) == "2"  # FULL
    connection.close()


def test_what_the_lock_notes_outlives_who_held_it(tmp_path: Path) -> None:
    found = []
    for text in ("first", "", "third"):
        lock = WriteLock(tmp_path / "pda.db")
        found.append(lock.note(text))
        lock.release()
    assert found == ["", "first", ""]
