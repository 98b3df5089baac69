"""What a rebuild reads: keys, totals and snapshots of one lane, as LIVE spells them, a page at a time."""

from collections.abc import AsyncIterator, Mapping
from decimal import Decimal
from typing import Any, Final

import msgspec

from aggregator.account import NOTHING, Draws
from aggregator.store.carried import CARRIED_FROM, STANDS_ON, CarriedReads
from aggregator.store.draws import DRAWS, DREW, draws_of
from aggregator.tables import ACCOUNT_RECORDS, EVENTS
from ingest.verdict import Verdict
from kernel import ids
from kernel.engine.raw.base import Raw
from kernel.position import Position
from kernel.quantity import to_units

# A page of keys is about 20 MB of Python, one of customers (some windows each) about as much.
PAGE_ROWS: Final = 50_000
PAGE_CUSTOMERS: Final = 10_000
# The range of offsets that one query of keys looks at: it doubles while pages are not full. 100 records hold at most
# one page of events.
STEP_OFFSETS_MIN: Final = 100

KEYED: Final = frozenset({Verdict.COUNTED, Verdict.BLOCKED, Verdict.REFUSED})


class KeyRow(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One event that left a key entry. `digest` is empty for a dead event without a key.

    `at_ms` is when it took effect; `clock_ms` the lane's clock after taking it in, which names the entry's generation.
    """

    position: Position
    verdict: Verdict
    digest: bytes
    content: bytes
    request: bytes
    at_ms: int
    clock_ms: int


class WindowSum(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Counted usage of one feature in one window that one cut bills, in 1e-9 units; the feature is 16 bytes.

    `draws` sums what it drew on the pool; `drew` says that it drew anything, even if that sum is nothing.
    """

    feature: bytes
    term: int
    window: int
    window_end: int
    cut: int
    units: int
    draws: Draws = NOTHING
    drew: bool = False


class AccountSums(msgspec.Struct, frozen=True, kw_only=True):
    """What one customer's events say: the greatest accepted_at of all of them, and the sums of the counted ones."""

    customer: bytes
    clock_ms: int
    sums: tuple[WindowSum, ...]


class SnapshotRow(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A customer's record with the greatest `rev`; `snapshot` is its body, encoded."""

    customer: bytes
    rev: int
    cut: int
    snapshot: bytes


_FIRST = f"""
SELECT min(`offset`), count() FROM {EVENTS} FINAL
WHERE epoch = {{epoch:UInt8}} AND lane = {{lane:UInt16}} AND `offset` < {{before:UInt64}}
    AND toUnixTimestamp64Milli(at) >= {{since:Int64}}"""

# All rows raise the clock, also those that leave no key.
_KEYS = f"""
SELECT `offset`, `index`, toUnixTimestamp64Milli(at), replays, verdict, digest, content, request, original
FROM {EVENTS} FINAL
WHERE epoch = {{epoch:UInt8}} AND lane = {{lane:UInt16}} AND `offset` >= {{offset:UInt64}} AND `offset` < {{end:UInt64}}
    AND (`offset` > {{offset:UInt64}} OR `index` > {{index:Int32}})
ORDER BY `offset`, `index` LIMIT {{limit:UInt32}}"""

_CARRIED_KEYS = f"""
SELECT `offset`, `index`, toUnixTimestamp64Milli(at), replays, verdict, digest, content, request, original
FROM {EVENTS} FINAL
WHERE {CARRIED_FROM} AND `offset` >= {{offset:UInt64}} AND `offset` < {{end:UInt64}}
    AND (`offset` > {{offset:UInt64}} OR `index` > {{index:Int32}})
    AND toUnixTimestamp64Milli(at) >= {{since:Int64}}
ORDER BY `offset`, `index` LIMIT {{limit:UInt32}}"""

_CUSTOMERS = f"""
SELECT customer, max(toUnixTimestamp64Milli(accepted_at)) FROM {EVENTS} FINAL
WHERE {STANDS_ON}
    AND customer > {{after:String}}
GROUP BY customer ORDER BY customer LIMIT {{limit:UInt32}}"""

_SUMS = f"""
SELECT customer, feature, term, toInt32(window), max(toInt32(window_end)), cut, sum(quantity), {DREW}, {DRAWS}
FROM {EVENTS} FINAL
WHERE {STANDS_ON}
    AND customer >= {{first:String}} AND customer <= {{last:String}} AND verdict = 'counted'
GROUP BY customer, feature, term, window, cut ORDER BY customer, feature, term, window, cut"""

_SNAPSHOTS = f"""
SELECT customer, max(rev), argMax(cut, rev), argMax(snapshot, rev) FROM {ACCOUNT_RECORDS} FINAL
WHERE {STANDS_ON}
    AND customer > {{after:String}}
GROUP BY customer ORDER BY customer LIMIT {{limit:UInt32}}"""


class AccountReads(CarriedReads):
    """Reads of one lane below an offset, and of what it carries from older epochs, for `rebuild`."""

    raw: Raw

    async def key_rows(
        self, epoch: int, lane: int, *, before_offset: int, since_clock_ms: int, begin_clock_ms: int
    ) -> AsyncIterator[list[KeyRow]]:
        """Read what left a key entry while the lane's clock stood at `since_clock_ms` or later, in the log's order.

        `begin_clock_ms` is the lane's clock at its first record. The clock first reaches `since_clock_ms` at the first
        event that took effect then or later, so what lies before that event is skipped without being read.
        """
        where = {"epoch": epoch, "lane": lane}
        first, found = 0, begin_clock_ms >= since_clock_ms
        if not found:
            begin = {**where, "before": before_offset, "since": since_clock_ms}
            [(first, found)] = await self.raw.query(_FIRST, begin)
        clock_ms = begin_clock_ms
        async for rows in self._in_steps(_KEYS, where, first if found else before_offset, before_offset):
            page = []
            for at_offset, at_index, at_ms, replays, *entry in rows:
                clock_ms = max(clock_ms, at_ms)
                if clock_ms >= since_clock_ms and _left_key(replays, *entry):
                    page.append(key_row(Position(epoch, lane, at_offset, at_index), at_ms, clock_ms, *entry))
            if page:
                yield page

    async def carried_key_rows(self, epoch: int, lane: int, *, since_ms: int) -> AsyncIterator[list[KeyRow]]:
        """Read what left a key entry in older epochs and took effect at `since_ms` or later, in the order of the logs.

        The clocks of the lanes where they were judged say nothing here: `clock_ms` is when the attempt took effect.
        Of one key, later entries never took effect earlier.
        """
        for from_epoch, from_lane, end in await self.carried_from(epoch):
            where = {"epoch": epoch, "lane": lane, "from_epoch": from_epoch, "from_lane": from_lane, "since": since_ms}
            async for rows in self._in_steps(_CARRIED_KEYS, where, 0, end):
                page = [
                    key_row(Position(from_epoch, from_lane, offset, index), at_ms, at_ms, *entry)
                    for offset, index, at_ms, replays, *entry in rows
                    if _left_key(replays, *entry)
                ]
                if page:
                    yield page

    async def _in_steps(
        self, sql: str, where: Mapping[str, Any], offset: int, before_offset: int
    ) -> AsyncIterator[list[tuple[Any, ...]]]:
        """Run a query over a range of offsets, at most a page at a time."""
        index, step = -1, STEP_OFFSETS_MIN
        while offset < before_offset:
            end = min(offset + step, before_offset)
            place = {"offset": offset, "index": index, "end": end, "limit": PAGE_ROWS}
            rows = await self.raw.query(sql, {**where, **place})
            yield list(rows)
            full = len(rows) == PAGE_ROWS
            offset, index = (rows[-1][0], rows[-1][1]) if full else (end, -1)
            step = STEP_OFFSETS_MIN if full else step * 2

    async def account_rows(self, epoch: int, lane: int, *, before_offset: int) -> AsyncIterator[list[AccountSums]]:
        """Read every customer that has an event below `before_offset`, by customer: clock and sums per cut."""
        where = {"epoch": epoch, "lane": lane, "before": before_offset}
        after = ""
        while clocks := await self.raw.query(_CUSTOMERS, {**where, "after": after, "limit": PAGE_CUSTOMERS}):
            first, after = clocks[0][0], clocks[-1][0]
            sums: dict[str, list[WindowSum]] = {customer: [] for customer, _ in clocks}
            for customer, *row in await self.raw.query(_SUMS, {**where, "first": first, "last": after}):
                sums[customer].append(_window_sum(*row))
            yield [
                AccountSums(customer=ids.id_bytes(customer), clock_ms=clock_ms, sums=tuple(sums[customer]))
                for customer, clock_ms in clocks
            ]

    async def snapshots(self, epoch: int, lane: int, *, before_offset: int) -> AsyncIterator[list[SnapshotRow]]:
        """Read, by customer, the record with the greatest `rev` below `before_offset`."""
        where = {"epoch": epoch, "lane": lane, "before": before_offset, "limit": PAGE_CUSTOMERS}
        after = ""
        while rows := await self.raw.query(_SNAPSHOTS, {**where, "after": after}):
            after = rows[-1][0]
            yield [
                SnapshotRow(customer=ids.id_bytes(customer), rev=rev, cut=cut, snapshot=bytes.fromhex(snapshot))
                for customer, rev, cut, snapshot in rows
            ]


def _left_key(replays: str, verdict: str, digest: str, _content: str, _request: str, original: str) -> bool:
    """Tell whether the fold left an entry: not for a further attempt on a dead letter, which names that one.

    A replay leaves one only when it counts; else the dead letter stays as it was.
    """
    if replays:
        return verdict == Verdict.COUNTED
    return original == "" and (verdict == Verdict.DEAD or (digest != "" and verdict in KEYED))


def key_row(
    position: Position,
    at_ms: int,
    clock_ms: int,
    verdict: str,
    digest: str,
    content: str,
    request: str,
    _original: str = "",
) -> KeyRow:
    """Make the row of an event that left an entry from what RAW has of it."""
    return KeyRow(
        position=position,
        verdict=Verdict(verdict),
        digest=bytes.fromhex(digest),
        content=bytes.fromhex(content),
        request=bytes.fromhex(request),
        at_ms=at_ms,
        clock_ms=clock_ms,
    )


def _window_sum(
    feature: str, term: int, window: int, window_end: int, cut: int, quantity: Decimal, drew: int, *draws: Decimal
) -> WindowSum:
    return WindowSum(
        feature=ids.id_bytes(feature),
        term=term,
        window=window,
        window_end=window_end,
        cut=cut,
        units=to_units(quantity),
        draws=draws_of(draws),
        drew=bool(drew),
    )
