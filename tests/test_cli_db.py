"""`pda db`: what it prints, and what it refuses while a service runs."""

from __future__ import annotations

import json
import signal
from pathlib import Path

from pda.journal.sealing import HEADER
from pda.store.database import find_key, make_key, open_reader, opens
from tests.running import Running, eventually
from tests.support import attempt
from tests.test_journal_service import acknowledged, files, locked, numbered, relp


def test_beside_a_running_service(tmp_path: Path) -> None:
    with Running(tmp_path) as service:
        service.send([attempt()])
        backup = tmp_path / "backup.db"
        assert b"sound" in service.pda("db", "check").stdout
        assert b"octets" in service.pda("db", "backup", str(backup)).stdout
        stats = json.loads(service.pda("db", "stats", "--json").stdout)
        assert stats["rows"]["entry"] == 1
        assert b"attempt  " in service.pda("db", "stats").stdout
        for words in (["rekey"], ["vacuum"], ["restore", "--replace", str(backup)]):
            done = service.pda("db", *words)
            assert (done.returncode, done.stdout) == (1, b"")
            assert b"stop it first" in done.stderr
        service.stop()
        assert b"--replace" in service.pda("db", "restore", str(backup)).stderr
        assert service.pda("db", "restore", "--replace", str(backup)).returncode == 0
        assert service.pda("db", "vacuum").returncode == 0
        assert b"keep a copy" in service.pda("db", "rekey").stdout
        service.start()
        service.send([attempt(queue_id="4jXPlN1VQlzJbSX")])
        eventually(service.attempts, lambda found: len(found) == 2)


def test_a_new_key_elsewhere(tmp_path: Path) -> None:
    service = Running(tmp_path)
    database, new = tmp_path / "pda.db", tmp_path / "new"
    with service:
        service.send([attempt()])
        service.stop()
    assert service.pda("db", "rekey", "--to", str(new)).returncode == 0
    assert opens(database, find_key(database, new))
    given = {**service.environment, "PDA_STORE_KEY": new.read_text()}
    service.environment = given
    done = service.pda("db", "rekey")
    assert (done.returncode, b"--to" in done.stderr) == (1, True)


def test_a_damaged_database(tmp_path: Path) -> None:
    service = Running(tmp_path)
    with service:
        service.send([attempt()])
        service.stop()
    database = tmp_path / "pda.db"
    reader = open_reader(database, find_key(database, tmp_path / "pda.db.key"))
    named = "SELECT rootpage FROM sqlite_master WHERE name = 'attempt'"
    (page,) = reader.execute(named).fetchone() or (0,)
    reader.close()
    data = bytearray(database.read_bytes())
    data[int(str(page)) * 8192 - 3000] ^= 1
    database.write_bytes(data)
    done = service.pda("db", "check")
    assert (done.returncode, b"HMAC" in done.stdout) == (1, True)
    assert b"restore" in done.stderr
    done = service.pda("query", "attempts")
    assert (done.returncode, done.stdout) == (1, b"")
    assert b"pda db check says whether it is damaged" in done.stderr


def test_the_journal_of_a_killed_service(tmp_path: Path) -> None:
    with relp(tmp_path) as service:
        assert b"is in use and was not read" in service.pda("db", "check").stdout
        with locked(service):
            acknowledged(service, numbered(0))
            service.stop(signal.SIGKILL)
        done = service.pda("db", "check")
        assert (done.returncode, b"300 lines wait in its journal" in done.stdout) == (0, True)
        (journal,) = files(tmp_path)
        whole = journal.read_bytes()
        damaged = bytearray(whole)
        damaged[-100] ^= 1
        journal.write_bytes(damaged + whole[HEADER:])  # what follows shows that it is no torn end
        done = service.pda("db", "check")
        assert (done.returncode, b"cannot be read in" in done.stderr) == (1, True)
        journal.write_bytes(b"x" * 1000)
        done = service.pda("db", "check")
        assert (done.returncode, b"another database, or damaged" in done.stderr) == (1, True)
        assert journal.read_bytes() == b"x" * 1000
        journal.unlink()
        assert service.pda("db", "check").stdout == f"{tmp_path}/pda.db is sound\n".encode()


def test_a_backup_with_a_key_of_its_own(tmp_path: Path) -> None:
    service = Running(tmp_path)
    with service:
        service.send([attempt()])
        service.stop()
    make_key(tmp_path / "other")
    target, key = str(tmp_path / "backup.db"), str(tmp_path / "other")
    assert service.pda("db", "backup", "--key-file", key, target).returncode == 0
    (tmp_path / "pda.db").unlink()
    assert b"another key" in service.pda("db", "restore", target).stderr
    assert service.pda("db", "restore", "--key-file", key, target).returncode == 0
    assert len(service.attempts()) == 1
