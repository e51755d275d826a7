"""The driver takes the system's OpenSSL, and files are the same with either."""

from __future__ import annotations

import ctypes
import subprocess
import sys
from pathlib import Path

import pytest

from pda.store.database import make_key, open_writer, read_key_file

VERSION = "PRAGMA cipher_provider_version"
ALONE = "import pysqlcipher3.dbapi2"  # before ours, so that the wheel's own stays
PROGRAM = """
{first}
import sys
from pathlib import Path
from pda.store.database import open_writer, read_key_file
connection = open_writer(Path(sys.argv[1]), read_key_file(Path(sys.argv[2])))
connection.execute("CREATE TABLE IF NOT EXISTS said (what TEXT)")
connection.execute("INSERT INTO said VALUES ('kept')")
print(connection.execute("{version}").fetchone()[0], end="")
"""


def run(path: Path, key: Path, first: str = "") -> str:
    """Writes a row in a process of its own; which OpenSSL did it."""
    program = PROGRAM.format(first=first, version=VERSION)
    command = [sys.executable, "-c", program, str(path), str(key)]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


@pytest.fixture
def key(tmp_path: Path) -> Path:
    make_key(tmp_path / "key")
    return tmp_path / "key"


def test_the_systems_openssl_is_used(tmp_path: Path, key: Path) -> None:
    ask = ctypes.CDLL("libcrypto.so.3").OpenSSL_version
    ask.restype = ctypes.c_char_p
    assert run(tmp_path / "db", key) == ask(0).decode()


@pytest.mark.parametrize(("writer", "reader"), [("", ALONE), (ALONE, "")])
def test_what_one_has_written_the_other_reads(
    writer: str, reader: str, tmp_path: Path, key: Path
) -> None:
    path = tmp_path / "db"
    assert run(path, key, writer) != run(path, key, reader)
    connection = open_writer(path, read_key_file(key))
    assert connection.execute("SELECT count(*) FROM said").fetchone() == (2,)
