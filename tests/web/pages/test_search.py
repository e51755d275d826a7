"""What a text in the search box may mean."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pda.store.queries import Filter
from pda.web.pages.search import Meaning, meanings

CLIENTS = ["shop", "example.org"]


@pytest.mark.parametrize(
    ("text", "first"),
    [
        ("ann@example.org", Meaning("recipient", "ann@example.org")),
        (" ann@example.org ", Meaning("recipient", "ann@example.org")),
        ("<98494.1.1@shop>", Meaning("message_id", "<98494.1.1@shop>")),
        ("example.net", Meaning("domain", "example.net")),
        ("@example.net", Meaning("domain", "example.net")),
        ("example.org", Meaning("client", "example.org")),
        ("shop", Meaning("client", "shop")),
        ("4jXPlN1VQlzJbSD", Meaning("queue_id", "4jXPlN1VQlzJbSD")),
        ("3F2A9B01C4", Meaning("queue_id", "3F2A9B01C4")),
        ("ann", Meaning("text", "ann")),
        ("ann@", Meaning("text", "ann@")),
    ],
)
def test_the_likeliest_meaning_comes_first(text: str, first: Meaning) -> None:
    assert meanings(text, CLIENTS)[0] == first


def test_nothing_means_nothing() -> None:
    assert meanings("  ", CLIENTS) == []


@given(st.text(min_size=1))
def test_everything_else_is_part_of_an_address(text: str) -> None:
    found = meanings(text, CLIENTS)
    assert not found or found[-1].member == "text"
    for one in found:
        assert one.narrowed(Filter()) != Filter()


def test_a_client_that_was_given_stays() -> None:
    narrowed = Meaning("client", "other").narrowed(Filter(client="shop"))
    assert (narrowed.client, narrowed.limit) == ("shop", 0)
