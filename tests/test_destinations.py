"""What a stranger names must not lead into this network."""

from __future__ import annotations

import pytest

from pda.destinations import Destinations, RefusedError

PUBLIC = "https://93.184.216.34/hook?x=1#part"


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("http://93.184.216.34/", "http://"),
        ("https://127.0.0.1/", "private"),
        ("https://localhost/", "private"),
        ("https://10.1.2.3/", "private"),
        ("https://169.254.169.254/latest/meta-data", "private"),
        ("https://0.0.0.0/", "private"),
        ("https://2130706433/", "private"),
        ("https://0x7f.1/", "private"),
        ("https://[::1]/", "private"),
        ("https://[::ffff:127.0.0.1]/", "private"),
        ("https://[fd00::1]/", "private"),
        ("https://[fe80::1]/", "private"),
        ("https://[2002:7f00:1::]/", "private"),
        ("https://[64:ff9b::7f00:1]/", "private"),
        ("https://224.0.0.1/", "private"),
        ("https://100.64.0.1/", "private"),
        ("https://user:secret@93.184.216.34/", "user name"),
        ("https://name.invalid/", "not found"),
        ("ftp://93.184.216.34/", "expected"),
        ("https:///path", "expected"),
        ("https://93.184.216.34:99999/", "no URL"),
        ("https://93.184.216.34:0/", "expected"),
        ("https://93.184.216.34/a b", "characters"),
        ("https://93.184.216.34/\nHost: x", "characters"),
        ("file:///etc/passwd", "expected"),
    ],
)
async def test_nothing_is_sent_there(url: str, why: str) -> None:
    with pytest.raises(RefusedError, match=why):
        await Destinations().resolve(url)


async def test_what_is_looked_at_is_what_is_connected_to() -> None:
    there = await Destinations().resolve(PUBLIC)
    assert (there.url, there.host, there.name) == (
        "https://93.184.216.34:443/hook?x=1", "93.184.216.34", "93.184.216.34",
    )  # fmt: skip
    local = await Destinations(["127.0.0.0/8", "::1/128"]).resolve("http://LOCALHOST:8080/x")
    assert local.url in ("http://127.0.0.1:8080/x", "http://[::1]:8080/x")
    assert (local.host, local.name) == ("LOCALHOST:8080", "localhost")
