"""Where verdicts meet those who wait for them, within one process, and the hints that follow from them.

Owns the futures by (lane, offset), the outcomes that nobody has asked for yet, and the hint table: does a hard limit
apply to this customer and feature? Invariants: everything here is bounded and may be lost, because LIVE keeps the
outcomes and an absent hint counts as limited. Source: DESIGN 3.4.4, 3.4.5.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Final

from ingest.verdict import Outcome

# A fold can run ahead of the append's answer by what is under way: four groups of 2,000 events. Twice that, and some.
UNCLAIMED_OUTCOMES_MAX: Final = 20_000
# 16 + 16 bytes of ids and the table's own cost: about 25 MB when full.
HINTS_MAX: Final = 100_000


class VerdictHub:
    """Hands outcomes from the fold to the gateway. All calls from one event loop."""

    def __init__(self, epoch: int | None = None) -> None:
        """`epoch`: publications of another one are dropped; None takes all."""
        self._epoch = epoch
        self._waiting: dict[tuple[int, int], asyncio.Future[Sequence[Outcome] | None]] = {}
        self._unclaimed: OrderedDict[tuple[int, int], Sequence[Outcome]] = OrderedDict()
        self._unclaimed_outcomes = 0
        self._hints: OrderedDict[tuple[bytes, bytes], bool] = OrderedDict()

    def publish(self, epoch: int, lane: int, offset: int, outcomes: Sequence[Outcome]) -> None:
        """Tell the outcomes of the record at `offset`, in the order of its events; a repetition changes nothing."""
        if self._epoch is not None and epoch != self._epoch:
            return
        waiter = self._waiting.get((lane, offset))
        if waiter is not None and not waiter.done():
            waiter.set_result(outcomes)
            return
        if (lane, offset) in self._unclaimed:
            return
        self._unclaimed[lane, offset] = outcomes
        self._unclaimed_outcomes += len(outcomes)
        while self._unclaimed_outcomes > UNCLAIMED_OUTCOMES_MAX:
            _, forgotten = self._unclaimed.popitem(last=False)
            self._unclaimed_outcomes -= len(forgotten)

    async def wait(self, lane: int, offset: int, timeout_ms: int) -> Sequence[Outcome] | None:
        """Wait for the outcomes of a record; None when they do not come in time. One waiter a record."""
        key = (lane, offset)
        found = self._unclaimed.pop(key, None)
        if found is not None:
            self._unclaimed_outcomes -= len(found)
            return found
        assert key not in self._waiting, "a record has one sender, and it waits once"
        loop = asyncio.get_running_loop()
        waiter: asyncio.Future[Sequence[Outcome] | None] = loop.create_future()
        self._waiting[key] = waiter
        timer = loop.call_later(timeout_ms / 1_000, _give_up, waiter)
        try:
            return await waiter
        finally:
            timer.cancel()
            del self._waiting[key]

    def waiting(self) -> dict[int, list[int]]:
        """Tell the records that are waited for: offsets by lane."""
        found: dict[int, list[int]] = {}
        for lane, offset in self._waiting:
            found.setdefault(lane, []).append(offset)
        return found

    def learn(self, limited: Mapping[tuple[bytes, bytes], bool]) -> None:
        """Remember, by customer and feature, what the last verdict said of hard limits."""
        hints = self._hints
        for pair, word in limited.items():
            hints[pair] = word
            hints.move_to_end(pair)
        while len(hints) > HINTS_MAX:
            hints.popitem(last=False)

    def limited(self, customer: bytes, feature: bytes) -> bool:
        """Tell whether a hard limit may apply; what is not remembered may."""
        return self._hints.get((customer, feature), True)


def _give_up(waiter: asyncio.Future[Sequence[Outcome] | None]) -> None:
    if not waiter.done():
        waiter.set_result(None)
