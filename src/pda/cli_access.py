"""`pda user` and `pda token`: who may ask over HTTP.

Owns these commands. Passwords and tokens are never taken from the command line; a new token is
shown once.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import click
import msgspec

from pda import config, output
from pda.cli_shared import asked, edited, one_sentence
from pda.store import accounts
from pda.store.accounts import (
    AddToken,
    PutUser,
    RemoveToken,
    RemoveUser,
    new_secret,
    secret_hash,
)

_ROLES = click.Choice(["admin", "reader", "client"])
_DAY = 86_400 * 1_000_000


class ShownUser(msgspec.Struct, frozen=True):
    """What is told of a user."""

    name: str
    role: str
    client: str


class ShownToken(msgspec.Struct, frozen=True):
    """What is told of a token."""

    id: int
    role: str
    client: str
    note: str
    created_at: int
    expires_at: int
    used_at: int


@click.group()
def user() -> None:
    """Who may log in over HTTP."""


@user.command("add")
@click.argument("name")
@click.option("--role", type=_ROLES, default="reader", help="A client sees one client id only.")
@click.option("--client", default="", help="The client id that a user of role client sees.")
@click.option("--password-stdin", is_flag=True, help="Read the password from standard input.")
@click.pass_obj
@one_sentence
def add_user(
    config_file: Path | None, name: str, role: str, client: str, *, password_stdin: bool
) -> None:
    """Add a user, or give one a new password and role. Asks for the password.

    Example: pda user add alice --role admin
    """
    from pda.web.passwords import hash_password

    if (role == "client") != bool(client):
        raise click.UsageError("role client needs --client, and no other role has it")
    if not name or ":" in name or not name.isprintable():
        raise click.UsageError("a user name has neither colons nor control characters (RFC 7617)")
    settings = config.load(config_file)
    password = _password(from_stdin=password_stdin)
    edited(settings, PutUser(name, hash_password(password), role, client))
    click.echo(f"{name} may log in as {role}")


@user.command("list")
@click.pass_obj
@one_sentence
def list_users(config_file: Path | None) -> None:
    """Print who may log in.

    Example: pda user list
    """
    found = asked(config.load(config_file), accounts.users)
    output.rows([ShownUser(one.name, one.role, one.client_id) for one in found], "table")


@user.command("remove")
@click.argument("name")
@click.pass_obj
@one_sentence
def remove_user(config_file: Path | None, name: str) -> None:
    """Remove a user; what was done with the name stays in the audit.

    Example: pda user remove alice
    """
    settings = config.load(config_file)
    edited(settings, RemoveUser(name))
    click.echo(f"{name} may not log in any more")
    if not asked(settings, accounts.users):
        click.echo("there is no user now: this machine is served without log-in", err=True)


@click.group()
def token() -> None:
    """Tokens by which programs ask over HTTP (Authorization: Bearer)."""


@token.command("new")
@click.option("--client", default="", help="The only client id that it sees; the role is client.")
@click.option("--role", type=click.Choice(["admin", "reader"]), help="Sees all clients.")
@click.option("--note", default="", help="What it is for.")
@click.option("--days", type=click.IntRange(1, 36_500), help="Until it ends; never if not given.")
@click.pass_obj
@one_sentence
def new_token(
    config_file: Path | None, client: str, role: str | None, note: str, days: int | None
) -> None:
    """Make a token and print it, once: only its hash is kept.

    Example: pda token new --client newsletter --note "bounce handling"
    """
    if bool(client) == bool(role):
        raise click.UsageError("give either --client or --role")
    secret = new_secret()
    expires_at = time.time_ns() // 1000 + days * _DAY if days else 0
    wanted = AddToken(secret_hash(secret), role or "client", client, note, expires_at)
    number = edited(config.load(config_file), wanted)
    click.echo(f"token {number} is made; it is not shown again:", err=True)
    click.echo(secret)


@token.command("list")
@click.pass_obj
@one_sentence
def list_tokens(config_file: Path | None) -> None:
    """Print the tokens there are; the secrets are not kept.

    Example: pda token list
    """
    found = asked(config.load(config_file), accounts.tokens)
    output.rows([ShownToken(one.id, *msgspec.structs.astuple(one)[2:]) for one in found], "table")


@token.command("remove")
@click.argument("number", type=int)
@click.pass_obj
@one_sentence
def remove_token(config_file: Path | None, number: int) -> None:
    """Remove a token by its number.

    Example: pda token remove 3
    """
    edited(config.load(config_file), RemoveToken(number))
    click.echo(f"token {number} is of no use any more")


def _password(*, from_stdin: bool) -> str:
    if from_stdin:
        try:
            password = sys.stdin.buffer.readline().decode().rstrip("\n")
        except UnicodeDecodeError:
            raise click.UsageError("the password is not UTF-8") from None
    else:
        password = click.prompt("Password", hide_input=True, confirmation_prompt=True)
    if not password:
        raise click.UsageError("the password is empty")
    return str(password)
