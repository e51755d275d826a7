"""Settings: `pda.toml` and the environment → one frozen, checked value.

Owns every key, its default and its check. All mistakes are reported at once, each with its key.
Imports nothing of ours. `PDA_<SECTION>_<KEY>` overrides a key; lists take commas or blanks.
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from difflib import get_close_matches
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from pathlib import Path
from typing import Any, Literal, TypeAlias, TypeVar
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec

Network: TypeAlias = IPv4Network | IPv6Network
DEFAULT_FILE = Path("/etc/pda/pda.toml")
_SOCKET_PATH_LIMIT = 107
_OTHER_VARIABLES = ("PDA_CONFIG", "PDA_STORE_KEY")
"""What the command line reads: no keys of the file."""
_ADDRESS = re.compile(r"(?:([^:/]+)://)?(?:\[([^\[\]]+)\]|([^:/\[\]]+)):([0-9]{1,5})")
_T = TypeVar("_T")
_S = TypeVar("_S", bound=msgspec.Struct)


class ConfigError(Exception):
    """The settings cannot be used; one line for each mistake."""


class StoreSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`[store]`"""

    path: str = "/var/lib/pda/pda.db"
    key_file: str = ""
    readers: int = 4


class ListenerSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`[[receive.listener]]`"""

    listen: str
    zone: str = ""
    hostname: str = ""
    allow: tuple[str, ...] = ()
    max_connections: int = 1000


class ReceiveSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`[receive]`"""

    listen: tuple[str, ...] = ("udp://127.0.0.1:5514", "tcp://127.0.0.1:5514")
    zone: str = "local"
    hostname: str = ""
    allow: tuple[str, ...] = ()
    max_connections: int = 1000
    listener: tuple[ListenerSettings, ...] = ()

    def listeners(self) -> list[ListenerSettings]:
        """All sockets: those of `listen` with the section's own settings, then the others."""
        shared = [
            ListenerSettings(listen, self.zone, self.hostname, self.allow, self.max_connections)
            for listen in self.listen
        ]
        return shared + [
            msgspec.structs.replace(one, zone=one.zone or self.zone) for one in self.listener
        ]


class OriginalApiSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`[http.original_api]`"""

    allow_actions: bool = False


class HttpSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`[http]`"""

    bind: str = "127.0.0.1:1523"
    allow_plaintext: bool = False
    hosts: tuple[str, ...] = ()
    timeout_s: float = 100.0
    original_api: OriginalApiSettings = OriginalApiSettings()


class BindingSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`[clients.bindings.NAME]`"""

    networks: tuple[str, ...] = ()
    sasl_users: tuple[str, ...] = ()
    local: bool = False


class ClientSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`[clients]`"""

    order: tuple[Literal["message-id", "header", "sasl", "sender-domain"], ...] = (
        "message-id",
        "header",
        "sasl",
        "sender-domain",
    )
    message_id_pattern: str = r"<(?P<msg_id>98494\.[^@<>]+)@(?P<client>[^<>]+)>"
    header: str = "client-id"
    bindings: dict[str, BindingSettings] = {}


class HostSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`[hosts]`"""

    full_names: bool = False
    aliases: dict[str, str] = {}


class RuleSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`[rules]`"""

    file: str = ""
    user: str = ""
    password_file: str = ""


class WriterSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`[writer]`"""

    batch_lines: int = 5000
    open_entries: int = 30_000


class BackfillSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`[backfill]`"""

    directory: str = "/var/log"
    pattern: str = "mail.log*"
    max_bytes: int = 0
    on_start: bool = False
    catch_up_s: float = 0.0


class LogSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`[log]`"""

    level: Literal["debug", "info", "warning", "error"] = "info"


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """All of `pda.toml`."""

    store: StoreSettings = StoreSettings()
    receive: ReceiveSettings = ReceiveSettings()
    http: HttpSettings = HttpSettings()
    clients: ClientSettings = ClientSettings()
    hosts: HostSettings = HostSettings()
    rules: RuleSettings = RuleSettings()
    writer: WriterSettings = WriterSettings()
    backfill: BackfillSettings = BackfillSettings()
    log: LogSettings = LogSettings()

    @property
    def database(self) -> Path:
        """The database file."""
        return Path(self.store.path)

    @property
    def key_file(self) -> Path:
        """The key's file: beside the database unless named."""
        return Path(self.store.key_file or f"{self.store.path}.key")

    @property
    def control_socket(self) -> Path:
        """Where the running service takes orders: beside the database."""
        return Path(f"{self.store.path}.sock")

    @property
    def rules_copy(self) -> Path:
        """The last good rule list of an address: beside the database."""
        return Path(f"{self.store.path}.rules.xml")


class Address(msgspec.Struct, frozen=True):
    """`udp://127.0.0.1:5514` or `127.0.0.1:1523`, taken apart."""

    protocol: str
    host: str
    port: int

    @property
    def loopback(self) -> bool:
        """Whether only this machine can reach it."""
        return self.host == "localhost" or ip_address(self.host).is_loopback


def load(path: Path | None, environment: Mapping[str, str] = os.environ) -> Settings:
    """The settings of a file (None: `/etc/pda/pda.toml` if there is one) and the environment.

    Raises `ConfigError` with every mistake.
    """
    values = _read(path)
    mistakes: list[str] = []
    _override(values, environment, mistakes)
    mistakes += _unknown_variables(environment)
    settings = _struct(Settings, values, "", mistakes) or Settings()
    mistakes += _semantic_mistakes(settings)
    if mistakes:
        where = f"{path or DEFAULT_FILE} and the environment"
        each = "\n  ".join(dict.fromkeys(mistakes))
        raise ConfigError(f"the settings in {where} cannot be used:\n  {each}")
    return settings


def _read(path: Path | None) -> dict[str, Any]:
    where = path or DEFAULT_FILE
    try:
        return tomllib.loads(where.read_text("utf-8"))
    except OSError as error:
        if path is None and isinstance(error, FileNotFoundError):
            return {}
        raise ConfigError(f"{where} cannot be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{where} is not TOML: {error}") from error


def environment_names() -> dict[str, tuple[str, ...]]:
    """`PDA_<SECTION>_<KEY>` → the way to the key, for every key that a variable can set."""
    return {"_".join(["PDA", *way]).upper(): way for way, _ in _keys(Settings)}


def _keys(kind: type[msgspec.Struct]) -> Iterator[tuple[tuple[str, ...], Callable[[str], object]]]:
    """The way to each key, and how a variable's text becomes its value."""
    for field in msgspec.structs.fields(kind):
        convert = _from_text(field.type)
        if convert is not None:
            yield (field.name,), convert
        elif isinstance(field.type, type) and issubclass(field.type, msgspec.Struct):
            yield from (((field.name, *way), inner) for way, inner in _keys(field.type))


def _override(values: dict[str, Any], environment: Mapping[str, str], mistakes: list[str]) -> None:
    for way, convert in _keys(Settings):
        variable = "_".join(["PDA", *way]).upper()
        if variable not in environment:
            continue
        try:
            value = convert(environment[variable])
        except ValueError:
            mistakes.append(f"{variable}: {environment[variable]!r} is not understood")
            continue
        table: Any = values
        for name in way[:-1]:
            table = table.setdefault(name, {}) if isinstance(table, dict) else None
        if isinstance(table, dict):  # what stands in its place is a mistake of its own
            table[way[-1]] = value


def _unknown_variables(environment: Mapping[str, str]) -> list[str]:
    """Variables that can only be meant for us and set nothing.

    Others that begin with PDA_ may be anybody's: Kubernetes makes PDA_SERVICE_HOST and more.
    """
    known = {*environment_names(), *_OTHER_VARIABLES}
    sections = tuple(f"PDA_{section.name.upper()}_" for section in msgspec.structs.fields(Settings))
    mistakes = []
    for name in sorted(environment.keys() - known):
        near = get_close_matches(name, known, 1, 0.8) if name.startswith("PDA_") else []
        if near or name.startswith(sections):
            hint = f"; perhaps {near[0]} is meant" if near else ""
            mistakes.append(f"{name}: there is no such variable{hint}")
    return mistakes


def _from_text(kind: Any) -> Callable[[str], object] | None:
    """How a variable's text becomes a value of this type; None where it cannot."""
    if kind is bool:
        return _truth
    if kind in (str, int, float):
        return kind  # type: ignore[no-any-return]  # one of three constructors
    if getattr(kind, "__origin__", None) is Literal:
        return str
    if getattr(kind, "__origin__", None) is tuple and kind.__args__[0] is not ListenerSettings:
        return lambda text: [part for part in re.split(r"[,\s]+", text) if part]
    return None


def _truth(text: str) -> bool:
    words = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
    if text.lower() not in words:
        raise ValueError(text)
    return words[text.lower()]


def _struct(kind: type[_S], values: Any, where: str, mistakes: list[str]) -> _S | None:
    """A section, field by field; None where a key that it needs cannot be used."""
    if not isinstance(values, dict):
        mistakes.append(f"{where}: a table is expected")
        return None
    fields = {field.name: field for field in msgspec.structs.fields(kind)}
    mistakes += [
        f"{_join(where, key)}: there is no such key" for key in values if key not in fields
    ]
    missing = [f.name for f in fields.values() if f.required and f.name not in values]
    mistakes += [f"{_join(where, key)}: is missing" for key in missing]
    read = {
        key: _value(fields[key].type, value, _join(where, key), mistakes)
        for key, value in values.items()
        if key in fields
    }
    known = {key: value for key, value in read.items() if value is not None}
    return kind(**known) if all(f.name in known for f in fields.values() if f.required) else None


def _value(kind: Any, value: Any, where: str, mistakes: list[str]) -> Any:
    """None where there is a mistake: its default stands in, so that all others are found too."""
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        return _struct(kind, value, where, mistakes)
    inner = getattr(kind, "__args__", ())
    if inner[:1] == (ListenerSettings,) and isinstance(value, list):
        every = [
            _struct(ListenerSettings, one, f"{where}[{n}]", mistakes)
            for n, one in enumerate(value, 1)
        ]
        return tuple(one for one in every if one is not None)
    if inner[1:] == (BindingSettings,) and isinstance(value, dict):
        each = {
            name: _struct(BindingSettings, one, f"{where}.{name}", mistakes)
            for name, one in value.items()
        }
        return {name: one for name, one in each.items() if one is not None}
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        mistakes.append(f"{where}: {error}")
        return None


def _join(where: str, key: str) -> str:
    return f"{where}.{key}" if where else key


def _semantic_mistakes(settings: Settings) -> list[str]:
    """What has the right type and still cannot work."""
    mistakes = _receive_mistakes(settings.receive)
    mistakes += _http_mistakes(settings.http)
    mistakes += _client_mistakes(settings.clients)
    if not settings.backfill.pattern or settings.backfill.pattern.startswith("/"):
        mistakes.append("backfill.pattern: file names in backfill.directory, such as 'mail.log*'")
    if not settings.store.path:
        mistakes.append("store.path: is empty")
    if len(os.fsencode(settings.control_socket)) > _SOCKET_PATH_LIMIT:
        mistakes.append(
            "store.path: is too long for the control socket beside it, which may have"
            f" {_SOCKET_PATH_LIMIT} octets (unix(7)): {settings.control_socket}"
        )
    mistakes += _rule_mistakes(settings.rules)
    for key, value, least in (
        ("store.readers", settings.store.readers, 1),
        ("writer.batch_lines", settings.writer.batch_lines, 1),
        ("writer.open_entries", settings.writer.open_entries, 1),
        ("backfill.max_bytes", settings.backfill.max_bytes, 0),
        ("backfill.catch_up_s", settings.backfill.catch_up_s, 0),
        ("http.timeout_s", settings.http.timeout_s, 0.1),
    ):
        if not value >= least:  # also what is not a number
            mistakes.append(f"{key}: must be at least {least}, not {value}")
    return mistakes


def _receive_mistakes(receive: ReceiveSettings) -> list[str]:
    """Of `[receive]`, whose settings several sockets share, and of each socket of its own."""
    shared = receive.listeners()[: len(receive.listen)]
    mistakes = [text for one in shared for text in _listener_mistakes(one, "receive")]
    _try(zone, receive.zone, "receive.zone", mistakes)  # an import has it too, without any socket
    for number, one in enumerate(receive.listener, 1):
        mistakes += _listener_mistakes(one, f"receive.listener[{number}]")
    return mistakes


def _listener_mistakes(listener: ListenerSettings, where: str) -> list[str]:
    mistakes: list[str] = []
    address = _try(parse_address, listener.listen, f"{where}.listen", mistakes)
    if address is not None and address.protocol not in {"udp", "tcp"}:
        mistakes.append(f"{where}.listen: {listener.listen!r} must begin with udp:// or tcp://")
    if address is not None and not listener.allow and not address.loopback:
        mistakes.append(
            f"{where}.listen: {listener.listen!r} can be reached from other machines; name the"
            f" networks that may send to it in {where}.allow"
        )
    for network in listener.allow:
        _try(ip_network, network, f"{where}.allow", mistakes)
    if listener.max_connections < 1:
        mistakes.append(f"{where}.max_connections: must be at least 1")
    _try(zone, listener.zone, f"{where}.zone", mistakes)
    return mistakes


def _http_mistakes(http: HttpSettings) -> list[str]:
    mistakes: list[str] = []
    if not http.bind:
        return mistakes
    address = _try(parse_address, http.bind, "http.bind", mistakes)
    if address is not None and address.protocol:
        mistakes.append(f"http.bind: {http.bind!r} must be an address and a port, nothing else")
    if address is not None and not address.loopback and not http.allow_plaintext:
        mistakes.append(
            f"http.bind: {http.bind} can be reached from other machines without TLS; put a proxy"
            " in front of a loopback address, or say http.allow_plaintext = true"
        )
    return mistakes


def _client_mistakes(clients: ClientSettings) -> list[str]:
    mistakes: list[str] = []
    pattern = _try(re.compile, clients.message_id_pattern, "clients.message_id_pattern", mistakes)
    if pattern is not None and "client" not in pattern.groupindex:
        mistakes.append("clients.message_id_pattern: needs a group (?P<client>…)")
    for name, binding in clients.bindings.items():
        for network in binding.networks:
            _try(ip_network, network, f"clients.bindings.{name}.networks", mistakes)
    return mistakes


def _rule_mistakes(rules: RuleSettings) -> list[str]:
    mistakes: list[str] = []
    parts = _try(urlsplit, rules.file, "rules.file", mistakes)
    if parts is None or parts.scheme not in {"http", "https"}:
        return mistakes
    if "@" in parts.netloc:
        mistakes.append("rules.file: put the credentials into rules.user and .password_file")
    elif not parts.hostname:
        mistakes.append("rules.file: the address names no host")
    if bool(rules.user) != bool(rules.password_file):
        mistakes.append("rules.user and rules.password_file need each other")
    elif ":" in rules.user:
        mistakes.append("rules.user: a user name has no colon (RFC 7617)")
    return mistakes


def _try(parse: Callable[[str], _T], text: str, where: str, mistakes: list[str]) -> _T | None:
    try:
        return parse(text)
    except (ValueError, re.error) as error:
        mistakes.append(f"{where}: {error}")
        return None


def parse_address(text: str) -> Address:
    """`PROTOCOL://HOST:PORT` or `HOST:PORT`, IPv6 in brackets. Raises ValueError."""
    found = _ADDRESS.fullmatch(text)
    with suppress(ValueError):
        if found and _is_host(found[2] or found[3]) and int(found[4]) <= 65535:
            return Address(found[1] or "", found[2] or found[3], int(found[4]))
    protocol = text.rpartition("://")
    raise ValueError(f"{text!r} is not an address like '{''.join(protocol[:2])}127.0.0.1:5514'")


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
