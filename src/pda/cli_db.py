"""`pda db` and `pda erase`: what is done to the database as a whole.

Owns arguments, output and exit statuses. What replaces the database refuses while a service runs.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import click
import msgspec

from pda import config
from pda.cli_shared import edited, key_of, one_sentence
from pda.config import Settings
from pda.store import upkeep
from pda.store.database import (
    InUseError,
    StoreError,
    WriteLock,
    find_key,
    make_key,
    open_reader,
    read_key_file,
)
from pda.store.erasure import EraseAddress
from pda.store.journal import secret

_PATH = click.Path(path_type=Path)


@click.group()
def db() -> None:
    """The database: check, back up, restore, change its key, pack, measure."""


@db.command()
@click.pass_obj
@one_sentence
def check(config_file: Path | None) -> None:
    """Read every page and compare what belongs together. Status 1 where something is wrong.

    Also while a service runs; else with the journal. Example: pda db check
    """
    settings = config.load(config_file)
    findings = upkeep.check(settings.database, key_of(settings))
    for sentence in findings:
        click.echo(sentence)
    if findings:
        raise click.ClickException(
            f"{settings.database} is damaged: restore a backup (pda db restore) and import the logs"
            " since then"
        )
    click.echo(f"{settings.database} is sound")
    _check_journal(settings)


def _check_journal(settings: Settings) -> None:
    """What a killed service left; that of a running one is written all the time."""
    from pda.journal.checking import check as check_journal  # as much again as all of the others

    try:
        lock = WriteLock(settings.database)
    except InUseError:
        click.echo("its journal is in use and was not read")
        return
    try:
        with closing(open_reader(settings.database, key_of(settings))) as connection:
            checked = check_journal(settings.database, secret(connection))
    finally:
        lock.release()
    if checked.waiting:
        click.echo(f"{checked.waiting} lines wait in its journal: the next start stores them")
    if checked.findings:
        raise click.ClickException("; ".join(checked.findings))


@db.command()
@click.argument("target", type=_PATH)
@click.option("--key-file", type=_PATH, help="Encrypt the backup with the key in this file.")
@click.pass_obj
@one_sentence
def backup(config_file: Path | None, target: Path, key_file: Path | None) -> None:
    """Write a copy as of now into a new file, encrypted as the database is.

    May be asked while the service runs. Example: pda db backup /backup/pda-2026-11-26.db
    """
    settings = config.load(config_file)
    other = read_key_file(key_file) if key_file else None
    octets = upkeep.back_up(settings.database, key_of(settings), target, other)
    click.echo(f"{target} has {_octets(octets)}; it is of no use without its key")


@db.command()
@click.argument("source", type=_PATH)
@click.option("--key-file", type=_PATH, help="The backup's key, where that is another one.")
@click.option("--replace", is_flag=True, help="Put it into the place of a database that is there.")
@click.pass_obj
@one_sentence
def restore(
    config_file: Path | None, source: Path, key_file: Path | None, *, replace: bool
) -> None:
    """Make a backup the database, while no service runs. What was there is kept beside it.

    Example: pda db restore --replace /backup/pda-2026-11-26.db
    """
    settings = config.load(config_file)
    with _alone(settings, "restored"):
        if settings.database.exists() and not replace:
            raise StoreError(f"{settings.database} is there already: say --replace to replace it")
        key = find_key(source, settings.key_file, os.environ.get("PDA_STORE_KEY", ""), make=False)
        its_key = read_key_file(key_file) if key_file else key
        kept = upkeep.restore(source, its_key, settings.database, key)
    click.echo(f"{settings.database} is as {source}" + (f"; before: {kept}" if kept else ""))


@db.command()
@click.option("--to", "new_file", type=_PATH, help="Use the key in this file, made if need be.")
@click.pass_obj
@one_sentence
def rekey(config_file: Path | None, new_file: Path | None) -> None:
    """Encrypt the database with a new key, while no service runs. The old one is kept.

    It needs room for a second copy. Example: pda db rekey
    """
    settings = config.load(config_file)
    with _alone(settings, "given another key"):
        if new_file is not None:
            new = read_key_file(new_file) if new_file.exists() else make_key(new_file)
            upkeep.encrypt_with(settings.database, key_of(settings), new)
            click.echo(
                f"the key is in {new_file}: name it by [store] key_file, or where it came from"
            )
            return
        key = key_of(settings)
        if not settings.key_file.exists() or read_key_file(settings.key_file) != key:
            raise StoreError(
                f"the key in use does not come from {settings.key_file}: say by --to where the new"
                " one is to be, and put it there yourself"
            )
        kept = upkeep.change_key(settings.database, key, settings.key_file)
    click.echo(f"the new key is in {settings.key_file}: keep a copy")
    click.echo(f"the old one, for older backups, is in {kept}")


@db.command()
@click.pass_obj
@one_sentence
def vacuum(config_file: Path | None) -> None:
    """Rewrite the database without what is free in it, while no service runs.

    It needs room for a second copy. Example: pda db vacuum
    """
    settings = config.load(config_file)
    with _alone(settings, "rewritten"):
        before, after = upkeep.pack(settings.database, key_of(settings))
    click.echo(f"{settings.database} had {_octets(before)} and has {_octets(after)}")


@db.command()
@click.option("--json", "as_json", is_flag=True, help="For programs.")
@click.pass_obj
@one_sentence
def stats(config_file: Path | None, *, as_json: bool) -> None:
    """How large the database is, and how many rows its tables have.

    May be asked while the service runs. Example: pda db stats
    """
    settings = config.load(config_file)
    measures = upkeep.measure(settings.database, key_of(settings))
    if as_json:
        click.echo(msgspec.json.encode(measures).decode())
        return
    click.echo(f"schema {measures.schema}, {_octets(measures.octets)}, of which"
               f" {_octets(measures.free_octets)} are free")  # fmt: skip
    for table, rows in measures.rows.items():
        click.echo(f"{table:24} {rows:>12,}")


@click.command()
@click.argument("address")
@click.pass_obj
@one_sentence
def erase(config_file: Path | None, address: str) -> None:
    """Write a pseudonym in the place of an address, everywhere and from now on.

    Example: pda erase ann@example.org
    """
    pseudonym = edited(config.load(config_file), EraseAddress(address))
    click.echo(f"it is {pseudonym} from now on; backups keep what they had")


@contextmanager
def _alone(settings: Settings, what: str) -> Iterator[None]:
    """While nobody else writes; an interrupted change of keys is ended first."""
    try:
        lock = WriteLock(settings.database)
    except InUseError:
        raise StoreError(
            f"{settings.database} cannot be {what} while a service or an import writes it: stop it"
            " first (systemctl stop pda)"
        ) from None
    try:
        upkeep.finish_change_of_key(settings.database, settings.key_file)
        yield
    finally:
        lock.release()


def _octets(number: int) -> str:
    return f"{number:,} octets"
