"""A `then` with one amount changed, to show that the comparison notices it."""

import copy
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

from tests.vectors.comparison import Comparison, Path
from tests.vectors.shape import decimal_of


def changes(compared: Comparison) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the `then` once for each amount that was looked at, with that amount one unit of its last place higher.

    Where a vector has no amount, its list of invoices gets one more, or its first event the other verdict.
    """
    for path in compared.amounts:
        yield ".".join(map(str, path)), _raised(compared.then, path)
    if compared.amounts:
        return
    then = compared.then
    if "invoices" in then:
        one_more = {"on": "2026-01-01", "type": "recurring", "total": "1.00"}
        yield "invoices", {**then, "invoices": [*then["invoices"], one_more]}
    elif then.get("accepted"):
        first, *others = then["accepted"]
        yield "accepted.0", {**then, "accepted": [not first, *others]}


def _raised(then: dict[str, Any], path: Path) -> dict[str, Any]:
    after = copy.deepcopy(then)
    place: Any = after
    for name in path[:-1]:
        place = place[name]
    before = decimal_of(place[path[-1]])
    assert before is not None, "the comparison gives paths of amounts"
    higher = before + Decimal(1).scaleb(min(0, int(before.as_tuple().exponent)))
    place[path[-1]] = int(higher) if isinstance(place[path[-1]], int) else str(higher)
    return after
