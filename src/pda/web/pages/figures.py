"""What was counted, as pages show it: buckets of a chart, tallies, rates beside those before.

Owns the way from the store's points to charts and rows. Pure: asks nothing. Times are µs since the
epoch.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from operator import attrgetter
from typing import Final

import msgspec

from pda.store.queries import Counts, Delays, Point, Scope, Step
from pda.web.pages import wording
from pda.web.pages.charts import Chart, Series, Spark
from pda.web.pages.outcomes import KINDS, Tally
from pda.web.pages.view import DAY, HOUR, View

_MEMBERS: Final = {
    "delivered": ("delivered",),
    "late": ("finally_ok",),
    "pending": ("pending", "held"),
    "soft": ("soft_bounce",),
    "hard": ("hard_bounce",),
    "unknown": ("undetermined_bounce",),
    "expired": ("expired",),
    "discarded": ("discarded",),
}
_SUMMED: Final = Counts.__struct_fields__
_DURATIONS: Final = (0.01, 0.1, 1.0, 10.0, 60.0, 600.0, 3600.0, 6 * 3600.0, 86400.0, 5 * 86400.0)
_COLOURS: Final = ("one", "two", "three", "four", "five", "six", "seven", "eight")


class Period(msgspec.Struct, frozen=True, kw_only=True):
    """A view's time in the store's whole hours or days, and the one before, as long."""

    since: int
    until: int
    """Not part of it."""
    step: int
    """Length of a bar."""

    @property
    def starts(self) -> range:
        return range(self.since, self.until, self.step)

    @property
    def kept(self) -> Step:
        """How finely the store has to count for it."""
        return "day" if self.step % DAY == 0 else "hour"

    def before(self) -> Period:
        """As long, and just before."""
        length = -(-(self.until - self.since) // self.step) * self.step
        return msgspec.structs.replace(self, since=self.since - length, until=self.since)

    def weight(self) -> float:
        """How much longer the period before is: a bar that has begun is not whole."""
        before = self.before()
        return (self.until - self.since) / (before.until - before.since)


def period(view: View, finest: int = HOUR) -> Period:
    """The time that a page shows; it begins with a whole bar."""
    step = view.step(finest)
    return Period(since=view.since // step * step, until=view.until, step=step)


def scope(view: View, time: Period, **narrower: str) -> Scope:
    """What is counted for a view."""
    named = {"client": view.client, "host": view.host, **narrower}
    return Scope(**named, since=time.since, until=time.until - 1)


def total(points: Iterable[Point]) -> Counts:
    """All of them together."""
    return summed(point.counts for point in points)


def summed(several: Iterable[Counts]) -> Counts:
    """All of them together."""
    found = Counts()
    for counts in several:
        _add(found, counts)
    return found


def by_group(points: Iterable[Point]) -> dict[str, list[Point]]:
    """Those of each group, in their order."""
    found: dict[str, list[Point]] = {}
    for point in points:
        found.setdefault(point.group, []).append(point)
    return found


def bars(points: Iterable[Point], time: Period) -> list[Counts]:
    """What was counted in each bar."""
    found = [Counts() for _ in time.starts]
    for point in points:
        number = (point.at - time.since) // time.step
        if 0 <= number < len(found):
            _add(found[number], point.counts)
    return found


def tally(counts: Counts) -> Tally:
    """Recipients by kind."""
    return Tally({key: _sum(counts, members) for key, members in _MEMBERS.items()})


def outcomes_chart(points: Iterable[Point], time: Period, title: str = "Outcomes") -> Chart:
    """What became of recipients over time; kinds that never came about are left out."""
    tallies = [tally(counts) for counts in bars(points, time)]
    series = [
        Series(kind.key, kind.label, values)
        for kind in KINDS
        if any(values := [one.counts[kind.key] for one in tallies])
    ]
    return Chart(
        id="outcomes",
        title=title,
        description="recipients by what became of them, in bars one upon another",
        starts=time.starts,
        step=time.step,
        series=series,
    )


def attempts_chart(points: Iterable[Point], time: Period) -> Chart:
    """What the next host said over time."""
    counted = bars(points, time)
    return Chart(
        id="attempts",
        title="Attempts",
        description="attempts by what the next host said, in bars one upon another",
        starts=time.starts,
        step=time.step,
        series=[
            Series("delivered", "accepted", [one.sent for one in counted]),
            Series("pending", "deferred", [one.deferred for one in counted]),
            Series("hard", "refused", [one.bounced for one in counted]),
        ],
    )


def groups_chart(
    name: str, title: str, points: Iterable[Point], time: Period, member: str = "attempts"
) -> Chart:
    """The largest groups over time, one upon another; the rest as one."""
    groups = {
        group: [getattr(counts, member) for counts in bars(of_group, time)]
        for group, of_group in by_group(points).items()
    }
    ranked = sorted(groups, key=lambda group: -sum(groups[group]))
    shown, rest = ranked[: len(_COLOURS) - 1], ranked[len(_COLOURS) - 1 :]
    series = [
        Series(colour, group or "none", groups[group])
        for colour, group in zip(_COLOURS, shown, strict=False)
    ]
    if rest:
        others = [sum(column) for column in zip(*(groups[g] for g in rest), strict=True)]
        series.append(Series("eight", "others", others))
    return Chart(
        id=name,
        title=title,
        description="in bars one upon another",
        starts=time.starts,
        step=time.step,
        series=series,
    )


def delays_chart(delays: Iterable[Delays], time: Period) -> Chart:
    """How long accepted attempts took: half, nine tenths and 99 of 100 of them."""
    found: list[Delays | None] = [None] * len(time.starts)
    for one in delays:
        number = (one.at - time.since) // time.step
        if 0 <= number < len(found):
            known = found[number]
            found[number] = one if known is None or one.attempts > known.attempts else known
    return Chart(
        id="delays",
        title="Delay until accepted",
        description="seconds since a message arrived until the next host took it",
        starts=time.starts,
        step=time.step,
        series=[
            Series(key, label, [None if one is None else of(one.total) for one in found])
            for key, label, of in (
                ("one", "half (p50)", attrgetter("p50")),
                ("two", "90 % (p90)", attrgetter("p90")),
                ("three", "99 % (p99)", attrgetter("p99")),
            )
        ],
        written=wording.seconds,
        stacked=False,
        powers=True,
        marks=_DURATIONS,
    )


class Side(msgspec.Struct, frozen=True, kw_only=True):
    """A provider, domain, host or client: its attempts, beside those before."""

    name: str
    now: Counts
    before: Counts
    spark: Spark | None = None
    """Share of attempts that failed, over time."""

    @property
    def failing(self) -> float:
        return failing(self.now)

    @property
    def failing_before(self) -> float:
        return failing(self.before)

    @property
    def tally(self) -> Tally:
        return attempts_tally(self.now)


def attempts_tally(counts: Counts) -> Tally:
    """Attempts by what the next host said, in the colours of outcomes."""
    other = counts.attempts - counts.sent - counts.deferred - counts.bounced
    found = dict.fromkeys(_MEMBERS, 0)
    return Tally({**found, "delivered": counts.sent, "pending": counts.deferred,
                  "hard": counts.bounced, "discarded": max(0, other)})  # fmt: skip


def failing(counts: Counts) -> float:
    """Percent of attempts that the next host did not accept."""
    return 100 * (counts.deferred + counts.bounced) / counts.attempts if counts.attempts else 0.0


def sides(now: Mapping[str, Counts], before: Mapping[str, Counts], most: int) -> list[Side]:
    """Groups beside what they were, the busiest first."""
    ranked = sorted(now, key=lambda name: (-now[name].attempts, name))
    return [
        Side(name=name, now=now[name], before=before.get(name, Counts())) for name in ranked[:most]
    ]


def failing_line(points: Iterable[Point], time: Period) -> Spark:
    """A small line of the share that failed."""
    counted = bars(points, time)
    return Spark([failing(one) if one.attempts else None for one in counted], 100.0)


def totals(points: Iterable[Point]) -> dict[str, Counts]:
    """What was counted of each group."""
    return {group: total(of_group) for group, of_group in by_group(points).items()}


def _sum(counts: Counts, members: Sequence[str]) -> int:
    return sum(int(getattr(counts, member)) for member in members)


def _add(to: Counts, more: Counts) -> None:
    for member in _SUMMED:
        setattr(to, member, getattr(to, member) + getattr(more, member))
