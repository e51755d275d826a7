"""Every key of `pda.toml` and its default.

Owns the names and types of settings; whether a value can be used is for `checks`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import msgspec


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
    certificate: str = ""
    key: str = ""
    client_ca: str = ""
    peers: tuple[str, ...] = ()


class ReceiveSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`[receive]`"""

    listen: tuple[str, ...] = (
        "udp://127.0.0.1:5514",
        "tcp://127.0.0.1:5514",
        "relp://127.0.0.1:2514",
    )
    zone: str = "local"
    hostname: str = ""
    allow: tuple[str, ...] = ()
    max_connections: int = 1000
    certificate: str = ""
    key: str = ""
    client_ca: str = ""
    peers: tuple[str, ...] = ()
    listener: tuple[ListenerSettings, ...] = ()

    def listeners(self) -> list[ListenerSettings]:
        """All sockets: those of `listen` with the section's own settings, then the others."""
        fields = ListenerSettings.__struct_fields__[1:]
        own = {name: getattr(self, name) for name in fields}
        shared = [ListenerSettings(listen, **own) for listen in self.listen]
        return shared + [
            msgspec.structs.replace(one, zone=one.zone or self.zone) for one in self.listener
        ]


class OriginalApiSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`[http.original_api]`"""

    allow_actions: bool = False


class HttpSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`[http]`"""

    bind: str = "127.0.0.1:1523"
    certificate: str = ""
    key: str = ""
    allow_plaintext: bool = False
    hosts: tuple[str, ...] = ()
    timeout_s: float = 100.0
    max_requests: int = 250
    page_entries: int = 200_000
    page_s: float = 1.0
    session_idle_s: float = 43_200.0
    session_s: float = 604_800.0
    proxies: tuple[str, ...] = ()
    prefix: str = ""
    metrics: tuple[str, ...] = ("127.0.0.0/8", "::1/128")
    healthz: tuple[str, ...] = ("0.0.0.0/0", "::/0")
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


class RetentionSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`[retention]`"""

    days: float = 0.0
    max_bytes: int = 0


class SuppressionSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`[suppressions]`"""

    hard_messages: int = 1
    soft_messages: int = 3
    soft_days: int = 3
    categories: tuple[
        Literal[
            "invalid-recipient",
            "inactive-mailbox",
            "mailbox-moved",
            "bad-domain",
            "mailbox-full",
            "recipient-filtered",
        ],
        ...,
    ] = ("invalid-recipient", "inactive-mailbox", "mailbox-moved", "bad-domain", "mailbox-full")


class WebhookSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`[webhooks]`"""

    allow_private: tuple[str, ...] = ()
    give_up_h: float = 72.0


class AlertSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`[alerts]`"""

    recipients: tuple[str, ...] = ()
    sender: str = ""
    smtp: str = "smtp://127.0.0.1:25"
    smtp_user: str = ""
    smtp_password_file: str = ""
    webhook: str = ""
    webhook_secret_file: str = ""
    repeat_h: float = 24.0
    least: int = 50
    bounce_percent: float = 10.0
    bounce_times: float = 3.0
    deferral_percent: float = 50.0
    deferral_times: float = 3.0
    unclassified_percent: float = 30.0
    alarming: tuple[str, ...] = ("blocklisted", "authentication-failed")
    silence_h: float = 3.0
    disk_free_percent: float = 10.0
    unacknowledged_s: float = 300.0
    faults: bool = True


class LogSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`[log]`"""

    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["text", "json"] = "text"
    slow_ms: float = 0.0


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
    retention: RetentionSettings = RetentionSettings()
    suppressions: SuppressionSettings = SuppressionSettings()
    webhooks: WebhookSettings = WebhookSettings()
    alerts: AlertSettings = AlertSettings()
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
