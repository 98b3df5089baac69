"""A new epoch of the log, with other lanes: accounts, keys and cuts are carried, and a rebuild gives the same bytes."""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from aggregator.account import decode_account
from aggregator.store import UsageStore
from aggregator.worker.lane import LaneWorker
from aggregator.worker.sink import Sink
from catalog.terms import encode_account_record
from ingest.event import encode_usage
from ingest.verdict import Outcome, Verdict
from kernel.clock import SystemClock
from kernel.engine.live.base import READY, LaneHeader
from kernel.engine.live.memory import MemoryLive
from kernel.engine.log.memory import MemoryLog
from kernel.engine.raw.clickhouse import ClickHouse
from kernel.lane import lane_of
from kernel.limits import KEY_MEMORY_MS
from kernel.telemetry import Telemetry
from tests.raw_adapter import opened_with_tables
from tests.story.test_aggregator import LIMITED, OPEN, event, snapshot

DAY_MS = 86_400_000
CUSTOMERS = [bytes([n]) * 16 for n in range(1, 13)]


class World:
    """RAW and LIVE that outlive the epochs of the log."""

    def __init__(self, raw: ClickHouse) -> None:
        self.clock = SystemClock()
        self.raw = raw
        self.live = MemoryLive(self.clock)
        self.store = UsageStore(raw)
        self.told: dict[tuple[int, int, int], list[Outcome]] = {}
        self.log = MemoryLog(epoch=1, lanes=2, clock=self.clock)

    async def begin(self, epoch: int, lanes: int) -> None:
        self.log = MemoryLog(epoch=epoch, lanes=lanes, clock=self.clock)
        await self.log.create()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Sink]:
        ports: dict[str, Any] = {"log": self.log, "live": self.live, "store": self.store, "clock": self.clock}
        ports["telemetry"] = Telemetry()
        sink = Sink(**ports, retain_ms=600_000, retain_bytes=2**20)

        def publish(epoch: int, lane: int, offset: int, outcomes: Any) -> None:
            self.told[epoch, lane, offset] = list(outcomes)

        async with AsyncExitStack() as stack:
            workers = [LaneWorker(lane, **ports, sink=sink, publish=publish) for lane in range(self.log.lanes)]
            for work in (sink.run(), *(worker.run() for worker in workers)):
                stack.callback(asyncio.create_task(work).cancel)
            yield sink
            await self.folded()
            await sink.flush()

    async def header(self, lane: int) -> LaneHeader | None:
        return (await self.live.view(lane, ())).header

    async def folded(self) -> None:
        async with asyncio.timeout(10):
            for lane in range(self.log.lanes):
                while True:
                    header = await self.header(lane)
                    end = (await self.log.bounds(lane)).end
                    if header and header.state == READY and (header.epoch, header.next) == (self.log.epoch, end):
                        break
                    await asyncio.sleep(0.005)
        await asyncio.sleep(0.02)

    async def usage(self, customer: bytes, *keys: str, feature: bytes = OPEN) -> list[Verdict]:
        lane = lane_of(customer, self.log.lanes)
        offset = await self.log.append(
            lane, encode_usage("gw", [event(customer, key, feature=feature) for key in keys])
        )
        await self.folded()
        return [one.verdict for one in self.told[self.log.epoch, lane, offset]]

    async def account(self, customer: bytes, rev: int, cut: int = 0) -> None:
        await self.log.append(
            lane_of(customer, self.log.lanes), encode_account_record("gw", snapshot(customer, rev, cut))
        )

    async def bytes_of(self) -> list[dict[str, Any]]:
        dumps = [await self.live.dump(lane) for lane in range(self.log.lanes)]
        return [{name: dump[name] for name in dump if name != "header" and dump[name]} for dump in dumps]

    async def totals(self) -> dict[bytes, tuple[int, dict[bytes, tuple[int, int]]]]:
        found = {}
        for customer in CUSTOMERS:
            [state] = (await self.live.view(lane_of(customer, self.log.lanes), [customer])).accounts
            assert state.account is not None
            account = decode_account(state.account)
            sums = {key[0]: (total.now, total.at_cut) for key, total in account.totals.items()}
            found[customer] = (account.cut, sums)
        return found


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    raw = await opened_with_tables(tmp_path / "raw")
    world = World(raw)
    await world.log.create()
    yield world
    await raw.close()


@pytest.mark.parametrize("lanes", [1, 2, 3])
async def test_what_counted_is_carried_into_other_lanes(world: World, lanes: int) -> None:
    chance = random.Random(lanes)
    async with world.running():
        for customer in CUSTOMERS:
            await world.account(customer, 1)
            assert await world.usage(customer, "once") == [Verdict.COUNTED]
            for _ in range(chance.randint(0, 7)):
                await world.usage(customer, "", feature=LIMITED)
            await world.account(customer, 2, cut=1)
            assert await world.usage(customer, "later") == [Verdict.COUNTED]
        before = await world.totals()
        clocks = [header.clock_ms for lane in range(2) if (header := await world.header(lane))]

    for epoch in (2, 3):
        await world.begin(epoch, lanes + epoch - 2)
        async with world.running():
            await world.folded()
            assert await world.totals() == before
            for lane in range(world.log.lanes):
                header = await world.header(lane)
                assert header is not None
                assert (header.epoch, header.next) == (epoch, 0)
                assert header.clock_ms >= max(clocks)
            for customer in CUSTOMERS:
                assert await world.usage(customer, "once", "later") == [Verdict.DUPLICATE] * 2
                assert await world.usage(customer, f"new in {epoch}") == [Verdict.COUNTED]
            await world.account(CUSTOMERS[0], epoch + 1, cut=epoch)
        before, had = await world.totals(), await world.bytes_of()
        world.live.wipe()
        async with world.running():
            await world.folded()
        assert await world.bytes_of() == had


async def test_a_cut_is_found_in_the_epoch_where_it_was_taken(world: World) -> None:
    customer = CUSTOMERS[0]
    async with world.running():
        await world.account(customer, 1, cut=1)
    await world.begin(2, 3)
    async with world.running():
        await world.account(customer, 2, cut=2)
    name = (await world.raw.query("SELECT DISTINCT customer FROM account_records"))[0][0]
    first, second = lane_of(customer, 2), lane_of(customer, 3)
    assert await world.store.first_cut_position(name, 1) == (1, first, 0)
    assert await world.store.first_cut_position(name, 2) == (2, second, 0)


async def test_a_dead_letter_is_remembered_as_the_fold_did(world: World) -> None:
    """Fold, rebuild and the next epoch agree on it at the edge of 35 days, whatever the lane's clock was."""
    customer, first_ms = CUSTOMERS[0], world.clock.now_ms() - 60 * DAY_MS

    async def judged(at_ms: int, key: str, quantity: str = "1") -> tuple[Verdict, bool]:
        lane = lane_of(customer, world.log.lanes)
        sent = replace(event(customer, key, quantity), at_ms=at_ms)
        offset = await world.log.append(lane, encode_usage("gw", [sent]))
        await world.folded()
        [outcome] = world.told[world.log.epoch, lane, offset]
        return outcome.verdict, bool(outcome.original)

    async with world.running():
        await world.account(customer, 1)
        edge_ms = first_ms + KEY_MEMORY_MS
        assert await judged(first_ms, "k", "oops") == (Verdict.DEAD, False)
        assert await judged(edge_ms, "k", "oops") == (Verdict.DEAD, True)
        assert await judged(edge_ms + 1, "") == (Verdict.COUNTED, False)
        # Forgotten by now, so that this attempt is a dead letter of its own; it took effect long before the clock.
        assert await judged(first_ms + 10 * DAY_MS, "k", "oops") == (Verdict.DEAD, False)
        assert await judged(edge_ms + DAY_MS, "k") == (Verdict.DEAD, True)
    had = await world.bytes_of()
    world.live.wipe()
    async with world.running():
        await world.folded()
    assert await world.bytes_of() == had

    await world.begin(2, 3)
    async with world.running():
        await world.folded()
        assert await judged(edge_ms + 2 * DAY_MS, "k") == (Verdict.DEAD, True)
        assert await judged(edge_ms + 10 * DAY_MS, "k") == (Verdict.DEAD, True)
        assert await judged(edge_ms + 10 * DAY_MS + 1, "k") == (Verdict.COUNTED, False)
