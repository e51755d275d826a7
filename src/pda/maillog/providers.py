"""Who runs the host that a message was handed to: the few that most mail goes to, by name.

Owns the list. Pure and small: whoever keeps relays asks once for each.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final

LOCAL: Final = "local"
"""Delivered on the mail host itself, or into a socket of it."""
NONE: Final = "none"
"""No host was reached, or none was to be."""
OTHER: Final = "other"

_DOMAINS: Final = {
    "google": "google.com googlemail.com gmail.com",
    "microsoft": "outlook.com hotmail.com live.com office365.us microsoft.com",
    "yahoo": "yahoodns.net yahoo.com yahoo.co.jp aol.com",
    "apple": "icloud.com me.com apple.com appleid.com",
    "mimecast": "mimecast.com",
    "proofpoint": "pphosted.com ppe-hosted.com",
    "orange": "orange.fr wanadoo.fr laposte.net",
    "amazon": "amazonses.com amazonaws.com",
    "barracuda": "barracudanetworks.com",
    "cisco": "iphmx.com",
    "comcast": "comcast.net",
    "free": "free.fr proxad.net",
    "gmx": "gmx.net gmx.com web.de 1und1.de kundenserver.de ionos.com",
    "mail.ru": "mail.ru",
    "netease": "163.com 126.com netease.com",
    "ovh": "ovh.net ovh.com",
    "proton": "protonmail.ch proton.me",
    "qq": "qq.com",
    "rackspace": "emailsrvr.com",
    "seznam": "seznam.cz",
    "t-online": "t-online.de telekom.de",
    "yandex": "yandex.ru yandex.net",
    "zoho": "zoho.com zoho.eu",
}
_BY_DOMAIN: Final = {
    domain: name for name, domains in _DOMAINS.items() for domain in domains.split()
}
NAMES: Final = (*_DOMAINS, LOCAL, NONE, OTHER)
"""Every answer of `provider_of`."""


@lru_cache(8192)
def provider_of(relay: str) -> str:
    """Of a relay as logged: `host[address]:port`, `local`, `none`, `host[private/lmtp]` …"""
    host, bracket, address = relay.partition("[")
    if not bracket:
        return NONE if relay in ("none", "") else LOCAL
    if address.startswith(("/", "private/", "public/")):
        return LOCAL
    labels = host.lower().rstrip(".").split(".")
    for count in (2, 3):
        if name := _BY_DOMAIN.get(".".join(labels[-count:])):
            return name
    return OTHER
