"""Plays mail hosts that run Postfix: a log of any size, and what really happened behind it.

In reading order: `plan` (what is asked for), `providers` (who receives, and what they answer),
`hosts` (queue ids, process ids), `recipient` and `message` (one message's life), `world` (many
lives in time order), `header` (what stands in front of the text), `rotation` (one log in several
files). Knows nothing of `pda`, so that what `pda` says can be held against it. Standard library
only; the same plan gives the same log on every machine and Python.
"""

from __future__ import annotations

from tools.simulator.message import Row
from tools.simulator.plan import FORMATS, Plan
from tools.simulator.recipient import RecipientRow
from tools.simulator.world import batches, generate

__all__ = ["FORMATS", "Plan", "RecipientRow", "Row", "batches", "generate"]
