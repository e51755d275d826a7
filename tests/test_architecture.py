"""The import rules that `pda/__init__.py` promises."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

SOURCE = Path(__file__).parent.parent / "src"
MODULES = {
    ".".join(path.relative_to(SOURCE).with_suffix("").parts).removesuffix(".__init__"): path
    for path in sorted((SOURCE / "pda").rglob("*.py"))
}
ALLOWED = {
    "pda.maillog": ("pda.maillog",),
    "pda.store": (
        "pda.store",
        "pda.maillog.events",
        "pda.maillog.providers",
        "pda.maillog.pseudonyms",
    ),
    "pda.web": (
        "pda.web",
        "pda.store",
        "pda.maillog.events",
        "pda.times",
        "pda.texts",
        "pda.slow",
    ),
    "pda.receive": ("pda.receive", "pda.maillog.framing", "pda.maillog.relp", "pda.tls"),
    "pda.journal": ("pda.journal", "pda.receive", "pda.store.database"),
    "pda.tls": (),
    "pda.backfill": ("pda.backfill",),
    "pda.config": ("pda.config",),
    "pda.control": ("pda.orders",),
    "pda.orders": ("pda.store",),
    "pda.times": (),
    "pda.client": ("pda.client",),
    "pda.slow": (),
    "pda.notify": (),
    "pda.texts": (),
    "pda.maillog.events": ("pda.maillog.events",),
}
"""Of the longest matching prefix; what is not named here may see all."""
IMPURE = {"trio", "socket", "time", "os", "pathlib", "pysqlcipher3", "sqlite_utils", "random"}


def imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from _imported(node.module, [alias.name for alias in node.names])


def _imported(module: str, names: list[str]) -> Iterator[str]:
    """`from pda.maillog import postfix` imports the module pda.maillog.postfix."""
    for name in names:
        whole = f"{module}.{name}"
        yield whole if whole in MODULES else module


def rule_of(module: str) -> tuple[str, ...] | None:
    matching = [p for p in ALLOWED if module == p or module.startswith(p + ".")]
    return ALLOWED[max(matching, key=len)] if matching else None


@pytest.mark.parametrize("module", MODULES)
def test_imports_go_downhill(module: str) -> None:
    allowed = rule_of(module)
    if allowed is None:
        return
    ours = [name for name in imports(MODULES[module]) if name.split(".")[0] == "pda"]
    uphill = [n for n in ours if not any(n == a or n.startswith(a + ".") for a in allowed)]
    assert not uphill


@pytest.mark.parametrize("module", [m for m in MODULES if m.startswith("pda.maillog")])
def test_maillog_does_no_io(module: str) -> None:
    assert not {name.split(".")[0] for name in imports(MODULES[module])} & IMPURE


def test_no_import_cycle() -> None:
    graph = {m: {n for n in imports(p) if n in MODULES} - {m} for m, p in MODULES.items()}
    while leaves := [m for m, needs in graph.items() if not needs & graph.keys()]:
        for leaf in leaves:
            del graph[leaf]
    assert not graph


@pytest.mark.parametrize("module", MODULES)
def test_every_module_says_what_it_owns(module: str) -> None:
    tree = ast.parse(MODULES[module].read_text("utf-8"))
    assert ast.get_docstring(tree) or not tree.body


def test_the_map_names_every_room() -> None:
    text = (ast.get_docstring(ast.parse(MODULES["pda"].read_text("utf-8")))) or ""
    missing = [
        m for m, p in MODULES.items()
        if p.name != "__init__.py" and m.count(".") < 3
        and p.name not in text
    ]  # fmt: skip
    assert not missing
