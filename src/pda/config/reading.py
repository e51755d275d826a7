"""`pda.toml` and the environment → one frozen, checked value.

Owns how keys are found in a file and in variables. All mistakes are reported at once, each with
its key. `PDA_<SECTION>_<KEY>` overrides a key; lists take commas or blanks.
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Callable, Iterator, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal, TypeVar

import msgspec

from pda.config.checks import semantic_mistakes
from pda.config.settings import BindingSettings, ListenerSettings, Settings

DEFAULT_FILE = Path("/etc/pda/pda.toml")
_OTHER_VARIABLES = ("PDA_CONFIG", "PDA_STORE_KEY")
"""What the command line reads: no keys of the file."""
_S = TypeVar("_S", bound=msgspec.Struct)


class ConfigError(Exception):
    """The settings cannot be used; one line for each mistake."""


def load(path: Path | None, environment: Mapping[str, str] = os.environ) -> Settings:
    """The settings of a file (None: `/etc/pda/pda.toml` if there is one) and the environment.

    Raises `ConfigError` with every mistake.
    """
    values = _read(path)
    mistakes: list[str] = []
    _override(values, environment, mistakes)
    mistakes += _unknown_variables(environment)
    settings = _struct(Settings, values, "", mistakes) or Settings()
    mistakes += semantic_mistakes(settings)
    if mistakes:
        where = f"{path or DEFAULT_FILE} and the environment"
        each = "\n  ".join(dict.fromkeys(mistakes))
        raise ConfigError(f"the settings in {where} cannot be used:\n  {each}")
    return settings


def _read(path: Path | None) -> dict[str, Any]:
    where = path or DEFAULT_FILE
    try:
        return tomllib.loads(where.read_text("utf-8"))
    except OSError as error:
        if path is None and isinstance(error, FileNotFoundError):
            return {}
        raise ConfigError(f"{where} cannot be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{where} is not TOML: {error}") from error


def environment_names() -> dict[str, tuple[str, ...]]:
    """`PDA_<SECTION>_<KEY>` → the way to the key, for every key that a variable can set."""
    return {"_".join(["PDA", *way]).upper(): way for way, _ in _keys(Settings)}


def _keys(kind: type[msgspec.Struct]) -> Iterator[tuple[tuple[str, ...], Callable[[str], object]]]:
    """The way to each key, and how a variable's text becomes its value."""
    for field in msgspec.structs.fields(kind):
        convert = _from_text(field.type)
        if convert is not None:
            yield (field.name,), convert
        elif isinstance(field.type, type) and issubclass(field.type, msgspec.Struct):
            yield from (((field.name, *way), inner) for way, inner in _keys(field.type))


def _override(values: dict[str, Any], environment: Mapping[str, str], mistakes: list[str]) -> None:
    for way, convert in _keys(Settings):
        variable = "_".join(["PDA", *way]).upper()
        if variable not in environment:
            continue
        try:
            value = convert(environment[variable])
        except ValueError:
            mistakes.append(f"{variable}: {environment[variable]!r} is not understood")
            continue
        table: Any = values
        for name in way[:-1]:
            table = table.setdefault(name, {}) if isinstance(table, dict) else None
        if isinstance(table, dict):  # what stands in its place is a mistake of its own
            table[way[-1]] = value


def _unknown_variables(environment: Mapping[str, str]) -> list[str]:
    """Variables that can only be meant for us and set nothing.

    Others that begin with PDA_ may be anybody's: Kubernetes makes PDA_SERVICE_HOST and more.
    """
    known = {*environment_names(), *_OTHER_VARIABLES}
    sections = tuple(f"PDA_{section.name.upper()}_" for section in msgspec.structs.fields(Settings))
    mistakes = []
    for name in sorted(environment.keys() - known):
        near = get_close_matches(name, known, 1, 0.8) if name.startswith("PDA_") else []
        if near or name.startswith(sections):
            hint = f"; perhaps {near[0]} is meant" if near else ""
            mistakes.append(f"{name}: there is no such variable{hint}")
    return mistakes


def _from_text(kind: Any) -> Callable[[str], object] | None:
    """How a variable's text becomes a value of this type; None where it cannot."""
    if kind is bool:
        return _truth
    if kind in (str, int, float):
        return kind  # type: ignore[no-any-return]  # one of three constructors
    if getattr(kind, "__origin__", None) is Literal:
        return str
    if getattr(kind, "__origin__", None) is tuple and kind.__args__[0] is not ListenerSettings:
        return lambda text: [part for part in re.split(r"[,\s]+", text) if part]
    return None


def _truth(text: str) -> bool:
    words = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
    if text.lower() not in words:
        raise ValueError(text)
    return words[text.lower()]


def _struct(kind: type[_S], values: Any, where: str, mistakes: list[str]) -> _S | None:
    """A section, field by field; None where a key that it needs cannot be used."""
    if not isinstance(values, dict):
        mistakes.append(f"{where}: a table is expected")
        return None
    fields = {field.name: field for field in msgspec.structs.fields(kind)}
    mistakes += [
        f"{_join(where, key)}: there is no such key" for key in values if key not in fields
    ]
    missing = [f.name for f in fields.values() if f.required and f.name not in values]
    mistakes += [f"{_join(where, key)}: is missing" for key in missing]
    read = {
        key: _value(fields[key].type, value, _join(where, key), mistakes)
        for key, value in values.items()
        if key in fields
    }
    known = {key: value for key, value in read.items() if value is not None}
    return kind(**known) if all(f.name in known for f in fields.values() if f.required) else None


def _value(kind: Any, value: Any, where: str, mistakes: list[str]) -> Any:
    """None where there is a mistake: its default stands in, so that all others are found too."""
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        return _struct(kind, value, where, mistakes)
    inner = getattr(kind, "__args__", ())
    if inner[:1] == (ListenerSettings,) and isinstance(value, list):
        every = [
            _struct(ListenerSettings, one, f"{where}[{n}]", mistakes)
            for n, one in enumerate(value, 1)
        ]
        return tuple(one for one in every if one is not None)
    if inner[1:] == (BindingSettings,) and isinstance(value, dict):
        each = {
            name: _struct(BindingSettings, one, f"{where}.{name}", mistakes)
            for name, one in value.items()
        }
        return {name: one for name, one in each.items() if one is not None}
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        mistakes.append(f"{where}: {error}")
        return None


def _join(where: str, key: str) -> str:
    return f"{where}.{key}" if where else key
