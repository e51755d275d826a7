"""What the command line prints: tables, NDJSON, CSV, and how an import goes.

Owns forms only. Text that came out of a log is data to a terminal too: control characters are
shown, not obeyed, and a cell of a CSV file never becomes a formula.
"""

from __future__ import annotations

import csv
import re
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click
import msgspec

from pda.texts import cell, plain
from pda.times import rfc3339

if TYPE_CHECKING:  # whoever has such a value has loaded its module
    from rich.table import Table
    from rich.text import Text

    from pda.maillog.bounce.proof import Explained, RuleUse, Trial, Unclassified

_TIMES = frozenset(
    "at first_at last_at born expired_at removed_at created_at expires_at used_at".split()
)
_ANY_WIDTH = 1_000_000
_HIDDEN = frozenset(["orig_to", "message_id", "rule", "host", "change", "claimed_id"])
# What JSON allows in a string and a terminal obeys: DEL, C1 (U+009B begins a sequence), and what
# turns the direction of writing or ends a line.
_OBEYED = re.compile("[\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069]")


def rows(found: Sequence[msgspec.Struct], form: str) -> None:
    """Prints values of one kind as `table`, `ndjson` or `csv`."""
    if form == "ndjson":
        for row in found:
            sys.stdout.buffer.write(json_line(_values(row)))
    elif form == "csv":
        _csv(found)
    else:
        _table(found)


def json_line(value: object) -> bytes:
    """A value as JSON (UTF-8) on a line of its own, harmless to a terminal."""
    text = msgspec.json.encode(value).decode()
    return (_OBEYED.sub(lambda found: f"\\u{ord(found[0]):04x}", text) + "\n").encode()


def _values(row: msgspec.Struct) -> dict[str, Any]:
    """By field, times as RFC 3339 (None where there is none)."""
    return {
        name: (rfc3339(value) if value else None) if name in _TIMES else value
        for name, value in msgspec.structs.asdict(row).items()
    }


def _csv(found: Sequence[msgspec.Struct]) -> None:
    writer = csv.writer(sys.stdout, lineterminator="\n")
    for number, row in enumerate(found):
        values = _values(row)
        if not number:
            writer.writerow(values)
        writer.writerow([cell(value) for value in values.values()])


def _table(found: Sequence[msgspec.Struct]) -> None:
    if not found:
        click.echo("nothing found", err=True)
        return
    names = [name for name in _values(found[0]) if name not in _HIDDEN]
    table = _headed(*names)
    for row in found:
        values = _values(row)
        table.add_row(*[visible(values[name]) for name in names])
    printed(table)
    click.echo(f"{len(found)} rows", err=True)


def _headed(*names: str) -> Table:
    """An empty table. Rich takes a tenth of a second to load: only what prints a table does."""
    from rich.table import Table

    return Table(*names, header_style="bold")


def printed(table: Table) -> None:
    """As wide as the terminal; in a file or pipe nothing is cut."""
    from rich.console import Console

    console = Console()
    if not console.is_terminal:
        console.width = _ANY_WIDTH
    console.print(table)


def visible(value: object) -> Text:
    """A cell: text, in which nothing is markup."""
    from rich.text import Text

    return Text("" if value is None else plain(str(value)))


def explained(found: Explained) -> None:
    """A verdict, and why."""
    rule = f"by rule {found.rule}" if found.rule else "no rule holds"
    other = f"{found.runner_up} ({found.runner_up_category})" if found.runner_up else "none"
    for name, value in (
        ("verdict", f"{found.type}, {found.category}: {rule}"),
        ("masked", found.masked),
        ("seen", f"dsn {found.dsn or '-'}, reply {found.reply or '-'}, stage {found.stage or '-'}"),
        ("runner-up", other),
        ("why", found.why),
    ):
        click.echo(f"{name + ':':<11}{plain(value)}")


def trial(found: Trial, *, as_json: bool) -> None:
    """What a rule list would change."""
    if as_json:
        click.echo(msgspec.json.encode(found).decode())
        return
    changed = found.failures - found.unchanged
    click.echo(f"{found.failures} failures, {changed} would get another verdict")
    for one in found.changes:
        before, after = f"{one.old_type} {one.old_category}", f"{one.new_type} {one.new_category}"
        click.echo(f"\n{one.count}: {before} → {after}")
        for sample in one.samples:
            click.echo(f"    {plain(sample)}")


def rule_usage(found: Sequence[RuleUse]) -> None:
    """How often each rule decided."""
    table = _headed("hits", "last hit", "rule", "category", "sample")
    for one in found:
        rule = one.rule or "(none holds)"
        rule = rule if one.in_force else f"{rule} (earlier list)"
        last = rfc3339(one.last_at) if one.last_at else ""
        table.add_row(str(one.hits), last, *map(visible, (rule, one.category, one.sample)))
    printed(table)


def unclassified(found: Sequence[Unclassified]) -> None:
    """Failures that no rule knows, each with a rule to start from."""
    for one in found:
        click.echo(f"{one.count}, last at {rfc3339(one.last_at)}: {plain(one.text)}")
        for line in one.stub.splitlines():
            click.echo(f"    {plain(line)}")
        click.echo("")
    click.echo(f"{len(found)} texts", err=True)


def status(values: Mapping[str, Any]) -> None:
    """The service's status for a terminal."""
    last = values["last_line_at"]
    click.echo(f"pda {values['version']}, running since {rfc3339(values['started_at'])}")
    click.echo(f"last line: {rfc3339(last) if last else 'none yet'}")
    if values["problem"]:
        click.echo(f"PROBLEM: {values['problem']}")
    for listener in values["listeners"]:
        counters = listener["counters"]
        dropped = (f"{n} {name.replace('_', ' ')}" for name, n in listener["dropped"].items())
        click.echo(
            f"{listener['protocol']} {listener['address']}: {counters['lines']} lines;"
            f" dropped or refused: {', '.join(dropped) or 'none'}"
        )
    for one in values["imports"]:
        if not one["finished"]:
            done = f"{one['octets']} of {one['size']} octets, " if one["size"] else ""
            click.echo(f"importing {plain(one['name'])}: {done}{one['lines']} lines")
    click.echo("lines: " + ", ".join(f"{n} {name}" for name, n in values["lines"].items()))
    fates = ", ".join(f"{n} {name}" for name, n in values["fates"].items() if n)
    click.echo(f"each line once: {fates or 'none yet'}")
    journal = values["journal"]
    click.echo(
        f"journal: {journal['waiting']} lines wait, {journal['read_again']} were read again,"
        f" {journal['damaged']} places cannot be read"
    )
    for host, lines in values["lost_before"].items():
        click.echo(f"LOST before they were sent: {lines} lines of {plain(host)}")
    _rules(values["rules"])
    click.echo("sizes: " + ", ".join(f"{name} {size}" for name, size in values["sizes"].items()))


def shapes(counts: Mapping[str, int]) -> None:
    """Shapes of lines with how often each came, the last one last."""
    for shape, count in counts.items():
        click.echo(f"{count:>8}  {shape}")


def _rules(rules: Mapping[str, Any]) -> None:
    loaded = rfc3339(rules["loaded_at"])
    click.echo(f"rules: {rules['rules']} from {plain(rules['source'])}, in force since {loaded}")
    if rules["refused"]:
        click.echo(f"REFUSED at {rfc3339(rules['refused_at'])}: {_lines(rules['refused'])}")
    if rules["judged_at"]:
        click.echo(f"history: judged by them, {rules['changed']} verdicts changed")
    else:
        click.echo(
            f"history: being judged, {rules['entries_left']} of {rules['entries']} queue entries"
            f" left, {rules['changed']} verdicts changed so far"
        )


def _lines(text: str) -> str:
    """As `plain`, but for the ends of lines."""
    return "\n".join(plain(line) for line in text.splitlines())
