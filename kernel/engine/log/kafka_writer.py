"""Appends to one lane on Kafka, by an idempotent producer of our own that can be dropped at any moment.

The driver's producer retries for ever and flushes when it is closed; this one stops at once. Appends that come while
one is under way travel together in the next batch. A batch is sent again only with the producer's id and sequence of
the first time, by which the broker knows it; an end that leaves a batch open ends the whole writer.
"""

import asyncio
from collections import deque
from typing import Any, Final, NamedTuple

from aiokafka.protocol.produce import ProduceRequest
from aiokafka.protocol.transaction import InitProducerIdRequest
from aiokafka.record.default_records import DefaultRecordBatchBuilder

from kernel.engine.log.kafka_broker import Brokers
from kernel.engine.log.kafka_seal import TOO_LARGE
from kernel.engine.log.kafka_topic import AGAIN_MS, BATCH_BYTES_MAX, OVERHEAD_BYTES, Topic
from kernel.errors import LogMissing, LogSealed, Unavailable, Unknown
from kernel.limits import APPEND_WAIT_MS

_ALL_REPLICAS: Final = -1
# Brokers forget a producer that was silent for a day; one that was silent for an hour gets a new id, which costs 2 ms.
_IDLE_SECONDS_MAX: Final = 3_600
# Sequence numbers start again after 31 bits.
_SEQUENCES: Final = 2**31
# What a record adds to its data: lengths and differences of a few bytes each.
_RECORD_OVERHEAD: Final = 32


class _Append(NamedTuple):
    data: bytes
    offset: asyncio.Future[int]


class Writer:
    """The producer of one lane. Once `ended`, every append raises Unknown and a new writer is needed."""

    def __init__(self, brokers: Brokers, topic: Topic, lane: int) -> None:
        self._brokers = brokers
        self._topic = topic
        self._lane = lane
        self._queue: deque[_Append] = deque()
        self._under_way: list[_Append] = []
        self._wake = asyncio.Event()
        self._end: Exception | None = None
        self._task = asyncio.create_task(self._run())
        self._task.add_done_callback(self._ran)

    @property
    def ended(self) -> bool:
        """Tell whether it takes no more appends."""
        return self._end is not None

    async def append(self, data: bytes) -> int:
        """Append one record and return its offset. Raises Unknown, LogMissing; has no limit of time of its own.

        Cancelled before its record was sent, the record never is.
        """
        if self._end is not None:
            raise self._end
        append = _Append(bytes(data), asyncio.get_running_loop().create_future())
        self._queue.append(append)
        self._wake.set()
        return await append.offset

    def drop(self, why: str) -> None:
        """End at once: what is under way ends as Unknown, and nothing of it is sent from now on."""
        self._stop(Unknown(f"an append to lane {self._lane} has no answer: {why}"))
        self._task.cancel()

    async def gone(self) -> None:
        """Wait until a dropped writer has let go of its connection."""
        await asyncio.wait([self._task])

    async def _run(self) -> None:
        clock = asyncio.get_running_loop().time
        producer, sequence, last = None, 0, clock()
        while True:
            await self._wake.wait()
            batch = self._next()
            if not batch:
                self._wake.clear()
                continue
            self._under_way = batch
            if producer is None or clock() - last > _IDLE_SECONDS_MAX:
                producer, sequence = await self._new_producer(), 0
            base = await self._send(_encoded(batch, producer, sequence))
            for number, append in enumerate(batch):
                if not append.offset.done():
                    append.offset.set_result(base + number)
            self._under_way = []
            sequence, last = (sequence + len(batch)) % _SEQUENCES, clock()

    def _next(self) -> list[_Append]:
        batch: list[_Append] = []
        size = 0
        while self._queue:
            size += len(self._queue[0].data) + _RECORD_OVERHEAD
            if batch and size > BATCH_BYTES_MAX:
                break
            append = self._queue.popleft()
            if append.offset.done():  # cancelled while it waited
                size -= len(append.data) + _RECORD_OVERHEAD
                continue
            batch.append(append)
        return batch

    async def _new_producer(self) -> tuple[int, int]:
        while True:
            try:
                (reply,) = await self._brokers.anywhere(InitProducerIdRequest(None, 0))
                if reply.error_code == 0:
                    return reply.producer_id, reply.producer_epoch
            except Unavailable:
                pass
            await asyncio.sleep(AGAIN_MS / 1000)  # until the appends that wait drop the writer

    async def _send(self, batch: bytes) -> int:
        request = ProduceRequest(None, _ALL_REPLICAS, APPEND_WAIT_MS, [(self._topic.name, [(self._lane, batch)])])
        while True:
            try:
                (row,) = await self._topic.ask(self._lane, request)
            except Unavailable:
                continue  # until the appends that wait drop the writer; the topic asked for some time already
            _, error, offset, *_ = row
            if error == TOO_LARGE and len(batch) <= BATCH_BYTES_MAX + OVERHEAD_BYTES:
                raise LogSealed(f"topic {self._topic.name} takes no more records: its epoch has ended")
            if error or offset < 0:
                raise Unknown(f"an append to lane {self._lane} failed with the broker's error {error}")
            found: int = offset
            return found

    def _stop(self, end: Exception) -> None:
        if self._end is None:
            self._end = end
        for append in (*self._under_way, *self._queue):
            if not append.offset.done():
                append.offset.set_exception(self._end)
        self._under_way = []
        self._queue.clear()

    def _ran(self, task: asyncio.Task[None]) -> None:
        failure: Any = None if task.cancelled() else task.exception()
        if isinstance(failure, LogMissing | Unknown):
            self._stop(failure)
        else:
            self._stop(Unknown(f"an append to lane {self._lane} has no answer: {failure}"))


def _encoded(batch: list[_Append], producer: tuple[int, int], sequence: int) -> bytes:
    size = sum(len(append.data) + _RECORD_OVERHEAD for append in batch) + OVERHEAD_BYTES
    builder = DefaultRecordBatchBuilder(2, 0, 0, *producer, sequence, size)
    for number, append in enumerate(batch):
        # The broker stamps its own time, so that ours is not looked at.
        placed = builder.append(number, 0, None, append.data, [])
        assert placed is not None, "the batch was made large enough"
    return bytes(builder.build())
