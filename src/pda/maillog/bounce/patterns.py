"""Patterns in RE2: linear time and bounded memory, whoever wrote them.

Owns the dealings with google-re2. Knows nothing of XML.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import msgspec
import re2

from pda.maillog.bounce.reply import Evidence


class Operator(msgspec.Struct, frozen=True):
    """How a remote operator is known: by its relay host, or by the shape of its replies."""

    name: str
    relay: str
    reply: str


def re2_options() -> re2.Options:
    """At most 1 MiB for each pattern, and no words on standard error about a bad one.

    Where the memory does not do for RE2's automaton it goes on without, in linear time.
    """
    options = re2.Options()
    options.log_errors = False
    options.max_mem = 1 << 20
    options.dot_nl = True
    return options


def refusal(pattern: str) -> str:
    """Why RE2 refuses a pattern; empty where it does not."""
    try:
        re2.compile(pattern, re2_options())
    except re2.error as error:
        reason = error.args[0]
        return reason.decode("utf-8", "replace") if isinstance(reason, bytes) else str(reason)
    return ""


def matcher(pattern: str) -> Callable[[str], bool]:
    """Whether a short value matches in full, with a bounded memory of answers."""
    compiled = re2.compile(pattern, re2_options())
    return lru_cache(256)(lambda value: compiled.fullmatch(value) is not None)


def searcher(pattern: str) -> Callable[[str], bool]:
    """Whether a pattern is found in a text."""
    compiled = re2.compile(pattern, re2_options())
    return lambda text: compiled.search(text) is not None


def operator_finder(operators: tuple[Operator, ...]) -> Callable[[Evidence], str]:
    """The name of the remote operator, by its relay host or else its replies, or empty."""
    relays = [(o.name, searcher(o.relay)) for o in operators if o.relay]
    replies = [(o.name, searcher(o.reply)) for o in operators if o.reply]

    def find(evidence: Evidence) -> str:
        by_host = (name for name, found in relays if found(evidence.host))
        by_reply = (name for name, found in replies if found(evidence.spoken))
        return next(by_host, "") or next(by_reply, "")

    return find
