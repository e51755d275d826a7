"""Settings: `pda.toml` and the environment → one frozen, checked value.

Owns every key, its default and its check; imports nothing else of ours.

    settings.py   every key and its default
    reading.py    a file and the environment → settings
    checks.py     what has the right type and still cannot work
    values.py     addresses, time zones
"""

from __future__ import annotations

from pda.config.reading import DEFAULT_FILE, ConfigError, environment_names, load
from pda.config.settings import (
    AlertSettings,
    BackfillSettings,
    BindingSettings,
    ClientSettings,
    HostSettings,
    HttpSettings,
    ListenerSettings,
    LogSettings,
    OriginalApiSettings,
    ReceiveSettings,
    RetentionSettings,
    RuleSettings,
    Settings,
    StoreSettings,
    WriterSettings,
)
from pda.config.values import Address, parse_address, zone

__all__ = [
    "DEFAULT_FILE",
    "Address",
    "AlertSettings",
    "BackfillSettings",
    "BindingSettings",
    "ClientSettings",
    "ConfigError",
    "HostSettings",
    "HttpSettings",
    "ListenerSettings",
    "LogSettings",
    "OriginalApiSettings",
    "ReceiveSettings",
    "RetentionSettings",
    "RuleSettings",
    "Settings",
    "StoreSettings",
    "WriterSettings",
    "environment_names",
    "load",
    "parse_address",
    "zone",
]
