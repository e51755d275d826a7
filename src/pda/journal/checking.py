"""What is wrong with a journal: for who checks a database while nobody writes it.

Owns the sentences. Changes nothing: what cannot be read is set aside by the next start.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from pda.journal.sealing import Contents, ForeignError
from pda.journal.segments import Segments


class Checked(NamedTuple):
    """What was found."""

    findings: list[str]
    """A sentence for each file that cannot be read, or not as a whole."""
    waiting: int
    """Lines that the next start stores."""


def check(database: Path, secret: bytes) -> Checked:
    """Reads all files of the journal beside a database."""
    segments = Segments(database, secret)
    findings, waiting = [], 0
    for path in segments.left():
        try:
            contents = segments.read(path)
        except ForeignError:
            findings.append(f"the journal {path} is of another database, or damaged")
        except OSError as error:
            findings.append(f"the journal {path} cannot be read: {error.strerror}")
        else:
            waiting += sum(len(batch.lines) for batch in contents.batches)
            findings += _damages(path, contents)
    return Checked(findings, waiting)


def _damages(path: Path, contents: Contents) -> list[str]:
    places, advice = contents.damaged, "import the log files of the hosts"
    return [f"the journal {path} cannot be read in {places} places: {advice}"] if places else []
