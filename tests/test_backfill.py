"""Files into lines: every whole line once, whatever is wrong with the file, in bounded memory."""

from __future__ import annotations

import gzip
import os
import random
import tracemalloc
import zlib
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pda.backfill import (
    BackfillError,
    head,
    newest_within,
    oldest_first,
    open_log,
    read_lines,
)

LINES = [f"line {n} {random.Random(n).randbytes(20).hex()}".encode() for n in range(20_000)]
TEXT = b"".join(line + b"\n" for line in LINES)
PACKED = gzip.compress(TEXT)
FEW = LINES[:300]
FEW_PACKED = gzip.compress(b"".join(line + b"\n" for line in FEW))


def written(folder: Path, content: bytes, name: str = "mail.log") -> Path:
    path = folder / name
    path.write_bytes(content)
    return path


def read(path: Path) -> tuple[list[bytes], str]:
    """The lines, and why there are no more."""
    file = open_log(path)
    lines: list[bytes] = []
    try:
        for batch in read_lines(file):
            assert batch
            lines += batch
    except BackfillError as error:
        return lines, str(error)
    finally:
        file.close()
    return lines, ""


# --- Whole files ---------------------------------------------------------------------------------

WHOLE = {
    "plain": (TEXT, LINES),
    "gzip": (PACKED, LINES),
    "members": (FEW_PACKED + PACKED, FEW + LINES),
    "a line across members": (gzip.compress(b"one li") + gzip.compress(b"ne\n"), [b"one line"]),
    "an empty member": (gzip.compress(b"") + gzip.compress(b"x\n"), [b"x"]),
    "padded with zeros": (PACKED + b"\0" * 5000, LINES),
    "padded between members": (FEW_PACKED + b"\0" * 700 + FEW_PACKED, FEW + FEW),
    "no line end at the end": (b"a\nb", [b"a", b"b"]),
    "no line end, gzip": (gzip.compress(b"a\nb"), [b"a", b"b"]),
    "empty": (b"", []),
    "empty, gzip": (gzip.compress(b""), []),
    "empty lines, CR and NUL": (b"\n\r\n\0\n\xff", [b"", b"\r", b"\0", b"\xff"]),
    "one octet of gzip's mark": (b"\x1f", [b"\x1f"]),
}


@pytest.mark.parametrize("name", WHOLE)
def test_whole_files(tmp_path: Path, name: str) -> None:
    content, expected = WHOLE[name]
    path = written(tmp_path, content)
    assert read(path) == (expected, "")
    assert read(path) == (expected, "")


def test_gzip_is_known_by_content_and_not_by_name(tmp_path: Path) -> None:
    assert read(written(tmp_path, PACKED, "mail.log.1")) == (LINES, "")
    assert read(written(tmp_path, TEXT, "mail.log.1.gz")) == (LINES, "")


def test_a_file_can_be_read_twice_by_one_descriptor(tmp_path: Path) -> None:
    for content in (TEXT, PACKED):
        file = open_log(written(tmp_path, content))
        for _ in range(2):
            assert [line for batch in read_lines(file) for line in batch] == LINES
        file.close()


def test_the_head_is_the_same_packed_or_not(tmp_path: Path) -> None:
    heads = []
    for content in (TEXT, PACKED, TEXT[:4096], PACKED[:9000], TEXT[1:], PACKED[:40]):
        file = open_log(written(tmp_path, content))
        heads.append(head(file))
        file.close()
    assert set(heads[:4]) == {TEXT[:4096]}
    assert heads[4] == TEXT[1:4097]
    assert TEXT.startswith(heads[5])


# --- Damaged files -------------------------------------------------------------------------------


def unpacked_as_far_as_possible(packed: bytes) -> bytes:
    return zlib.decompressobj(31).decompress(packed)


@pytest.mark.parametrize(
    "cut", [2, 9, 30, 3000, len(PACKED) // 2, len(PACKED) - 8, len(PACKED) - 1]
)
def test_all_lines_before_the_cut_are_read(tmp_path: Path, cut: int) -> None:
    expected = unpacked_as_far_as_possible(PACKED[:cut]).split(b"\n")[:-1]
    lines, error = read(written(tmp_path, PACKED[:cut], "mail.log.2.gz"))
    assert lines == expected
    assert (
        error == f"{tmp_path}/mail.log.2.gz is damaged or incomplete (it ends in the middle);"
        " what came before was imported, import it again when it is whole"
    )


@pytest.mark.parametrize("junk", [b"junk", b"\0\0junk" * 50, b"\x1f\x8b", b"\x1f\x8b\x08\x00x"])
def test_junk_behind_the_end(tmp_path: Path, junk: bytes) -> None:
    lines, error = read(written(tmp_path, PACKED + junk))
    assert lines == LINES
    assert "is damaged or incomplete" in error


def test_a_wrong_checksum_costs_a_few_lines_and_is_told(tmp_path: Path) -> None:
    lines, error = read(written(tmp_path, PACKED[:-8] + b"abcd" + PACKED[-4:]))
    assert lines == LINES[: len(lines)]
    assert len(lines) > len(LINES) - 100
    assert "is damaged or incomplete" in error


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.integers(2, len(FEW_PACKED) - 1), st.integers(0, 7), st.booleans())
def test_a_flipped_bit_is_never_more_than_damage(
    tmp_path: Path, octet: int, bit: int, twice: bool
) -> None:
    flipped = bytearray(FEW_PACKED)
    flipped[octet] ^= 1 << bit
    lines, error = read(written(tmp_path, bytes(flipped) + FEW_PACKED * twice))
    if not error:  # a part that nothing depends on: the name, the time …
        assert lines == FEW * (1 + twice)
    assert len(lines) <= 4 * len(FEW)


# --- Bounds --------------------------------------------------------------------------------------


def peak(path: Path) -> tuple[int, str, int]:
    """The most memory (octets), the error, the number of lines."""
    tracemalloc.start()
    file = open_log(path)
    lines, reason = 0, ""
    try:
        for batch in read_lines(file):
            lines += len(batch)
    except BackfillError as error:
        reason = str(error)
    finally:
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        file.close()
    return most, reason, lines


def test_a_bomb(tmp_path: Path) -> None:
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    mebibyte = b"\0" * 2**20
    bomb = b"".join(packer.compress(mebibyte) for _ in range(64)) + packer.flush()
    memory, error, lines = peak(written(tmp_path, bomb))
    assert "unpacks to more than 200 times its size, as no log does" in error
    assert memory < 8 * 2**20
    assert lines == 0


@pytest.mark.parametrize(("packed", "mebibytes"), [(False, 50), (True, 12)])
def test_a_very_long_line(tmp_path: Path, packed: bool, mebibytes: int) -> None:
    noise = random.Random(0).randbytes(2**20).replace(b"\n", b"-")
    content = noise * mebibytes + b"\nlast\n"
    path = written(tmp_path, gzip.compress(content, 1) if packed else content)
    del content
    memory, error, lines = peak(path)
    assert (error, lines) == ("", 2)
    assert memory < 8 * 2**20


def test_a_large_file_takes_little_memory(tmp_path: Path) -> None:
    memory, error, lines = peak(written(tmp_path, gzip.compress(TEXT, 1) * 10))
    assert (error, lines) == ("", 10 * len(LINES))
    assert memory < 8 * 2**20


# --- What is no log ------------------------------------------------------------------------------


def test_what_cannot_be_opened_is_one_sentence(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    for path, reason in (
        (tmp_path / "absent", "cannot be read: No such file or directory"),
        (tmp_path, "is not a file: name the files in it"),
        (tmp_path / "fifo", "is not a file: name the files in it"),
        (Path("/dev/zero"), "is not a file: name the files in it"),
    ):
        with pytest.raises(BackfillError) as caught:
            open_log(path)
        assert str(caught.value) == f"{path} {reason}"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_without_permission(tmp_path: Path) -> None:
    path = written(tmp_path, b"x\n")
    path.chmod(0)
    with pytest.raises(BackfillError, match="cannot be read: Permission denied"):
        open_log(path)


def test_a_refused_file_leaves_no_descriptor_open(tmp_path: Path) -> None:
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(5):
        with pytest.raises(BackfillError):
            open_log(tmp_path)
    read(written(tmp_path, PACKED[:500]))
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_a_name_that_is_not_utf_8_can_be_told(tmp_path: Path) -> None:
    path = tmp_path / os.fsdecode(b"mail\xff.log")
    path.write_bytes(b"x\n")
    file = open_log(path)
    file.close()
    assert file.name == f"{tmp_path}/mail\\xff.log"


# --- Order and budget ----------------------------------------------------------------------------


def aged(folder: Path, names: list[str]) -> list[Path]:
    """Files of 100 octets, each a second younger than the one before."""
    for second, name in enumerate(names):
        path = written(folder, b"x" * 100, name)
        os.utime(path, (second, second))
    return [folder / name for name in names]


def test_the_oldest_comes_first_by_number(tmp_path: Path) -> None:
    names = ["mail.log.12.gz", "mail.log.9.gz", "mail.log.2.gz", "mail.log.1", "mail.log"]
    paths = aged(tmp_path, names)
    assert oldest_first(reversed(paths)) == paths
    assert oldest_first(sorted(paths)) == paths


def test_the_oldest_comes_first_by_time_where_names_have_dates(tmp_path: Path) -> None:
    names = ["mail.log-20260101.gz", "mail.log.20260108", "mail.log-20260115", "mail.log"]
    paths = aged(tmp_path, names)
    assert oldest_first(reversed(paths)) == paths


def test_what_is_not_there_keeps_its_place_for_open_log_to_tell(tmp_path: Path) -> None:
    (path,) = aged(tmp_path, ["mail.log"])
    paths = [tmp_path / "mail.log.1", path, path / "mail.log"]
    assert set(oldest_first(paths)) == set(paths)
    assert newest_within(paths, 1000) == paths


@pytest.mark.parametrize(("budget", "kept"), [(0, 0), (99, 0), (100, 1), (250, 2), (1000, 3)])
def test_of_a_budget_the_newest_have_their_share(tmp_path: Path, budget: int, kept: int) -> None:
    paths = aged(tmp_path, ["mail.log.2", "mail.log.1", "mail.log"])
    assert newest_within(paths, budget) == paths[3 - kept :]
