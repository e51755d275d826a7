"""A new rule: from what somebody filled in, into a rule list, and from there to a file.

Owns how a draft stands in the XML of a list, and how a whole list takes the place of a file. Says
nothing about whether a list can be used: that is the validator's business (`maillog.bounce.check`).
What is filled in is hostile text; lxml escapes it.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from tempfile import mkstemp

from lxml import etree

from pda.maillog.bounce.rules import parse
from pda.store.database import sync_directory
from pda.web.ports import Draft


def drafted(stub: str) -> Draft:
    """The draft that a rule in XML is; raises ValueError. Its samples and comment are left out."""
    rule = parse(stub.encode())
    return Draft(
        id=rule.get("id", ""),
        category=rule.get("category", ""),
        type=rule.get("type", ""),
        on=rule.get("on", "text"),
        dsn=rule.get("dsn", ""),
        patterns=tuple(one.text or "" for one in rule.findall("or")),
    )


def compose(xml: bytes, draft: Draft) -> bytes:
    """A list that can be used, with one more rule; raises ValueError where it has no place."""
    root = etree.fromstring(xml, _parser())
    try:
        rule = _element(draft)
    except ValueError:
        raise ValueError("a control character cannot stand in a rule") from None
    if draft.before:
        _find(root, draft.before).addprevious(rule)
    else:
        root[-1].tail, rule.tail = "\n  ", "\n"
        root.append(rule)
    tree = root.getroottree()
    return etree.tostring(tree, xml_declaration=True, encoding="UTF-8") + b"\n"


def _parser() -> etree.XMLParser:
    return etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False)


def _element(draft: Draft) -> etree._Element:
    rule = etree.Element("regex", id=draft.id, category=draft.category, on=draft.on)
    for name, value in (("type", draft.type), ("dsn", draft.dsn)):
        if value:
            rule.set(name, value)
    for pattern in draft.patterns:
        etree.SubElement(rule, "or").text = pattern
    etree.indent(rule, level=1)
    rule.tail = "\n  "
    return rule


def _find(root: etree._Element, name: str) -> etree._Element:
    """Rules of the original's form have no id, and are called by their number."""
    for number, rule in enumerate(root.findall("regex"), start=1):
        if rule.get("id", f"regex-{number}") == name:
            return rule
    raise ValueError(f"the list has no rule {name!r} before which another one could stand")


def replace_file(path: Path, content: bytes) -> None:
    """Whole or not at all, also over a power cut; keeps the file's mode. Raises OSError."""
    path = path.resolve()
    handle, name = mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fchmod(handle, path.stat().st_mode & 0o7777)
            os.fsync(handle)
        Path(name).replace(path)
    except BaseException:
        with suppress(OSError):
            Path(name).unlink()
        raise
    sync_directory(path.parent)
