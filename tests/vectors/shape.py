"""Shapes of JSON values, for the file checker: a shape looks at a value and tells what is wrong with it.

A shape is a function of (value, where it stands) that yields one sentence a fault; no sentence is a good value.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from datetime import date
from decimal import Decimal, InvalidOperation
from typing import Any

Shape = Callable[[Any, str], Iterator[str]]

INTERVALS = ("monthly", "quarterly", "yearly")
CODE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_./:-]*")


def decimal_of(value: Any) -> Decimal | None:
    """Read a decimal string or a JSON number; None when it is neither."""
    if isinstance(value, bool) or not isinstance(value, str | int | Decimal):
        return None
    try:
        found = Decimal(value)
    except InvalidOperation:
        return None
    return found if found.is_finite() else None


def is_scalar(value: Any) -> bool:
    return value is None or isinstance(value, str | int | Decimal | bool)


def amount(value: Any, at: str) -> Iterator[str]:
    if decimal_of(value) is None:
        yield f"{at}: {value!r} is not an amount"


def positive(value: Any, at: str) -> Iterator[str]:
    found = decimal_of(value)
    if found is None or found < 0:
        yield f"{at}: {value!r} is not an amount of 0 or more"


def count(value: Any, at: str) -> Iterator[str]:
    found = decimal_of(value)
    if found is None or found < 0 or found % 1 != 0:
        yield f"{at}: {value!r} is not a whole number of 0 or more"


def whole(value: Any) -> int:
    """Read a count, however it is spelled: 3, 3.0, "3"."""
    return int(Decimal(value))


def day(value: Any, at: str) -> Iterator[str]:
    try:
        date.fromisoformat(value)
    except (TypeError, ValueError):
        yield f"{at}: {value!r} is not a day (YYYY-MM-DD)"


def text(value: Any, at: str) -> Iterator[str]:
    if not isinstance(value, str):
        yield f"{at}: {value!r} is not text"


def flag(value: Any, at: str) -> Iterator[str]:
    if not isinstance(value, bool):
        yield f"{at}: {value!r} is neither true nor false"


def scalar(value: Any, at: str) -> Iterator[str]:
    if not is_scalar(value):
        yield f"{at}: a figure is expected, not {type(value).__name__}"


def word(*choices: str) -> Shape:
    def look(value: Any, at: str) -> Iterator[str]:
        if value not in choices:
            yield f"{at}: {value!r} is unknown; known: {', '.join(choices)}"

    return look


def nullable(shape: Shape) -> Shape:
    def look(value: Any, at: str) -> Iterator[str]:
        if value is not None:
            yield from shape(value, at)

    return look


def either(first: Shape, second: Shape) -> Shape:
    """Take what either shape takes; the faults told are the first's."""

    def look(value: Any, at: str) -> Iterator[str]:
        if list(second(value, at)):
            yield from first(value, at)

    return look


def listing(shape: Shape) -> Shape:
    def look(value: Any, at: str) -> Iterator[str]:
        if not isinstance(value, list):
            yield f"{at}: a list is expected"
            return
        for index, one in enumerate(value):
            yield from shape(one, f"{at}[{index}]")

    return look


def mapping(shape: Shape, keys: tuple[str, ...] | None = None) -> Shape:
    """Take an object whose keys are codes, or of a closed set, and whose values have one shape."""

    def look(value: Any, at: str) -> Iterator[str]:
        if not isinstance(value, dict):
            yield f"{at}: an object is expected"
            return
        for key, one in value.items():
            if not CODE.fullmatch(key) if keys is None else key not in keys:
                yield f"{at}: {key!r} is no key" + ("" if keys is None else f"; known: {', '.join(keys)}")
            yield from shape(one, f"{at}.{key}")

    return look


def record(required: Mapping[str, Shape], optional: Mapping[str, Shape], *, rest: Shape | None = None) -> Shape:
    """Take an object with these members; others are faults, or have the shape `rest`."""

    def look(value: Any, at: str) -> Iterator[str]:
        if not isinstance(value, dict):
            yield f"{at}: an object is expected"
            return
        yield from (f"{at}: {name!r} is missing" for name in required if name not in value)
        for name, one in value.items():
            shape = required.get(name) or optional.get(name) or rest
            if shape is None:
                yield f"{at}: {name!r} is unknown; known: {', '.join([*required, *optional])}"
            else:
                yield from shape(one, f"{at}.{name}")

    return look
