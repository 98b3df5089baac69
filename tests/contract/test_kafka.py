"""What only the log on Kafka has: settings it refuses, a producer that is dropped, a broker that is killed."""

import asyncio
import contextlib
import secrets
import struct
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from kernel.clock import SystemClock
from kernel.engine.log.kafka import KafkaLog
from kernel.engine.log.kafka_broker import EXISTS, Address, addresses
from kernel.engine.log.kafka_topic import compare, safe_settings
from kernel.engine.opening import open_log
from kernel.errors import Fatal, LogMissing, Misconfigured, Unavailable, Unknown
from kernel.limits import APPEND_WAIT_MS
from kernel.settings import load_settings
from meterline.stack.kafka import VERSION, KafkaServer, fetched
from tests.contract.conftest import open_kafka_log

SAFE = {
    "retention.ms": "-1",
    "retention.bytes": "-1",
    "cleanup.policy": "delete",
    "message.timestamp.type": "LogAppendTime",
    "unclean.leader.election.enable": "false",
    "min.insync.replicas": "1",
    "max.message.bytes": "1048588",
}


@pytest.fixture
def prefix() -> str:
    return secrets.token_hex(4)


@contextlib.asynccontextmanager
async def opened(server: KafkaServer, prefix: str) -> AsyncIterator[KafkaLog]:
    log = await open_kafka_log(server, prefix)
    try:
        await log.create()
        yield log
    finally:
        server.thaw()
        await log.close()


async def make_topic(server: KafkaServer, name: str, settings: dict[str, str], partitions: int = 2) -> None:
    """Make a topic as an operator does; the driver raises nothing when the cluster answers that it did not."""
    admin = AIOKafkaAdminClient(bootstrap_servers=server.bootstrap)
    await admin.start()
    try:
        async with asyncio.timeout(30):
            while True:
                reply = await admin.create_topics([NewTopic(name, partitions, 1, topic_configs=settings)])
                ((_, error, *_),) = reply.topic_errors
                if error in {0, EXISTS}:
                    break
                await asyncio.sleep(0.1)
            while (await admin.describe_topics([name]))[0]["error_code"] != 0:  # the controller knows it first
                await asyncio.sleep(0.01)
    finally:
        await admin.close()


# --- settings ----------------------------------------------------------------------------------------------------


async def test_a_topic_made_by_an_operator_is_taken_when_it_loses_nothing(
    kafka_server: KafkaServer, prefix: str
) -> None:
    await make_topic(kafka_server, f"{prefix}.3", SAFE)
    async with opened(kafka_server, prefix) as log:
        assert await log.append(1, b"a") == 0


@pytest.mark.parametrize(
    ("name", "value", "what_to_set"),
    [
        ("retention.ms", "604800000", "-1"),
        ("retention.bytes", "1000000", "-1"),
        ("cleanup.policy", "compact", "delete"),
        ("cleanup.policy", "compact,delete", "delete"),
        ("message.timestamp.type", "CreateTime", "LogAppendTime"),
        ("unclean.leader.election.enable", "true", "false"),
        ("max.message.bytes", "100000", "525312 or more"),
    ],
)
async def test_a_topic_that_would_lose_records_is_not_opened(
    kafka_server: KafkaServer, prefix: str, name: str, value: str, what_to_set: str
) -> None:
    await make_topic(kafka_server, f"{prefix}.3", {**SAFE, name: value})
    with pytest.raises(Misconfigured, match=f"{name} {value}: set it to {what_to_set}"):
        await open_kafka_log(kafka_server, prefix)


@pytest.mark.parametrize(("replicas", "refused"), [(1, False), (2, True), (3, True), (5, True)])
def test_a_record_counts_when_two_replicas_have_it(replicas: int, refused: bool) -> None:
    with (
        pytest.raises(Misconfigured, match=r"min\.insync\.replicas 1: set it to 2")
        if refused
        else contextlib.nullcontext()
    ):
        compare("topic t", SAFE, safe_settings(replicas))


async def test_create_refuses_a_topic_that_appeared_meanwhile_with_wrong_settings(
    kafka_server: KafkaServer, prefix: str
) -> None:
    log = await open_kafka_log(kafka_server, prefix)
    try:
        await make_topic(kafka_server, f"{prefix}.3", {**SAFE, "retention.ms": "1000"})
        with pytest.raises(Misconfigured, match=r"retention\.ms"):
            await log.create()
    finally:
        await log.close()


async def test_a_topic_with_other_lanes_is_not_opened(kafka_server: KafkaServer, prefix: str) -> None:
    await make_topic(kafka_server, f"{prefix}.3", SAFE, partitions=3)
    with pytest.raises(Misconfigured, match="3 partitions, the deployment 2 lanes"):
        await open_kafka_log(kafka_server, prefix)


async def test_one_broker_is_used_only_when_it_is_meant(kafka_server: KafkaServer, prefix: str) -> None:
    settings = load_settings({}, log_url=f"{kafka_server.log_url}/{prefix}")
    log = await open_log(settings, epoch=3, lanes=2, clock=SystemClock())
    with pytest.raises(Misconfigured, match=r"cannot be made: .*replication factor"):
        await log.create()
    await log.close()
    await make_topic(kafka_server, f"{prefix}.3", SAFE)
    with pytest.raises(Misconfigured, match="METERLINE_LOG_REPLICAS"):
        await open_log(settings, epoch=3, lanes=2, clock=SystemClock())


async def test_a_cluster_that_is_not_there_is_unavailable() -> None:
    with pytest.raises(Unavailable):
        await open_log(load_settings({}, log_url="kafka://127.0.0.1:1"), epoch=1, lanes=1, clock=SystemClock())


@pytest.mark.parametrize(
    "url", ["kafka://", "kafka://host:port", "kafka://a:1,,b:2", "kafka://me:secret@a:1", "kafka://a:1/b/c"]
)
async def test_a_url_without_brokers_says_what_to_set(url: str) -> None:
    with pytest.raises(Misconfigured, match="METERLINE_LOG_URL"):
        await open_log(load_settings({}, log_url=url), epoch=1, lanes=1, clock=SystemClock())


def test_brokers_are_read_from_the_url() -> None:
    assert addresses("a:1,b,c:3") == [Address("a", 1), Address("b", 9092), Address("c", 3)]


async def test_nothing_makes_a_topic_but_create(kafka_server: KafkaServer, prefix: str) -> None:
    log = await open_kafka_log(kafka_server, prefix)
    for call in (log.append(0, b"a"), log.bounds(0), log.volume()):
        with pytest.raises(LogMissing):
            await call
    assert (await log._topic.look()).partitions is None
    await log.close()


# --- appends -----------------------------------------------------------------------------------------------------


async def test_an_append_without_an_answer_ends_the_others_to_its_lane_at_once(
    kafka_server: KafkaServer, prefix: str
) -> None:
    async with opened(kafka_server, prefix) as log:
        await log.append(0, b"before")
        first = log._writers[0]
        kafka_server.freeze()
        began = time.monotonic()
        one = asyncio.create_task(log.append(0, b"one"))
        await asyncio.sleep(APPEND_WAIT_MS / 2000)
        others = [asyncio.create_task(log.append(0, b"other %d" % number)) for number in range(20)]
        ends = await asyncio.gather(one, *others, return_exceptions=True)
        assert [type(end) for end in ends] == [Unknown] * 21
        assert time.monotonic() - began < APPEND_WAIT_MS / 1000 + 0.5
        assert first.ended
        await first.gone()
        kafka_server.thaw()
        after = await log.append(0, b"after")
        assert log._writers[0] is not first
        found = [record.data for record in await log.read(0, 0, records_max=100, wait_ms=0)]
        assert found[after] == b"after"
        assert not [data for data in found if data.startswith(b"other")], "they were never sent"


async def test_an_answer_that_got_lost_is_asked_for_again_without_a_second_record(
    kafka_server: KafkaServer, prefix: str
) -> None:
    async with opened(kafka_server, prefix) as log, swallowing(kafka_server, answers=1) as (address, swallowed):
        await log.append(0, b"before")
        log._topic._leaders[0] = address
        assert await log.append(0, b"lost answer") == 1
        assert swallowed == [1], "the broker had answered"
        assert await log.append(0, b"after") == 2
        found = [record.data for record in await log.read(0, 0, records_max=100, wait_ms=0)]
        assert found == [b"before", b"lost answer", b"after"]


async def test_a_leader_that_is_gone_without_a_word_is_looked_for_again(kafka_server: KafkaServer, prefix: str) -> None:
    async with opened(kafka_server, prefix) as log, silent() as address:
        log._topic._leaders = {0: address, 1: address}
        ends = await asyncio.gather(log.append(0, b"a"), log.bounds(1), return_exceptions=True)
        assert [type(end) for end in ends] == [Unknown, Unavailable]
        assert await log.append(0, b"b") == 0
        assert (await log.bounds(1)).end == 0


async def test_a_cancelled_append_that_was_not_sent_never_is(kafka_server: KafkaServer, prefix: str) -> None:
    async with opened(kafka_server, prefix) as log:
        await log.append(0, b"before")
        kafka_server.freeze()
        sent = asyncio.create_task(log.append(0, b"sent"))
        await asyncio.sleep(0.05)
        waiting = asyncio.create_task(log.append(0, b"waiting"))
        await asyncio.sleep(0.05)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        kafka_server.thaw()
        assert await sent == 1
        assert await log.append(0, b"after") == 2


async def test_records_of_many_sizes_travel_in_batches_that_the_topic_takes(
    kafka_server: KafkaServer, prefix: str
) -> None:
    sizes = [number * 7_919 % 262_144 for number in range(120)]
    async with opened(kafka_server, prefix) as log:
        offsets = await asyncio.gather(*(log.append(0, bytes(size)) for size in sizes))
        assert offsets == list(range(120))
        records = await log.read(0, 0, records_max=1_000, wait_ms=0)
        assert [len(record.data) for record in records] == sizes


async def test_trim_by_bytes_is_near_in_a_lane_of_many_records(kafka_server: KafkaServer, prefix: str) -> None:
    async with opened(kafka_server, prefix) as log:
        await asyncio.gather(*(log.append(0, bytes(500 + number % 7 * 100)) for number in range(1_000)))
        begin = await log.trim(0, 1_000, keep_ms=10**12, keep_bytes=200_000)
        kept = sum(len(record.data) for record in await log.read(0, begin, records_max=1_000, wait_ms=0))
        assert 150_000 < kept < 250_000


# --- the broker --------------------------------------------------------------------------------------------------


async def test_a_broker_killed_under_load_keeps_every_acknowledged_record(tmp_path: Path) -> None:
    with KafkaServer(tmp_path / "kafka") as server:
        print(server.told())
        async with opened(server, "killed") as log:
            acknowledged: dict[tuple[int, int], bytes] = {}
            unknown: list[bytes] = []
            number = 0

            async def send() -> None:
                nonlocal number
                while not stop.is_set():
                    number += 1
                    data = b"%d" % number
                    lane = number % 2
                    try:
                        acknowledged[lane, await log.append(lane, data)] = data
                    except Unknown:
                        unknown.append(data)
                        return

            stop = asyncio.Event()
            senders = [asyncio.create_task(send()) for _ in range(200)]
            await asyncio.sleep(1)
            assert log._writers[0]._under_way or log._writers[1]._under_way
            pid = server.pid
            server.kill()
            await asyncio.gather(*senders)
            assert len(unknown) == 200
            assert len(acknowledged) > 200
            with pytest.raises(Unavailable):
                await log.bounds(0)
            file = server._settings_file
            file.write_text(
                file.read_text().replace("auto.create.topics.enable=false", "auto.create.topics.enable=true")
            )
            took = server.start()
            print(f"{server.told()}: back after SIGKILL of {pid} in {took:.1f} s")
            found: dict[tuple[int, int], bytes] = {}
            for lane in range(2):
                end = (await log.bounds(lane)).end
                place = 0
                while place < end:
                    for record in await log.read(lane, place, records_max=500, wait_ms=0):
                        found[lane, record.offset] = record.data
                        place = record.offset + 1
            lost = {place: data for place, data in acknowledged.items() if found.get(place) != data}
            assert lost == {}
            assert len(set(found.values())) == len(found), "one append left two records"
            assert set(found.values()) - set(acknowledged.values()) <= set(unknown)
            assert await log.append(0, b"after") == (await log.bounds(0)).end - 1
        with pytest.raises(Misconfigured, match=r"broker 1 has auto\.create\.topics\.enable true: set it to false"):
            await open_kafka_log(server, "killed")


def test_jars_that_are_not_those_published_are_not_run(tmp_path: Path) -> None:
    (tmp_path / VERSION).mkdir()
    (tmp_path / VERSION / "kafka-clients.jar").write_bytes(b"something else")
    with pytest.raises(Fatal, match="remove it"):
        fetched(tmp_path)


@contextlib.asynccontextmanager
async def silent() -> AsyncIterator[Address]:
    """Listen and never say a word."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as listening:
        yield Address("127.0.0.1", listening.sockets[0].getsockname()[1])


@contextlib.asynccontextmanager
async def swallowing(server: KafkaServer, *, answers: int) -> AsyncIterator[tuple[Address, list[int]]]:
    """Stand before the broker and cut the connection in place of the first `answers` answers to an append."""
    host, _, port = server.bootstrap.rpartition(":")
    swallowed: list[int] = []
    produce = 0  # the protocol's number of that request

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        theirs, ours = await asyncio.open_connection(host, port)
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                request = await frame(reader)
                ours.write(request)
                reply = await frame(theirs)
                if struct.unpack_from(">h", request, 4) == (produce,) and len(swallowed) < answers:
                    swallowed.append(1)
                    break
                writer.write(reply)
        ours.close()
        writer.close()

    async def frame(reader: asyncio.StreamReader) -> bytes:
        size = await reader.readexactly(4)
        return size + await reader.readexactly(*struct.unpack(">i", size))

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as listening:
        yield Address("127.0.0.1", listening.sockets[0].getsockname()[1]), swallowed
