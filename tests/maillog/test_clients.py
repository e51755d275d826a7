"""Who sent it, and who may say so."""

from __future__ import annotations

import re
from ipaddress import ip_network

import pytest

from pda.maillog.clients import Binding, Client, ClientRules, Clues, identify
from pda.maillog.events import Connected, HeaderInfo, MessageId, Pickup

CLAIM = MessageId("<98494.1.2@shop>")
BOUND = ClientRules(
    bindings={"shop": Binding((ip_network("192.0.2.0/24"),), frozenset(["shop-user"]), local=True)}
)


@pytest.mark.parametrize(
    ("raw", "client_id", "msg_id"),
    [
        ("<98494.1.2@shop>", "shop", "98494.1.2"),
        ("<98494.-17.4@news.example.com>", "news.example.com", "98494.-17.4"),
        ("98494.1.2@shop", "", ""),
        ("<1.2.3@shop>", "", ""),
        ("<98494.1.2@shop> <98494.1.2@other>", "", ""),
        ("", "", ""),
    ],
)
def test_by_message_id(raw: str, client_id: str, msg_id: str) -> None:
    clues = Clues(message_id=MessageId(raw))
    assert identify(clues, ClientRules()) == Client(client_id, "", msg_id)


def test_order_and_pattern_can_be_configured() -> None:
    rules = ClientRules(
        places=("sasl", "message-id"), pattern=re.compile(r"<[^@]+@(?P<client>.+)\.mail>")
    )
    raw = MessageId("<1@shop.mail>")
    connected = Connected(client_host="h", sasl_username="user")
    assert identify(Clues(message_id=raw), rules).client_id == "shop"
    assert identify(Clues(message_id=raw, connected=connected), rules).client_id == "user"


def test_a_header_of_another_name_names_nobody() -> None:
    info = HeaderInfo(action="info", content_class="header", content="Subject: x")
    assert identify(Clues(headers=[info]), ClientRules()) == Client()


@pytest.mark.parametrize(
    ("sender", "client_id"), [("news@example.com", "shop"), (None, "shop"), ("", "")]
)
def test_a_notification_encloses_the_headers_of_another_message(
    sender: str | None, client_id: str
) -> None:
    info = HeaderInfo("info", "header", "client-id: shop", "h", "192.0.2.9", sender, "r@y")
    assert identify(Clues(headers=[info]), ClientRules()).client_id == client_id


def test_the_domain_of_notifications_names_nobody() -> None:
    assert identify(Clues(sender="double-bounce@mx.shop.example"), ClientRules()) == Client()


@pytest.mark.parametrize(
    ("clues", "may"),
    [
        (Clues(CLAIM, connected=Connected(client_host="h", client_ip="192.0.2.77")), True),
        (Clues(CLAIM, connected=Connected(client_host="h", client_ip="198.51.100.1")), False),
        (Clues(CLAIM, connected=Connected(client_host="h", sasl_username="shop-user")), True),
        (Clues(CLAIM, pickup=Pickup(uid=0, sender="root")), True),
        (Clues(CLAIM), False),
    ],
)
def test_a_bound_client_id_can_be_claimed_only_from_its_place(clues: Clues, may: bool) -> None:
    expected = Client("shop", "", "98494.1.2") if may else Client("", "shop", "98494.1.2")
    assert identify(clues, BOUND) == expected
