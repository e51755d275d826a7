"""What has the right type in `pda.toml` and still cannot work.

Owns the checks of values and of keys that need each other; each mistake is a sentence that begins
with its key.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from ipaddress import ip_network
from operator import attrgetter
from typing import TypeVar
from urllib.parse import SplitResult, urlsplit

from pda.config.settings import (
    AlertSettings,
    ClientSettings,
    HttpSettings,
    ListenerSettings,
    ReceiveSettings,
    RuleSettings,
    Settings,
)
from pda.config.values import is_loopback, parse_address, zone

_PROTOCOLS = ("udp", "tcp", "tls", "relp", "relps")
_MAIL_PROTOCOLS = ("smtp", "starttls", "smtps")
_WITH_TLS = frozenset(["tls", "relps"])
_SOCKET_PATH_LIMIT = 107
_LEAST_DATABASE = 16 * 1024 * 1024
_LEAST = {
    "store.readers": 1,
    "writer.batch_lines": 1,
    "writer.open_entries": 1,
    "backfill.max_bytes": 0,
    "backfill.catch_up_s": 0,
    "http.max_requests": 1,
    "http.page_entries": 1,
    "http.page_s": 0.01,
    "webhooks.give_up_h": 0.01,
    "suppressions.hard_messages": 0,
    "suppressions.soft_messages": 0,
    "suppressions.soft_days": 0,
    "http.session_idle_s": 1,
    "http.session_s": 1,
    "http.timeout_s": 0.1,
    "log.slow_ms": 0,
    "alerts.repeat_h": 0.1,
    "alerts.least": 1,
    "alerts.bounce_percent": 0,
    "alerts.bounce_times": 0,
    "alerts.deferral_percent": 0,
    "alerts.deferral_times": 0,
    "alerts.unclassified_percent": 0,
    "alerts.silence_h": 0,
    "alerts.disk_free_percent": 0,
    "alerts.unacknowledged_s": 0,
    "retention.days": 0,
    "retention.max_bytes": 0,
}
"""Of keys that are numbers."""
_T = TypeVar("_T")


def semantic_mistakes(settings: Settings) -> list[str]:
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
    for network in settings.webhooks.allow_private:
        _try(ip_network, network, "webhooks.allow_private", mistakes)
    mistakes += _rule_mistakes(settings.rules)
    mistakes += _alert_mistakes(settings.alerts)
    if 0 < settings.retention.max_bytes < _LEAST_DATABASE:
        mistakes.append(
            f"retention.max_bytes: must be at least {_LEAST_DATABASE}, or 0 for no limit;"
            " everything would be removed"
        )
    return mistakes + _number_mistakes(settings)


def _number_mistakes(settings: Settings) -> list[str]:
    found = ((key, attrgetter(key)(settings), least) for key, least in _LEAST.items())
    return [
        f"{key}: must be at least {least}, not {value}"
        for key, value, least in found
        if not value >= least  # also what is not a number
    ]


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
    if address is not None and address.protocol not in _PROTOCOLS:
        names = ", ".join(f"{name}://" for name in _PROTOCOLS)
        mistakes.append(f"{where}.listen: {listener.listen!r} must begin with one of {names}")
    if address is not None and not listener.allow and not address.loopback:
        mistakes.append(
            f"{where}.listen: {listener.listen!r} can be reached from other machines; name the"
            f" networks that may send to it in {where}.allow"
        )
    for network in listener.allow:
        _try(ip_network, network, f"{where}.allow", mistakes)
    if address is not None and address.protocol in _WITH_TLS and not listener.certificate:
        mistakes.append(f"{where}.certificate: {listener.listen} needs a certificate and its key")
    if bool(listener.certificate) != bool(listener.key):
        mistakes.append(f"{where}.certificate and {where}.key need each other")
    if listener.peers and not listener.client_ca:
        mistakes.append(f"{where}.peers: who proves these names? Name {where}.client_ca")
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
    secure = http.certificate or http.allow_plaintext
    if address is not None and not address.loopback and not secure:
        mistakes.append(
            f"http.bind: {http.bind} can be reached from other machines without TLS; name"
            " http.certificate and http.key, put a proxy in front of a loopback address, or say"
            " http.allow_plaintext = true"
        )
    if bool(http.certificate) != bool(http.key):
        mistakes.append("http.certificate and http.key need each other")
    for key in ("proxies", "metrics", "healthz"):
        for network in getattr(http, key):
            _try(ip_network, network, f"http.{key}", mistakes)
    if not re.fullmatch(r"(/[\w~-][\w.~-]*)*", http.prefix, re.ASCII):
        mistakes.append(f"http.prefix: {http.prefix!r} must be a path such as '/pda', or empty")
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


def _alert_mistakes(alerts: AlertSettings) -> list[str]:
    mistakes: list[str] = []
    for key, addresses in (
        ("alerts.recipients", alerts.recipients),
        ("alerts.sender", (alerts.sender,) if alerts.sender else ()),
    ):
        mistakes += [
            f"{key}: {address!r} is no address such as 'ops@example.org'"
            for address in addresses
            if not re.fullmatch(r"[^\s<>,;:\"@]+@[^\s<>,;:\"@]+", address)
        ]
    server = _try(_mail_server, alerts.smtp, "alerts.smtp", mistakes)
    if bool(alerts.smtp_user) != bool(alerts.smtp_password_file):
        mistakes.append("alerts.smtp_user and alerts.smtp_password_file need each other")
    plain = server is not None and server.scheme == "smtp"
    if plain and alerts.smtp_user and not is_loopback(urlsplit(alerts.smtp).hostname or ""):
        mistakes.append(
            "alerts.smtp: the password could be read on the way; use starttls:// or smtps://"
        )
    if bool(alerts.webhook) != bool(alerts.webhook_secret_file):
        mistakes.append("alerts.webhook and alerts.webhook_secret_file need each other")
    if alerts.webhook:
        hook = _try(urlsplit, alerts.webhook, "alerts.webhook", mistakes)
        if hook is not None and (hook.scheme not in {"http", "https"} or not hook.hostname):
            mistakes.append("alerts.webhook: https://HOST/PATH is expected")
    return mistakes


def _mail_server(text: str) -> SplitResult:
    parts = urlsplit(text)
    port = parts.port  # raises ValueError
    if parts.scheme not in _MAIL_PROTOCOLS or not parts.hostname or parts.username or port == 0:
        raise ValueError(f"{text!r} must be smtp://, starttls:// or smtps:// and HOST or HOST:PORT")
    return parts


def _try(parse: Callable[[str], _T], text: str, where: str, mistakes: list[str]) -> _T | None:
    try:
        return parse(text)
    except (ValueError, re.error) as error:
        mistakes.append(f"{where}: {error}")
        return None
