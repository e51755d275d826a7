"""Files into lines: every whole line once, whatever is wrong with the file, in bounded memory."""

from __future__ import annotations

import bz2
import gzip
import lzma
import os
import random
import tracemalloc
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path

import pytest
import zstandard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pda.backfill import (
    BackfillError,
    Chunk,
    Mark,
    chunks,
    digest,
    fingerprint,
    glimpses,
    head,
    open_log,
    open_stream,
    parted,
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


BEGIN = Mark()

# --- Read on -------------------------------------------------------------------------------------


def chunks_of(path: Path, start: Mark = BEGIN) -> list[Chunk]:
    file = open_log(path)
    try:
        return list(chunks(file, start))
    finally:
        file.close()


PACK: dict[str, Callable[[bytes], bytes]] = {
    "plain": bytes,
    "gzip": gzip.compress,
    "bzip2": bz2.compress,
    "xz": lambda text: lzma.compress(text, preset=0),
    "zstd": zstandard.compress,
    "members": lambda text: gzip.compress(text[:50_000]) + gzip.compress(text[50_000:]),
}


@pytest.mark.parametrize("packing", PACK)
def test_a_file_is_read_on_behind_any_chunk(tmp_path: Path, packing: str) -> None:
    for chunk in chunks_of(written(tmp_path, TEXT)):
        position = chunk.mark.position
        rest = chunks_of(written(tmp_path, PACK[packing](TEXT)), chunk.mark)
        assert [line for one in rest for line in one.lines] == TEXT[position:].split(b"\n")[:-1]
        assert all(one.begin >= position for one in rest)


@pytest.mark.parametrize("packing", PACK)
@pytest.mark.parametrize("grown", [0, 1, 100, 5000, 400_000])
@pytest.mark.parametrize("before", [1, 3, 300, 9000])
def test_what_was_added_is_read(tmp_path: Path, packing: str, grown: int, before: int) -> None:
    old = b"".join(line + b"\n" for line in LINES[:before])
    more = (b"more %d\n" % grown) * (grown // 10)
    *_, last = chunks_of(written(tmp_path, old))
    rest = chunks_of(written(tmp_path, PACK[packing](old + more)), last.mark)
    assert b"".join(line + b"\n" for one in rest for line in one.lines) == more


@pytest.mark.parametrize("packing", PACK)
@pytest.mark.parametrize(
    "content",
    [TEXT[1:], TEXT[:300_000], b"", TEXT.replace(b"line 2 ", b"line 3 "), b"xx\n" * 300_000],
)
def test_another_content_is_read_from_its_beginning(
    tmp_path: Path, packing: str, content: bytes
) -> None:
    tail = TEXT.rindex(b"\n", 0, 400_000) + 1
    mark = Mark(tail, digest(TEXT[tail - 4096 : tail]))
    found = chunks_of(written(tmp_path, PACK[packing](content)), mark)
    if TEXT.startswith(content) or content[tail - 4096 : tail] != TEXT[tail - 4096 : tail]:
        assert b"\n".join(line for one in found for line in one.lines) == content.removesuffix(
            b"\n"
        )


def test_a_last_line_without_its_end_stands_behind_the_mark(tmp_path: Path) -> None:
    whole, part = chunks_of(written(tmp_path, b"a\nb"))
    assert (whole.lines, whole.partial, whole.mark.position) == ([b"a"], False, 2)
    assert (part.lines, part.partial, part.mark.position) == ([b"b"], True, 2)
    (rest,) = chunks_of(written(tmp_path, b"a\nbc\n"), part.mark)
    assert (rest.lines, rest.begin) == ([b"bc"], 2)


@settings(
    max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    st.binary(max_size=300).map(lambda some: b"." + some.replace(b"\x01", b"\n" * 3)),
    st.integers(0, 300), st.sampled_from(sorted(PACK)),
)  # fmt: skip
def test_two_readings_of_a_growing_file_are_one(
    tmp_path: Path, content: bytes, cut: int, packing: str
) -> None:
    """Whatever the octets; lines of NUL aside, of which there are none with so few."""
    one = [c for c in chunks_of(written(tmp_path, content)) if not c.partial]
    first = [c for c in chunks_of(written(tmp_path, content[:cut])) if not c.partial]
    start = first[-1].mark if first else BEGIN
    rest = chunks_of(written(tmp_path, PACK[packing](content)), start)
    assert [line for c in first + [c for c in rest if not c.partial] for line in c.lines] == [
        line for c in one for line in c.lines
    ]


def test_a_fingerprint_is_of_the_content_of_a_packed_file(tmp_path: Path) -> None:
    prints = []
    for content in (PACKED, PACKED, gzip.compress(TEXT + b"x\n"), PACKED[:-1], TEXT):
        file = open_log(written(tmp_path, content))
        prints.append(fingerprint(file))
        file.close()
    assert prints[0] == prints[1]
    assert len(set(prints[1:])) == 4
    assert prints[-1] == b""


# --- NULs, streams, glimpses ---------------------------------------------------------------------


@pytest.mark.parametrize("count", [16, 5000, 3_000_000])
@pytest.mark.parametrize("packed", [False, True])
def test_a_run_of_nul_costs_no_line(tmp_path: Path, count: int, packed: bool) -> None:
    """A crash leaves it, and copytruncate where the writer does not append."""
    nul = b"\0" * count
    content = nul + b"a\nb" + nul + b"c\n" + nul + b"\nd\n" + nul + b"e\n"
    path = written(tmp_path, lzma.compress(content) if packed and count < 10**6 else content)
    lines, error = read(path)
    assert ([line for line in lines if line], error) == ([b"a", b"b", b"c", b"d", b"e"], "")
    assert len(lines) < 10
    each = [line for one in content.splitlines(keepends=True) for line in parted(one)]
    assert each == [b"a", b"b", b"c", b"d", b"e"]


@pytest.mark.parametrize("packing", PACK)
def test_a_stream(packing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pda.backfill.files._SILENT_S", 0.001)
    reading, writing = os.pipe()
    file = open_stream(reading)
    os.close(reading)
    found = []
    with ThreadPoolExecutor(1) as executor:
        sending = executor.submit(os.write, writing, PACK[packing](TEXT[:60_000]))
        for chunk in chunks(file):
            found += chunk.lines
            if sending.done() and writing:
                os.close(writing)
                writing = 0
    file.close()
    assert found == TEXT[:60_000].split(b"\n")
    assert file.name == "standard input"


def test_a_silent_stream_gives_an_empty_chunk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pda.backfill.files._SILENT_S", 0.001)
    reading, writing = os.pipe()
    file = open_stream(reading)
    os.close(reading)
    found = chunks(file)
    assert next(found).lines == []
    os.write(writing, b"Sep ")
    assert next(found).lines == []
    os.write(writing, b" 1 x\nSep")
    assert [line for one in (next(found), next(found)) for line in one.lines] == [b"Sep  1 x"]
    os.close(writing)
    assert [(one.lines, one.partial) for one in found if one.lines] == [([b"Sep"], True)]
    assert head(file) == b""
    file.close()


@pytest.mark.parametrize("packing", PACK)
def test_glimpses_are_of_all_parts(tmp_path: Path, packing: str) -> None:
    file = open_log(written(tmp_path, PACK[packing](TEXT)))
    for begin in (0, TEXT.index(b"\n", 500_000) + 1):
        found = [line for lines in glimpses(file, begin) for line in lines if line]
        numbers = [int(line.split()[1]) for line in found]
        known = {line: n for n, line in enumerate(LINES)}
        assert all(known[line] == n for line, n in zip(found, numbers, strict=True))
        assert numbers == sorted(numbers)
        assert numbers[-1] == len(LINES) - 1
        assert max(b - a for a, b in pairwise(numbers)) < 500
        assert (numbers[0] == 0) == (begin == 0)
    file.close()


def test_a_file_that_is_cut_while_it_is_read(tmp_path: Path) -> None:
    path = written(tmp_path, TEXT)
    file = open_log(path)
    found = chunks(file)
    lines = next(found).lines
    os.truncate(path, 0)
    with pytest.raises(BackfillError, match="was cut while it was read"):  # noqa: PT012
        for chunk in found:
            lines += chunk.lines
    assert lines == LINES[: len(lines)]
    file.close()


def test_a_file_that_is_rotated_away_while_it_is_read_is_read_to_its_end(tmp_path: Path) -> None:
    path = written(tmp_path, TEXT)
    file = open_log(path)
    found = chunks(file)
    lines = next(found).lines
    path.rename(tmp_path / "mail.log.1")
    (tmp_path / "mail.log.1").unlink()
    lines += [line for chunk in found for line in chunk.lines]
    assert lines == LINES
    file.close()
