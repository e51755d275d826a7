"""What somebody does first: the rule to paste, the import, a line to try with.

Owns the advice for an empty database. Knows no other page.
"""

from __future__ import annotations

from pda.web.ports import Service


def target(service: Service) -> tuple[str, str, str]:
    """Protocol, host and port of the listener to send to, TCP rather than UDP."""
    for listener in sorted(service.listeners(), key=lambda each: each.protocol != "tcp"):
        if listener.protocol in ("tcp", "udp"):
            host, _, port = listener.address.rpartition(":")
            host = host.strip("[]")
            shown = "ADDRESS-OF-THIS-HOST" if host in ("0.0.0.0", "::") else host  # noqa: S104
            return listener.protocol, shown, port
    return "tcp", "127.0.0.1", "5514"
