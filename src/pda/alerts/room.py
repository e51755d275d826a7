"""Looks at intervals for what is wrong, keeps what was found, and tells whoever should know.

Owns the intervals and the way of an alert: found, stored together with its messages, sent out of
the outbox. Where the database cannot be written, that is told at once and without it. What is wrong
is said in `conditions`, when it is told in `course`, how in `wording`.
"""

from __future__ import annotations

import logging
import shutil
import socket
import time
from collections.abc import Callable, Sequence

import trio
from msgspec.structs import replace

from pda import config
from pda.alerts import conditions, wording
from pda.alerts.conditions import Vitals
from pda.alerts.course import Step, raised, steps
from pda.alerts.faults import Faults
from pda.alerts.sending import Sending
from pda.logs import masked
from pda.outbox import PDA, again
from pda.outgoing import Outgoing
from pda.store import alerts as store
from pda.store.alerts import Alert, Finding, Key, NoteAlerts, Sample
from pda.store.database import DatabaseError
from pda.web.asking import TooSlow
from pda.web.ports import Service

log = logging.getLogger(__name__)

_EVERY_S = 60.0
_FIGURES_EVERY_S = 300.0
_FAREWELL_S = 5.0
"""For which a stop waits for its message to be sent; else it is sent at the next start."""
_MOST_REPLY = 300


class Alerts:
    """The alerts of one service."""

    def __init__(
        self, outgoing: Outgoing, service: Service, settings: Callable[[], config.Settings]
    ) -> None:
        self._outgoing = outgoing
        self._service = service
        self._settings = settings
        self.sending = Sending(outgoing, lambda: settings().alerts)
        self._open: dict[Key, Alert] = {}
        self._faults = Faults()
        self._figures_at = -float("inf")
        self._woken = trio.Event()

    @property
    def open(self) -> int:
        """How many there are."""
        return sum(not one.cleared_at for one in self._open.values())

    def wake(self) -> None:
        """The settings are others than before."""
        self._woken.set()

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Until it is cancelled."""
        with self._faults.listening():
            self._open = store.latest(await again(self._outgoing.asker.ask, store.open_alerts))
            task_status.started()
            while True:
                self._woken = trio.Event()
                if self.sending.destinations():
                    await self.look(time.time_ns() // 1000)
                with trio.move_on_after(_EVERY_S):
                    await self._woken.wait()

    async def look(self, now: int) -> None:
        """Once: what is so now is told if it is new."""
        limits, vitals = self._settings().alerts, await self._vitals(now)
        readings = conditions.read_service(vitals, limits)
        looked_for = conditions.SERVICE
        if trio.current_time() >= self._figures_at + _FIGURES_EVERY_S:
            try:
                figures = await self._outgoing.asker.ask_much(store.figures, now)
            except (DatabaseError, TooSlow) as error:
                log.warning("the figures cannot be looked at now: %s", type(error).__name__)
            else:
                self._figures_at = trio.current_time()
                readings += conditions.read_mail(figures, limits, now)
                readings += conditions.read_silence(figures.hours, vitals, limits, now)
                looked_for |= conditions.MAIL
        repeat = int(limits.repeat_h * 3_600_000_000)
        known = {key: one for key, one in self._open.items() if not one.cleared_at}
        found = steps(known, readings, looked_for, now, repeat)
        await self._note([await self._with_evidence(step, now) for step in found])

    async def _vitals(self, now: int) -> Vitals:
        service, database = self._service, self._settings().database
        disk = await trio.to_thread.run_sync(shutil.disk_usage, database.parent)
        oldest = service.oldest_unstored
        return Vitals(
            last_line_at=service.last_line_at,
            started_at=service.started_at,
            listens=bool(service.listeners()),
            problem=service.problem(),
            refused_rules=service.rules_status().refused,
            free_share=disk.free / disk.total if disk.total else 1.0,
            unacknowledged_s=(now - oldest) / 1e6 if oldest else 0.0,
            faults=self._faults.take(),
        )

    async def _with_evidence(self, step: Step, now: int) -> Step:
        """With sample replies, where it is told that something is wrong with mail."""
        finding = step.alert.finding
        if step.news not in ("raised", "still") or finding.kind not in conditions.MAIL:
            return step
        try:
            found = await self._outgoing.asker.ask_much(store.samples, finding, now)
        except (DatabaseError, TooSlow):
            return step
        return Step(replace(step.alert, samples=[_discreet(one) for one in found]), step.news)

    async def _note(self, found: Sequence[Step]) -> None:
        """Stores alerts with what is told of them; tells it at once where that cannot be."""
        told = [step for step in found if step.news]
        for step in told:
            log.warning("alert %s: %s", step.news, masked(wording.title(step.alert.finding)))
        changed = {step.alert.finding.key: step.alert for step in found}
        unstored = {key: one for key, one in self._open.items() if not one.id}
        alerts = list((unstored | changed).values())
        if not alerts:
            return
        host = socket.gethostname().partition(".")[0]
        messages = self.sending.messages(told, host) if told else []
        try:
            numbers = await self._outgoing.make(NoteAlerts(alerts, messages), PDA)
        except DatabaseError:
            await self.sending.at_once(messages)
        else:
            alerts = [
                replace(alert, id=number) for alert, number in zip(alerts, numbers, strict=True)
            ]
            self._outgoing.outbox.wake()
        self._remember(alerts)

    def _remember(self, alerts: Sequence[Alert]) -> None:
        """An alert that is over and not stored yet is remembered until it is."""
        for alert in alerts:
            if alert.cleared_at and alert.id:
                self._open.pop(alert.finding.key, None)
            else:
                self._open[alert.finding.key] = alert

    async def farewell(self) -> None:
        """Tells that the service stops, and waits a little until that is sent."""
        limits = self._settings().alerts
        if not (limits.faults and self.sending.destinations()):
            return
        now = time.time_ns() // 1000
        with trio.move_on_after(_FAREWELL_S):
            await self._note([Step(raised(Finding(kind="stopped"), now, is_over=True), "raised")])
            await self.sending.idle()

    async def test(self) -> list[str]:
        """Sends an alert that means nothing, at once: where to, and what came of it."""
        now = time.time_ns() // 1000
        step = Step(raised(Finding(kind="test"), now, is_over=True), "raised")
        host = socket.gethostname().partition(".")[0]
        return await self.sending.at_once(self.sending.messages([step], host))


def _discreet(sample: Sample) -> Sample:
    return replace(sample, reply=masked(sample.reply)[:_MOST_REPLY])
