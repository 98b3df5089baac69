"""The aggregator's workers on the memory log and LIVE with the real RAW: nothing lost, nothing twice, whatever dies."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path

import pytest

from aggregator.account import decode_account
from aggregator.store import UsageStore
from aggregator.worker.lane import LaneWorker
from aggregator.worker.sink import Sink
from catalog.terms import FeatureTerms, Snapshot, SubscriptionStatus, Terms, encode_account_record
from ingest.event import NO_DIGEST, NO_REQUEST, UsageEvent, content_digest, encode_usage, key_digest
from ingest.verdict import Outcome, Verdict
from kernel.clock import SystemClock
from kernel.engine.live.base import READY
from kernel.engine.live.memory import MemoryLive
from kernel.engine.log.memory import MemoryLog
from kernel.engine.raw.clickhouse import ClickHouse
from kernel.period import DAY_MS
from kernel.quantity import UNITS_PER_ONE
from kernel.telemetry import Telemetry

ORGANIZATION = b"o" * 16
CUSTOMERS = [bytes([n]) * 16 for n in range(1, 6)]
OPEN, LIMITED = b"f" * 16, b"l" * 16
NOW_MS = SystemClock().now_ms()
START_US = (NOW_MS // DAY_MS * DAY_MS - 3 * DAY_MS) * 1_000


def snapshot(customer: bytes, rev: int, cut: int = 0) -> Snapshot:
    day = START_US // (DAY_MS * 1_000)
    features = (
        FeatureTerms(feature=OPEN, code="open", kind="metered", included=None),
        FeatureTerms(feature=LIMITED, code="limited", kind="metered", included=5 * UNITS_PER_ONE),
    )
    terms = Terms(
        number=1,
        subscription="sub_1",
        plan="pln_1",
        start_us=START_US,
        anchor=day,
        since=day,
        free=False,
        features=features,
    )
    status = SubscriptionStatus.ACTIVE
    return Snapshot(
        organization=ORGANIZATION,
        customer=customer,
        rev=rev,
        status=status,
        end_us=None,
        terms=terms,
        next=None,
        cut=cut,
    )


def event(customer: bytes, key: str = "", quantity: str = "1", feature: bytes = OPEN) -> UsageEvent:
    return UsageEvent(
        organization=ORGANIZATION,
        customer=customer,
        feature=feature,
        event_time_us=NOW_MS * 1_000,
        at_ms=SystemClock().now_ms(),
        clock_ms=None,
        quantity=quantity,
        key=key,
        digest=key_digest(b"s" * 32, ORGANIZATION, customer, "b", key) if key else NO_DIGEST,
        content=content_digest(feature, quantity),
        request=NO_REQUEST,
    )


class World:
    """One lane on stores that outlive its workers."""

    def __init__(self, raw: ClickHouse) -> None:
        self.clock = SystemClock()
        self.log = MemoryLog(epoch=1, lanes=1, clock=self.clock)
        self.live = MemoryLive(self.clock)
        self.raw = raw
        self.store = UsageStore(raw)
        self.telemetry = Telemetry()
        self.told: dict[int, list[list[Outcome]]] = {}

    def publish(self, epoch: int, lane: int, offset: int, outcomes: Sequence[Outcome]) -> None:
        self.told.setdefault(offset, []).append(list(outcomes))

    @asynccontextmanager
    async def running(self) -> AsyncIterator[tuple[LaneWorker, Sink]]:
        sink = Sink(
            log=self.log,
            live=self.live,
            store=self.store,
            clock=self.clock,
            telemetry=self.telemetry,
            retain_bytes=2**20,
        )
        worker = LaneWorker(
            0,
            log=self.log,
            live=self.live,
            store=self.store,
            sink=sink,
            publish=self.publish,
            clock=self.clock,
            telemetry=self.telemetry,
        )
        tasks = [asyncio.create_task(worker.run()), asyncio.create_task(sink.run())]
        try:
            yield worker, sink
        finally:
            for task in tasks:
                task.cancel()
            ended = await asyncio.gather(*tasks, return_exceptions=True)
            assert all(isinstance(one, asyncio.CancelledError) or one is None for one in ended), ended

    async def folded(self, timeout_s: float = 10) -> None:
        async with asyncio.timeout(timeout_s):
            while True:
                header = (await self.live.view(0, ())).header
                if header and header.state == READY and header.next == (await self.log.bounds(0)).end:
                    return
                await asyncio.sleep(0.002)

    async def usage(self, *events: UsageEvent) -> int:
        return await self.log.append(0, encode_usage("gw", list(events)))

    async def used(self, customer: bytes) -> dict[bytes, Decimal]:
        [state] = (await self.live.view(0, [customer])).accounts
        totals = decode_account(state.account).totals if state.account else {}
        return {key[0]: Decimal(total.now) / UNITS_PER_ONE for key, total in totals.items()}


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    raw = await ClickHouse.open(f"chdb://{tmp_path / 'raw'}")
    world = World(raw)
    await world.store.create()
    await world.log.create()
    yield world
    await raw.close()


async def test_events_are_judged_told_and_sunk(world: World) -> None:
    async with world.running() as (worker, sink):
        await world.folded()
        await world.log.append(0, encode_account_record("gw", snapshot(CUSTOMERS[0], 1)))
        offset = await world.usage(event(CUSTOMERS[0], "a"), event(CUSTOMERS[0], "a"), event(CUSTOMERS[1], "b"))
        await world.folded()
        assert worker.ready
        [verdicts] = world.told[offset]
        assert [outcome.verdict for outcome in verdicts] == [Verdict.COUNTED, Verdict.DUPLICATE, Verdict.REFUSED]
        assert await world.used(CUSTOMERS[0]) == {OPEN: Decimal(1)}
        await sink.flush()
        assert (await world.store.progress(1))[0][0] == 2
        rows = await world.raw.query("SELECT `index`, verdict, cut FROM events FINAL ORDER BY `index`")
        assert rows == [(0, "counted", 1), (1, "duplicate", 0), (2, "refused", 0)]
