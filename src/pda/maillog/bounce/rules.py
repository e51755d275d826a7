"""A rule list: what one rule says, and how a list is read from XML.

Owns the format of `bounce-rules.xml`, which contains the original service's format as it is, and
every complaint about a file that cannot be used. Takes bytes, opens no file. Knows nothing of how
a verdict is found.

XML is hostile: no DOCTYPE, no entities, nothing fetched, a size limit.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Literal, TypeVar, cast

import msgspec
from lxml import etree

from pda.maillog.bounce.categories import BY_NAME
from pda.maillog.bounce.patterns import Operator, matcher, refusal
from pda.maillog.bounce.reply import FINAL, PLACEHOLDERS, STAGES
from pda.maillog.events import BounceType, Failure

MAX_BYTES = 1 << 20
MAX_PATTERN = 4096
"""Characters of a pattern."""
MAX_PATTERNS = 2000
"""Patterns of a list, each of which may cost memory."""

CONDITIONS = ("dsn", "reply", "status", "stage", "operator")
"""Attributes that hold a pattern for one fact of the attempt, matched in full."""

_VALUES = {
    "reply": ("", *(f"{digit}{rest:02}" for digit in (2, 4, 5) for rest in range(100))),
    "status": ("", "deferred", "SOFTBOUNCE", *FINAL),
    "stage": ("", *STAGES),
}
"""All that there can be of some of them."""

_ATTRIBUTES: dict[str, frozenset[str]] = {
    "bounces": frozenset(),
    "operator": frozenset({"name", "relay", "reply"}),
    "regex": frozenset({"id", "type", "category", "on", *CONDITIONS}),
    "or": frozenset(),
    "comment": frozenset(),
    "sample": frozenset({"dsn", "status", "relay"}),
}
_CHILDREN: dict[str, frozenset[str]] = {
    "bounces": frozenset({"operator", "regex"}),
    "regex": frozenset({"or", "comment", "sample"}),
}
_ID = re.compile(r"[a-z0-9][a-z0-9.-]{0,63}")


_Part = TypeVar("_Part")


class Mistake(msgspec.Struct, frozen=True, order=True):
    """One thing wrong with a rule file."""

    line: int
    text: str

    def __str__(self) -> str:
        return f"line {self.line}: {self.text}"


class RuleError(ValueError):
    """A rule file that cannot be used; `mistakes` lists everything that is wrong with it."""

    def __init__(self, mistakes: list[Mistake]) -> None:
        self.mistakes = tuple(sorted(mistakes))
        super().__init__("\n".join(map(str, self.mistakes)))


class Sample(msgspec.Struct, frozen=True):
    """A failure that its rule has to win."""

    line: int
    failure: Failure


class Rule(msgspec.Struct, frozen=True, kw_only=True):
    """One `<regex>`."""

    id: str
    line: int
    category: str
    bounce_type: BounceType | None
    """None: what the category says."""
    on: Literal["text", "reply"]
    """The whole lower-cased text (the original's form), or the masked reply."""
    patterns: tuple[str, ...]
    """Alternatives; empty where only the conditions decide."""
    conditions: tuple[tuple[str, str], ...] = ()
    """(name of the fact, pattern)."""
    comment: str = ""
    samples: tuple[Sample, ...] = ()


class RuleList(msgspec.Struct, frozen=True):
    """A file, read."""

    rules: tuple[Rule, ...]
    operators: tuple[Operator, ...]


def read(xml: bytes, schema: bytes | None = None) -> RuleList:
    """Read a rule file.

    `schema` is an optional RELAX NG schema that is asked as well. Raises `RuleError`, which lists
    every mistake.
    """
    rule_list, mistakes = read_what_is_sound(xml, schema)
    if mistakes:
        raise RuleError(mistakes)
    return rule_list


def read_what_is_sound(xml: bytes, schema: bytes | None = None) -> tuple[RuleList, list[Mistake]]:
    """The rules without a mistake, and all mistakes; raises `RuleError` where it is no XML."""
    root = parse(xml)
    reader = _Reader()
    rule_list = reader.read(root)
    if not reader.mistakes and schema is not None:
        reader.mistakes += _against_schema(root, schema)
    return rule_list, reader.mistakes


def _parser() -> etree.XMLParser:
    return etree.XMLParser(
        resolve_entities=False,
        no_network=True,
        load_dtd=False,
        dtd_validation=False,
        huge_tree=False,
        remove_comments=True,
        remove_pis=True,
    )


def parse(xml: bytes) -> etree._Element:
    """The outermost element, without comments; raises `RuleError` for what is refused unread."""
    if len(xml) > MAX_BYTES:
        raise RuleError([Mistake(1, f"the file has {len(xml)} bytes, {MAX_BYTES} are allowed")])
    try:
        root = etree.fromstring(xml, _parser())
    except etree.XMLSyntaxError as error:
        raise RuleError([Mistake(error.lineno or 1, f"not well-formed XML: {error.msg}")]) from None
    if getattr(root.getroottree().docinfo, "doctype", ""):
        raise RuleError([Mistake(1, "a DOCTYPE is not allowed; remove it")])
    return root


def _against_schema(root: etree._Element, schema: bytes) -> list[Mistake]:
    relax_ng = etree.RelaxNG(etree.fromstring(schema, _parser()))
    if relax_ng.validate(root.getroottree()):
        return []
    return [Mistake(entry.line, entry.message) for entry in relax_ng.error_log]


def _line(element: etree._Element) -> int:
    return cast(int, element.sourceline or 1)


class _Reader:
    """Walks over the elements once and collects every mistake on the way."""

    def __init__(self) -> None:
        self.mistakes: list[Mistake] = []
        self._seen: dict[str, int] = {}

    def read(self, root: etree._Element) -> RuleList:
        if root.tag != "bounces":
            self._wrong(root, f"the outermost element is <{root.tag}>, not <bounces>")
            return RuleList((), ())
        self._check_names(root)
        operators = tuple(self._sound(map(self._operator, root.findall("operator"))))
        names = frozenset(element.get("name", "") for element in root.findall("operator"))
        numbered = enumerate(root.findall("regex"), start=1)
        rules = tuple(self._sound(self._rule(each, n, names) for n, each in numbered))
        if root.find("regex") is None:
            self._wrong(root, "there is no <regex>; a list needs at least one")
        count = len(root.findall("regex/or"))
        if count > MAX_PATTERNS:
            self._wrong(root, f"{count} patterns; {MAX_PATTERNS} at most")
        return RuleList(rules, operators)

    def _sound(self, parts: Iterable[_Part]) -> Iterator[_Part]:
        """Those parts that were read without a new mistake."""
        before = len(self.mistakes)
        for part in parts:
            if len(self.mistakes) == before:
                yield part
            before = len(self.mistakes)

    def _wrong(self, element: etree._Element, text: str) -> None:
        self.mistakes.append(Mistake(_line(element), text))

    def _check_names(self, root: etree._Element) -> None:
        for element in root.iter():
            tag = str(element.tag)
            if tag not in _ATTRIBUTES:
                continue  # its parent complains
            for name in set(map(str, element.attrib)) - _ATTRIBUTES[tag]:
                self._wrong(element, f"<{tag}> has no attribute {name!r}")
            for child in element:
                if child.tag not in _CHILDREN.get(tag, ()):
                    self._wrong(child, f"<{child.tag}> is not known inside <{tag}>")
            if tag in _CHILDREN and (element.text or "").strip():
                self._wrong(element, f"text directly inside <{tag}>; put a pattern into <or>")

    def _operator(self, element: etree._Element) -> Operator:
        operator = Operator(
            element.get("name", ""), element.get("relay", ""), element.get("reply", "")
        )
        if not operator.name or not (operator.relay or operator.reply):
            self._wrong(element, "<operator> needs a name, and a pattern as relay or reply")
        self._check_pattern(element, operator.relay)
        self._check_pattern(element, operator.reply)
        return operator

    def _rule(self, element: etree._Element, number: int, operators: frozenset[str]) -> Rule:
        own = any(element.get(name) is not None for name in ("id", "on", *CONDITIONS))
        on = element.get("on", "text")
        if on not in ("text", "reply"):
            self._wrong(element, f'on="{on}" is neither "text" nor "reply"')
        rule = Rule(
            id=self._id(element, number, needed=own),
            line=_line(element),
            category=self._category(element, own=own),
            bounce_type=self._type(element, own=own),
            on="reply" if on == "reply" else "text",
            patterns=tuple(self._patterns(element, on)),
            conditions=tuple(self._conditions(element, operators)),
            comment=" ".join((element.findtext("comment") or "").split()),
            samples=tuple(map(_sample, element.findall("sample"))),
        )
        if all(element.get(name) is None for name in CONDITIONS) and element.find("or") is None:
            self._wrong(element, "the rule has neither an <or> nor a condition")
        return rule

    def _id(self, element: etree._Element, number: int, *, needed: bool) -> str:
        given = element.get("id")
        if given is None:
            if needed:
                self._wrong(element, "a rule beyond the original's form needs an id")
            return f"regex-{number}"
        if not _ID.fullmatch(given):
            self._wrong(element, f"id {given!r}: lower-case letters, digits, hyphens and dots only")
        if given in self._seen:
            self._wrong(element, f"id {given!r} is already used in line {self._seen[given]}")
        self._seen.setdefault(given, _line(element))
        return given

    def _category(self, element: etree._Element, *, own: bool) -> str:
        category = element.get("category", "").strip()
        if not category:
            self._wrong(element, "<regex> needs a category")
        elif own and category not in BY_NAME:
            self._wrong(element, f"category {category!r} is not one of {', '.join(BY_NAME)}")
        return category

    def _type(self, element: etree._Element, *, own: bool) -> BounceType | None:
        given = element.get("type")
        if given in ("soft", "hard"):
            return cast(BounceType, given)
        if given is not None:
            self._wrong(element, f'type="{given}" is neither "soft" nor "hard"')
        elif not own:
            self._wrong(element, '<regex> needs type="soft" or type="hard"')
        return None

    def _patterns(self, element: etree._Element, on: str) -> Iterator[str]:
        for alternative in element.findall("or"):
            # Blanks count in the original's form (`450 |451 `), and cannot in a folded reply.
            text = alternative.text or ""
            pattern = text.strip() if on == "reply" else text
            if not pattern.strip():
                self._wrong(alternative, "an empty <or> matches every text")
            elif self._check_pattern(alternative, pattern):
                yield pattern
            if on == "reply":
                self._check_capitals(alternative, pattern)

    def _check_capitals(self, element: etree._Element, pattern: str) -> None:
        words = re.findall(r"[A-Z]+", re.sub(r"\\(?:p\{\w+\}|.)", "", pattern))
        for word in words:
            if word not in PLACEHOLDERS:
                self._wrong(
                    element,
                    f"{word!r} can never match: the reply is lower case, and in capitals stand"
                    f" only {', '.join(PLACEHOLDERS)}",
                )

    def _conditions(
        self, element: etree._Element, operators: frozenset[str]
    ) -> Iterator[tuple[str, str]]:
        for name in CONDITIONS:
            pattern = element.get(name)
            if pattern is None or not self._check_pattern(element, pattern):
                continue
            if name == "operator" and not any(map(matcher(pattern), operators)):
                self._wrong(element, f"operator={pattern!r}: no <operator> has such a name")
            if name in _VALUES and not any(map(matcher(pattern), _VALUES[name])):
                self._wrong(element, f"{name}={pattern!r} matches no {name} that there is")
            yield name, pattern

    def _check_pattern(self, element: etree._Element, pattern: str) -> bool:
        if len(pattern) > MAX_PATTERN:
            self._wrong(element, f"a pattern of {len(pattern)} characters; {MAX_PATTERN} at most")
            return False
        refused = refusal(pattern)
        if refused:
            self._wrong(element, f"RE2 refuses the pattern {pattern!r}: {refused}")
        return not refused


def _sample(element: etree._Element) -> Sample:
    failure = Failure(
        reason=" ".join((element.text or "").split()),
        dsn=element.get("dsn", ""),
        status=element.get("status", "bounced"),
        relay=element.get("relay", ""),
    )
    return Sample(_line(element), failure)
