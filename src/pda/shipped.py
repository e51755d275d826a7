"""What comes with pda as data: the rule list that is in force where no other one is named.

Owns where it lies in the package.
"""

from __future__ import annotations

from importlib.resources import files


def rule_list() -> bytes:
    """As XML."""
    return _data("bounce-rules.xml")


def rule_schema() -> bytes:
    """The RELAX NG schema of rule lists."""
    return _data("bounce-rules.rng")


def _data(name: str) -> bytes:
    return files("pda").joinpath("data", name).read_bytes()
