"""Lines whose senders wait for them to be durable: kept first, worked out afterwards.

    keeping.py    when a sender is told, what is handed on, what is read again after a crash
    segments.py   the files beside the database
    sealing.py    what stands in them, encrypted

Nothing that was acknowledged is lost: it is in the database, or here. A line is here for as long
as it takes to work it out, and is worked out again where the process was killed meanwhile.
"""

from pda.journal.keeping import Journal, JournalState

__all__ = ["Journal", "JournalState"]
