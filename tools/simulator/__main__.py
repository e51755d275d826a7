"""The command line of the simulator: `tools/genlog`."""

from __future__ import annotations

import argparse
import gc
import json
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, tzinfo
from pathlib import Path
from typing import Any, TextIO
from zoneinfo import ZoneInfo

from tools.simulator import FORMATS, Plan, Row, batches
from tools.simulator.plan import SECOND
from tools.simulator.rotation import NAMINGS, PACKERS, Rotation


def names(text: str) -> tuple[str, ...]:
    """`a,b,c`."""
    return tuple(name for name in text.split(",") if name)


def zone(name: str) -> tzinfo:
    """A zone by its name; UTC works without any zone data."""
    try:
        return UTC if name == "UTC" else ZoneInfo(name)
    except (KeyError, ValueError, OSError) as error:
        raise argparse.ArgumentTypeError(f"no zone {name!r} here") from error


def moment(text: str) -> datetime:
    """RFC 3339; without an offset it is UTC."""
    try:
        at = datetime.fromisoformat(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is no time such as 2025-09-01Z") from error
    return at if at.tzinfo else at.replace(tzinfo=UTC)


def arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """What the command line says."""
    parser = argparse.ArgumentParser(
        prog="tools/genlog",
        description="Write a Postfix log of any size whose truth is known. "
        "The same options give the same log.",
        epilog="example: tools/genlog --messages 5000 --truth truth.ndjson --output mail.log",
    )
    plan = Plan()
    add = parser.add_argument
    add("--messages", type=int, default=plan.messages, metavar="N", help="%(default)s")
    add("--seed", type=int, default=plan.seed, metavar="S", help="%(default)s")
    add(
        "--clients",
        type=names,
        default=plan.clients,
        metavar="A,B,C",
        help="told in turn by Message-ID, header and SASL user; " + ",".join(plan.clients),
    )
    add("--hosts", type=names, default=plan.hosts, metavar="H1,H2", help=",".join(plan.hosts))
    add("--start", type=moment, default=plan.start, metavar="TIME", help="%(default)s")
    add(
        "--days",
        type=float,
        default=plan.days,
        metavar="D",
        help="mail comes in for so long; what waits at the end is pending; %(default)s",
    )
    add(
        "--lifetime",
        type=float,
        default=plan.lifetime_days,
        metavar="D",
        dest="lifetime_days",
        help="days in the queue before a message expires; %(default)s",
    )
    add("--format", choices=FORMATS, default=plan.format, help="%(default)s")
    add("--zone", type=zone, default=plan.zone, help="of the clock times; %(default)s")
    add("--short-ids", action="store_true", help="queue ids as without enable_long_queue_ids")
    add("--output", metavar="FILE", type=Path, help="standard output")
    add(
        "--rotate",
        type=int,
        metavar="LINES",
        help="a new file after so many, the older ones named and dated as by logrotate",
    )
    add("--rotated", choices=NAMINGS, default="numbers", help="the names; %(default)s")
    add("--pack", choices=PACKERS, default="", help="all but the newest rotated file")
    add("--truth", metavar="FILE", help="one JSON object for each queue entry that delivers")
    options = parser.parse_args(argv)
    if options.rotate is not None and options.output is None:
        parser.error("--rotate needs --output")
    return options  # fmt: skip


def telling(truth: TextIO | None) -> Callable[[Row], object]:
    """What is done with each row of the truth."""
    if truth is None:
        return lambda _: None
    encode, write = json.JSONEncoder(separators=(",", ":")).encode, truth.write
    return lambda row: write(encode(row) + "\n")


@contextmanager
def writing(options: dict[str, Any]) -> Iterator[Callable[[list[int], list[str]], object]]:
    """What is done with lines and their times."""
    output, most = options.pop("output"), options.pop("rotate")
    naming, packing = options.pop("rotated"), options.pop("pack")
    if most is not None:
        rotation = Rotation(output, most, naming, packing)
        yield rotation.write
        rotation.close()
        return
    last = 0

    def write(moments: list[int], lines: list[str]) -> None:
        nonlocal last
        last = moments[-1] if moments else last
        log.write("\n".join(lines) + "\n" if lines else "")

    with ExitStack() as files:
        log = files.enter_context(output.open("w", encoding="utf-8")) if output else sys.stdout
        yield write
        log.flush()
    if output and output.is_file() and last:
        os.utime(
            output, (last // SECOND, last // SECOND)
        )  # it tells the year of stamps without one


def main(argv: Sequence[str] | None = None) -> int:
    """Write a log; 2 with one sentence where something is wrong."""
    options = vars(arguments(argv))
    truth = options.pop("truth")
    gc.disable()  # nothing here refers to itself; a fifth of the time otherwise
    try:
        with writing(options) as write, ExitStack() as files:
            plan = Plan(**options)
            rows = files.enter_context(open(truth, "w", encoding="utf-8")) if truth else None
            for moments, lines in batches(plan, telling(rows)):
                write(moments, lines)
    except (BrokenPipeError, KeyboardInterrupt):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # nothing left to flush to
        return 1
    except (ValueError, OSError) as error:
        print(f"tools/genlog: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
