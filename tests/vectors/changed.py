"""A `then` with one amount changed, to show that the comparison notices it."""

import copy
from collections.abc import Iterator
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

from tests.vectors.comparison import Comparison, Path
from tests.vectors.shape import decimal_of

ONE_MORE = {"on": "1970-01-01", "type": "recurring", "total": "1.00"}  # an invoice that no run writes


def changes(compared: Comparison) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the `then` once for each amount that was looked at, with that amount one unit of its last place higher.

    Where a vector has no amount, each word, day or verdict that was looked at is another one instead; and where there
    is none of these (it says only on which days there is no invoice), one invoice more is expected.
    """
    for path in compared.amounts:
        yield _spell(path), _with(compared.then, path, _raised)
    if compared.amounts:
        return
    for path in compared.words:
        yield _spell(path), _with(compared.then, path, _another)
    if not compared.words:
        yield "invoices", {**compared.then, "invoices": [*compared.then.get("invoices", ()), ONE_MORE]}


def _spell(path: Path) -> str:
    return ".".join(map(str, path))


def _with(then: dict[str, Any], path: Path, change: Any) -> dict[str, Any]:
    after = copy.deepcopy(then)
    place: Any = after
    for name in path[:-1]:
        place = place[name]
    place[path[-1]] = change(place[path[-1]])
    return after


def _raised(amount: Any) -> Any:
    before = decimal_of(amount)
    assert before is not None, "the comparison gives paths of amounts"
    higher = before + Decimal(1).scaleb(min(0, int(before.as_tuple().exponent)))
    return int(higher) if isinstance(amount, int) else str(higher)


def _another(word: Any) -> Any:
    """Tell another value of the same kind: a later day, the other truth, a longer word or list."""
    if isinstance(word, bool):
        return not word
    if isinstance(word, list):
        return [not word[0], *word[1:]] if word else [True]
    if word is None:
        return "another"
    try:
        return (date.fromisoformat(word) + timedelta(days=1)).isoformat()
    except ValueError:
        return f"{word}_other"
