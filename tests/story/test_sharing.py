"""Two aggregators and a gateway of another process, on stores in memory: lanes move, verdicts arrive all the same."""

import asyncio
import time
from contextlib import asynccontextmanager

import pytest

from aggregator.store import UsageStore
from aggregator.worker.lane import LaneWorker
from aggregator.worker.lanes import Lanes
from aggregator.worker.ownership import Ownership
from aggregator.worker.raw_wait import RawWait
from aggregator.worker.refusal_sink import RefusalSink
from aggregator.worker.sink import Sink
from ingest.event import encode_usage
from ingest.gateway import VerdictHub, VerdictListener
from ingest.verdict import Verdict
from kernel import ids
from kernel.clock import SystemClock
from kernel.engine.live.memory import MemoryLive
from kernel.engine.log.memory import MemoryLog
from kernel.lane import lane_of
from kernel.limits import MEMBER_LASTS_MS
from kernel.telemetry import Telemetry
from tests.raw_adapter import opened_with_tables
from tests.story.test_aggregator import event

LANES = 4
CUSTOMERS = [ids.new_bytes(1_700_000_000_000 + n) for n in range(40)]


class World:
    def __init__(self, raw):
        self.clock = SystemClock()
        self.log = MemoryLog(epoch=1, lanes=LANES, clock=self.clock)
        self.live = MemoryLive(self.clock)
        self.store = UsageStore(raw)
        self.telemetry = Telemetry()
        self.hub = VerdictHub(1)
        self.listener = VerdictListener("gw_far", LANES, self.live, self.hub, 1)
        self.sent = 0

    @asynccontextmanager
    async def aggregator(self, name):
        """Run one; leaving is its end in order."""
        sink = Sink(
            log=self.log,
            live=self.live,
            store=self.store,
            clock=self.clock,
            telemetry=self.telemetry,
            retain_ms=600_000,
            retain_bytes=2**20,
        )

        def worker(lane):
            return LaneWorker(
                lane,
                log=self.log,
                live=self.live,
                store=self.store,
                sink=sink,
                publish=lambda *_: None,
                clock=self.clock,
                telemetry=self.telemetry,
            )

        lanes = Lanes(worker, sink)
        ownership = Ownership(name, LANES, lanes, self.live, self.telemetry)
        tasks = [asyncio.create_task(sink.run()), asyncio.create_task(ownership.run())]
        try:
            yield lanes, ownership
        finally:
            tasks[1].cancel()
            await ownership.leave()
            await lanes.stop()
            await sink.flush()
            tasks[0].cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def send(self, number):
        """Append one event as a gateway elsewhere does, and wait for what it hears."""
        customer = CUSTOMERS[number % len(CUSTOMERS)]
        lane = lane_of(customer, LANES)
        offset = await self.log.append(lane, encode_usage("gw_far", [event(customer=customer, key=f"key-{self.sent}")]))
        self.sent += 1
        return await self.hub.wait(lane, offset, 30_000)


@pytest.fixture
async def world(tmp_path):
    raw = await opened_with_tables(tmp_path / "raw")
    made = World(raw)
    await made.log.create()
    listening = asyncio.create_task(made.listener.run())
    yield made
    listening.cancel()
    await asyncio.gather(listening, return_exceptions=True)
    await raw.close()


async def until(holds, seconds=10):
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, "it did not come to pass"
        await asyncio.sleep(0.01)


async def test_lanes_follow_who_is_there_and_every_verdict_is_heard(world):
    async with world.aggregator("a") as (first, _):
        await until(lambda: set(first.workers) == {0, 1, 2, 3})
        assert [one.verdict for one in await world.send(0)] == [Verdict.REFUSED]  # nobody has subscribed
        async with world.aggregator("b") as (second, _):
            await until(lambda: (set(first.workers), set(second.workers)) == ({0, 2}, {1, 3}))
            assert None not in await asyncio.gather(*(world.send(n) for n in range(80)))
        await until(lambda: set(first.workers) == {0, 1, 2, 3})
        assert None not in await asyncio.gather(*(world.send(n) for n in range(80)))
        await RawWait(world.log, world.live, world.store).flush()
    rows = await world.store.raw.query("SELECT count(), countDistinct(key) FROM events FINAL")
    assert rows == [(world.sent, world.sent)]


async def test_one_that_died_is_missed_when_its_last_beat_ends(world):
    await world.live.beat("a", lasts_ms=MEMBER_LASTS_MS)  # it said that it is here, and then no more
    died = time.monotonic()
    async with world.aggregator("b") as (lanes, _):
        await until(lambda: set(lanes.workers) == {1, 3})
        await until(lambda: set(lanes.workers) == {0, 1, 2, 3})
        assert MEMBER_LASTS_MS / 1_000 - 0.1 < time.monotonic() - died < 5


async def test_while_live_is_away_everybody_keeps_what_it_had(world):
    async with world.aggregator("a") as (lanes, ownership):
        await until(lambda: len(lanes.workers) == LANES and lanes.not_ready() is None)
        before = dict(lanes.workers)
        world.live.away = True
        await asyncio.sleep(MEMBER_LASTS_MS / 1_000 + 0.5)
        assert lanes.workers == before
        world.live.away = False
        await until(lambda: lanes.not_ready() is None)
        assert ownership.joined
        assert await world.send(3) is not None


async def test_what_was_told_while_nobody_listened_is_read(world):
    async with world.aggregator("a") as (lanes, _):
        await until(lambda: len(lanes.workers) == LANES and lanes.not_ready() is None)
        await until(lambda: world.listener.listening)
        customer = CUSTOMERS[0]
        lane = lane_of(customer, LANES)
        world.live.away = True
        await until(lambda: not world.listener.listening)
        offset = await world.log.append(lane, encode_usage("gw_far", [event(customer=customer, key="unheard")]))
        waiting = asyncio.create_task(world.hub.wait(lane, offset, 10_000))
        world.live.away = False
        assert await waiting is not None


async def test_refusals_wait_while_raw_is_away_and_no_longer_than_there_is_room(world, monkeypatch):
    monkeypatch.setattr("aggregator.worker.refusal_sink._WAITING_MAX", 3)
    sink = RefusalSink(world.store, world.telemetry)
    for _ in range(5):
        sink.keep(object())
    assert b"meterline_refusals_dropped_total 2.0" in world.telemetry.render()
