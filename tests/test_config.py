"""Settings: every key and its default, every variable, and every mistake told at once."""

from __future__ import annotations

import os
import re
import tomllib
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
import pytest

from pda import config
from pda.config import Address, ConfigError, Settings

EXAMPLE = Path(__file__).parent.parent / "conf" / "pda.toml"
TABLES = {"receive.listener", "clients.bindings", "hosts.aliases"}
"""Without entries by default; the example has them as comments."""


def keys(values: dict[str, Any], where: str = "") -> set[str]:
    """The whole names of all keys."""
    found = set()
    for key, value in values.items():
        name = f"{where}.{key}" if where else key
        inner = isinstance(value, dict) and name not in TABLES
        found |= keys(value, name) if inner else {name}
    return found


def file(folder: Path, text: str) -> Path:
    path = folder / "pda.toml"
    path.write_text(text, "utf-8")
    return path


def mistakes(path: Path | None, **environment: str) -> list[str]:
    """All that is wrong, one by one."""
    with pytest.raises(ConfigError) as caught:
        config.load(path, environment)
    first, *others = str(caught.value).split("\n  ")
    assert "cannot be used" in first
    return others


# --- The example ---------------------------------------------------------------------------------


def test_the_example_has_exactly_every_key_with_its_default() -> None:
    defaults = msgspec.to_builtins(Settings())
    assert keys(tomllib.loads(EXAMPLE.read_text("utf-8"))) == keys(defaults) - TABLES
    assert config.load(EXAMPLE, {}) == Settings()


def test_the_tables_that_the_example_has_as_comments_can_be_used(tmp_path: Path) -> None:
    commented = re.compile(r"^# (?=\[|\"?[\w.]+\"? = )", re.MULTILINE)
    found = config.load(file(tmp_path, commented.sub("", EXAMPLE.read_text("utf-8"))), {})
    (listener,) = found.receive.listener
    assert (listener.listen, listener.hostname) == ("tcp://[::1]:5515", "mx1")
    assert found.clients.bindings["newsletter"].local
    assert found.hosts.aliases == {"mx1.example.org": "frankfurt"}
    assert keys(msgspec.to_builtins(listener)) == keys(msgspec.to_builtins(found.receive)) - {
        "listener"
    }


def test_every_key_of_the_example_has_a_comment() -> None:
    lines = EXAMPLE.read_text("utf-8").splitlines()
    for before, line in pairwise(lines):
        if re.match(r"\w+ = ", line) and not line.startswith("pattern"):
            assert before.startswith("# "), line


def test_without_a_file_the_defaults_hold(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("pda.config.reading.DEFAULT_FILE", tmp_path / "pda.toml")
    assert config.load(None, {}) == Settings()
    file(tmp_path, "[store]\nreaders = 9\n")
    assert config.load(None, {}).store.readers == 9


# --- The environment -----------------------------------------------------------------------------

VALUES: dict[str, tuple[str, object]] = {
    "PDA_RECEIVE_LISTEN": ("udp://127.0.0.1:1, tcp://[::1]:2", ("udp://127.0.0.1:1", "tcp://[::1]:2")),
    "PDA_RECEIVE_ZONE": ("Asia/Tokyo", "Asia/Tokyo"),
    "PDA_RECEIVE_ALLOW": ("192.0.2.0/24 2001:db8::/32", ("192.0.2.0/24", "2001:db8::/32")),
    "PDA_HTTP_BIND": ("[::1]:80", "[::1]:80"),
    "PDA_HTTP_PROXIES": ("192.0.2.0/24 2001:db8::/32", ("192.0.2.0/24", "2001:db8::/32")),
    "PDA_HTTP_METRICS": ("192.0.2.0/24 2001:db8::/32", ("192.0.2.0/24", "2001:db8::/32")),
    "PDA_HTTP_HEALTHZ": ("192.0.2.0/24 2001:db8::/32", ("192.0.2.0/24", "2001:db8::/32")),
    "PDA_HTTP_PREFIX": ("/pda", "/pda"),
    "PDA_CLIENTS_ORDER": ("sasl,header", ("sasl", "header")),
    "PDA_CLIENTS_MESSAGE_ID_PATTERN": ("(?P<client>x)", "(?P<client>x)"),
    "PDA_SUPPRESSIONS_CATEGORIES": ("bad-domain", ("bad-domain",)),
    "PDA_WEBHOOKS_ALLOW_PRIVATE": ("10.0.0.0/8", ("10.0.0.0/8",)),
    "PDA_ALERTS_RECIPIENTS": ("a@b.example c@d.example", ("a@b.example", "c@d.example")),
    "PDA_ALERTS_SENDER": ("a@b.example", "a@b.example"),
    "PDA_ALERTS_SMTP": ("smtps://mail.example", "smtps://mail.example"),
    "PDA_ALERTS_WEBHOOK": ("https://hooks.example/x", "https://hooks.example/x"),
    "PDA_ALERTS_FAULTS": ("no", False),
    "PDA_LOG_LEVEL": ("debug", "debug"),
    "PDA_LOG_FORMAT": ("json", "json"),
    "PDA_RETENTION_MAX_BYTES": ("2000000000", 2_000_000_000),
}  # fmt: skip
BY_KIND: dict[object, tuple[str, object]] = {
    str: ("text", "text"), int: ("7", 7), float: ("2.5", 2.5), bool: ("Yes", True),
    tuple: ("a, b", ("a", "b")),
}  # fmt: skip

# What makes no sense without another key.
NEEDS = {
    "PDA_RECEIVE_CERTIFICATE": {"PDA_RECEIVE_KEY": "key"},
    "PDA_RECEIVE_KEY": {"PDA_RECEIVE_CERTIFICATE": "certificate"},
    "PDA_RECEIVE_PEERS": {"PDA_RECEIVE_CLIENT_CA": "authorities"},
    "PDA_HTTP_CERTIFICATE": {"PDA_HTTP_KEY": "key"},
    "PDA_HTTP_KEY": {"PDA_HTTP_CERTIFICATE": "certificate"},
    "PDA_ALERTS_SMTP_USER": {"PDA_ALERTS_SMTP_PASSWORD_FILE": "password"},
    "PDA_ALERTS_SMTP_PASSWORD_FILE": {"PDA_ALERTS_SMTP_USER": "pda"},
    "PDA_ALERTS_WEBHOOK": {"PDA_ALERTS_WEBHOOK_SECRET_FILE": "secret"},
    "PDA_ALERTS_WEBHOOK_SECRET_FILE": {"PDA_ALERTS_WEBHOOK": "https://hooks.example"},
}


def test_there_is_a_variable_for_every_key_but_tables() -> None:
    assert {".".join(way) for way in config.environment_names().values()} == keys(
        msgspec.to_builtins(Settings())
    ) - TABLES


@pytest.mark.parametrize(("variable", "way"), config.environment_names().items())
def test_a_variable_sets_its_key_and_nothing_else(
    variable: str, way: tuple[str, ...], tmp_path: Path
) -> None:
    assert variable == "PDA_" + "_".join(way).upper()
    default: object = Settings()
    for name in way:
        default = getattr(default, name)
    text, value = VALUES.get(variable, BY_KIND[type(default)])
    assert value != default
    needed = NEEDS.get(variable, {})
    expected: Any = msgspec.to_builtins(Settings())
    for other, its_value in needed.items():
        expected[way[0]][other.lower().removeprefix(f"pda_{way[0]}_")] = its_value
    table = expected
    for name in way[:-1]:
        table = table[name]
    table[way[-1]] = list(value) if isinstance(value, tuple) else value
    found = config.load(file(tmp_path, ""), {variable: text, **needed})
    assert found == msgspec.convert(expected, Settings)


def test_a_variable_comes_before_the_file(tmp_path: Path) -> None:
    path = file(tmp_path, '[store]\npath = "/a"\nreaders = 2\n')
    found = config.load(path, {"PDA_STORE_PATH": "/b", "PDA_CONFIG": "/c", "PDAX": "1"})
    assert (found.store.path, found.store.readers) == ("/b", 2)


@pytest.mark.parametrize(
    ("variable", "text"),
    [
        ("PDA_STORE_READERS", "many"),
        ("PDA_HTTP_TIMEOUT_S", "long"),
        ("PDA_HTTP_ALLOW_PLAINTEXT", "perhaps"),
        ("PDA_HTTP_ORIGINAL_API_ALLOW_ACTIONS", ""),
    ],
)
def test_a_variable_that_is_not_understood(tmp_path: Path, variable: str, text: str) -> None:
    assert mistakes(file(tmp_path, ""), **{variable: text}) == [
        f"{variable}: {text!r} is not understood"
    ]


@pytest.mark.parametrize(
    ("variable", "meant"),
    [
        ("PDA_STORE_PTH", "; perhaps PDA_STORE_PATH is meant"),
        ("PDA_RECIEVE_LISTEN", "; perhaps PDA_RECEIVE_LISTEN is meant"),
        ("PDA_CONFG", "; perhaps PDA_CONFIG is meant"),
        ("PDA_STORE_KEYS", "; perhaps PDA_STORE_KEY is meant"),
        ("PDA_LOG_COLOUR", ""),
    ],
)
def test_a_misspelt_variable(tmp_path: Path, variable: str, meant: str) -> None:
    found = mistakes(file(tmp_path, "[stor]"), **{variable: "x"})
    assert found == [f"{variable}: there is no such variable{meant}", "stor: there is no such key"]


def test_variables_of_others(tmp_path: Path) -> None:
    """Kubernetes sets such for every service of a namespace, here for one named pda."""
    names = """PDA_SERVICE_HOST PDA_SERVICE_PORT PDA_SERVICE_PORT_HTTP PDA_PORT PDA_PORT_1523_TCP
        PDA_PORT_1523_TCP_ADDR PDA_PORT_1523_TCP_PROTO STORE_PATH PDA pda_store_pth"""
    assert config.load(file(tmp_path, ""), dict.fromkeys(names.split(), "x")) == Settings()


def test_a_section_that_is_no_table_and_a_variable_for_it(tmp_path: Path) -> None:
    environment = {"PDA_STORE_PATH": "/x", "PDA_HTTP_ORIGINAL_API_ALLOW_ACTIONS": "1"}
    found = mistakes(file(tmp_path, "store = 5\nhttp = {original_api = 1}\n"), **environment)
    assert found == ["store: a table is expected", "http.original_api: a table is expected"]
    assert mistakes(file(tmp_path, "http = 5"), **environment) == ["http: a table is expected"]


# --- Mistakes ------------------------------------------------------------------------------------

WRONG: list[tuple[str, list[str]]] = [
    ("[stor]\nx = 1", ["stor: there is no such key"]),
    ("[store]\npth = 'x'\nreaders = '4'", ["store.pth: there is no such key", "store.readers: Exp"]),
    ("[store]\nreaders = 0", ["store.readers: must be at least 1, not 0"]),
    ("[store]\npath = ''", ["store.path: is empty"]),
    (f"[store]\npath = '/{'x' * 103}'", ["store.path: is too long for the control socket"]),
    ("[http]\ntimeout_s = nan", ["http.timeout_s: must be at least 0.1, not nan"]),
    ("[http]\nbind = '0.0.0.0:80'", ["http.bind: 0.0.0.0:80 can be reached from other machines"]),
    ("[http]\nbind = '[::]:80'", ["http.bind: [::]:80 can be reached from other machines"]),
    ("[http]\nbind = 'https://127.0.0.1:80'", ["http.bind: 'https://127.0.0.1:80' must be an"]),
    ("[http]\nproxies = ['mx']", ["http.proxies: 'mx' does not appear"]),
    ("[http]\nmetrics = ['192.0.2.1/24']", ["http.metrics: 192.0.2.1/24 has host bits set"]),
    ("[http]\nhealthz = ['']", ["http.healthz: '' does not appear"]),
    ("[http]\nprefix = 'pda'", ["http.prefix: 'pda' must be a path such as '/pda'"]),
    ("[http]\nprefix = '/pda/'", ["http.prefix: '/pda/' must be"]),
    ("[http]\nprefix = '/a/../b'", ["http.prefix: '/a/../b' must be"]),
    ("[http]\nmax_requests = 0", ["http.max_requests: must be at least 1"]),
    ("[http]\nbind = 'example.org:80'", ["http.bind: 'example.org:80' is not an address like '127"]),
    ("[http.original_api]\nallow = true", ["http.original_api.allow: there is no such key"]),
    ("[receive]\nlisten = ['127.0.0.1:1']", ["receive.listen: '127.0.0.1:1' must begin with one of udp"]),
    ("[receive]\nlisten = ['tcp://[::1']", ["receive.listen: 'tcp://[::1' is not an address like"]),
    ("[receive]\nlisten = 'tcp://127.0.0.1:1'", ["receive.listen: Expected `array`, got `str`"]),
    ("[receive]\nlisten = ['udp://[::]:1']", ["receive.listen: 'udp://[::]:1' can be reached from"]),
    ("[receive]\nzone = 'Mars'", ["receive.zone: 'Mars' is no time zone such as"]),
    ("[receive]\nlisten = ['tls://127.0.0.1:1']", ["receive.certificate: tls://127.0.0.1:1 needs"]),
    ("[receive]\nlisten = ['relps://127.0.0.1:1']", ["receive.certificate: relps://127.0.0.1:1"]),
    ("[receive]\nlisten = ['udp://[::1]:1']\nkey = 'x'", ["receive.certificate and receive.key need"]),
    ("[receive]\nlisten = ['udp://[::1]:1']\npeers = ['x']", ["receive.peers: who proves these"]),
    ("[http]\ncertificate = 'x'", ["http.certificate and http.key need each other"]),
    ("[receive]\nlisten = []\nzone = 'Mars'", ["receive.zone: 'Mars' is no time zone such as"]),
    ("[receive]\nallow = ['10.0.0.1/8']", ["receive.allow: 10.0.0.1/8 has host bits set"]),
    ("[receive]\nmax_connections = 0", ["receive.max_connections: must be at least 1"]),
    ("[[receive.listener]]\nzone = ''", ["receive.listener[1].listen: is missing"]),
    (
        "[[receive.listener]]\nlisten = 'tcp://127.0.0.1:1'\n[[receive.listener]]\n"
        "listen = 'ftp://127.0.0.1:1'\nzone = '../x'\nallow = ['x']\nmax_connections = -1",
        [
            "receive.listener[2].listen: 'ftp://127.0.0.1:1' must begin with one of udp",
            "receive.listener[2].allow: 'x' does not appear to be",
            "receive.listener[2].max_connections: must be at least 1",
            "receive.listener[2].zone: '../x' is no time zone",
        ],
    ),
    ("[clients]\norder = ['sasl', 'x']", ["clients.order: Invalid enum value 'x'"]),
    ("[clients]\nmessage_id_pattern = '('", ["clients.message_id_pattern: missing ), unterminated"]),
    ("[clients]\nmessage_id_pattern = 'x'", ["clients.message_id_pattern: needs a group"]),
    (
        "[clients.bindings.a]\nlocal = 1\nx = 2\n[clients.bindings.b]\nnetworks = ['y']",
        [
            "clients.bindings.a.x: there is no such key",
            "clients.bindings.a.local: Expected `bool`, got `int`",
            "clients.bindings.b.networks: 'y' does not appear to be",
        ],
    ),
    ("[hosts.aliases]\nmx1 = 5", ["hosts.aliases: Expected `str`, got `int`"]),
    ("[retention]\nmax_bytes = 1000", ["retention.max_bytes: must be at least 16777216, or 0"]),
    ("[retention]\ndays = -1.0", ["retention.days: must be at least 0"]),
    ("[backfill]\nmax_bytes = -1", ["backfill.max_bytes: must be at least 0, not -1"]),
    ("[alerts]\nrecipients = ['ops']", ["alerts.recipients: 'ops' is no address"]),
    ("[alerts]\nrecipients = ['a@b\\nBcc: c@d']", ["alerts.recipients: 'a@b"]),
    ("[alerts]\nsender = 'Ann <ann@example.org>'", ["alerts.sender: "]),
    ("[alerts]\nsmtp = 'mail.example.org:25'", ["alerts.smtp: 'mail.example.org:25' must be"]),
    ("[alerts]\nsmtp_user = 'pda'", ["alerts.smtp_user and alerts.smtp_password_file need"]),
    (
        "[alerts]\nsmtp = 'smtp://mail.example.org'\nsmtp_user = 'pda'\nsmtp_password_file = 'x'",
        ["alerts.smtp: the password could be read on the way"],
    ),
    ("[alerts]\nwebhook = 'https://a.example'", ["alerts.webhook and alerts.webhook_secret_file"]),
    (
        "[alerts]\nwebhook = 'ftp://a.example'\nwebhook_secret_file = 'x'",
        ["alerts.webhook: https://HOST/PATH is expected"],
    ),
    ("[alerts]\nrepeat_h = 0", ["alerts.repeat_h: must be at least 0.1"]),
    ("[log]\nlevel = 'loud'", ["log.level: Invalid enum value 'loud'"]),
    ("log = []", ["log: a table is expected"]),
]  # fmt: skip


@pytest.mark.parametrize(("text", "expected"), WRONG)
def test_a_mistake_is_told_with_its_key(tmp_path: Path, text: str, expected: list[str]) -> None:
    found = mistakes(file(tmp_path, text))
    assert len(found) == len(expected), found
    for one, beginning in zip(found, expected, strict=True):
        assert one.startswith(beginning)


def test_all_mistakes_of_a_file_and_the_environment_are_told_at_once(tmp_path: Path) -> None:
    path = file(
        tmp_path,
        """
        colour = "red"
        [store]
        readers = "four"
        [receive]
        listen = ["udp://127.0.0.1"]
        zone = "Mars"
        [clients]
        order = "sasl"
        message_id_pattern = "["
        """,
    )
    found = mistakes(path, PDA_HTTP_ALLOW_PLAINTEXT="?", PDA_WRITER_BATCH_LINES="0")
    assert [one.partition(":")[0] for one in found] == [
        "PDA_HTTP_ALLOW_PLAINTEXT",
        "colour",
        "store.readers",
        "clients.order",
        "receive.listen",
        "receive.zone",
        "clients.message_id_pattern",
        "writer.batch_lines",
    ]


UNREADABLE = [
    ("a = ", "is not TOML: Invalid value"),
    ("\ufeff[store]", "is not TOML: "),
    ("[store]\npath = '/a'\npath = '/b'", "is not TOML: Cannot overwrite"),
]


@pytest.mark.parametrize(("text", "sentence"), UNREADABLE)
def test_what_is_no_toml(tmp_path: Path, text: str, sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        config.load(file(tmp_path, text), {})


def test_files_that_cannot_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for path, reason in ((tmp_path, "Is a directory"), (tmp_path / "x", "No such file")):
        with pytest.raises(ConfigError, match=f"{path} cannot be read: {reason}"):
            config.load(path, {})
    path = tmp_path / "latin"
    path.write_bytes(b"# \xe9\n")
    with pytest.raises(ConfigError, match="is not TOML"):
        config.load(path, {})
    # What is there and cannot be looked at is not taken for absent.
    monkeypatch.setattr("pda.config.reading.DEFAULT_FILE", path / "pda.toml")
    with pytest.raises(ConfigError, match="cannot be read: Not a directory"):
        config.load(None, {})


# --- Addresses and zones -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected", "loopback"),
    [
        ("127.0.0.1:1523", Address("", "127.0.0.1", 1523), True),
        ("127.9.9.9:0", Address("", "127.9.9.9", 0), True),
        ("localhost:65535", Address("", "localhost", 65535), True),
        ("tcp://[::1]:5514", Address("tcp", "::1", 5514), True),
        ("udp://[2001:db8::1]:514", Address("udp", "2001:db8::1", 514), False),
        ("udp://0.0.0.0:514", Address("udp", "0.0.0.0", 514), False),
    ],
)
def test_addresses(text: str, expected: Address, loopback: bool) -> None:
    found = config.parse_address(text)
    assert (found, found.loopback) == (expected, loopback)


@pytest.mark.parametrize(
    "text",
    [
        *"""127.0.0.1 127.0.0.1: :80 ::1:80 [::1] [::1 [::1]x:80 127.0.0.1:65536 127.0.0.1:x
        127.0.0.1:-1 127.0.0.1:80/ 127.0.0.1:80?x 127.0.0.1:80#x me@127.0.0.1:80 1.2.3:80
        example.org:80 tcp:127.0.0.1:80 tcp:// //127.0.0.1:80""".split(),
        "",
        " 127.0.0.1:80",
        "127.0.0.1:80\n",
        "127.0.0.1:\u0668\u0660",
    ],
)
def test_what_is_no_address(text: str) -> None:
    with pytest.raises(ValueError, match="is not an address like"):
        config.parse_address(text)


def test_other_machines_may_send_when_they_are_named(tmp_path: Path) -> None:
    text = '[receive]\nlisten = ["tcp://[::]:514"]\nallow = ["2001:db8::/32", "192.0.2.0/24"]\n'
    (listener,) = config.load(file(tmp_path, text), {}).receive.listeners()
    assert listener.allow == ("2001:db8::/32", "192.0.2.0/24")


def test_a_listener_of_its_own_inherits_the_zone_only(tmp_path: Path) -> None:
    text = (
        '[receive]\nlisten = ["tcp://127.0.0.1:1"]\nzone = "Asia/Tokyo"\nhostname = "a"\n'
        'allow = ["127.0.0.1"]\n[[receive.listener]]\nlisten = "tcp://127.0.0.1:2"\n'
        '[[receive.listener]]\nlisten = "tcp://127.0.0.1:3"\nzone = "UTC"\n'
    )
    found = config.load(file(tmp_path, text), {}).receive.listeners()
    assert [(one.zone, one.hostname, one.allow) for one in found] == [
        ("Asia/Tokyo", "a", ("127.0.0.1",)), ("Asia/Tokyo", "", ()), ("UTC", "", ()),
    ]  # fmt: skip


SUMMER = datetime(2026, 7, 1)


def test_zones(monkeypatch: pytest.MonkeyPatch) -> None:
    assert config.zone("Europe/Prague").utcoffset(SUMMER) == timedelta(hours=2)
    for name in ("TZ=Asia/Tokyo", "TZ=:Asia/Tokyo"):
        monkeypatch.setitem(os.environ, "TZ", name.removeprefix("TZ="))
        assert config.zone("local").utcoffset(SUMMER) == timedelta(hours=9)
        assert config.zone("").utcoffset(SUMMER) == timedelta(hours=9)
    monkeypatch.setitem(os.environ, "TZ", "Nowhere/At_All")
    assert config.zone("local").utcoffset(SUMMER) is not None


@pytest.mark.parametrize(
    "name", ["Mars", "../etc/passwd", "/etc/localtime", "Europe", "x\0", "é", " "]
)
def test_what_is_no_zone(name: str) -> None:
    with pytest.raises(ValueError, match="is no time zone such as"):
        config.zone(name)
