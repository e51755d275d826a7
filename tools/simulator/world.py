"""Many lives in time order: who hands in mail and when, and the noise around it.

Steps (a session, an activation of the queue, a release from hold) wait in a heap. A step logs only
lines of its own time or later, so all lines before the next step are final: they are sorted,
written and forgotten. Memory holds what waits in the queue, whatever the length of the log.
"""

from __future__ import annotations

import math
import random
from bisect import bisect_right
from collections.abc import Callable, Iterator
from heapq import heappop, heappush
from operator import itemgetter
from typing import Final

from tools.simulator.header import Line, writer
from tools.simulator.hosts import Host
from tools.simulator.message import Client, Message, Row, Step
from tools.simulator.plan import DAY, SECOND, Plan
from tools.simulator.recipient import draw_recipient

BATCH: Final = 8_192
"""Lines held back before they are sorted and written."""

WAYS: Final = ("message-id", "header", "sasl")
STRANGER: Final = "unknown[198.51.100.66]"
MESSAGES_PER_SESSION: Final = 1.73
LOCAL_MAIL: Final = 0.03
HELD: Final = 0.002
STOPPED: Final = 0.004
"""Held or discarded."""
FILTERED: Final = 0.05
RELAYED: Final = 0.02


def generate(plan: Plan, told: Callable[[Row], object] = lambda _: None) -> Iterator[str]:
    """The lines of one log, in time order; `told` gets the truth of each queue entry as it goes."""
    for _, lines in batches(plan, told):
        yield from lines


def batches(
    plan: Plan, told: Callable[[Row], object] = lambda _: None
) -> Iterator[tuple[list[int], list[str]]]:
    """The same, some thousand lines at a time, with the time of each in µs since the epoch."""
    write = writer(plan.format, plan.zone)
    for lines in _World(plan, told).lines():
        yield [line[0] for line in lines], write(lines)


class _World:
    """The hosts and applications of one plan, and what is to happen next."""

    def __init__(self, plan: Plan, told: Callable[[Row], object]) -> None:
        self.rand = random.Random(plan.seed).random
        self.told = told
        self.lifetime = plan.lifetime
        self._plan = plan
        self._hosts = [
            Host(name, number, self.rand, plan.short_ids) for number, name in enumerate(plan.hosts)
        ]
        self._clients = [
            Client(
                name,
                WAYS[number % len(WAYS)],
                f"{name.lower()}.example",
                f"app.{name.lower()}.example[192.0.2.{1 + number % 90}]",
            )
            for number, name in enumerate(plan.clients)
        ]
        self._to_come = plan.messages
        self._composed = 0
        self._left = 1.0
        self._steps: list[tuple[int, int, Step]] = []
        self._counter = 0
        self._lines: list[Line] = []

    # --- what a message sees ---

    def say(self, at: int, host: Host, tag: str, text: str) -> None:
        """Log one line."""
        self._lines.append((at, host.name, tag, text))

    def at(self, when: int, step: Step) -> None:
        """Go on then; of two steps at once the one asked for first."""
        self._counter += 1
        heappush(self._steps, (when, self._counter, step))

    def other_host(self, host: Host) -> Host:
        """Another mail host, or the same where it is the only one."""
        others = [other for other in self._hosts if other is not host]
        return others[int(self.rand() * len(others))] if others else host

    # --- time ---

    def lines(self) -> Iterator[list[Line]]:
        """All lines in time order, in lists."""
        self._schedule_session()
        steps, end = self._steps, self._plan.end
        while steps and steps[0][0] <= end:
            now, _, step = heappop(steps)
            if len(self._lines) > BATCH:
                yield self._final(now)
            step(now)
        yield self._final(None)
        for _, _, step in sorted(steps, key=itemgetter(0, 1)):
            owner = getattr(step, "__self__", None)
            if isinstance(owner, Message):
                owner.tell()

    def _final(self, now: int | None) -> list[Line]:
        """Take out what nothing can come before any more."""
        lines = self._lines
        lines.sort(key=itemgetter(0))
        final = len(lines) if now is None else bisect_right(lines, now, key=itemgetter(0))
        self._lines = lines[final:]
        return lines[:final]

    def _schedule_session(self) -> None:
        """Draw the next arrival: evenly over the days left, thicker at noon than at night."""
        if self._to_come <= 0:
            return
        self._left *= self.rand() ** (MESSAGES_PER_SESSION / self._to_come)
        days = (1 - self._left) * self._plan.days
        if days < int(self._plan.days):
            days += 0.1 * math.sin(2 * math.pi * days)
        self.at(self._plan.begin + int(days * DAY), self._session)

    # --- who hands in mail ---

    def _session(self, now: int) -> None:
        """Some mail is handed in; the next session is arranged."""
        rand = self.rand
        host = self._hosts[int(rand() * len(self._hosts))]
        if rand() < 0.15:
            self._noise(now, host)
        if rand() < LOCAL_MAIL:
            self._pickup(now, host)
        else:
            client = self._clients[int(rand() ** 1.5 * len(self._clients))]
            self._smtpd(now, host, client)
        self._schedule_session()

    def _smtpd(self, now: int, host: Host, client: Client) -> None:
        """One SMTP session with some messages."""
        tag = host.tag("submission/smtpd" if client.by == "sasl" else "smtpd")
        count = min(1 if self.rand() < 0.7 else 2 + int(self.rand() * 4), self._to_come)
        self.say(now, host, tag, f"connect from {client.address}")
        at, recipients = now + 4_000, 0
        if client.by == "sasl":
            tls = "TLSv1.3 with cipher TLS_AES_256_GCM_SHA384 (256/256 bits)"
            text = f"Anonymous TLS connection established from {client.address}: {tls}"
            self.say(now + 3_000, host, tag, text)
        for _ in range(count):
            message = self._compose(at, host, client)
            self._accept(at, message, tag)
            recipients += len(message.recipients)
            at += 40_000 + int(self.rand() * 300_000)
        self._to_come -= count
        auth = "starttls=1 auth=1 " if client.by == "sasl" else ""
        counts = f"mail={count} rcpt={recipients} data={count} quit=1"
        commands = 2 + 2 * count + recipients + 2 * bool(auth)
        text = f"disconnect from {client.address} ehlo=1 {auth}{counts} commands={commands}"
        self.say(at, host, tag, text)

    def _compose(self, at: int, host: Host, client: Client) -> Message:
        """A message as the application writes it: names, recipients."""
        rand = self.rand
        message = Message(self, host, at, client)
        number, fortune = int(rand() * 1_000_000), rand()
        who = f"bounces+{number}" if rand() < 0.3 else "no-reply"
        message.sender = f"{who}@{client.domain}"
        if client.by == "message-id":
            self._composed += 1  # what it is drawn from would come again among so many
            message.message_id = f"98494.{self._composed}.{number % 1000}@{client.client_id}"
        else:
            message.message_id = f"{at // 1000}.{number}@{client.domain}"
        count = 1 if fortune > 0.14 else 2 + int(rand() * 4) if fortune > 0.01 else 20
        drawn = [draw_recipient(rand, host) for _ in range(count)]
        message.send_to(list({one.address: one for one in drawn}.values()))
        return message

    def _accept(self, at: int, message: Message, tag: str) -> None:
        """It is queued, or held or dropped by a rule."""
        fortune = self.rand()
        cleanup = message.host.tag("cleanup")
        self._introduce(at, message, tag, cleanup)
        if len(message.recipients) == 1 and fortune < STOPPED:
            self._stop(at + 24_000, message, cleanup, "hold" if fortune < HELD else "discard")
            return
        if fortune > 1 - FILTERED:
            message.hop = "filter"
        elif fortune > 1 - FILTERED - RELAYED and len(self._hosts) > 1:
            message.hop = "relay"
        self.at(at + 30_000, message.activate)

    def _introduce(self, at: int, message: Message, smtpd: str, cleanup: str) -> None:
        """The lines of smtpd(8) and cleanup(8) that tell whose message it is."""
        client, by = message.client, message.client.by
        sasl = f", sasl_method=PLAIN, sasl_username={client.client_id}" if by == "sasl" else ""
        message.say(at, smtpd, f"client={client.address}{sasl}")
        if by == "header":
            name = "Client-Id" if self.rand() < 0.2 else "client-id"
            header = f"header {name}: {client.client_id}"
            message.say(at + 20_000, cleanup, f"info: {header} {self._origin(message)}")
        message.say(at + 21_000, cleanup, f"message-id=<{message.message_id}>")

    @staticmethod
    def _origin(message: Message) -> str:
        """The end of a header_checks line (cleanup/cleanup_message.c)."""
        last, client = message.recipients[-1].address, message.client
        return (
            f"from {client.address}; from=<{message.sender}> to=<{last}> "
            f"proto=ESMTP helo=<app.{client.domain}>"
        )

    def _stop(self, at: int, message: Message, cleanup: str, action: str) -> None:
        """header_checks hold the message back or drop it."""
        message.say(at, cleanup, f"{action}: header X-Campaign: spring {self._origin(message)}")
        message.otherwise = "held" if action == "hold" else "discarded"
        if action == "hold" and self.rand() < 0.5:
            self.at(at + int((0.02 + self.rand() * 0.8) * DAY), message.release)
        else:
            message.tell()

    def _pickup(self, now: int, host: Host) -> None:
        """A message of the machine itself, by sendmail(1)."""
        message = Message(self, host, now, Client("", "", "", ""))
        message.sender = f"root@{host.fqdn}"
        message.send_to([draw_recipient(self.rand, host)])
        message.say(now, host.tag("pickup"), "uid=0 from=<root>")
        message.say(now + 2_000, host.tag("cleanup"), f"message-id=<{message.message_id}>")
        self.at(now + 6_000, message.activate)
        self._to_come -= 1

    # --- what else stands in a mail log ---

    def _noise(self, now: int, host: Host) -> None:
        """Something that is about no message of ours."""
        kind = int(self.rand() * 4)
        if kind == 0:
            self._refuse(now, host)
        elif kind == 1:
            text = "statistics: max connection rate 3/60s for (smtp:192.0.2.7) at Sep  1 10:00:00"
            self.say(now, host, host.tag("anvil"), text)
        elif kind == 2:
            text = "imap-login: Login: user=<anna>, method=PLAIN, rip=192.0.2.8, mpid=4711"
            self.say(now, host, "dovecot:", text)
        else:
            text = "warning: hostname dsl-66.example does not resolve to address 198.51.100.66"
            self.say(now, host, host.tag("smtpd"), text)

    def _refuse(self, now: int, host: Host) -> None:
        """A stranger tries to relay."""
        tag = host.tag("smtpd")
        where = f"RCPT from {STRANGER}: 554 5.7.1 <x@far.example>: Relay access denied;"
        tail = "from=<y@far.example> to=<x@far.example> proto=ESMTP helo=<far.example>"
        self.say(now, host, tag, f"connect from {STRANGER}")
        self.say(now + 200_000, host, tag, f"NOQUEUE: reject: {where} {tail}")
        self.say(now + 300_000, host, tag, f"lost connection after RCPT from {STRANGER}")
        counts = "ehlo=1 mail=1 rcpt=0/1 commands=2/3"
        self.say(now + SECOND, host, tag, f"disconnect from {STRANGER} {counts}")
