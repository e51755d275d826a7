"""The categories of failure, and what other systems call them.

Owns the one table that ties our words to those of the original service, of Sisimai and of the
IANA registry of enhanced status codes (RFC 3463, RFC 5248). Knows neither rules nor texts.
"""

from __future__ import annotations

import msgspec

from pda.maillog.events import Verdict

UNDETERMINED = "undetermined"
UNDECIDED = "unable to decide on type of bounce"
"""What the original says where its rules find nothing on a final failure."""


class Category(msgspec.Struct, frozen=True, gc=False):
    """One reason for a failure."""

    name: str
    original: str
    """The nearest of the original's 21 names."""
    hard: bool = False
    """Whether a final failure of this kind says that the address is not to be tried again."""
    sisimai: tuple[str, ...] = ()
    codes: tuple[str, ...] = ()
    """Enhanced status codes of this meaning, `x` for either class (4 or 5)."""


_NOT_FOUND = "mailbox not found, is inactive, disabled or does not exist"
_CONTENT = "message content, size or other validations and rules"
_OTHER = "uncategorized or provider specific"

CATEGORIES: tuple[Category, ...] = (
    Category(
        "invalid-recipient",
        _NOT_FOUND,
        hard=True,
        sisimai=("userunknown",),
        codes=("x.1.0", "x.1.1", "x.1.3", "x.1.4"),
    ),
    Category(
        "inactive-mailbox",
        _NOT_FOUND,
        hard=True,
        sisimai=("suspend",),
        codes=("x.2.1", "x.7.13"),
    ),
    Category(
        "mailbox-moved",
        _NOT_FOUND,
        hard=True,
        sisimai=("hasmoved",),
        codes=("x.1.6", "x.7.17", "x.7.18", "x.7.19"),
    ),
    Category("mailbox-full", "mailbox is full", sisimai=("mailboxfull",), codes=("x.2.2",)),
    Category(
        "recipient-filtered",
        "access forbidden",
        sisimai=("filtered",),
        codes=("x.2.0", "x.2.4", "x.7.2"),
    ),
    Category(
        "bad-domain",
        "bad domain: host/domain not found",
        hard=True,
        sisimai=("hostunknown", "notaccept"),
        codes=("x.1.2", "x.1.10", "5.3.2", "5.4.4"),
    ),
    Category("dns-failure", "dns problem", codes=("x.4.3", "4.4.4")),
    Category("routing-error", _OTHER, sisimai=("networkerror",), codes=("x.4.0", "x.4.6")),
    Category("no-answer", "bad domain: connection timeout", codes=("x.4.1",)),
    Category("bad-connection", "network unreachable", codes=("x.4.2",)),
    Category(
        "tls-failure",
        "error on other side",
        sisimai=("failedstarttls",),
        codes=("x.7.3", "x.7.4", "x.7.5", "x.7.6", "x.7.7", "x.7.10", "x.7.11", "x.7.30"),
    ),
    Category(
        "message-expired", "expired, returned to sender", sisimai=("expired",), codes=("x.4.7",)
    ),
    Category("greylisted", "greylisting"),
    Category("transient-failure", "try again"),
    Category(
        "rate-limited",
        "violation",
        sisimai=("speeding", "toomanyconn", "ratelimited"),
        codes=("x.4.5", "x.5.3", "x.7.28"),
    ),
    Category(
        "system-failure",
        "service unavailable",
        sisimai=("systemerror", "mailererror"),
        codes=("x.1.9", "x.3.0", "4.3.2", "x.3.3", "x.3.5"),
    ),
    Category("system-full", "error on other side", sisimai=("systemfull",), codes=("x.3.1",)),
    Category("blocklisted", "access forbidden", sisimai=("blocked", "badreputation")),
    Category("missing-ptr", "access forbidden", sisimai=("requireptr",), codes=("x.7.25",)),
    Category(
        "authentication-failed",
        "Sender Policy Framework",
        sisimai=("authfailure",),
        codes=("x.7.20", "x.7.21", "x.7.22", "x.7.23", "x.7.24", "x.7.26", "x.7.29"),
    ),
    Category(
        "sender-rejected",
        "access forbidden",
        sisimai=("rejected",),
        codes=("x.1.7", "x.1.8", "x.7.27"),
    ),
    Category("relay-denied", "relay denied", sisimai=("norelaying",)),
    Category(
        "auth-required",
        "authentication required",
        sisimai=("securityerror",),
        codes=("x.5.6", "x.7.8", "x.7.9", "x.7.12", "x.7.14"),
    ),
    Category("policy", "policy breach", sisimai=("policyviolation",), codes=("x.7.15", "x.7.16")),
    Category("spam-content", "spam detection and blacklisting", sisimai=("spamdetected",)),
    Category("virus", _CONTENT, sisimai=("virusdetected",)),
    Category(
        "content-rejected",
        _CONTENT,
        sisimai=("contenterror", "notcompliantrfc"),
        codes=tuple(f"x.6.{detail}" for detail in range(11)),
    ),
    Category(
        "message-too-large",
        _CONTENT,
        sisimai=("mesgtoobig", "exceedlimit", "emailtoolarge"),
        codes=("x.2.3", "x.3.4"),
    ),
    Category(
        "protocol-error",
        _OTHER,
        sisimai=("syntaxerror",),
        codes=("x.5.0", "x.5.1", "x.5.2", "x.5.4", "x.5.5"),
    ),
    Category(UNDETERMINED, _OTHER, sisimai=("onhold", "undefined", "suppressed")),
)
"""Codes that mean too little to decide alone (x.0.0, x.7.0, x.7.1) stand nowhere."""

BY_NAME: dict[str, Category] = {category.name: category for category in CATEGORIES}
FROM_SISIMAI: dict[str, str] = {
    reason: category.name for category in CATEGORIES for reason in category.sisimai
}
FROM_CODE: dict[str, str] = {
    code.replace("x", digit): category.name
    for category in CATEGORIES
    for code in category.codes
    for digit in ("4", "5")
}

ORIGINAL_NAMES: frozenset[str] = frozenset(
    {
        "try again",
        "bad domain: connection timeout",
        "mailbox is full",
        "access forbidden",
        "bad domain/command: connection refused",
        "bad domain: host/domain not found",
        "relay denied",
        "network unreachable",
        "Sender Policy Framework",
        "violation",
        "service unavailable",
        "policy breach",
        "greylisting",
        "dns problem",
        _CONTENT,
        _OTHER,
        "error on other side",
        _NOT_FOUND,
        "spam detection and blacklisting",
        "expired, returned to sender",
        "authentication required",
    }
)

_ORIGINAL_BY_RULE: dict[str, str] = {
    "postfix-connection-refused": "bad domain/command: connection refused",
    "postfix-network-unreachable": "network unreachable",
}
"""Where the original is finer than our categories, the rule tells."""


def original_category(verdict: Verdict) -> str:
    """The original's name for a verdict: one of its 21, or `UNDECIDED` for its state 2.

    A category that came from a list in the original's form is given back as it stands there.
    """
    if verdict.bounce_type == UNDETERMINED:
        return UNDECIDED
    known = BY_NAME.get(verdict.category)
    if known is None:
        return verdict.category
    return _ORIGINAL_BY_RULE.get(verdict.rule, known.original)
