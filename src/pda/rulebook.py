"""The rules in force: where their list comes from, and what is asked of them.

Owns the list's way in (a file, an http: or https: address, or the list that comes with pda), its
check, and the swap. A list that cannot be used leaves the one in force. Knows no line and no SQL.

At the start none is in force yet. A file that cannot be used is the operator's mistake and ends it.
An address is somebody else's machine: the last good list from there is kept in a copy and stands
in, where there is none the list that comes with pda, until the address answers.
"""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Sequence
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from threading import Lock

import msgspec
from msgspec.structs import replace

from pda import drafts, shipped
from pda.config import ConfigError, RuleSettings
from pda.maillog import bounce
from pda.maillog.bounce import proof
from pda.maillog.bounce.rules import MAX_BYTES, read
from pda.maillog.events import Failure
from pda.store import verdicts
from pda.store.batch import Judging
from pda.store.database import Connection
from pda.web.ports import Draft, RulesStatus

log = logging.getLogger(__name__)

_BUILT_IN = "the list that comes with pda"
_MOST_MATCHES = 25


class Edition(msgspec.Struct, frozen=True):
    """A rule list that was read, checked, and is in force."""

    rules: bounce.Rules
    digest: str
    """Of the list, and of the version of pda that reads it: verdicts hang on both."""
    loaded_at: int
    """µs since the epoch."""
    xml: bytes
    """The list as it was read."""


class RuleBook:
    """The rules in force and what can be asked of them. Raises `ConfigError` if there are none.

    With `copy`, where the last good list of an address is kept, another one may stand in for it.
    """

    def __init__(self, settings: RuleSettings, copy: Path | None = None) -> None:
        self._settings = settings
        self._copy = copy if _is_address(settings) else None
        self.source = settings.file or _BUILT_IN
        self.refused = ""
        """Why the last reload left the older list in force; empty if it did not."""
        self.refused_at = 0
        self._saving = Lock()
        try:
            self.edition = _read(settings, self._copy)
        except ConfigError as error:
            if self._copy is None:
                raise
            self.refuse(error)
            self.source, self.edition = _substitute(settings, self._copy)
            log.warning("in force is %s", self.source)

    @property
    def rules(self) -> bounce.Rules:
        """The rules in force."""
        return self.edition.rules

    @property
    def is_substitute(self) -> bool:
        """Whether another list stands in for the one that was asked for."""
        return self.source != (self._settings.file or _BUILT_IN)

    def read(self) -> Edition:
        """The list as it is now; blocks the calling thread. Raises `ConfigError`."""
        return _read(self._settings, self._copy, self.edition)

    def adopt(self, edition: Edition) -> None:
        """These are the rules in force now."""
        self.source = self._settings.file or _BUILT_IN
        self.edition, self.refused, self.refused_at = edition, "", 0

    def refuse(self, error: ConfigError) -> None:
        """What was read cannot be used: the rules in force stay."""
        log.error("the list is refused: %s", error)
        self.refused, self.refused_at = str(error), time.time_ns() // 1000

    def status(self, judging: Judging, entries: int) -> RulesStatus:
        """What is in force, and how far these queue entries were judged by it."""
        edition = self.edition
        if judging.digest != edition.digest:
            judging = Judging(edition.digest)
        return RulesStatus(
            source=self.source,
            rules=len(edition.rules.rules),
            digest=edition.digest,
            loaded_at=edition.loaded_at,
            refused=self.refused,
            refused_at=self.refused_at,
            entries=entries,
            entries_left=0 if judging.finished_at else entries - judging.done_to,
            changed=judging.changed,
            judged_at=judging.finished_at,
        )

    # --- what is asked ----------------------------------------------------------------------------

    def described(self) -> Sequence[proof.Described]:
        """The rules in force, in their order."""
        return proof.describe(self.rules)

    def explained(self, failure: Failure) -> proof.Explained:
        """The verdict on a failure, and why."""
        return proof.explain(self.rules, failure)

    def usage(self, connection: Connection) -> Sequence[proof.RuleUse]:
        """How often each rule decided about what is stored, when last, and about which text."""
        return proof.usage(self.rules, verdicts.hits(connection))

    def unclassified(self, connection: Connection, limit: int) -> Sequence[proof.Unclassified]:
        """Stored failures that no rule knows, grouped, most frequent first."""
        return proof.group(verdicts.failures(connection, unclassified=True), limit)

    def trial(self, connection: Connection, xml: bytes) -> proof.Trial:
        """What a list would change of what is stored; raises ValueError with its mistakes."""
        return proof.compare(bounce.load(xml), verdicts.failures(connection))

    # --- a new rule -------------------------------------------------------------------------------

    @property
    def categories(self) -> Sequence[str]:
        """Those that a rule may name."""
        return list(bounce.BY_NAME)

    @property
    def why_not_saved(self) -> str:
        """Why the list cannot be written, in a sentence; empty where it can be."""
        if self._settings.file and not _is_address(self._settings):
            return ""
        whence = f"comes from {self._settings.file}" if self._settings.file else "came with pda"
        return (
            f"The list in force {whence}, and is not written here: keep it in a file of your own,"
            " and set [rules] file to its path."
        )

    def drafted(self, stub: str) -> Draft:
        """What a rule to start from says; raises ValueError."""
        return drafts.drafted(stub)

    def composed(self, draft: Draft) -> bytes:
        """The list in force with one more rule, unchecked; raises ValueError."""
        return drafts.compose(self.edition.xml, draft)

    def attempt(self, connection: Connection, draft: Draft) -> proof.Attempt:
        """Mistakes, what the rule matches and what it would change; raises ValueError."""
        xml = self.composed(draft)
        mistakes = tuple(map(str, bounce.check(xml)))
        try:
            new = read(xml)
        except bounce.RuleError:
            return proof.Attempt(mistakes)
        alone = tuple(rule for rule in new.rules if rule.id == draft.id)
        rule = bounce.Rules(bounce.RuleList(alone, new.operators))
        return proof.Attempt(
            mistakes,
            proof.matching(rule, verdicts.failures(connection), _MOST_MATCHES),
            proof.compare(bounce.Rules(new), verdicts.failures(connection)),
        )

    def save(self, draft: Draft, digest: str) -> None:
        """Writes the list with one more rule in the place of the one of this digest.

        Raises ValueError, with why, where nothing was written.
        """
        if self.why_not_saved:
            raise ValueError(self.why_not_saved)
        with self._saving:
            edition = self.edition
            if not digest == edition.digest == self._digest_of_file():
                raise ValueError(
                    f"{self._settings.file} was changed meanwhile, so nothing was written:"
                    " have the rules read again, and try the rule on the list of now."
                )
            xml = drafts.compose(edition.xml, draft)
            if mistakes := bounce.check(xml):
                raise ValueError(f"The list would have mistakes: {'; '.join(map(str, mistakes))}")
            self._write(xml)

    def _digest_of_file(self) -> str:
        try:
            return _digest(read_list(self._settings))
        except ConfigError as error:
            raise ValueError(str(error)) from error

    def _write(self, xml: bytes) -> None:
        try:
            drafts.replace_file(Path(self._settings.file), xml)
        except OSError as error:
            raise ValueError(
                f"{self._settings.file} cannot be written: {error.strerror};"
                " pda has to be allowed to write in its folder."
            ) from error


def _read(
    settings: RuleSettings, copy: Path | None = None, known: Edition | None = None
) -> Edition:
    """The list as it is now, by the rules that are `known` where it is that one still."""
    xml, now = read_list(settings), time.time_ns() // 1000
    digest = _digest(xml)
    if known is not None and known.digest == digest:
        edition = replace(known, loaded_at=now)
    else:
        edition = Edition(_loaded(xml, settings), digest, now, xml)
    if copy is not None:
        _keep(xml, copy)
    return edition


def _loaded(xml: bytes, settings: RuleSettings) -> bounce.Rules:
    try:
        return bounce.load(xml)
    except bounce.RuleError as error:
        where = settings.file or _BUILT_IN
        raise ConfigError(f"rules.file: {where} cannot be used:\n{error}") from error


def _is_address(settings: RuleSettings) -> bool:
    return settings.file.startswith(("http://", "https://"))


def _keep(xml: bytes, copy: Path) -> None:
    """For a start at which the address does not answer; whole or not at all."""
    new = copy.with_name(copy.name + ".new")
    try:
        new.write_bytes(xml)
        new.replace(copy)
    except OSError as error:
        log.warning("no copy of the rule list can be kept at %s: %s", copy, error.strerror)


def _substitute(settings: RuleSettings, copy: Path) -> tuple[str, Edition]:
    """What stands in for a list that cannot be had: its source and itself."""
    with suppress(ConfigError):
        return f"the last good list of {settings.file}", _read(RuleSettings(str(copy)))
    return _BUILT_IN, _read(RuleSettings())


def read_list(settings: RuleSettings) -> bytes:
    """The list's bytes, wherever it lies; raises `ConfigError`."""
    if not settings.file:
        return shipped.rule_list()
    try:
        if _is_address(settings):
            from pda.fetching import fetch  # takes long to load, and few need it

            return fetch(settings)
        with Path(settings.file).open("rb") as file:
            return file.read(MAX_BYTES + 1)  # one more, and the list is refused for its size
    except OSError as error:
        why = error.strerror or str(error)
        raise ConfigError(f"rules.file: {settings.file} cannot be read: {why}") from error


def _digest(xml: bytes) -> str:
    return hashlib.blake2b(version("pda").encode() + b"\0" + xml, digest_size=16).hexdigest()
