"""What is told of alerts: as a mail, and as an object for programs.

Owns the words. Pure; knows no way of sending. Whatever came out of a log has its addresses masked
before.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import msgspec

from pda.alerts.course import Step
from pda.store.alerts import Finding, Kind, Sample
from pda.texts import plain
from pda.times import rfc3339
from pda.web.ports import AlertWords

_STATES = {"raised": "", "still": "still: ", "cleared": "over: "}
_ADVICE: dict[Kind, str] = {
    "bounces": "Look at the replies below. Stop the sending that causes them before providers"
    " block more; take addresses that do not exist off the list.",
    "deferrals": "The receiving side asks to wait, or cannot be reached: look at the replies"
    " below, send less there for some hours, and look at the queue (postqueue -p).",
    "unclassified": "No rule knows these replies: pda rules unclassified lists them; add rules.",
    "category": "Somebody refuses mail for what you are or how it is signed: look at the replies"
    " below, at the block list that they name, and at SPF, DKIM and DMARC.",
    "no-mail": "Log lines arrive, but no mail is sent, at a time at which some usually is: look at"
    " the applications, and whether Postfix accepts mail and delivers it.",
    "no-lines": "Nothing arrives at any listener: look at rsyslog on the mail hosts, at the network"
    " between, and at pda status.",
    "disk": "Make room, or let pda keep less ([retention]). When it is full pda stops accepting"
    " lines, and rsyslog's queues fill.",
    "database": "pda accepts nothing until it can write again, and rsyslog's queues fill. Look at"
    " the disk; pda status says how it goes.",
    "unacknowledged": "Lines arrive and are not stored: look at the disk and pda status.",
    "rules": "The rules that were in force stay. Correct the list (pda rules check FILE), then"
    " pda rules reload.",
    "fault": "This is an error of pda itself; its log has the whole story.",
    "stopped": "If nobody stopped it, look at the log. Lines wait at the mail hosts until pda is"
    " back.",
    "test": "Nothing is wrong: somebody tries whether alerts arrive.",
}
_MOST_FAULT = 60
"""Characters of an error in a title."""


class Mail(msgspec.Struct, frozen=True):
    """A mail, as the outbox keeps it."""

    subject: str
    text: str


def title(finding: Finding) -> str:
    """What and where in a few words: a line of a telephone."""
    return _TITLES[finding.kind](finding)


def _title_of_share(finding: Finding) -> str:
    usual = "" if finding.usual is None else f" (usually {percent(finding.usual)})"
    return f"{percent(finding.value)} {finding.kind}, {_whom(finding)}{usual}"


_TITLES: dict[Kind, Callable[[Finding], str]] = {
    "bounces": _title_of_share,
    "deferrals": _title_of_share,
    "unclassified": lambda it: f"{percent(it.value)} of failures unclassified",
    "category": lambda it: f"{it.count} mails refused: {it.name}",
    "no-mail": lambda it: f"no mail for {it.limit / 3600:g} h",
    "no-lines": lambda it: f"no log lines for {it.limit / 3600:g} h",
    "disk": lambda it: f"disk: {percent(it.value)} free",
    "database": lambda _: "database cannot be written",
    "unacknowledged": lambda it: f"nothing stored for {it.value:.0f} s",
    "rules": lambda _: "rule list refused",
    "fault": lambda it: f"fault: {_begun(_shown(it.text), _MOST_FAULT)}",
    "stopped": lambda _: "pda stops",
    "test": lambda _: "test of alerts",
}


def words(finding: Finding) -> AlertWords:
    """The same for a page, which shows the evidence itself."""
    measure = " ".join(_measure(finding)).removeprefix("Now:   ")
    return AlertWords(title(finding), measure, _ADVICE[finding.kind])


def mail(steps: Sequence[Step], host: str) -> Mail:
    """One mail about all that is new; the first one gives it its subject."""
    first = steps[0]
    more = f" (+{len(steps) - 1})" if len(steps) > 1 else ""
    subject = f"[pda {host}] {_STATES[first.news]}{title(first.alert.finding)}{more}"
    parts = ["\n".join(_paragraph(step)) for step in steps]
    end = (
        f"--\npda on {host}. This mail was made by a program; nobody reads answers.\n"
        "Open alerts: GET /api/v1/alerts. Who is told, and from when on: [alerts] in pda.toml.\n"
    )
    return Mail(plain(subject), "\n\n\n".join([*parts, end]))


def _paragraph(step: Step) -> Iterator[str]:
    finding, alert = step.alert.finding, step.alert
    yield f"{_STATES[step.news]}{title(finding)}"
    yield ""
    yield f"Where: {_whom(finding)}"
    yield f"Since: {_moment(alert.raised_at)}"
    if alert.cleared_at and step.news == "cleared":
        yield f"Over:  {_moment(alert.calm_since)}"
    yield from _measure(finding)
    if finding.text:
        yield f"Why:   {_shown(finding.text)}"
    if step.news == "cleared":
        return
    yield from _evidence(alert.samples)
    yield ""
    yield f"What to do: {_ADVICE[finding.kind]}"


def _measure(finding: Finding) -> Iterator[str]:
    """How much, against what is usual and what is allowed."""
    if finding.of:
        usual = "not known yet" if finding.usual is None else percent(finding.usual)
        much = f"{percent(finding.value)} ({finding.count} of {finding.of})"
        yield f"Now:   {much}; usual: {usual}; told from {percent(finding.limit)} on"
    elif finding.kind == "category":
        usual = f"{finding.usual or 0:.0f}"
        yield f"Now:   {finding.count}; usual: {usual}; told from {finding.limit:.0f} on"
    elif finding.kind == "disk":
        yield f"Now:   {percent(finding.value)} free; told below {percent(finding.limit)}"


def _evidence(samples: Sequence[Sample]) -> Iterator[str]:
    for sample in samples:
        rule = f", rule {sample.rule}" if sample.rule else ""
        yield ""
        category = sample.category or "unclassified"
        yield f"{sample.count} × {category}{rule}, last at {plain(sample.domain)}:"
        yield f"  {_shown(sample.reply)}"


def _whom(finding: Finding) -> str:
    if finding.about in ("service", "category"):
        return "all mail" if finding.about == "category" else "the service"
    if finding.about == "client" and not finding.name:
        return "mail without client id"
    return f"{finding.about} {plain(finding.name)}"


def percent(share: float) -> str:
    """A share (0–1) for people."""
    return f"{share * 100:.0f} %" if share >= 0.1 or not share else f"{share * 100:.1f} %"


def _moment(at: int) -> str:
    return rfc3339(at // 60_000_000 * 60_000_000).replace("T", " ").replace(":00Z", " UTC")


def _shown(text: str) -> str:
    return plain(" ".join(text.split()))


def _begun(text: str, most: int) -> str:
    """Its beginning, in so many characters: whole words, where the first one is not too long."""
    if len(text) <= most:
        return text
    return f"{text[:most].rpartition(' ')[0] or text[: most - 1]}…"


def objects(steps: Sequence[Step], host: str) -> bytes:
    """The same for programs: JSON."""
    each: list[dict[str, Any]] = [
        {
            "state": step.news,
            "title": title(step.alert.finding),
            "raised_at": rfc3339(step.alert.raised_at),
            **msgspec.structs.asdict(step.alert.finding),
            "samples": step.alert.samples,
        }
        for step in steps
    ]
    return msgspec.json.encode({"host": host, "alerts": each})
