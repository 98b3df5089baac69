"""Eight deliberate bugs, each a patch of the product or of a store: the simulation has to find every one of them.

`MUTATIONS` maps a name to a context manager under which the bug is in.
"""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from unittest.mock import patch

import msgspec

from aggregator import fold_slice, known_key
from aggregator.worker.lane import LaneWorker
from billing.worker.cut_wait import CutWait
from ingest.answer import Judged, Pending
from ingest.chunk import chunks
from ingest.gateway.admission import Admission
from ingest.gateway.record import SentRecord
from ingest.key_entry import EntryKind
from ingest.verdict import Outcome, Verdict
from kernel.engine.live.memory import MemoryLive
from kernel.errors import MeterlineError


@contextmanager
def answer_before_the_append_is_durable() -> Iterator[None]:
    """Say `pending` for what is only on its way to the log."""

    async def append(self, lane, part, _seen) -> None:
        for start, end, data in chunks(self._gateway_id, part.events):
            offset = (await self._log.bounds(lane)).end
            place = 0
            for call, indexes in part.cut(start, end):
                for index in indexes:
                    call.settle(index, Pending(call.events[index], 1, lane, offset, place))
                    place += 1
            self._spawn(_sent(self, lane, data))

    async def _sent(self, lane, data) -> None:
        try:
            await self._log.append(lane, data)
        except MeterlineError:
            return

    with patch.object(Admission, "_append", append):
        yield


@contextmanager
def answer_before_the_verdict() -> Iterator[None]:
    """Say `accepted` as soon as an event is durable."""

    async def conclude(self, chunk: SentRecord, *, wait: bool) -> None:
        place = 0
        for call, indexes in chunk.owners:
            for there, index in enumerate(indexes, place):
                told = Outcome(verdict=Verdict.COUNTED)
                call.settle(index, Judged(chunk.events[there], told, 1, chunk.lane, chunk.offset, there))
            place += len(indexes)

    with patch.object(Admission, "_conclude", conclude):
        yield


@contextmanager
def compare_less_instead_of_equality() -> Iterator[None]:
    """Refuse a write only if LIVE is behind what it was computed from."""
    write = MemoryLive.write

    async def wrong(self, lane, change):
        held = self._ready(lane)
        if held is not None and held.header.next > change.expected.next and held.header.token == change.expected.token:
            change = msgspec.structs.replace(
                change, expected=msgspec.structs.replace(change.expected, next=held.header.next)
            )
        return await write(self, lane, change)

    with patch.object(MemoryLive, "write", wrong):
        yield


@contextmanager
def read_accounts_apart_from_next() -> Iterator[None]:
    """Take accounts as they are, whatever `next` was when they were read."""

    async def know(self, _header, group) -> bool:
        customers = dict.fromkeys(customer for record in group for customer in record.customers())
        missing = [customer for customer in customers if customer not in self._states]
        if missing:
            view = await self._view(missing)
            for customer, stored in zip(missing, view.accounts, strict=True):
                self._states[customer] = fold_slice.customer_state(stored)
        return True

    forget = LaneWorker._forget

    def keep(self, reason: str) -> None:
        states = dict(self._states)
        forget(self, reason)
        self._states.update(states)

    with patch.object(LaneWorker, "_know_customers", know), patch.object(LaneWorker, "_forget", keep):
        yield


@contextmanager
def resume_from_a_committed_offset() -> Iterator[None]:
    """Go on reading where the consumer group committed, which it does when it has read."""
    load, read = LaneWorker._load, LaneWorker._read

    async def resumed(self):
        header = await load(self)
        self._resumes = header is not None
        return header

    def committed(self, start: int):
        offsets = self._log._log.__dict__.setdefault("committed", {})
        if self._resumes:
            self._resumes = False
            start = offsets.get(self.lane, start)
        offsets[self.lane] = start
        return read(self, start)

    with patch.object(LaneWorker, "_load", resumed), patch.object(LaneWorker, "_read", committed):
        yield


@contextmanager
def rebuild_without_the_token() -> Iterator[None]:
    """Fill and finish a rebuild without comparing whose it is."""
    with patch.object(MemoryLive, "_rebuilding", lambda self, lane, _token, _step: self._lanes.get(lane)):
        yield


@contextmanager
def an_older_attempt_counts_after_a_newer_one_was_refused() -> Iterator[None]:
    """Judge every attempt of a refused key afresh."""
    known = known_key._on_known_key

    def afresh(entry, event, at_ms):
        return None if entry.kind is EntryKind.REFUSED else known(entry, event, at_ms)

    with patch.object(known_key, "_on_known_key", afresh):
        yield


@contextmanager
def close_before_the_cut_is_sunk() -> Iterator[None]:
    """Sum RAW as soon as LIVE has the cut."""

    async def at_once(_self, _wanted, folded):
        await asyncio.sleep(0)
        return dict(folded)

    with patch.object(CutWait, "_sunk", at_once):
        yield


MUTATIONS: dict[str, Callable[[], AbstractContextManager[None]]] = {
    made.__name__: made
    for made in (
        answer_before_the_append_is_durable,
        answer_before_the_verdict,
        compare_less_instead_of_equality,
        read_accounts_apart_from_next,
        resume_from_a_committed_offset,
        rebuild_without_the_token,
        an_older_attempt_counts_after_a_newer_one_was_refused,
        close_before_the_cut_is_sunk,
    )
}
