"""What a failed attempt says: the reply and its codes, with all that names somebody masked.

Owns the way from the text in the brackets of a status to the facts that rules may ask for. Knows
Postfix's sentences about replies (smtp/smtp_trouble.c, smtp/smtp_proto.c), and no rule.

Every step walks over the text a bounded number of times: a hostile reply costs linear time.
"""

from __future__ import annotations

import re

import msgspec

from pda.maillog.events import Failure

LIMIT = 4096
"""Characters of a text that are looked at; Postfix itself cuts replies well below."""

PLACEHOLDERS = ("ADDR", "HOST", "IP", "URL", "ID", "N")
"""What stands in a masked text, in capitals as all else is lower case, for an address (or a lone
word in angle brackets), host name, IP address, URL, queue id or other mixture, and number."""

SUSPENDED = "delivery temporarily suspended: "
_SAID = " said: "
_REFUSED = " refused to talk to me: "
_IN_REPLY_TO = " (in reply to "
_STAGES = {
    "EHLO command)": "HELO",
    "HELO command)": "HELO",
    "LHLO command)": "HELO",
    "MAIL FROM command)": "MAIL",
    "RCPT TO command)": "RCPT",
    "DATA command)": "DATA",
    "end of DATA command)": "end of DATA",
}
FINAL = frozenset({"bounced", "undeliverable", "undeliverable-but-not-cached"})
"""Postfix's words for a failure after which it does not try again."""
STAGES = ("CONNECT", "HELO", "AUTH", "MAIL", "RCPT", "DATA", "end of DATA", "other")

_DOTTED = r"[245]\.[0-9]{1,3}\.[0-9]{1,3}"
_CODES = re.compile(rf" *([245][0-9][0-9])(?![\w.])(?:[- ]?[#(\[]{{0,2}}({_DOTTED})\b)?")
_ENHANCED = re.compile(_DOTTED)
_MARKED = re.compile(rf"# ?({_DOTTED})")

# Each begins where a part of a word does, or is bounded: linear in what it is looked for in.
_NAME = r"(?=[\d.-]*[a-z])[a-z\d][\w-]*(?:\.[a-z\d][\w-]*)+"
_IPV4 = r"\d+\.\d+\.\d+\.\d+"
_usual = re.compile(
    r"(<(?!https?:)[^<>]+>)[.,:;]*+|[(\['\"]*+(?:"
    rf"({_IPV4})|((?:https?://|www\.)[^\s<>\"@]++)|({_NAME})(?:\[({_IPV4})\](?::(\d+))?)?"
    rf"|name=({_NAME})|([\w+=-]+(?:\.[\w+=-]+)*@[a-z\d-]+(?:\.[a-z\d-]+)*)"
    r"|(\d+[a-z][a-z\d]*|(?=[a-z]+\d)[a-z\d]{12,})"
    r")[)\].,:;'\"]*+",
    re.ASCII,
).fullmatch
"""Words that name somebody, as nearly all of them are written."""
_USUALLY = ("", "ADDR", "IP", "URL", "HOST", "HOST IP", "HOST IP N", "name HOST", "ADDR", "ID")
"""What is written for such a word, by the last group in it."""
_ADDRESS = re.compile(
    r"<(?!https?:)[^<>]+>"
    r"|(?<![^\s,;:()\[\]{}<>\"|])[^\s,;:()\[\]{}<>\"|@]*@[^\s,;:()\[\]{}<>\"|]*"
)
_URL = re.compile(r"(?:https?)?(?:://|www\.)[^\s<>\"]*")
_IPV6 = re.compile(
    r"\b[\da-f]{1,4}(?::[\da-f]{1,4}){0,6}::[\da-f:.]*|\b(?:[\da-f]{1,4}:){5,7}[\da-f]{1,4}\b"
)
_NUMERIC = re.compile(r"[\d.+%#-]*")
_DIGIT = re.compile(r"\d")
_parts = re.compile(r"[^\s,;:()\[\]{}<>\"|=!?*/\\]+").findall
_EDGES = ",;:()[]{}\"|=!?*/\\'`.-_#+&%$~^\u00ab\u00bb\u00b4\u2018\u2019\u201c\u201d\u2026"
WORDS = 16_384
"""Words whose masked form is remembered, none longer than `_LONGEST`: some 3 MB."""
_LONGEST = 40


class Spoken(msgspec.Struct, frozen=True, gc=False):
    """A text in brackets, taken apart."""

    text: str
    """The reply after `said:`, or Postfix's own sentence; not yet masked."""
    head: str = ""
    """What stands before the reply, and ends with who gave it."""
    stage: str = ""
    """One of `STAGES`; empty where Postfix itself speaks."""


class Evidence(msgspec.Struct, frozen=True, gc=False):
    """All that a rule may ask for."""

    failure: Failure
    masked: str
    dsn: str
    """The enhanced status code that says most: Postfix's, or the reply's where that is X.0.0."""
    reply: str
    """Reply code (RFC 5321), or empty."""
    stage: str
    spoken: str
    """The reply, lower case and unmasked."""
    head: str
    """What stands before the reply: `host mx.example[192.0.2.1]`."""

    @property
    def status(self) -> str:
        """Postfix's: `deferred`, `bounced` …"""
        return self.failure.status

    @property
    def raw(self) -> str:
        """The whole text, lower case."""
        return self.failure.reason[:LIMIT].lower()

    @property
    def host(self) -> str:
        """The remote host, lower case; where no relay is known, as the text names it."""
        relay = self.failure.relay.partition("[")[0]
        return (relay or self.head.partition("[")[0].rpartition(" ")[2]).lower()


def take_apart(reason: str) -> Spoken:
    """Find the reply, who gave it and to what, in the text in the brackets of a status."""
    text = reason[:LIMIT].removeprefix(SUSPENDED)
    head, said, reply = text.partition(_SAID)
    if said and head.startswith("host "):
        reply, stage = _split_stage(reply)
        return Spoken(reply, head, stage)
    if said and head.startswith("SASL authentication failed; server "):
        return Spoken(reply, head, "AUTH")
    head, refused, reply = text.partition(_REFUSED)
    if refused and head.startswith(("host ", "connect to ")):
        return Spoken(reply, head, "CONNECT")
    return Spoken(text)


def _split_stage(reply: str) -> tuple[str, str]:
    words, cut, command = reply.rpartition(_IN_REPLY_TO)
    return (words, _STAGES.get(command, "other")) if cut else (reply, "other")


def examine(failure: Failure) -> Evidence:
    """Gather what the rules may ask about a failed attempt."""
    said = take_apart(failure.reason)
    spoken = said.text.lower()
    reply, enhanced, words = _split_codes(spoken)
    dsn = _best_code(failure.dsn, enhanced, spoken)
    return Evidence(failure, _mask(words, reply), dsn, reply, said.stage, spoken, said.head)


def mask(text: str) -> str:
    """The masked reply of a text in brackets: what rules with `on="reply"` are matched against.

    Lower case, single blanks, without codes and outer punctuation; see `PLACEHOLDERS`.
    """
    reply, _, words = _split_codes(take_apart(text).text.lower())
    return _mask(words, reply)


def _split_codes(spoken: str) -> tuple[str, str, str]:
    """(reply code, enhanced status code, the rest) of a reply."""
    codes = _CODES.match(spoken)
    return (codes[1], codes[2] or "", spoken[codes.end() :]) if codes else ("", "", spoken)


def _best_code(dsn: str, enhanced: str, spoken: str) -> str:
    """Postfix writes X.0.0 where the classes of the two codes differ (global/dsn_util.c)."""
    if dsn and not dsn.endswith(".0.0"):
        return dsn
    if enhanced:
        return enhanced
    marked = _MARKED.search(spoken) if "#" in spoken else None
    return marked[1] if marked else dsn


def _mask(text: str, reply: str) -> str:
    words = text.split()
    if reply and reply in text:
        # Each line of a reply begins with its code (RFC 5321, 4.2.1).
        words = [word.removeprefix(f"{reply}-") for word in words if word != reply]
    return " ".join(filter(None, map(masked_words.__getitem__, words)))


class MaskedWords(dict[str, str]):
    """Masked words by the words of a text; none, or several, for one between two blanks.

    Those that name somebody are not remembered: most do not come again.
    """

    most = WORDS

    def __missing__(self, word: str) -> str:
        masked = word
        if not word.isalpha():
            usual = _usual(word)
            if usual and usual.lastindex:
                return _USUALLY[usual.lastindex]
            masked = _masked(word)
        if len(word) <= _LONGEST:
            if len(self) >= self.most:
                self.clear()
            self[word] = masked
        return masked


masked_words = MaskedWords()


def _masked(word: str) -> str:
    core = word.strip(_EDGES)
    if core.isalpha():
        return core
    if core.isdecimal():
        return "N"
    if "@" in core or "<" in core:
        # Sendmail writes dots between the address and what is said of it.
        word = _ADDRESS.sub(" ADDR ", word if "<" in word else word.replace("...", " "))
    if "://" in word or "www." in word:
        word = _URL.sub(" URL ", word)
    if core.count(":") > 1:
        word = _IPV6.sub(" IP ", word)
    return " ".join(filter(None, map(_shape, _parts(word))))


def _shape(part: str) -> str:
    """A part of a word: itself, a placeholder, or nothing for an enhanced code."""
    if part.isalpha():
        return part
    core = part.strip(_EDGES)
    if core.isalpha():
        return core
    if _NUMERIC.fullmatch(core):
        return _number(core)
    if "." in core and core.isascii():
        return "HOST"
    if _DIGIT.search(core):
        return core if _is_provider_code(core) else "ID"
    return _unfold(core.replace("_", " "))


def _number(core: str) -> str:
    if not core or _ENHANCED.fullmatch(core):
        return ""
    return "IP" if core.count(".") == 3 else "N"


def _is_provider_code(core: str) -> bool:
    """Short codes of the great providers (`tss04`, `ib506`, `ofr_416`) name nobody."""
    head = core.rstrip("0123456789_")
    return len(core) <= 11 and len(head) <= 4 and head.isalpha()


def _unfold(word: str) -> str:
    """`doesn't` and `does not` are one wording."""
    word = word.replace("\u2019", "'")
    if not word.endswith("n't"):
        return word
    return "can not" if word == "can't" else f"{word[:-3]} not"
