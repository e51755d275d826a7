"""The parts that write, as a whole."""

from __future__ import annotations

import gc
from pathlib import Path

from pda import config
from pda.maillog.bounce import Rules
from pda.rooms import open_rooms


def lists() -> int:
    """Rule lists in memory, without looking for those that nobody can reach."""
    return sum(isinstance(one, Rules) for one in gc.get_objects())


async def test_a_rule_list_that_was_replaced_takes_no_memory(tmp_path: Path) -> None:
    store = config.StoreSettings(str(tmp_path / "pda.db"))
    with open_rooms(config.Settings(store=store)) as rooms:
        await rooms.reload_rules()
        before = lists()
        for _ in range(3):
            await rooms.reload_rules()
        assert lists() == before
