"""Keeps every lane's books: reads the log once more, by itself, and sets it against LIVE and RAW.

Owns the rounds of `aggregator.books` and their metrics. It decides nothing and stands in nobody's way: a round reads at
most BOOKS_RECORDS_MAX records and BOOKS_EVENTS_MAX events a lane, counts events without decoding them, and asks RAW for
the rows of these records alone. Where it runs is free; two that run at once keep the same books.
"""

import asyncio

from aggregator.books import Books, Entry, Reckoning, carried_over, events_in, reckon, told_in
from aggregator.store import UsageStore
from ingest.verdict import Verdict
from kernel.clock import Clock
from kernel.engine.live.base import READY, LaneHeader, Live
from kernel.engine.log.base import Log
from kernel.errors import MeterlineError, OffsetGone
from kernel.limits import BOOKS_EVENTS_MAX, BOOKS_EVERY_MS, BOOKS_RECORDS_MAX, FOLD_READ_RECORDS_MAX, KEY_MEMORY_MS
from kernel.telemetry import GaugeName, Telemetry, logger

_log = logger("books")


class BooksWorker:
    """Reckons all lanes, again and again."""

    def __init__(self, *, log: Log, live: Live, store: UsageStore, clock: Clock, telemetry: Telemetry) -> None:
        self._records = log
        self._live = live
        self._store = store
        self._clock = clock
        self._telemetry = telemetry
        self._books: dict[int, Books] | None = None

    async def run(self) -> None:
        """Reckon until cancelled; while a store is away the latest numbers stand."""
        while True:
            await asyncio.sleep(BOOKS_EVERY_MS / 1_000)
            try:
                await self.round()
            except MeterlineError as error:
                _log.debug("no reckoning", reason=str(error))

    async def round(self) -> None:
        """Reckon every lane once. Raises Unavailable when a store is away."""
        epoch = self._records.epoch
        if self._books is None:
            self._books = await self._store.books(epoch)
        # RAW's progress is read before LIVE's header, and that before the log's end: each only rises, so none of them
        # is ahead of what is read after it.
        progress = await self._store.progress(epoch)
        changed: dict[int, Books] = {}
        for lane in range(self._records.lanes):
            found = await self._lane(lane, progress.get(lane, (0, 0))[0])
            if found is not None and found != self._books.get(lane):
                changed[lane] = self._books[lane] = found
        now_ms = self._clock.now_ms()
        await self._store.keep_books(epoch, changed, now_ms)
        self._telemetry.set(GaugeName.DEAD_LETTERS_OPEN, await self._store.open_letters(now_ms - KEY_MEMORY_MS))

    async def _lane(self, lane: int, sunk: int) -> Books | None:
        """Reckon a lane and tell its books; None when there is nothing to go by, or LIVE moved meanwhile."""
        header = await self._header(lane)
        if header is None:
            return None
        folded = max(header.next, sunk)
        try:
            books = await self._begin(lane, sunk)
            end = (await self._records.bounds(lane)).end
            entries = await self._entries(lane, books.next, end, folded)
        except OffsetGone:
            return await self._gone(lane, sunk)
        read = entries[-1].offset + 1 if entries else books.next
        rows = await self._store.rows_by_record(self._records.epoch, lane, books.next, min(sunk, read))
        found = reckon(books, entries, rows, sunk=sunk, folded=folded)
        after = await self._header(lane)
        if after is None or after.token != header.token or after.next < header.next:
            return None
        if found.undecided and after.sunk > sunk:
            return None  # sunk and forgotten since; the next round finds the rows
        self._tell(lane, found, end - read)
        return found.books

    async def _header(self, lane: int) -> LaneHeader | None:
        header = (await self._live.view(lane, ())).header
        return header if header is not None and header.state == READY else None

    async def _begin(self, lane: int, sunk: int) -> Books:
        """Find a lane's books; new ones begin with the log, or where it is too long to be read again, with RAW."""
        assert self._books is not None, "the books are read first"
        books = self._books.get(lane)
        if books is not None:
            return books
        begin = (await self._records.bounds(lane)).begin
        return Books() if begin == 0 and sunk <= BOOKS_RECORDS_MAX else await self._carry(lane, Books(), sunk)

    async def _gone(self, lane: int, sunk: int) -> Books:
        """Go on where RAW is: the books were not kept for longer than the log keeps its records."""
        assert self._books is not None, "the books are read first"
        books = await self._carry(lane, self._books.get(lane, Books()), sunk)
        _log.warning("the log does not reach back to the books; RAW's word is taken", lane=lane, carried=books.carried)
        return books

    async def _carry(self, lane: int, books: Books, sunk: int) -> Books:
        return carried_over(
            books, await self._store.rows_by_verdict(self._records.epoch, lane, books.next, sunk), max(books.next, sunk)
        )

    async def _entries(self, lane: int, start: int, end: int, folded: int) -> list[Entry]:
        """Read records from `start` on, as many as a round may, with what LIVE says of those below `folded`."""
        entries: list[Entry] = []
        events = 0
        while start < end and len(entries) < BOOKS_RECORDS_MAX and events < BOOKS_EVENTS_MAX:
            records = await self._records.read(lane, start, records_max=FOLD_READ_RECORDS_MAX, wait_ms=0)
            if not records:
                break
            sizes = {record.offset: events_in(record.data) for record in records}
            asked = [offset for offset, size in sizes.items() if size and offset < folded]
            kept_in_live = await self._live.outcomes(lane, asked, epoch=self._records.epoch) if asked else []
            outcomes = dict(zip(asked, kept_in_live, strict=True))
            for offset, size in sizes.items():
                kept = outcomes.get(offset)
                told = {} if not size else None if kept is None else told_in(kept)
                entries.append(Entry(offset=offset, events=size, told=told))
            events += sum(sizes.values())
            start = records[-1].offset + 1
            await asyncio.sleep(0)
        return entries

    def _tell(self, lane: int, found: Reckoning, behind: int) -> None:
        name = str(lane)
        places = {verdict.value: found.verdicts.get(verdict.value, 0) for verdict in Verdict}
        places |= {
            "appended": found.appended,
            "in_flight": found.in_flight,
            "counted_sunk": found.counted_sunk,
            "counted_unsunk": found.counted_unsunk,
            "carried": found.books.carried,
        }
        for place, events in places.items():
            self._telemetry.set(GaugeName.LANE_EVENTS, events, lane=name, place=place)
        for identity, events in (("appended", found.events_difference), ("counted", found.counted_difference)):
            self._telemetry.set(GaugeName.CONSERVATION_DIFFERENCE, events, lane=name, identity=identity)
        self._telemetry.set(GaugeName.BOOKS_BEHIND, behind, lane=name)
        if found.events_difference or found.counted_difference:
            _log.error(
                "the books differ: run audit",
                lane=lane,
                events=found.events_difference,
                counted=found.counted_difference,
                offsets=list(found.named),
            )
