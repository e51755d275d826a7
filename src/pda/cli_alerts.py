"""`pda alerts`: whether alerts arrive.

Owns arguments, output and exit statuses.
"""

from __future__ import annotations

import sys
from pathlib import Path

import click
import msgspec

from pda import config, orders
from pda.cli_shared import one_sentence, replies
from pda.orders import TestAlerts


@click.group()
def alerts() -> None:
    """Alerts by mail and webhook."""


@alerts.command()
@click.pass_obj
@one_sentence
def test(config_file: Path | None) -> None:
    """Let the running service send an alert that means nothing, to all who are told.

    The status is 1 if one did not arrive, 3 if no service runs.

    Example: pda alerts test
    """
    settings = config.load(config_file)
    if (sock := orders.running(settings.control_socket)) is None:
        click.echo(f"no service runs on {settings.database}", err=True)
        sys.exit(3)
    sock.close()
    (body,) = replies(settings, TestAlerts())
    results: list[str] = msgspec.json.decode(body)
    if not results:
        raise click.ClickException(
            "alerts are off: [alerts] recipients or webhook says who is told"
        )
    for line in results:
        click.echo(line)
    if not all(line.endswith(": sent") for line in results):
        sys.exit(1)
