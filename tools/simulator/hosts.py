"""A mail host: its names, its process ids and the queue ids it gives out. Knows no message."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from itertools import product
from typing import Final

from tools.simulator.plan import SECOND

QUEUE_RUN: Final = 300 * SECOND
"""queue_run_delay: the deferred queue is looked through so often."""

BASE_52: Final = "0123456789BCDFGHJKLMNPQRSTVWXYZbcdfghjklmnpqrstvwxyz"
PROCESSES: Final = {"anvil": 1, "smtp": 8}
"""How many of a program run at a time; three of any other."""


PAIRS: Final = tuple("".join(pair) for pair in product(BASE_52, repeat=2))
"""Two digits at a time: the numbers below 52 x 52."""


@lru_cache(maxsize=64)
def seconds_52(second: int) -> str:
    """The second in six digits of base 52."""
    high, low = divmod(second, 2_704)
    highest, high = divmod(high, 2_704)
    return PAIRS[highest] + PAIRS[high] + PAIRS[low]


def inode_51(inode: int) -> str:
    """An inode number in base 51, so without a `z` (global/safe_ultostr.c)."""
    digits = ""
    while inode:
        inode, digit = divmod(inode, 51)
        digits = BASE_52[digit] + digits
    return digits or "0"


def long_id(at: int, inode: int) -> str:
    """The queue id of `enable_long_queue_ids = yes` (global/mail_queue.h)."""
    second, microsecond = divmod(at, SECOND)
    high, low = divmod(microsecond, 2_704)
    return f"{seconds_52(second)}{PAIRS[high]}{PAIRS[low]}z{inode_51(inode)}"


def short_id(at: int, inode: int) -> str:
    """The queue id by default: reused as soon as the inode is, in the same microsecond."""
    return f"{at % SECOND:05X}{inode:X}"


class Host:
    """One mail host."""

    def __init__(self, name: str, number: int, rand: Callable[[], float], short: bool) -> None:
        self.name = name
        self.fqdn = f"{name}.example"
        self.ip = f"192.0.2.{200 + number % 50}"
        self.address = f"{self.fqdn}[{self.ip}]"
        self._rand = rand
        self._write_id = short_id if short else long_id
        self._inodes = int(rand() * 400_000)
        self._tags: dict[str, list[str]] = {}
        self._scan = int(rand() * QUEUE_RUN)
        self.qmgr = self._new("qmgr")

    def queue_id(self, at: int) -> str:
        """A new queue entry."""
        self._inodes = (self._inodes + 4_801) % 500_000
        return self._write_id(at, 131_072 + self._inodes)

    def tag(self, service: str) -> str:
        """`postfix/SERVICE[pid]:` of one of the processes; now and then a new one begins."""
        tags = self._tags.get(service)
        if tags is None:
            tags = self._tags[service] = [
                self._new(service) for _ in range(PROCESSES.get(service, 3))
            ]
        which = self._rand() * len(tags)
        if which % 1 < 0.002 and len(tags) > 1:
            tags[int(which)] = self._new(service)
        return tags[int(which)]

    def _new(self, service: str) -> str:
        return f"postfix/{service}[{400 + int(self._rand() * 2_000_000)}]:"

    def next_scan(self, at: int) -> int:
        """When qmgr(8) looks through its deferred queue for the first time after `at`."""
        return at + (self._scan - at) % QUEUE_RUN
