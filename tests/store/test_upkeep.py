"""The database as a whole: checked, backed up under load, restored, encrypted anew with kills."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from pda.store import queries, upkeep
from pda.store.database import (
    Key,
    StoreError,
    coming_key_file,
    find_key,
    make_key,
    open_reader,
    open_writer,
    opens,
    read_key_file,
)
from pda.store.queries import Filter
from tests.running import SOURCE
from tests.support import Store, attempt


def numbered(begin: int, end: int) -> list[bytes]:
    return [attempt(queue_id=f"4jXPlN1VQ{n:06}", to=f"r{n}@example.org") for n in range(begin, end)]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """With 300 attempts."""
    store = Store(tmp_path)
    store.add(numbered(0, 300))
    return store


def recipients(path: Path, key: Key) -> list[str]:
    connection = open_reader(path, key)
    try:
        return [row.recipient for row in queries.attempts(connection, Filter())]
    finally:
        connection.close()


def test_a_sound_database(store: Store) -> None:
    assert upkeep.check(store.path, store.key) == []


def test_one_flipped_bit_is_found(store: Store) -> None:
    named = "SELECT rootpage FROM sqlite_master WHERE name = 'attempt'"
    (page,) = store.connection.execute(named).fetchone() or (0,)
    store.close()
    with store.path.open("r+b") as file:
        file.seek(int(str(page)) * 8192 - 3000)
        octet = file.read(1)[0]
        file.seek(-1, os.SEEK_CUR)
        file.write(bytes([octet ^ 1]))
    assert "HMAC" in upkeep.check(store.path, store.key)[0]


def test_rows_that_belong_to_nothing_are_found(store: Store) -> None:
    store.connection.execute("DELETE FROM entry WHERE id = 7")
    assert upkeep.check(store.path, store.key) == [
        "there are 1 attempts without their queue entry",
        "there are 1 outcomes without their queue entry",
    ]


def test_what_is_measured(store: Store) -> None:
    measures = upkeep.measure(store.path, store.key)
    assert (measures.rows["attempt"], measures.rows["relay"]) == (300, 1)
    assert measures.gives_back
    assert measures.octets > 8192


def test_a_backup_while_lines_are_written_holds_whole_transactions(
    store: Store, tmp_path: Path
) -> None:
    ended = threading.Event()

    def write() -> None:
        begin = 300
        while not ended.is_set():
            store.add(numbered(begin, begin + 10))
            begin += 10

    writing = threading.Thread(target=write)
    writing.start()
    try:
        for n in range(3):
            upkeep.back_up(store.path, store.key, tmp_path / f"backup-{n}.db")
    finally:
        ended.set()
        writing.join()
    for n in range(3):
        backup = tmp_path / f"backup-{n}.db"
        assert upkeep.check(backup, store.key) == []
        found = recipients(backup, store.key)
        assert len(found) >= 300
        assert len(found) % 10 == 0
        assert stat.S_IMODE(backup.stat().st_mode) == 0o600
        assert b"example.org" not in backup.read_bytes()


def test_a_backup_with_another_key(store: Store, tmp_path: Path) -> None:
    other, backup = make_key(tmp_path / "other.key"), tmp_path / "backup.db"
    upkeep.back_up(store.path, store.key, backup, other)
    assert not opens(backup, store.key)
    assert len(recipients(backup, other)) == 300
    assert {path.name for path in tmp_path.iterdir() if "backup" in path.name} == {"backup.db"}


def test_a_backup_overwrites_nothing(store: Store, tmp_path: Path) -> None:
    (tmp_path / "backup.db").write_bytes(b"mine")
    with pytest.raises(StoreError, match="never overwritten"):
        upkeep.back_up(store.path, store.key, tmp_path / "backup.db")
    assert (tmp_path / "backup.db").read_bytes() == b"mine"


@pytest.mark.parametrize("with_key", ["same", "other"])
def test_restored_it_is_as_it_was_and_goes_on(store: Store, tmp_path: Path, with_key: str) -> None:
    backup = tmp_path / "backup.db"
    its_key = store.key if with_key == "same" else make_key(tmp_path / "other.key")
    upkeep.back_up(store.path, store.key, backup, its_key)
    store.add(numbered(300, 400))
    store.close()
    kept = upkeep.restore(backup, its_key, store.path, store.key)
    assert kept is not None
    assert len(recipients(store.path, store.key)) == 300
    assert len(recipients(kept, store.key)) == 400
    again = Store(tmp_path)
    again.add(numbered(250, 350))
    assert len(recipients(store.path, store.key)) == 350
    assert upkeep.check(store.path, store.key) == []


def test_a_log_of_the_replaced_database_is_not_taken_for_the_backups(
    store: Store, tmp_path: Path
) -> None:
    backup = tmp_path / "backup.db"
    upkeep.back_up(store.path, store.key, backup)
    store.add(numbered(300, 400))  # stands in the write-ahead log, as after a kill
    with store.path.open("r+b") as file:
        file.write(b"broken beyond help")
    upkeep.restore(backup, store.key, store.path, store.key)
    assert len(recipients(store.path, store.key)) == 300


def test_a_damaged_backup_replaces_nothing(store: Store, tmp_path: Path) -> None:
    backup = tmp_path / "backup.db"
    upkeep.back_up(store.path, store.key, backup)
    backup.write_bytes(backup.read_bytes()[:-5000] + b"x" * 5000)
    store.close()
    with pytest.raises(StoreError, match="damaged"):
        upkeep.restore(backup, store.key, store.path, store.key)
    assert len(recipients(store.path, store.key)) == 300


def test_packed_it_is_smaller_and_can_give_back(store: Store) -> None:
    store.connection.execute("DELETE FROM attempt")
    store.close()
    before, after = upkeep.pack(store.path, store.key)
    assert after < before
    assert upkeep.check(store.path, store.key)[:0] == []
    assert upkeep.measure(store.path, store.key).free_octets == 0


def test_another_key(store: Store, tmp_path: Path) -> None:
    store.close()
    key_file = tmp_path / "pda.key"
    kept = upkeep.change_key(store.path, store.key, key_file)
    assert read_key_file(kept) == store.key
    assert not opens(store.path, store.key)
    assert len(recipients(store.path, find_key(store.path, key_file))) == 300
    again = Store(tmp_path)
    again.add(numbered(300, 310))
    assert again.connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert again.connection.execute("PRAGMA auto_vacuum").fetchone() == (2,)
    assert not list(tmp_path.glob("*rekeying*"))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_what_root_replaces_keeps_its_owner(store: Store, tmp_path: Path) -> None:
    store.close()
    backup, key_file = tmp_path / "backup.db", tmp_path / "pda.key"
    upkeep.back_up(store.path, store.key, backup)
    os.chown(store.path, 4711, 4712)
    upkeep.change_key(store.path, store.key, key_file)
    assert (store.path.stat().st_uid, store.path.stat().st_gid) == (4711, 4712)
    assert key_file.stat().st_uid == 0
    os.chown(key_file, 4711, 4712)
    new = read_key_file(key_file)
    upkeep.restore(backup, store.key, store.path, new)
    upkeep.change_key(store.path, new, key_file)
    assert [path.stat().st_uid for path in (store.path, key_file)] == [4711, 4711]
    assert [stat.S_IMODE(path.stat().st_mode) for path in (store.path, key_file)] == [0o600, 0o600]
    store.path.unlink()
    os.chown(tmp_path, 4713, 4714)
    assert upkeep.restore(backup, store.key, store.path, read_key_file(key_file)) is None
    assert store.path.stat().st_uid == 4713


def test_no_other_key_while_somebody_reads(store: Store, tmp_path: Path) -> None:
    store.close()
    with store.reading() as connection:
        connection.execute("BEGIN")
        connection.execute("SELECT count(*) FROM entry").fetchone()
        with pytest.raises(StoreError, match="another process reads"):
            upkeep.change_key(store.path, store.key, tmp_path / "pda.key")
    upkeep.finish_change_of_key(store.path, tmp_path / "pda.key")
    assert find_key(store.path, tmp_path / "pda.key") == store.key


_CHANGE = """
import sys, os
from pathlib import Path
from pda.store import upkeep
from pda.store.database import find_key
folder, stop_at = Path(sys.argv[1]), int(sys.argv[2])
calls = 0
def count(event, args):
    # Killed at the n-th time that it touches a file: each moment that leaves something else behind.
    global calls
    if event in {"open", "os.link", "os.rename", "os.remove", "sqlite3.connect"}:
        calls += 1
        if calls == stop_at:
            os.kill(os.getpid(), 9)
path, key_file = folder / "pda.db", folder / "pda.key"
key = find_key(path, key_file)
sys.addaudithook(count)
upkeep.change_key(path, key, key_file)
"""


def test_a_kill_at_any_moment_leaves_what_a_key_at_hand_opens(store: Store, tmp_path: Path) -> None:
    store.close()
    environment = {**os.environ, "PYTHONPATH": str(SOURCE)}
    key_file = tmp_path / "pda.key"
    kills = 0
    for moment in range(1, 100):
        command = [sys.executable, "-c", _CHANGE, str(tmp_path), str(moment)]
        status = subprocess.run(command, env=environment, check=False).returncode
        assert len(recipients(store.path, find_key(store.path, key_file))) == 300
        upkeep.finish_change_of_key(store.path, key_file)
        assert opens(store.path, read_key_file(key_file))
        assert not coming_key_file(key_file).exists()
        assert not list(tmp_path.glob("*rekeying*"))
        if status == 0:
            break
        assert status == -signal.SIGKILL
        kills += 1
    assert kills >= 5
    assert upkeep.check(store.path, find_key(store.path, key_file)) == []


def test_kills_in_the_middle_of_writing(store: Store, tmp_path: Path) -> None:
    store.add(numbered(300, 3000))
    store.close()
    environment = {**os.environ, "PYTHONPATH": str(SOURCE)}
    key_file, coming = tmp_path / "pda.key", store.path.with_name("pda.db.rekeying")
    for octets in (1, 100_000, 400_000, 800_000):
        command = [sys.executable, "-c", _CHANGE, str(tmp_path), "-1"]
        process = subprocess.Popen(command, env=environment)
        while process.poll() is None and not _reached(coming, octets):
            pass
        process.kill()
        process.wait()
        assert len(recipients(store.path, find_key(store.path, key_file))) == 3000
        upkeep.finish_change_of_key(store.path, key_file)


def _reached(path: Path, octets: int) -> bool:
    try:
        return path.stat().st_size >= octets
    except FileNotFoundError:
        return False


def test_a_kill_while_the_copy_is_encrypted(store: Store, tmp_path: Path) -> None:
    """Left behind are a key and half a copy; the old key still opens the database."""
    store.close()
    make_key(coming_key_file(tmp_path / "pda.key"))
    store.path.with_name("pda.db.rekeying").write_bytes(b"half")
    assert find_key(store.path, tmp_path / "pda.key") == store.key
    again = open_writer(store.path, find_key(store.path, tmp_path / "pda.key"))
    again.close()
    upkeep.finish_change_of_key(store.path, tmp_path / "pda.key")
    assert {path.name for path in tmp_path.iterdir()} >= {"pda.db", "pda.key"}
    assert not list(tmp_path.glob("*.new")) + list(tmp_path.glob("*rekeying*"))
