"""Answers that hold for a minute."""

from __future__ import annotations

from pda.web.pages.holding import Held


class Asked:
    """Counts how often it is asked, and says what time it is."""

    def __init__(self) -> None:
        self.times = 0
        self.now = 1000.0
        self.held = Held(self.answer, lambda: self.now)

    async def answer(self, key: str) -> str:
        self.times += 1
        return f"{key} {self.times}"


async def test_an_answer_holds_for_a_minute() -> None:
    asked = Asked()
    assert await asked.held.of("shop") == "shop 1"
    asked.now += 59
    assert await asked.held.of("shop") == "shop 1"
    asked.now += 2
    assert await asked.held.of("shop") == "shop 2"


async def test_each_key_has_its_own() -> None:
    asked = Asked()
    assert await asked.held.of("shop") == "shop 1"
    assert await asked.held.of("crm") == "crm 2"


async def test_memory_is_bounded() -> None:
    asked = Asked()
    for number in range(1000):
        await asked.held.of(str(number))
    assert len(asked.held._known) <= 100
