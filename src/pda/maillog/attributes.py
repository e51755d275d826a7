"""`name=value` in Postfix's texts: an address in brackets, and what is not known between others.

Owns where a value ends that somebody else may have chosen. Knows no record.
"""

from __future__ import annotations

# What begins with a quotation mark is a quoted local part, in which anything may stand, `>`
# included (Postfix 3.5+), or nothing at all: no line that was cut within one says who gets it.
# Any other address ends at the first `>` behind which the text legally goes on. Since 3.5 there is
# no other `>` in it. Before, it was not quoted and may hold such a continuation itself, which
# nobody can tell from one that a server's reply repeats farther on: the first one counts. It does
# not run on over what begins as an attribute, whose value may have been cut, and say what it likes.
_NAME = r"[0-9A-Za-z_-]{1,64}"
_GOES_ON = (
    rf'>(?!, (?:{_NAME}=[^,<>"]{{0,500}}, ){{0,20}}(?:{_NAME}=["<]|orig_to=|relay=|size=|status=))'
)
ADDRESS = rf'([^">]*|"(?:[^"\\]|\\.)*"[^>]*|(?!")(?:[^>]|{_GOES_ON})*?)'
# Some logs have lost their angle brackets.
BARE = r"([^<>,\s]+)"

# All is bounded, so that no text takes long. A value in brackets or quotation marks may hold what
# separates attributes; a bare one ends there, and cannot be the rest of an address.
_QUOTED = r'"(?:[^"\\]|\\.){0,500}"'
_VALUE = (
    rf'(?:{_QUOTED}|<(?:{_QUOTED}[^<>]{{0,500}}+|(?!")[^<>]{{0,500}}+)>|(?!["<])[^,<>]{{0,500}}+)'
)


def others(known: str) -> str:
    """The pattern of attributes between known ones: of no `known` name, by blanks; often none."""
    names = "|".join(known.split())
    return rf"(?:, (?!(?:{names})=){_NAME}={_VALUE}(?=,|$)){{0,20}}"
