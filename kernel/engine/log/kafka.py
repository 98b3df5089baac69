"""The log on Apache Kafka: one topic an epoch (`prefix.epoch`), a partition a lane, read from an offset that we keep.

Brokers stamp each record with their own time; readers see what all in-sync replicas have. Lanes are assigned by us: no
consumer groups, no committed offsets. Sizes are those of the brokers' files, one copy, trimmed records included until
their segment is gone.
Source: DESIGN 3.2.
"""

import asyncio
import math
import re
from typing import Any, Final, Self
from urllib.parse import urlsplit

from aiokafka.errors import CorruptRecordException
from aiokafka.protocol.admin import DeleteRecordsRequest
from aiokafka.protocol.fetch import FetchRequest
from aiokafka.protocol.offset import OffsetRequest
from aiokafka.record.memory_records import MemoryRecords

from kernel.clock import Clock
from kernel.engine.log.base import Bounds, Record, Volume
from kernel.engine.log.kafka_broker import OUT_OF_RANGE, Brokers, addresses
from kernel.engine.log.kafka_seal import seal_topic
from kernel.engine.log.kafka_size import log_bytes, sizes_request
from kernel.engine.log.kafka_topic import AGAIN_MS, ANSWER_WAIT_MS, MAX_BYTES, SEALED_BYTES, Topic
from kernel.engine.log.kafka_writer import Writer
from kernel.errors import Misconfigured, OffsetGone, RecordUnreadable, Unavailable, Unknown
from kernel.limits import APPEND_WAIT_MS, RECORD_BYTES_MAX

PREFIX: Final = "meterline"
_BEGIN, _END = -2, -1  # the protocol's names of the oldest and the next offset
_CLIENT: Final = -1  # no replica
_READ_UNCOMMITTED: Final = 0  # nobody writes transactions here, so that all durable records are committed
# A large cluster places many partitions within seconds.
_CREATE_WAIT_MS: Final = 30_000
# One reader that waits has a connection; a lane has few (fold, sink, audit).
_READERS: Final = 256
# One answer of a fetch: as much as is wanted by the lane's usual record, and at least one full record.
_FETCH_BYTES_MAX: Final = 8 * 1024**2
# Where a trim by bytes looks at records in order to know how large they are.
_SAMPLES: Final = 64


class KafkaLog:
    """A log of `lanes` partitions for one epoch. `capacity_bytes`: what the brokers' disks hold of it (0: unknown)."""

    def __init__(self, brokers: Brokers, topic: Topic, *, epoch: int, capacity_bytes: int, clock: Clock) -> None:
        self.epoch = epoch
        self.lanes = topic.lanes
        self._brokers = brokers
        self._topic = topic
        self._capacity_bytes = capacity_bytes
        self._clock = clock
        self._writers: dict[int, Writer] = {}
        self._dropped: set[asyncio.Task[None]] = set()
        self._readers = asyncio.Semaphore(_READERS)
        self._record_bytes = dict.fromkeys(range(topic.lanes), RECORD_BYTES_MAX // 8)

    @classmethod
    async def open(
        cls, url: str, *, epoch: int, lanes: int, replicas: int, capacity_bytes: int, clock: Clock, **topic: Any
    ) -> Self:
        """Open the log at `url` (`kafka://host:port,host:port[/prefix]`) once its settings are seen to lose nothing.

        Raises Misconfigured, Unavailable.
        """
        parts = urlsplit(url)
        prefix = parts.path.strip("/") or PREFIX
        if not re.fullmatch(r"[A-Za-z0-9._-]{1,200}", prefix):
            raise Misconfigured(
                f"METERLINE_LOG_URL has the prefix {prefix!r}: set it to letters, digits, '.', '_', '-'"
            )
        brokers = Brokers(addresses(parts.netloc))
        name = f"{prefix}.{epoch}"
        log = cls(
            brokers,
            Topic(brokers, name, lanes=lanes, replicas=replicas, **topic),
            epoch=epoch,
            capacity_bytes=capacity_bytes,
            clock=clock,
        )
        try:
            async with brokers.within(ANSWER_WAIT_MS):
                await log._topic.check()
        except BaseException:
            await log.close()
            raise
        return log

    async def create(self) -> None:
        """Make the lanes. Source: the port."""
        async with self._brokers.within(ANSWER_WAIT_MS):
            await self._topic.look()
        async with self._brokers.within(_CREATE_WAIT_MS):
            await self._topic.create()

    async def append(self, lane: int, data: bytes) -> int:
        """Append one record. Source: the port. An end without an answer ends all appends under way to the lane."""
        writer: Writer | None = None
        try:
            async with self._brokers.within(APPEND_WAIT_MS):
                await self._topic.has(lane)
                writer = self._writer(lane)
                return await writer.append(data)
        except Unavailable as error:
            if writer is not None:
                self._drop(lane, writer, str(error))
            raise Unknown(f"an append to lane {lane} has no answer: {error}") from error

    async def seal(self) -> None:
        """End the epoch. Source: the port. The topic stays, and takes no record."""
        async with self._brokers.within(_CREATE_WAIT_MS):
            await seal_topic(self._brokers, self._topic)

    async def sealed(self) -> bool:
        """Tell whether the topic was sealed. Source: the port."""
        async with self._brokers.within(ANSWER_WAIT_MS):
            return (await self._topic.settings())[MAX_BYTES] == SEALED_BYTES

    async def read(self, lane: int, start: int, *, records_max: int, wait_ms: int) -> list[Record]:
        """Read records from `start` on. Source: the port. The end is asked for in the same packet as the records."""
        async with self._brokers.within(wait_ms + ANSWER_WAIT_MS), self._readers:
            return await self._read(lane, start, records_max, wait_ms)

    async def bounds(self, lane: int) -> Bounds:
        """Tell what the lane holds. Source: the port."""
        async with self._brokers.within(ANSWER_WAIT_MS):
            return await self._bounds(lane)

    async def volume(self) -> Volume:
        """Tell the bytes of one copy of the log on disk. Source: the port. Shrinks when a whole segment is trimmed."""
        async with self._brokers.within(ANSWER_WAIT_MS):
            taken = 0
            for address, lanes in (await self._topic.leaders()).items():
                (reply,) = await self._brokers.ask(address, sizes_request(self._topic.name, lanes))
                taken += log_bytes(reply)
        return Volume(bytes=taken, bytes_max=self._capacity_bytes or None)

    async def trim(self, lane: int, before: int, *, keep_ms: int, keep_bytes: int) -> int:
        """Remove old records. Source: the port.

        By age exactly; by bytes exactly in a lane of at most `_SAMPLES` records, beyond that by the mean size of
        so many of its records. A lane whose files are within `keep_bytes` is left alone.
        """
        async with self._brokers.within(ANSWER_WAIT_MS):
            bounds = await self._bounds(lane)
            most = min(before, bounds.end)
            if most <= bounds.begin:
                return bounds.begin
            old = await self._first_since(lane, max(0, self._clock.now_ms() - keep_ms), bounds)
            large = bounds.begin if old >= most else await self._first_within(lane, keep_bytes, bounds)
            begin = min(most, max(old, large))
            if begin > bounds.begin:
                request = DeleteRecordsRequest([(self._topic.name, [(lane, begin)])], ANSWER_WAIT_MS)
                ((_, _, error, *_),) = await self._topic.ask(lane, request, code=2)
                if error and error != OUT_OF_RANGE:  # somebody else trimmed more
                    raise Unavailable(f"lane {lane} cannot be trimmed (error {error})")
            return max(begin, bounds.begin)

    async def close(self) -> None:
        """Release connections. Source: the port."""
        for lane, writer in list(self._writers.items()):
            self._drop(lane, writer, "the log was closed")
        if self._dropped:
            await asyncio.wait(self._dropped)
        await self._brokers.close()

    # --- appends -------------------------------------------------------------------------------------------------

    def _writer(self, lane: int) -> Writer:
        writer = self._writers.get(lane)
        if writer is None or writer.ended:
            writer = self._writers[lane] = Writer(self._brokers, self._topic, lane)
        return writer

    def _drop(self, lane: int, writer: Writer, why: str) -> None:
        if self._writers.get(lane) is writer:
            del self._writers[lane]
        writer.drop(why)
        going = asyncio.create_task(writer.gone())
        self._dropped.add(going)
        going.add_done_callback(self._dropped.discard)

    # --- reads ---------------------------------------------------------------------------------------------------

    async def _read(self, lane: int, start: int, records_max: int, wait_ms: int) -> list[Record]:
        clock = asyncio.get_running_loop().time
        until = clock() + wait_ms / 1000
        end: int | None = None
        found: list[Record] = []
        while True:
            left_ms = 0 if found else max(0, math.ceil((until - clock()) * 1000))
            requests = [self._fetch(lane, start + len(found), records_max, left_ms)]
            if end is None:
                requests.insert(0, self._offset_at(lane, _END))
            *ends, fetched = await self._topic.ask(lane, *requests)
            if ends:
                end = _offset(ends[0])
            assert end is not None, "the first turn asks for it"
            if fetched[1] == OUT_OF_RANGE or start > end:
                end = await self._end_beyond(lane, start)
            elif fetched[1]:
                raise Unavailable(f"lane {lane} cannot be read (error {fetched[1]})")
            else:
                new = _decoded(fetched[-1], start + len(found), records_max - len(found))
                self._learn(lane, new)
                found += new
                if len(found) == records_max or (found and start + len(found) >= end):
                    return found
                if not found and start >= end and clock() >= until:
                    return []
                if new:
                    continue
            if start < end:  # what is there comes with the next answer; a broker that has it not yet gets a moment
                await asyncio.sleep(AGAIN_MS / 1000)

    async def _end_beyond(self, lane: int, start: int) -> int:
        bounds = await self._bounds(lane)
        if not bounds.begin <= start <= bounds.end:
            raise OffsetGone(f"lane {lane} holds {bounds.begin} to {bounds.end}, not {start}")
        return bounds.end

    def _learn(self, lane: int, records: list[Record]) -> None:
        if records:
            self._record_bytes[lane] = sum(len(record.data) for record in records) // len(records)

    def _fetch(self, lane: int, start: int, records_max: int, wait_ms: int) -> FetchRequest:
        wanted = 2 * records_max * (self._record_bytes[lane] + 64)
        size = min(max(wanted, RECORD_BYTES_MAX), _FETCH_BYTES_MAX)
        return FetchRequest(wait_ms, 1, size, _READ_UNCOMMITTED, [(self._topic.name, [(lane, start, size)])])

    # --- offsets -------------------------------------------------------------------------------------------------

    async def _bounds(self, lane: int) -> Bounds:
        begin, end = await self._topic.ask(lane, self._offset_at(lane, _BEGIN), self._offset_at(lane, _END))
        return Bounds(begin=_offset(begin), end=_offset(end))

    def _offset_at(self, lane: int, time: int) -> OffsetRequest:
        return OffsetRequest(_CLIENT, _READ_UNCOMMITTED, [(self._topic.name, [(lane, time)])])

    async def _first_since(self, lane: int, time_ms: int, bounds: Bounds) -> int:
        (row,) = await self._topic.ask(lane, self._offset_at(lane, time_ms))
        found = _offset(row)
        return bounds.end if found < 0 else found

    async def _first_within(self, lane: int, keep_bytes: int, bounds: Bounds) -> int:
        (leader,) = [address for address, lanes in (await self._topic.leaders()).items() if lane in lanes]
        (reply,) = await self._brokers.ask(leader, sizes_request(self._topic.name, [lane]))
        if log_bytes(reply) <= keep_bytes:
            return bounds.begin
        count = bounds.end - bounds.begin
        if count <= _SAMPLES:
            records = await self._read(lane, bounds.begin, count, 0)
            kept, size = 0, 0
            for record in reversed(records):
                size += len(record.data)
                if size > keep_bytes:
                    break
                kept += 1
            return bounds.end - kept
        sizes = [
            len((await self._read(lane, bounds.begin + count * number // _SAMPLES, 1, 0))[0].data)
            for number in range(_SAMPLES)
        ]
        return max(bounds.begin, bounds.end - keep_bytes * _SAMPLES // max(1, sum(sizes)))


def _offset(row: Any) -> int:
    _, error, _, offset = row
    if error:
        raise Unavailable(f"the lane's offsets cannot be read (error {error})")
    found: int = offset
    return found


def _decoded(data: bytes | None, start: int, records_max: int) -> list[Record]:
    found: list[Record] = []
    batches = MemoryRecords(data or b"")
    try:
        while batches.has_next() and len(found) < records_max:
            batch = batches.next_batch()
            if not batch.validate_crc():
                raise Unavailable(f"the records from {start} on did not arrive whole")
            for record in batch:
                if record.offset < start or len(found) == records_max:
                    continue
                if record.offset != start + len(found):
                    raise RecordUnreadable(
                        f"record {start + len(found)} is not there, {record.offset} is: a lane is dense"
                    )
                found.append(Record(offset=record.offset, time_ms=record.timestamp, data=record.value or b""))
    except CorruptRecordException as error:
        raise Unavailable(f"the records from {start} on did not arrive whole: {error}") from error
    return found
