"""A record as it is shown to people and programs: names and values.

Owns what follows from a record's fields and is shown beside them.
"""

from __future__ import annotations

from typing import Any

import msgspec

from pda.maillog.events.records import Delivery, HeaderAction, MessageId, Record


def fields(record: Record) -> dict[str, Any]:
    """The fields of a record, without those that are as always, and what follows from them."""
    found = {
        field.name: value
        for field in msgspec.structs.fields(record)
        if (value := getattr(record, field.name)) != field.default
    }
    if isinstance(record, Delivery) and record.delays:
        found["delays"] = _seconds(record.delays)
    elif isinstance(record, MessageId):
        found["message_id"] = record.message_id
    elif isinstance(record, HeaderAction) and record.header_name is not None:
        found |= {"header_name": record.header_name, "header_value": record.header_value}
    return found


def _seconds(delays: str) -> list[float]:
    try:
        return [float(part) for part in delays.split("/")] if delays else []
    except ValueError:
        return []
