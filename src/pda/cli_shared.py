"""What the commands share: errors as one sentence, the database's key, orders to the service.

Owns no command and no output.
"""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import wraps
from typing import ParamSpec, TypeVar

import click
import msgspec

from pda import orders
from pda.backfill import BackfillError
from pda.config import ConfigError, Settings
from pda.store.database import Connection, DatabaseError, Key, StoreError, find_key, open_reader
from pda.store.edits import NotThereError
from pda.times import moment

_P = ParamSpec("_P")
_T = TypeVar("_T")


def one_sentence(command: Callable[_P, _T]) -> Callable[_P, _T]:
    """Turns our own errors into one sentence and status 1."""

    @wraps(command)
    def run(*args: _P.args, **kwargs: _P.kwargs) -> _T:
        try:
            return command(*args, **kwargs)
        except (ConfigError, StoreError, BackfillError, NotThereError) as error:
            raise click.ClickException(str(error)) from None
        except DatabaseError as error:
            raise click.ClickException(
                f"the database cannot be used ({error}): pda db check says whether it is damaged,"
                " and pda db restore puts a backup into its place"
            ) from None
        except BaseExceptionGroup as group:  # Trio puts the interruption into one
            if group.subgroup(KeyboardInterrupt) is None:
                raise
            raise click.Abort from None

    return run


def replies(
    settings: Settings, order: orders.Order, descriptors: list[int] | None = None
) -> Iterator[msgspec.Raw]:
    """The running service's answers to an order; raises `StoreError` where it says no.

    The first interruption is told to the service, whose last answer says how far it came.
    """
    sock = orders.running(settings.control_socket)
    if sock is None:
        raise StoreError("the service has stopped meanwhile: try again")
    try:
        with _told_of_interruption(sock):
            for reply in orders.ask(sock, order, descriptors):
                if reply.error:
                    raise StoreError(reply.error)
                yield reply.body
                if reply.final:
                    return
    except OSError as error:
        raise StoreError(f"the service does not answer: {error.strerror}") from None
    raise StoreError("the service has stopped meanwhile: try again")


def asked(settings: Settings, question: Callable[[Connection], _T]) -> _T:
    """The store's answer."""
    connection = open_reader(settings.database, key_of(settings))
    try:
        return question(connection)
    finally:
        connection.close()


def edited(settings: Settings, edit: orders.Edit) -> object:
    """What comes of an edit, made by the running service or by this process."""
    if (sock := orders.running(settings.control_socket)) is None:
        from pda.alone import edit_alone

        return edit_alone(settings, edit)
    sock.close()
    (body,) = replies(settings, orders.MakeEdit(edit))
    return msgspec.json.decode(body)


@contextmanager
def _told_of_interruption(sock: socket.socket) -> Iterator[None]:
    def interrupt(*_: object) -> None:
        signal.signal(signal.SIGINT, before)
        with suppress(OSError):
            orders.interrupt(sock)

    before = signal.signal(signal.SIGINT, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def key_of(settings: Settings) -> Key:
    """The database's key."""
    given = os.environ.get("PDA_STORE_KEY", "")
    return find_key(settings.database, settings.key_file, given, make=False)


def moment_option(_: click.Context, option: click.Parameter, text: str | None) -> int | None:
    """An option's time in µs since the epoch."""
    if text is None:
        return None
    try:
        return moment(text)
    except ValueError as error:
        raise click.BadParameter(str(error), param=option) from None
