"""Webhooks of the real service, through kills and restarts, and a receiver that fails."""

from __future__ import annotations

import json
import random
import signal
import urllib.request
from pathlib import Path
from typing import Any

from tests.receiver import receiving
from tests.running import Running, eventually
from tests.test_feed_service import lines_of


def post(service: Running, path: str, body: Any) -> Any:
    request = urllib.request.Request(
        service.status()["http"][0] + path, json.dumps(body).encode(), method="POST"
    )
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.load(answer)


def test_what_is_told_is_what_is_stored(tmp_path: Path) -> None:
    chance = random.Random(3)
    lines = [line for n in range(12) for line in lines_of(n)]
    chance.shuffle(lines)
    with (
        receiving() as receiver,
        Running(tmp_path, PDA_WEBHOOKS_ALLOW_PRIVATE="127.0.0.0/8") as service,
    ):
        receiver.secret = post(
            service, "/api/v1/webhooks", {"url": receiver.url, "client": "shop", "final": False}
        )["secret"]
        sent = 0
        while sent < len(lines):
            begin, sent = max(0, sent - 10), sent + 30
            receiver.statuses = [chance.choice([200, 200, 503])]
            service.send(lines[begin:sent])
            service.stop(chance.choice([signal.SIGKILL, signal.SIGTERM]))
            service.start()
        service.send(lines)
        service.stop()
        service.start()
        wanted = sorted((row.queue_id, row.state) for row in service.outcomes())
        by_key: dict[str, str] = {}

        def told() -> list[tuple[str, str]]:
            for _, changes in receiver.deliveries:
                by_key.update({one["key"]: one["queue_id"] for one in changes})
            return sorted((by_key[key], state) for key, state in receiver.known.items())

        eventually(told, lambda found: found == wanted, 60)
        assert receiver.url not in service.log.read_text()  # it may be a secret
    assert len(wanted) == 12
