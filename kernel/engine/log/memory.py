"""The log in memory: the port's law without a server, for tests and simulations. Nothing survives the process.

`away` and `frozen` play a server that is gone and one that hangs.
"""

import asyncio

import msgspec

from kernel.clock import Clock
from kernel.engine.log.base import Bounds, Record, Volume
from kernel.errors import LogMissing, LogSealed, OffsetGone, Unavailable, Unknown
from kernel.limits import APPEND_WAIT_MS


class _Lane(msgspec.Struct):
    begin: int = 0
    records: list[Record] = msgspec.field(default_factory=list)
    waiting: set[asyncio.Event] = msgspec.field(default_factory=set)

    @property
    def end(self) -> int:
        return self.begin + len(self.records)


class MemoryLog:
    """A log in dictionaries. `away`: every call fails at once; `frozen`: appends get no answer and never land."""

    def __init__(self, *, epoch: int, lanes: int, clock: Clock) -> None:
        self.epoch = epoch
        self.lanes = lanes
        self.away = False
        self.frozen = False
        self._sealed = False
        self._clock = clock
        self._lanes: dict[int, _Lane] = {}
        self._closed = asyncio.Event()

    async def create(self) -> None:
        """Make the lanes. Source: the port."""
        self._reach()
        for lane in range(self.lanes):
            self._lanes.setdefault(lane, _Lane())

    async def append(self, lane: int, data: bytes) -> int:
        """Append one record. Source: the port."""
        if self.away or self._closed.is_set():
            raise Unknown("the log is away")
        if self.frozen:
            try:
                await asyncio.wait_for(self._closed.wait(), APPEND_WAIT_MS / 1000)
            except TimeoutError as error:
                raise Unknown(f"no answer within {APPEND_WAIT_MS} ms") from error
            raise Unknown("the log was closed")
        held = self._lane(lane)
        if self._sealed:
            raise LogSealed(f"epoch {self.epoch} has ended")
        record = Record(offset=held.end, time_ms=self._clock.now_ms(), data=bytes(data))
        held.records.append(record)
        for event in held.waiting:
            event.set()
        return record.offset

    async def seal(self) -> None:
        """End the epoch. Source: the port."""
        self._reach()
        self._lane(0)
        self._sealed = True

    async def sealed(self) -> bool:
        """Tell whether the epoch was ended. Source: the port."""
        self._reach()
        self._lane(0)
        return self._sealed

    async def read(self, lane: int, start: int, *, records_max: int, wait_ms: int) -> list[Record]:
        """Read records from `start` on. Source: the port."""
        self._reach()
        held = self._lane(lane)
        if start == held.end and wait_ms > 0:
            await self._wait(held, wait_ms)
            self._reach()
        if not held.begin <= start <= held.end:
            raise OffsetGone(f"lane {lane} holds {held.begin} to {held.end}, not {start}")
        first = start - held.begin
        return held.records[first : first + records_max]

    async def bounds(self, lane: int) -> Bounds:
        """Tell what the lane holds. Source: the port."""
        self._reach()
        held = self._lane(lane)
        return Bounds(begin=held.begin, end=held.end)

    async def volume(self) -> Volume:
        """Tell the records' bytes; memory has no bound of its own. Source: the port."""
        self._reach()
        taken = sum(len(record.data) for lane in self._lanes.values() for record in lane.records)
        return Volume(bytes=taken, bytes_max=None)

    async def trim(self, lane: int, before: int, *, keep_ms: int, keep_bytes: int) -> int:
        """Remove old records. Source: the port."""
        self._reach()
        held = self._lane(lane)
        now_ms = self._clock.now_ms()
        size = sum(len(record.data) for record in held.records)
        gone = 0
        for record in held.records[: max(0, before - held.begin)]:
            if now_ms - record.time_ms <= keep_ms and size <= keep_bytes:
                break
            size -= len(record.data)
            gone += 1
        del held.records[:gone]
        held.begin += gone
        return held.begin

    async def close(self) -> None:
        """End the appends under way. Source: the port."""
        self._closed.set()

    async def _wait(self, held: _Lane, wait_ms: int) -> None:
        event = asyncio.Event()
        held.waiting.add(event)
        try:
            await asyncio.wait_for(event.wait(), wait_ms / 1000)
        except TimeoutError:
            return
        finally:
            held.waiting.discard(event)

    def _lane(self, lane: int) -> _Lane:
        try:
            return self._lanes[lane]
        except KeyError as error:
            raise LogMissing(f"lane {lane} of epoch {self.epoch} was never made") from error

    def _reach(self) -> None:
        if self.away or self.frozen or self._closed.is_set():
            raise Unavailable("the log is away")
