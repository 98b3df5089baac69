"""How a row of `events` is read back: the select list and its struct, exactly as it was inserted."""

from typing import Any, Final

from aggregator.row import EVENT_COLUMNS, EventRow
from kernel.quantity import canonical

_SPELLED: Final = {
    "event_time": "toUnixTimestamp64Micro(event_time)",
    "at": "toUnixTimestamp64Milli(at)",
    "accepted_at": "toUnixTimestamp64Milli(accepted_at)",
    "original_at": "toUnixTimestamp64Milli(original_at)",
    "window": "toInt32(window)",
    "window_end": "toInt32(window_end)",
}
COLUMNS: Final = ", ".join(_SPELLED.get(name, f"`{name}`") for name in EVENT_COLUMNS)

_AMOUNTS: Final = [
    EVENT_COLUMNS.index(name)
    for name in (
        "quantity",
        "cost",
        "drawn_plan",
        "drawn_packs",
        "drawn_top_ups",
        "overdraft",
        "pool_left",
    )
]
_PROPERTIES: Final = EVENT_COLUMNS.index("properties")


def event_row(values: tuple[Any, ...]) -> EventRow:
    """Read a row that was selected with COLUMNS."""
    cells = list(values)
    for amount in _AMOUNTS:
        cells[amount] = canonical(cells[amount])
    cells[_PROPERTIES] = tuple((name, value) for name, value in cells[_PROPERTIES])
    return EventRow(**dict(zip(EVENT_COLUMNS, cells, strict=True)))
