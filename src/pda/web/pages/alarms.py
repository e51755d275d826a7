"""Alerts as pages show them: in words, and with a way to whom they are about.

Owns where an alert leads. What is wrong is found elsewhere, and so are the words for it: see
`ports.Service`. Knows no page.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import msgspec

from pda.store.alerts import About, Alert
from pda.web.pages.view import View
from pda.web.pages.wording import segment
from pda.web.ports import AlertWords, Service

_LEADS: Final[dict[About, Callable[[View, str], str]]] = {
    "client": lambda view, name: view.link("/", client=name),
    "provider": lambda view, name: view.link(f"/providers/{segment(name)}"),
    "domain": lambda view, name: view.link(f"/domains/{segment(name)}"),
    "category": lambda view, name: view.link("/messages", category=name),
    "service": lambda view, _: view.link("/system"),
}


class Shown(msgspec.Struct, frozen=True):
    """An alert in words."""

    alert: Alert
    words: AlertWords
    target: str
    """Where there is more about whom it concerns."""


def shown(service: Service, alert: Alert, view: View) -> Shown:
    """With its words, and where it leads."""
    finding = alert.finding
    target = _LEADS[finding.about](view, finding.name)
    return Shown(alert, service.alert_words(finding), target)
