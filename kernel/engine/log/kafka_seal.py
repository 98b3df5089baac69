"""The seal of a topic: it takes no record any more, whoever leads its partitions.

A sealed topic takes batches of no bytes at most. The setting travels to the brokers in the cluster's own log, so each
leader is asked with a batch that it refuses in any case, until it refuses it for its size. A broker that leads later
has read the setting first: its leadership comes after it in that log. Source: ADR 8.
"""

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, Final

from aiokafka.protocol.admin import AlterConfigsRequest
from aiokafka.protocol.offset import OffsetRequest
from aiokafka.protocol.produce import ProduceRequest
from aiokafka.record.default_records import DefaultRecordBatchBuilder

from kernel.engine.log.kafka_broker import Brokers
from kernel.engine.log.kafka_topic import AGAIN_MS, ANSWER_WAIT_MS, MAX_BYTES, SEALED_BYTES, TOPIC, Topic
from kernel.errors import Misconfigured, Unavailable

# Error codes of the protocol: what a leader says of a batch whose checksum is wrong, and of one that is too large.
_CORRUPT: Final = 2
TOO_LARGE: Final = 10
_LEADER_ALONE: Final = 1
_END: Final = -1
_READ_UNCOMMITTED: Final = 0
# As whom the end is asked: a reader sees what all in-sync replicas have, a debugger what the leader has.
_READER, _DEBUGGER = -1, -2
_CHECKSUM: Final = 17  # where it stands in a batch
# An append that had passed the check of its size before the last probe is written within microseconds of it.
_SETTLE_SECONDS: Final = 0.5


async def seal_topic(brokers: Brokers, topic: Topic) -> None:
    """Seal the topic; returns once every leader refuses, and what it has is durable.

    Raises LogMissing, Misconfigured when the cluster does not permit it, Unavailable.
    """
    settings = await topic.settings()
    if settings[MAX_BYTES] != SEALED_BYTES:
        # The request replaces everything that was set on the topic.
        request = AlterConfigsRequest([(TOPIC, topic.name, list({**settings, MAX_BYTES: SEALED_BYTES}.items()))])
        (reply,) = await brokers.anywhere(request)
        ((error, words, *_),) = reply.resources
        if error:
            raise Misconfigured(f"topic {topic.name} cannot be sealed: allow us to alter its settings ({words})")
    for lane in range(topic.lanes):
        await _until(partial(_refuses, topic, lane))
    await asyncio.sleep(_SETTLE_SECONDS)
    for lane in range(topic.lanes):
        await _until(partial(_durable, topic, lane))


async def _until(seen: Callable[[], Awaitable[bool]]) -> None:
    while True:
        if await seen():
            return
        await asyncio.sleep(AGAIN_MS / 1_000)


async def _refuses(topic: Topic, lane: int) -> bool:
    """Tell whether the lane's leader refuses a batch for its size; it never keeps this one, whose checksum is wrong."""
    batch = ProduceRequest(None, _LEADER_ALONE, ANSWER_WAIT_MS, [(topic.name, [(lane, _corrupt())])])
    (row,) = await topic.ask(lane, batch)
    if row[1] not in {_CORRUPT, TOO_LARGE}:
        raise Unavailable(f"lane {lane} does not say whether it is sealed (error {row[1]})")
    found: bool = row[1] == TOO_LARGE
    return found


def _corrupt() -> bytes:
    builder = DefaultRecordBatchBuilder(2, 0, 0, -1, -1, -1, ANSWER_WAIT_MS)
    builder.append(0, 0, None, b"", [])
    batch = bytearray(builder.build())
    batch[_CHECKSUM] ^= 0xFF
    return bytes(batch)


async def _durable(topic: Topic, lane: int) -> bool:
    return await _end(topic, lane, _READER) >= await _end(topic, lane, _DEBUGGER)


async def _end(topic: Topic, lane: int, who: int) -> int:
    row: Any
    (row,) = await topic.ask(lane, OffsetRequest(who, _READ_UNCOMMITTED, [(topic.name, [(lane, _END)])]))
    if row[1]:
        raise Unavailable(f"the end of lane {lane} cannot be read (error {row[1]})")
    found: int = row[3]
    return found
