"""What a row means: its customer and its events, or why it is bad. Pure.

Invariant: the same row of the same file always gives the same events with the same keys.
"""

from collections.abc import Mapping as Columns
from datetime import UTC, datetime, tzinfo
from decimal import Decimal
from typing import Any, Final

import msgspec

from kernel.quantity import parse_quantity
from meterline.importer.mapping import EventMapping, Mapping

FILE_KEY_CHARS: Final = 16  # of the file's SHA-256: 64 bits tell the files of one customer apart


class Row(msgspec.Struct, frozen=True, gc=False):
    """One row as read: `number` counts from 0, `line` is where a person finds it; `error` when it is unreadable."""

    number: int
    line: int
    columns: dict[str, Any]
    error: str | None = None


class BadRow(msgspec.Struct, frozen=True, gc=False):
    """A row from which no event was sent."""

    line: int
    reason: str


class RowEvents(msgspec.Struct, frozen=True, gc=False):
    """A good row: its customer, and the wire's events; `empty` counts entries without a value."""

    line: int
    customer: str
    email: str
    events: list[dict[str, Any]]
    empty: int


def events_of(mapping: Mapping, file_key: str, row: Row) -> RowEvents | BadRow:
    """Turn a row into events.

    An empty value means that the row has no such event; anything else that is wrong makes the whole row bad.
    """
    if row.error is not None:
        return BadRow(row.line, row.error)
    try:
        return _events(mapping, file_key, row)
    except ValueError as error:
        return BadRow(row.line, str(error))


def _events(mapping: Mapping, file_key: str, row: Row) -> RowEvents:
    customer = mapping.customer.fill(row.columns, row.number).strip()
    if not customer:
        raise ValueError("the customer's id is empty")
    stamp = None if mapping.time is None else _instant(mapping.time, row.columns, mapping.zone)
    events: list[dict[str, Any]] = []
    empty = 0
    for ordinal, rule in enumerate(mapping.events):
        value = _quantity(rule, row.columns)
        if value is None:
            empty += 1
            continue
        key = f"{file_key}:{row.number}:{ordinal}" if rule.key is None else rule.key.fill(row.columns, row.number)
        event: dict[str, Any] = {"featureCode": rule.feature, "customerId": customer, "eventId": key, "value": value}
        if stamp is not None:
            event["timestamp"] = stamp
        if rule.properties:
            event["properties"] = [
                {"property": name, "value": template.fill(row.columns, row.number)}
                for name, template in rule.properties
            ]
        events.append(event)
    return RowEvents(row.line, customer, mapping.email.fill(row.columns, row.number), events, empty)


def _quantity(rule: EventMapping, columns: Columns[str, Any]) -> Decimal | None:
    if isinstance(rule.value, int):
        return parse_quantity(rule.value)
    value = columns.get(rule.value)
    if value is None or value == "":
        return None
    if isinstance(value, bool) or not isinstance(value, int | Decimal | str):
        raise ValueError(f"column {rule.value!r} is {value!r}, not a number")  # noqa: TRY004 - bad data, no bug
    try:
        number = Decimal(value.strip() if isinstance(value, str) else value)
    except ArithmeticError as error:
        raise ValueError(f"column {rule.value!r} is {value!r}, not a number") from error
    try:
        return parse_quantity(number)
    except ValueError as error:
        raise ValueError(f"column {rule.value!r} {error}") from error


def _instant(column: str, columns: Columns[str, Any], zone: tzinfo) -> str:
    """Spell the event time in UTC with microseconds; further digits are cut off, as the log keeps microseconds."""
    value = columns.get(column)
    if not isinstance(value, str) or not value.strip():
        raise ValueError(f"column {column!r} has no time")
    try:
        moment = datetime.fromisoformat(value.strip())
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=zone)
        return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    except (ValueError, OverflowError) as error:
        raise ValueError(f"column {column!r} is {value!r}, not an ISO 8601 time") from error
