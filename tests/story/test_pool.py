"""Pools under many writers: HTTP, log, fold and RAW together; the subscription's snapshot is written to the log."""

import asyncio

import pytest
from msgspec.structs import replace

from aggregator.account import decode_account
from aggregator.gateway import AccessGateway, Question
from aggregator.pool import Left
from aggregator.pool_left import left
from aggregator.store import UsageStore
from aggregator.worker.lane import LaneWorker
from aggregator.worker.rebuild import rebuild_lane
from aggregator.worker.sink import Sink
from catalog.definition import Principal
from catalog.terms import ConsumptionModel, FeatureTerms, TopUp, encode_account_record
from kernel import ids
from kernel.clock import SystemClock
from kernel.engine.live.base import READY
from kernel.engine.sql.sqlite import Sqlite
from kernel.lane import lane_of
from kernel.period import DAY_MS
from kernel.wire import Dialect
from tests.raw_adapter import opened_with_tables
from tests.story.test_ingest import LANES, World
from tests.unit.aggregator.pool_case import ONE, snapshot, terms

WRITERS = 64


class PoolWorld(World):
    """The gateway with the workers of the aggregator behind it, and one customer on a plan with a pool."""

    def __init__(self, sql, clock, raw):
        super().__init__(sql, clock)
        self.store = UsageStore(raw)
        self.sink = Sink(
            log=self.log,
            live=self.live,
            store=self.store,
            clock=clock,
            telemetry=self.telemetry,
            retain_ms=600_000,
            retain_bytes=2**20,
        )
        self.judge.fold = self._fold
        self.rev = 0

    async def ready(self, lane):
        """The lane's own worker makes it."""

    async def _fold(self, lane):
        worker = LaneWorker(
            lane,
            log=self.log,
            live=self.live,
            store=self.store,
            sink=self.sink,
            publish=self.hub.publish,
            clock=self.clock,
            telemetry=self.telemetry,
        )
        await asyncio.gather(worker.run(), self.sink.run()) if lane == 0 else await worker.run()

    async def subscribe(self, model, granted, **feature):
        """Put `anna` on a plan; the feature's terms are `feature`."""
        self.anna = (await self.catalog.customer(self.organization.id, "anna")).id
        self.lane = lane_of(self.anna, LANES)
        today = self.clock.now_ms() // DAY_MS
        plan = terms(
            model,
            granted,
            start_us=(today - 1) * DAY_MS * 1_000,
            anchor=today - 1,
            since=today - 1,
            features=(FeatureTerms(feature=self.calls.id, code="api_calls", kind="metered", **feature),),
        )
        self.snapshot = snapshot(plan, organization=self.organization.id, customer=self.anna)
        await self.show(self.snapshot)

    async def show(self, what):
        """Append a snapshot with the next revision, and wait until it is folded."""
        self.rev += 1
        self.snapshot = replace(what, rev=self.rev)
        offset = await self.log.append(self.lane, encode_account_record("gw", self.snapshot))
        async with asyncio.timeout(10):
            while True:
                header = (await self.live.view(self.lane, ())).header
                if header is not None and header.state == READY and header.next > offset:
                    return
                await asyncio.sleep(0.005)

    async def account(self):
        [stored] = (await self.live.view(self.lane, [self.anna])).accounts
        return decode_account(stored.account)

    async def left(self):
        return left(await self.account(), self.snapshot, self.clock.now_ms())

    async def access(self):
        principal = Principal(organization=self.organization.id, key_id="key_1")
        gateway = AccessGateway(self.live, self.catalog, self.clock)
        question = Question(customer="anna", code="api_calls", can_use=True)
        return gateway.one_of(await gateway.see(lambda: principal, question), question, Dialect.D)

    async def race(self, requests, **members):
        """Track from WRITERS writers at once, each again and again; gives statuses and codes by how often."""
        waiting, told = list(range(requests)), {}

        async def writer():
            while waiting:
                waiting.pop()
                status, answer = await self.track(**members)
                word = (status, answer.get("code"))
                told[word] = told.get(word, 0) + 1

        await asyncio.gather(*(writer() for _ in range(WRITERS)))
        return told


@pytest.fixture
async def world(tmp_path):
    sql = await Sqlite.open(f"sqlite:///{tmp_path / 'test.sqlite'}")
    raw = await opened_with_tables(tmp_path / "raw")
    made = PoolWorld(sql, SystemClock(), raw)
    await made.start()
    await made.customer("anna")
    yield made
    await made.stop()
    await raw.close()


async def test_of_a_thousand_credits_64_writers_get_exactly_a_hundred_uses_of_ten(world):
    """R-TRACK-23, R-CREDIT-5, R-TRACK-24."""
    await world.subscribe(ConsumptionModel.CREDITS, 1_000, credits="10")
    assert await world.race(300) == {(200, None): 100, (402, "insufficient_credits"): 200}
    assert await world.left() == Left(plan=0, extra=0, overdraft=0)
    may = await world.access()
    assert (may["allowed"], may["reason"]) == (False, "credits_exhausted")

    await world.show(replace(world.snapshot, packs=500 * ONE))
    assert (await world.access())["allowed"]
    assert await world.race(200) == {(200, None): 50, (402, "insufficient_credits"): 150}
    assert (await world.account()).packs == 500 * ONE


async def test_a_hard_balance_is_not_oversold_and_a_top_up_helps(world):
    """R-TRACK-23, R-BAL-7, R-TOPUP-2."""
    await world.subscribe(ConsumptionModel.BALANCE, 5, unit_price="0.1")
    assert await world.race(150) == {(200, None): 50, (402, "insufficient_balance"): 100}
    window = world.snapshot.terms.anchor
    await world.show(replace(world.snapshot, top_ups=(TopUp(term=1, window=window, amount=2 * ONE),)))
    assert await world.race(100) == {(200, None): 20, (402, "insufficient_balance"): 80}


async def test_an_answer_says_what_was_taken_and_what_is_left(world):
    """R-TRACK-9, R-BAL-3."""
    await world.subscribe(
        ConsumptionModel.BALANCE,
        1,
        unit_price="0.3",
    )
    _, answer = await world.track(value=2)
    assert answer["consumption"] == {
        "model": "balance",
        "deducted": 60,
        "remaining": 40,
        "blocked": False,
        "deductedDecimal": "0.6",
        "remainingDecimal": "0.4",
        "costDecimal": "0.6",
    }
    status, answer = await world.track(value=2)
    assert (status, answer["code"], answer["error"]["details"]["eventId"][:4]) == (402, "insufficient_balance", "evt_")
    await world.show(replace(world.snapshot, terms=replace(world.snapshot.terms, overdraft=True)))
    _, answer = await world.track(value=2)
    assert (answer["consumption"]["deducted"], answer["consumption"]["remaining"]) == (60, -20)


async def test_a_lane_that_is_made_again_has_the_same_pools(world):
    """R-CREDIT-3."""
    await world.subscribe(ConsumptionModel.CREDITS, 100, credits="10")
    await world.show(replace(world.snapshot, packs=50 * ONE))
    assert (await world.race(20))[200, None] == 15
    await world.sink.flush()
    before, header = await world.account(), (await world.live.view(world.lane, ())).header
    assert await rebuild_lane(
        world.lane,
        log=world.log,
        live=world.live,
        store=world.store,
        clock=world.clock,
        telemetry=world.telemetry,
        expected_token=header.token,
    )
    assert await world.account() == before
    found = await world.store.draws_at_cut(world.organization.id_text, {ids.id_text(ids.CUSTOMER, world.anna): 1})
    assert [(one.term, one.at_cut.plan, one.at_cut.packs) for one in found] == [(1, 100 * ONE, 50 * ONE)]
    status, answer = await world.track()
    assert (status, answer["code"]) == (402, "insufficient_credits")
