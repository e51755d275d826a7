"""The command line's rules: verdicts explained, lists checked, tried and reloaded, and the proof.

Owns arguments and output of `pda classify` and `pda rules …`. What the answers are is the business
of `rulebook` and `maillog.bounce`.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

import click
import msgspec

from pda import config, orders, output, shipped
from pda.cli_shared import asked, one_sentence, replies
from pda.config import ConfigError
from pda.maillog import bounce
from pda.maillog.bounce import proof
from pda.maillog.bounce.rules import MAX_BYTES
from pda.maillog.events import Failure
from pda.orders import ReloadRules
from pda.rulebook import RuleBook

_T = TypeVar("_T")
_CHUNK = 64 * 1024
_MOST_PER_LINE = 1024 * 1024
_FILE = click.Path(path_type=Path, dir_okay=False)


@click.command()
@click.argument("text", required=False)
@click.option("--dsn", default="", help="Enhanced status code, as 5.1.1.")
@click.option("--status", default="", help="Postfix's, as bounced; else the code says it.")
@click.option("--command", default="", help="The SMTP command that TEXT replies to, as RCPT TO.")
@click.option("--relay", default="", help="As logged: mx.example[192.0.2.1]:25.")
@click.option("--ndjson", is_flag=True, help="Classify objects on standard input.")
@click.pass_obj
@one_sentence
def classify(config_file: Path | None, /, text: str | None, *, ndjson: bool, **said: str) -> None:
    """Say what TEXT, the reason of a failed delivery, means by the rules, and why.

    With --ndjson: objects with reason, dsn, status and relay on standard input are written back
    with type, category and rule, in their order.

    Example: pda classify "550 5.1.1 No such user" --command "RCPT TO"
    """
    if ndjson == (text is not None):
        raise click.UsageError("give either TEXT or --ndjson")
    book = RuleBook(config.load(config_file).rules)
    if text is None:
        for line in classified(book.rules, lines(sys.stdin.buffer)):
            sys.stdout.buffer.write(line)
            sys.stdout.buffer.flush()
        return
    reason = proof.in_reply_to(text, said["command"], said["relay"])
    output.explained(book.explained(Failure(reason, said["dsn"], said["status"], said["relay"])))


def lines(source: BinaryIO) -> Iterator[list[bytes]]:
    """Lines as they come: whatever is there already, at a time."""
    rest = b""
    while chunk := source.read1(_CHUNK):  # type: ignore[attr-defined]  # a BufferedReader
        *whole, rest = (rest + chunk).split(b"\n")
        if len(rest) > _MOST_PER_LINE:
            raise ConfigError(f"a line is longer than {_MOST_PER_LINE} octets")
        yield whole
    if rest:
        yield [rest]


def classified(rules: bounce.Rules, batches: Iterable[list[bytes]]) -> Iterator[bytes]:
    """The objects of some lines with `type`, `category` and `rule`; raises `ConfigError`."""
    encode, decode = msgspec.json.Encoder().encode, msgspec.json.Decoder(dict[str, Any]).decode
    number = 0
    for batch in batches:
        done = bytearray()
        for line in batch:
            number += 1
            if not line.strip():
                continue
            try:
                found = decode(line)
                done += encode(found | _verdict(rules, found)) + b"\n"
            except (msgspec.DecodeError, UnicodeError) as error:
                yield bytes(done)
                raise ConfigError(f"standard input, line {number}: {error}") from None
        yield bytes(done)


def _verdict(rules: bounce.Rules, said: dict[str, Any]) -> dict[str, str]:
    failure = [said.get(name) or "" for name in ("reason", "dsn", "status", "relay")]
    if not all(isinstance(value, str) for value in failure):
        raise msgspec.DecodeError("reason, dsn, status and relay are texts")
    verdict = rules.classify(Failure(*failure))
    return {"type": verdict.bounce_type, "category": verdict.category, "rule": verdict.rule}


@click.group()
def rules() -> None:
    """The rules by which failures are judged."""


@rules.command()
@click.argument("file", type=_FILE)
@one_sentence
def check(file: Path) -> None:
    """Report every mistake of a rule list with its line; status 1 if there is any.

    Mistakes are also samples that their own rule does not win, and rules that never can.

    Example: pda rules check conf/bounce-rules.xml
    """
    mistakes = bounce.check(_read(file), shipped.rule_schema())
    for mistake in mistakes:
        click.echo(f"{file}:{mistake.line}: {mistake.text}")
    if mistakes:
        sys.exit(1)
    click.echo(f"{file}: no mistakes", err=True)


@rules.command()
@click.pass_obj
@one_sentence
def reload(config_file: Path | None) -> None:
    """Let the running service read its list again; a bad one changes nothing.

    The status is 3 if no service runs.

    Example: pda rules reload
    """
    settings = config.load(config_file)
    if (sock := orders.running(settings.control_socket)) is None:
        click.echo(f"no service runs on {settings.database}", err=True)
        sys.exit(3)
    sock.close()
    for body in replies(settings, ReloadRules()):
        click.echo(msgspec.json.decode(body))


@rules.command("try")
@click.argument("file", type=_FILE)
@click.option("--json", "as_json", is_flag=True, help="For programs.")
@click.pass_obj
@one_sentence
def try_list(config_file: Path | None, file: Path, *, as_json: bool) -> None:
    """Run a rule list over all stored failures and show what would change. It changes nothing.

    Example: pda rules try conf/bounce-rules.xml
    """
    xml = _read(file)
    try:
        bounce.load(xml)
    except bounce.RuleError as error:
        raise ConfigError(f"{file} cannot be used:\n{error}") from None
    settings = config.load(config_file)
    book = RuleBook(settings.rules)
    output.trial(asked(settings, lambda connection: book.trial(connection, xml)), as_json=as_json)


@rules.command()
@click.option("--json", "as_json", is_flag=True, help="For programs: one object for each rule.")
@click.pass_obj
@one_sentence
def stats(config_file: Path | None, *, as_json: bool) -> None:
    """How often each rule decided about what is stored, when last, and about which text.

    Example: pda rules stats
    """
    settings = config.load(config_file)
    found = asked(settings, RuleBook(settings.rules).usage)
    if as_json:
        output.rows(found, "ndjson")
    else:
        output.rule_usage(found)


@rules.command()
@click.option("--limit", type=click.IntRange(1), default=50, show_default=True, help="Groups.")
@click.option("--json", "as_json", is_flag=True, help="For programs: one object for each group.")
@click.pass_obj
@one_sentence
def unclassified(config_file: Path | None, *, limit: int, as_json: bool) -> None:
    """The failures that no rule knows, grouped, most frequent first.

    Each comes with a rule to start from.

    Example: pda rules unclassified --limit 10
    """
    settings = config.load(config_file)
    book = RuleBook(settings.rules)
    found = asked(settings, lambda connection: book.unclassified(connection, limit))
    if as_json:
        output.rows(found, "ndjson")
    else:
        output.unclassified(found)


def _read(file: Path) -> bytes:
    try:
        with file.open("rb") as source:
            return source.read(MAX_BYTES + 1)
    except OSError as error:
        raise ConfigError(f"{file} cannot be read: {error.strerror}") from None
