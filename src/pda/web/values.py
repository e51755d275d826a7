"""Types of what is asked and answered, as the API documents and reads them.

Owns how a text becomes a value of a declared type, what is said of one that does not, how times
are published, and how types of our own look in JSON Schema. Pure; knows no route.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from types import NoneType, UnionType
from typing import Annotated, Any, Final, Literal, TypeAlias, TypeVar, Union, get_args, get_origin

import msgspec
from msgspec import Meta

from pda.times import all_rfc3339, moment, rfc3339
from pda.web.errors import Invalid, Mistake

_T = TypeVar("_T", bound=msgspec.Struct)
Columns: TypeAlias = Sequence[Sequence[Any]]
"""Of each member of a kind the values in some rows; nothing at all where there is no row."""
_MOST_AT: Final = 2**62


Text: TypeAlias = Annotated[str, Meta(max_length=1000)]
"""A text that is asked for: as long as any address, name or id may be."""


class Moment(int):
    """A point in time that is asked for: µs since the epoch, written in one of several ways."""

    __slots__ = ()


_WHEN: Final = Meta(
    description="RFC 3339, in UTC.",
    examples=["2026-11-02T08:15:30.120000Z"],
    extra_json_schema={"format": "date-time"},
)
When: TypeAlias = Annotated[str, _WHEN]
"""A time in an answer."""

_MOMENT_SCHEMA: Final = {
    "description": "RFC 3339, a date (its midnight) or ms since the epoch; without zone: local.",
    "examples": ["2026-11-02T08:15:30Z", "2026-11-02", 1793606400000],
    "anyOf": [
        {"type": "string", "format": "date-time"},
        {"type": "string", "format": "date"},
        {"type": "integer", "minimum": 100_000_000, "maximum": 10**15 - 1},
    ],
}


def schema_of(kind: type) -> dict[str, Any]:
    """The JSON Schema of a type of our own; for msgspec's `schema_hook`."""
    if kind is Moment:
        return dict(_MOMENT_SCHEMA)
    raise NotImplementedError(kind)


def read_texts(kind: type[_T], texts: Mapping[str, Sequence[str]], where: str) -> _T:
    """A struct from named texts, each given once; raises `Invalid` with every mistake."""
    values, mistakes = {}, []
    fields = {field.encode_name: field for field in msgspec.structs.fields(kind)}
    for name, given in texts.items():
        field = fields.get(name)
        if field is None or len(given) > 1:
            why = (
                "is given more than once" if field else f"is not known; known are {_listed(fields)}"
            )
            mistakes.append(Mistake(where, name, why))
            continue
        try:
            values[field.name] = read_text(field.type, given[0])
        except ValueError as error:
            mistakes.append(Mistake(where, name, str(error)))
    missing = [name for name, f in fields.items() if f.required and name not in texts]
    mistakes += [Mistake(where, name, "is missing") for name in missing]
    if mistakes:
        raise Invalid(mistakes)
    return kind(**values)


def read_text(kind: Any, text: str) -> Any:
    """A value from one text, lists with commas; raises ValueError with a sentence."""
    wanted = not_none(kind)
    given: object = text.split(",") if is_list(wanted) else text
    try:
        return msgspec.convert(given, wanted, strict=False, dec_hook=_decode)
    except msgspec.ValidationError as error:
        raise ValueError(f"{_shown(text)}: {_why(str(error), wanted)}") from None


def read_json(kind: type[_T], body: bytes) -> _T:
    """A struct from a JSON body; raises `Invalid`."""
    try:
        return msgspec.json.decode(body, type=kind, dec_hook=_decode)
    except msgspec.ValidationError as error:
        why, _, place = str(error).rpartition(" - at `$")
        name = place.removesuffix("`").removeprefix(".") if why else ""
        raise Invalid([Mistake("body", name, why or str(error))]) from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Invalid([Mistake("body", "", f"is no JSON: {error}")]) from None


def publisher(kind: type[_T]) -> Callable[[msgspec.Struct], _T]:
    """Makes published values of ours: the same members in the same order, times as `When`.

    Where a time may be None, 0 stands for none.
    """
    names, times = list(kind.__struct_fields__), _times_of(kind)
    alike: set[tuple[str, ...]] = set()

    def publish(value: msgspec.Struct) -> _T:
        if value.__struct_fields__ not in alike:  # once for each type, there are many rows
            assert list(value.__struct_fields__) == names, (value.__struct_fields__, names)
            alike.add(value.__struct_fields__)
        values = list(msgspec.structs.astuple(value))
        for place, published in times:
            values[place] = published(values[place])
        return kind(*values)

    return publish


def columns_publisher(kind: type[msgspec.Struct]) -> Callable[[Columns], Columns]:
    """The same for many values: of each member those of all."""
    times = _times_of(kind)

    def publish(columns: Columns) -> Columns:
        found = list(columns)
        for place, published in times if found else ():
            values = found[place]
            found[place] = all_rfc3339(values) if published is rfc3339 else _stamps(values)
        return found

    return publish


def _times_of(kind: type[msgspec.Struct]) -> list[tuple[int, Callable[[Any], str | None]]]:
    """The places of members that are times, and how one is published."""
    return [
        (place, rfc3339 if not_none(field.type) == field.type else stamp)
        for place, field in enumerate(msgspec.structs.fields(kind))
        if _is_time(field.type)
    ]


def stamp(at: int | None) -> str | None:
    """µs since the epoch as `When`; None where there is none."""
    return rfc3339(at) if at else None


def _stamps(values: Sequence[int | None]) -> list[str | None]:
    return list(map(stamp, values))


def _is_time(kind: Any) -> bool:
    parts = (*get_args(kind), *getattr(kind, "__metadata__", ()))
    return any(part is _WHEN or _is_time(part) for part in parts)


def _decode(kind: type, value: object) -> object:
    if kind is not Moment:
        raise NotImplementedError(kind)
    at = moment(str(value))
    if abs(at) > _MOST_AT:
        raise ValueError("is too far away")
    return Moment(at)


def _why(error: str, kind: Any) -> str:
    """What msgspec says, without what only says where in the list, and with what may be given."""
    sentence = re.sub(r" - at `.*`$", "", error).replace("`", "")
    choices = _choices(kind)
    if choices and sentence.startswith("Invalid enum value"):
        return f"one of {_listed(choices)} is expected"
    return sentence[:1].lower() + sentence[1:]


def _choices(kind: Any) -> Sequence[str]:
    """The values of a Literal, or of a list of one."""
    inner = [arg for arg in get_args(kind) if arg is not Ellipsis]
    if get_origin(kind) is Literal:
        return [str(arg) for arg in inner]
    found = [_choices(arg) for arg in inner if not isinstance(arg, Meta)]
    return found[0] if found else ()


def not_none(kind: Any) -> Any:
    """The type without None: what is not given is left out, and a text `null` is a text."""
    if get_origin(kind) is Annotated:
        inner, *meta = get_args(kind)
        return Annotated[(not_none(inner), *meta)]
    if get_origin(kind) in (Union, UnionType):
        rest = tuple(arg for arg in get_args(kind) if arg is not NoneType)
        return Union[rest]  # noqa: UP007 of types that are known only now
    return kind


def is_list(kind: Any) -> bool:
    """Whether a type is written as a list with commas."""
    if get_origin(kind) is Annotated:
        return is_list(get_args(kind)[0])
    return get_origin(kind) in (tuple, list)


def is_text(kind: Any) -> bool:
    """Whether a type is a text, described or not."""
    return (get_args(kind)[0] if get_origin(kind) is Annotated else kind) is str


def _shown(text: str) -> str:
    return repr(text if len(text) <= 40 else text[:40] + "…")


def _listed(names: Sequence[str] | Mapping[str, object]) -> str:
    return ", ".join(names)
