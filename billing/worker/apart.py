"""Doing a batch of work of which one item may raise: then each item by itself, so that only that one is left undone.

Invariant: a store that is away is no item's fault, so errors of operation end the whole, which is tried again later.
"""

from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, NamedTuple, TypeVar

from kernel.errors import MeterlineError, Rejected

_Item = TypeVar("_Item")
_Done = TypeVar("_Done")


class Fault(NamedTuple, Generic[_Item]):
    """An item on which the work raises by itself, and what it raised."""

    item: _Item
    error: Exception

    @property
    def reason(self) -> str:
        """Say in one line what was raised."""
        return f"{type(self.error).__name__}: {self.error}"

    @property
    def code(self) -> str | None:
        """Tell the code with which it was refused; None where the code raised."""
        return self.error.refusal.code if isinstance(self.error, Rejected) else None


async def apart(
    items: Sequence[_Item], work: Callable[[Sequence[_Item]], Awaitable[_Done]]
) -> tuple[list[_Done], list[Fault[_Item]]]:
    """Work on all items at once, or on each where that raises; returns what came of it, and the items that raise.

    `work` is to be one transaction, so that where it raises nothing has happened, or to pass over what it has done.
    Raises the errors of operation that it does.
    """
    if not items:
        return [], []
    try:
        return [await work(items)], []
    except Exception as error:
        if isinstance(error, MeterlineError) and not isinstance(error, Rejected):
            raise
        if len(items) == 1:
            return [], [Fault(items[0], error)]
    done, faults = list[_Done](), list[Fault[_Item]]()
    for item in items:
        some, faulty = await apart([item], work)
        done += some
        faults += faulty
    return done, faults
