"""Texts of settings that are more than a text: addresses, time zones.

Owns how they are read; knows no key.
"""

from __future__ import annotations

import os
import re
from contextlib import suppress
from ipaddress import ip_address
from pathlib import Path
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec

_ADDRESS = re.compile(r"(?:([^:/]+)://)?(?:\[([^\[\]]+)\]|([^:/\[\]]+)):([0-9]{1,5})")


class Address(msgspec.Struct, frozen=True):
    """`udp://127.0.0.1:5514` or `127.0.0.1:1523`, taken apart."""

    protocol: str
    host: str
    port: int

    @property
    def loopback(self) -> bool:
        """Whether only this machine can reach it."""
        return is_loopback(self.host)


def parse_address(text: str) -> Address:
    """`PROTOCOL://HOST:PORT` or `HOST:PORT`, IPv6 in brackets. Raises ValueError."""
    found = _ADDRESS.fullmatch(text)
    with suppress(ValueError):
        if found and _is_host(found[2] or found[3]) and int(found[4]) <= 65535:
            return Address(found[1] or "", found[2] or found[3], int(found[4]))
    protocol = text.rpartition("://")
    raise ValueError(f"{text!r} is not an address like '{''.join(protocol[:2])}127.0.0.1:5514'")


def is_loopback(host: str) -> bool:
    """Whether a host, by name or address, is this machine by what it is called."""
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def _is_host(host: str) -> bool:
    return host == "localhost" or bool(ip_address(host))


def zone(name: str) -> ZoneInfo:
    """A time zone by its IANA name, `local` for this machine's. Raises ValueError."""
    if name in {"", "local"}:
        return _local_zone()
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError(f"{name!r} is no time zone such as 'Europe/Prague'") from None


def _local_zone() -> ZoneInfo:
    """This machine's zone: TZ, else what /etc/localtime is."""
    name = os.environ.get("TZ", "").removeprefix(":")
    if name:
        with suppress(ZoneInfoNotFoundError, ValueError, OSError):
            return ZoneInfo(name)
    try:
        with Path("/etc/localtime").open("rb") as file:
            return ZoneInfo.from_file(file, key="local")
    except (OSError, ValueError):
        return ZoneInfo("UTC")
