"""One message's life in the queue: what each daemon logs, and what really became of it.

Times are µs since the epoch. Nothing here is remembered once the message is gone: its row is told
and the object forgotten.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple, Protocol, TypedDict

from tools.simulator.hosts import Host
from tools.simulator.plan import SECOND
from tools.simulator.recipient import COMPANY, DELIVERED, GREYLISTED, Recipient, RecipientRow

MINIMAL_BACKOFF: Final = 240 * SECOND
MAXIMAL_BACKOFF: Final = 144_000 * SECOND
TENTHS: Final = tuple(f"{n / 10:g}" for n in range(100))
HUNDREDTHS: Final = tuple(f"{n / 100:g}" for n in range(100))

Step = Callable[[int], None]


class Row(TypedDict):
    """The truth about one queue entry that delivers (a hop is named by the entry it leads to)."""

    queue_id: str
    host: str
    client_id: str
    """Empty where nothing tells it (local mail, notifications)."""
    client_by: str
    """message-id, header, sasl or nothing."""
    message_id: str
    sender: str
    notification_of: str
    """The queue id that this message reports on."""
    handed_on_by: list[str]
    """`host/queue_id` of the entries that passed this message here, the first one first."""
    recipients: list[RecipientRow]


class World(Protocol):
    """What a message sees of the world."""

    rand: Callable[[], float]
    lifetime: int
    told: Callable[[Row], object]
    """Called when the message is gone."""

    def say(self, at: int, host: Host, tag: str, text: str) -> None:
        """Log one line."""

    def at(self, when: int, step: Step) -> None:
        """Go on then."""

    def other_host(self, host: Host) -> Host:
        """Another mail host, or the same where it is the only one."""


class Client(NamedTuple):
    """An application that sends mail."""

    client_id: str
    by: str
    """message-id, header, sasl or nothing."""
    domain: str
    address: str
    """`host[ip]` it connects from."""


def seconds(microseconds: int) -> str:
    """A delay as Postfix writes it: two significant digits, two decimals (util/format_tv.c)."""
    if microseconds >= 9_950_000:
        return str((microseconds + 500_000) // SECOND)
    if microseconds >= 995_000:
        return TENTHS[(microseconds + 50_000) // 100_000]
    return HUNDREDTHS[(microseconds + 5_000) // 10_000]


class Message:
    """One queue entry, and the entry it becomes when it passes a hop."""

    __slots__ = (
        "arrived", "client", "handed_on_by", "hop", "host", "message_id", "notification_of",
        "otherwise", "queue_id", "recipients", "sender", "size", "waiting", "world",
    )  # fmt: skip

    def __init__(self, world: World, host: Host, at: int, client: Client) -> None:
        self.world = world
        self.host = host
        self.client = client
        self.arrived = at
        self.queue_id = host.queue_id(at)
        self.message_id = f"{self.queue_id}@{host.fqdn}"
        self.sender = ""
        self.size = 800 + int(world.rand() ** 4 * 90_000)
        self.recipients: list[Recipient] = []
        self.waiting = self.recipients
        self.hop = ""
        self.otherwise = "pending"
        self.notification_of = ""
        self.handed_on_by: list[str] = []

    def send_to(self, recipients: list[Recipient]) -> None:
        """Whom it is for; all of them still wait."""
        self.recipients = self.waiting = recipients

    def say(self, at: int, tag: str, text: str) -> None:
        """Log a line that begins with the queue id."""
        self.world.say(at, self.host, tag, f"{self.queue_id}: {text}")

    # --- qmgr(8) ---

    def activate(self, at: int) -> None:
        """qmgr takes the message up: the one line it always writes, then the work."""
        numbers = f"size={self.size}, nrcpt={len(self.recipients)}"
        self.say(at, self.host.qmgr, f"from=<{self.sender}>, {numbers} (queue active)")
        if self.hop:
            self.pass_on(at)
        else:
            self.deliver(at)

    def deliver(self, at: int) -> None:
        """Try every recipient that still waits, and see what is left to do."""
        tried, done = self.waiting, at
        for recipient in tried:
            done = max(done, self.attempt(recipient, at))
        self.waiting = [one for one in tried if one.outcome == "pending"]
        bounced = any(one.outcome.endswith("bounce") for one in tried)
        if self.waiting and done - self.arrived > self.world.lifetime:
            done += 900
            self.expire(done)
            bounced = True
        if bounced and self.sender:
            done = self.notify(done)
        if self.waiting:
            self.defer(done)
        else:
            self.leave(done)

    def expire(self, at: int) -> None:
        """maximal_queue_lifetime is over for all that still wait (qmgr/qmgr_active.c)."""
        self.say(at, self.host.qmgr, f"from=<{self.sender}>, status=expired, returned to sender")
        for one in self.waiting:
            one.outcome = "expired"
        self.waiting = []

    def defer(self, at: int) -> None:
        """Wait as long as it has waited already (qmgr/qmgr_active.c), up to the next scan."""
        backoff = min(max(at - self.arrived, MINIMAL_BACKOFF), MAXIMAL_BACKOFF)
        jitter = int(self.world.rand() * 200_000)
        self.world.at(self.host.next_scan(at + backoff) + jitter, self.activate)

    def leave(self, at: int) -> None:
        """Out of the queue; now and then qmgr is quicker than the delivery agent's own line."""
        early = self.world.rand() < 0.01
        self.say(at - 150 if early else at + 250, self.host.qmgr, "removed")
        self.tell()

    def tell(self) -> None:
        """Tell the truth as it stands."""
        self.world.told(
            {
                "queue_id": self.queue_id,
                "host": self.host.name,
                "client_id": self.client.client_id,
                "client_by": self.client.by,
                "message_id": self.message_id,
                "sender": self.sender,
                "notification_of": self.notification_of,
                "handed_on_by": self.handed_on_by,
                "recipients": [one.row(self.otherwise) for one in self.recipients],
            }
        )

    def release(self, at: int) -> None:
        """The postmaster lets a held message go; the next scan of the queue finds it."""
        self.otherwise = "pending"
        tag = self.host.tag("postsuper")
        self.say(at, tag, "released from hold")
        self.world.say(at + 100, self.host, tag, "Released from hold: 1 message")
        self.world.at(self.host.next_scan(at), self.activate)

    # --- smtp(8), lmtp(8), error(8) ---

    def attempt(self, to: Recipient, active: int) -> int:
        """One delivery attempt; when it was over."""
        rand = self.world.rand
        reply, status, category = to.next_reply()
        suspended = category == "no-answer" and rand() < 0.3
        if suspended:
            service, relay = "error", "none"
            set_up = transmission = 1_000
        else:
            service = to.provider.program
            relay = to.relay if reply.connected else "none"
            set_up = int((0.08 + rand() * 0.8) * reply.seconds * SECOND)
            transmission = int(rand() * rand() * 2 * SECOND) if reply.connected else 0
        done = active + 2_000 + set_up + transmission
        tag, text = self.host.tag(service), self.fill(reply.text, to, done)
        if suspended:
            text = f"delivery temporarily suspended: {text}"
        elif category == "no-answer":
            self.world.say(done - 500, self.host, tag, text)
        if relay != "none" and service == "smtp":
            relay += ":25, conn_use=2" if rand() < 0.03 else ":25"
        times = (active - self.arrived, 2_000, set_up, transmission)
        result = f"dsn={reply.dsn}, status={status} ({text})"
        self.say(done, tag, self.record(to, relay, times, result))
        to.settle(status, category, done)
        return done

    @staticmethod
    def record(to: Recipient, relay: str, times: tuple[int, int, int, int], result: str) -> str:
        """`to=… relay=… delay=… delays=…`, then the result (global/log_adhoc.c)."""
        orig_to = f", orig_to=<{to.orig_to}>" if to.orig_to else ""
        delays = "/".join(map(seconds, times))
        return (
            f"to=<{to.address}>{orig_to}, relay={relay}, delay={seconds(sum(times))}, "
            f"delays={delays}, {result}"
        )

    def fill(self, text: str, to: Recipient, at: int) -> str:
        """A reply with its blanks filled in."""
        return text.format(
            relay=to.relay,
            rcpt=to.address,
            domain=to.address.rpartition("@")[2],
            ip=self.host.ip,
            epoch=at // SECOND,
            token=f"{int(self.world.rand() * 2**40):010x}",
            number=100_000 + at % 899_999,
            n=at % 97,
        )

    # --- bounce(8), filters, other hosts ---

    def notify(self, at: int) -> int:
        """Send the sender a non-delivery notification; when that was queued."""
        queued = at + 3_000
        report = Message(self.world, self.host, queued, Client("", "", "", ""))
        report.notification_of = self.queue_id
        relay = f"mail.{self.client.domain or self.host.fqdn}[192.0.2.99]"
        fate = GREYLISTED if self.world.rand() < 0.03 else DELIVERED
        report.send_to([Recipient(self.sender, COMPANY, relay, fate)])
        report.say(queued, self.host.tag("cleanup"), f"message-id=<{report.message_id}>")
        report.world.at(queued + 900, report.activate)
        text = f"sender non-delivery notification: {report.queue_id}"
        self.say(queued + 600, self.host.tag("bounce"), text)
        return queued + 1_200

    def pass_on(self, at: int) -> None:
        """Hand the message to a filter or to another mail host; live on as the entry it gets."""
        here, queue_id, hop = self.host, self.queue_id, self.hop
        there = here if hop == "filter" else self.world.other_host(here)
        queued = at + 20_000 + int(self.world.rand() * 400_000)
        next_id = there.queue_id(queued)
        reply, relay = f"250 2.0.0 Ok: queued as {next_id}", f"{there.address}:25"
        if hop == "filter":
            reply = f"250 2.0.0 from MTA(smtp:[127.0.0.1]:10025): {reply}"
            relay = "127.0.0.1[127.0.0.1]:10024"
        self.handed_on_by = [*self.handed_on_by, f"{here.name}/{queue_id}"]
        times = (at - self.arrived, 2_000, 3_000, queued - at)
        smtp = here.tag("smtp")
        for recipient in self.recipients:
            result = f"dsn=2.0.0, status=sent ({reply})"
            text = f"{queue_id}: {self.record(recipient, relay, times, result)}"
            self.world.say(queued + 5_000, here, smtp, text)
        self.world.say(queued + 5_400, here, here.qmgr, f"{queue_id}: removed")
        self.host, self.queue_id, self.arrived, self.hop = there, next_id, queued, ""
        self.reinjected(queued, "localhost[127.0.0.1]" if hop == "filter" else here.address)

    def reinjected(self, at: int, origin: str) -> None:
        """What the accepting side logs of it."""
        smtpd = self.host.tag("smtpd")
        self.world.say(at - 2_000, self.host, smtpd, f"connect from {origin}")
        self.say(at, smtpd, f"client={origin}")
        self.say(at + 1_500, self.host.tag("cleanup"), f"message-id=<{self.message_id}>")
        counts = "ehlo=1 mail=1 rcpt=1 data=1 quit=1 commands=5"
        self.world.say(at + 6_000, self.host, smtpd, f"disconnect from {origin} {counts}")
        self.world.at(at + 2_500, self.activate)
