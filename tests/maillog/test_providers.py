"""Who runs a relay."""

from __future__ import annotations

import pytest

from pda.maillog.bounce.patterns import searcher
from pda.maillog.bounce.rules import read
from pda.maillog.providers import LOCAL, NAMES, NONE, OTHER, provider_of
from tests.support import RULES_XML

RELAYS = {
    "gmail-smtp-in.l.google.com[142.250.102.27]:25": "google",
    "example-com.mail.protection.outlook.com[52.101.73.1]:25": "microsoft",
    "mta7.am0.yahoodns.net[67.195.204.77]:25": "yahoo",
    "mx-eu.mail.am0.yahoodns.net[188.125.72.74]:25": "yahoo",
    "mail1.mx.yahoo.co.jp[182.22.12.1]:25": "yahoo",
    "mx01.mail.icloud.com[17.57.155.25]:25": "apple",
    "eu-smtp-inbound-1.mimecast.com[195.130.217.221]:25": "mimecast",
    "mx0a-00.pphosted.com[148.163.1.1]:25": "proofpoint",
    "smtp-in.orange.fr[80.12.26.32]:25": "orange",
    "inbound-smtp.eu-west-1.amazonaws.com[52.1.1.1]:25": "amazon",
    "MX.GOOGLE.COM[1.2.3.4]:25": "google",
    "google.com.example.org[1.2.3.4]:25": OTHER,
    "notgoogle.com[1.2.3.4]:25": OTHER,
    "unknown[2001:db8::1]:25": OTHER,
    "local": LOCAL,
    "virtual": LOCAL,
    "mx1[private/dovecot-lmtp]": LOCAL,
    "mx1[/var/run/lmtp]": LOCAL,
    "none": NONE,
    "": NONE,
}


@pytest.mark.parametrize("relay", RELAYS)
def test_provider_of_a_relay(relay: str) -> None:
    assert provider_of(relay) == RELAYS[relay]
    assert provider_of(relay) in NAMES


def test_the_operators_of_the_rules_are_providers() -> None:
    """What rules call an operator has the same name here."""
    for operator in read(RULES_XML, None).operators:
        if operator.relay:
            found = searcher(operator.relay)
            hosts = [relay.partition("[")[0] for relay in RELAYS if found(relay.partition("[")[0])]
            assert hosts
            assert {provider_of(f"{host}[192.0.2.1]:25") for host in hosts} == {operator.name}
