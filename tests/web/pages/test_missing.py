"""How complete the picture is, in sentences."""

from __future__ import annotations

from pathlib import Path

from pda.store.coverage import Coverage, Gap
from pda.web.pages.missing import missing
from pda.web.pages.wording import stamp
from pda.web.ports import Reception
from tests.support import NOW, attempt, message
from tests.web.support import user, web

THIN = "\N{NARROW NO-BREAK SPACE}"
NOTHING = Coverage(10, NOW, 0, 0, 0, 0, [])
HOUR = 3_600_000_000


def test_nothing_is_missing() -> None:
    assert missing(NOTHING, Reception({"new": 7, "lost": 0}, 0, {})) == []
    assert missing(NOTHING, None) == []


def test_each_thing_has_its_sentence() -> None:
    found = Coverage(1000, NOW, 2, 3, 1, 4, [Gap("mx1", NOW, NOW + 5 * HOUR)])
    received = Reception({"lost": 9}, 1234, {"mx1": 1, "mx2": 20})
    of = f"of the 1{THIN}000 queue entries heard of last"
    assert missing(found, received) == [
        f"1{THIN}234 datagrams dropped by the kernel: lines are lost.",
        "mx2 says that it has lost 20 lines before they were sent.",
        "mx1 says that it has lost 1 line before they were sent.",
        "9 lines given up when the service stopped.",
        f"The beginning of 2 {of} was never seen.",
        f"3 {of} should have left the queue and were not seen to.",
        f"Nothing is known of 4 recipients that the queue manager counted in 1 {of}.",
        f"No message began at mx1 for 5.0 hours from {stamp(NOW)}.",
    ]
    assert len(missing(found, None)) == 4


async def test_a_client_learns_nothing_of_the_lines(tmp_path: Path) -> None:
    users = [user("ann"), user("shop", "client", "shop")]
    with web(tmp_path, message(deliveries=[attempt()]), users=users) as app:
        for name, told in (("ann", True), ("shop", False)):
            response = await app.get("/", user=name)
            text = await response.get_data(as_text=True)
            assert ("mx1 says that it has lost 3 lines" in text) is told
            assert ("Nothing is missing of the 1 queue entries" in text) is not told
