"""One log in several files, named, packed and dated as logrotate leaves them behind.

Knows neither messages nor headers. A file's modification time is that of its last line; rotated
files are packed when the last one is written, all but the newest of them.
"""

from __future__ import annotations

import bz2
import gzip
import lzma
import os
import shutil
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, TextIO

from tools.simulator.plan import SECOND

NAMINGS: Final = ("numbers", "dates")

PACKERS: Final[dict[str, Callable[[str], Any]]] = {
    # Nothing but the content may tell when it was packed.
    "gz": lambda name: gzip.GzipFile(name, "wb", mtime=0),
    "bz2": lambda name: bz2.BZ2File(name, "wb"),
    "xz": lambda name: lzma.LZMAFile(name, "wb"),  # noqa: SIM115 whoever asks closes it
}


class Rotation:
    """Writes lines to `log`, and rotates it after every so many."""

    def __init__(self, log: Path, lines: int, naming: str = "numbers", packing: str = "") -> None:
        if lines < 1:
            raise ValueError("a file needs at least one line")
        self._log = log
        self._most = lines
        self._naming = naming
        self._packing = packing
        self._parts: list[tuple[Path, int]] = []
        """Each with the time of its last line."""
        self._file: TextIO | None = None
        self._left = 0

    def write(self, moments: Sequence[int], lines: Sequence[str]) -> None:
        """Adds lines, each with its time in µs since the epoch."""
        begin = 0
        while begin < len(lines):
            if not self._left:
                self._open()
            assert self._file is not None
            end = min(begin + self._left, len(lines))
            self._file.write("\n".join(lines[begin:end]) + "\n")
            self._parts[-1] = self._parts[-1][0], moments[end - 1]
            self._left -= end - begin
            begin = end

    def _open(self) -> None:
        if self._file is not None:
            self._file.close()
        path = self._log.with_name(f"{self._log.name}.part-{len(self._parts)}")
        self._file = path.open("w", encoding="utf-8")
        self._parts.append((path, 0))
        self._left = self._most

    def close(self) -> list[Path]:
        """Gives the files their names, the oldest first."""
        if self._file is not None:
            self._file.close()
        names = list(_names(self._log, self._naming, [at for _, at in self._parts]))
        for (part, at), name in zip(self._parts, names, strict=True):
            part.rename(name)
            os.utime(name, (at // SECOND, at // SECOND))
        packed = [_packed(name, self._packing) for name in names[:-2]]
        return packed + names[-2:]


def _names(log: Path, naming: str, moments: Sequence[int]) -> Iterable[Path]:
    second = 0
    for number, at in zip(range(len(moments) - 1, -1, -1), moments, strict=True):
        second = max(at // SECOND, second + 1)  # dateformat -%Y%m%d-%s: no two are the same
        if not number:
            yield log
        elif naming == "numbers":
            yield log.with_name(f"{log.name}.{number}")
        else:
            yield log.with_name(f"{log.name}-{datetime.fromtimestamp(second, UTC):%Y%m%d}-{second}")


def _packed(path: Path, packing: str) -> Path:
    if not packing:
        return path
    times = path.stat()
    packed = path.with_name(f"{path.name}.{packing}")
    with path.open("rb") as plain, PACKERS[packing](str(packed)) as file:
        shutil.copyfileobj(plain, file)
    os.utime(packed, (times.st_atime, times.st_mtime))
    path.unlink()
    return packed
