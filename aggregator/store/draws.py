"""Sums of what events drew on pools: their select list, and how it is read back."""

from collections.abc import Sequence
from decimal import Decimal
from typing import Final

from aggregator.account import Draws
from kernel.quantity import to_units

_COLUMNS: Final = ("drawn_plan", "drawn_packs", "drawn_top_ups", "overdraft")
# Whether anything was drawn at all: sums may come to nothing.
DREW: Final = "max(" + " OR ".join(f"{name} != 0" for name in _COLUMNS) + ")"
DRAWS: Final = ", ".join(f"sum({name})" for name in _COLUMNS)
# The same, of events that an earlier cut bills than the one that was asked for.
DRAWS_BEFORE: Final = ", ".join(f"sumIf({name}, cut < asked)" for name in _COLUMNS)
DRAW_COLUMNS: Final = ", ".join(_COLUMNS)


def draws_of(sums: Sequence[Decimal]) -> Draws:
    """Read the four sums of `DRAWS`, in 1e-9 units."""
    plan, packs, top_ups, overdraft = map(to_units, sums)
    return Draws(plan=plan, packs=packs, top_ups=top_ups, overdraft=overdraft)
