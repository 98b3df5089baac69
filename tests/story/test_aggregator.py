"""The aggregator's workers on the memory log and LIVE with the real RAW: nothing lost, nothing twice, whatever dies."""

import asyncio
import random
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from aggregator.account import decode_account
from aggregator.fold import RULES
from aggregator.row import EventColumns
from aggregator.store import UsageStore
from aggregator.worker.lane import LaneWorker
from aggregator.worker.rebuild import rebuild_lane
from aggregator.worker.sink import Sink
from catalog.terms import FeatureTerms, Snapshot, SubscriptionStatus, Terms, encode_account_record
from ingest.event import NO_DIGEST, NO_REQUEST, UsageEvent, content_digest, encode_usage, key_digest
from ingest.verdict import Outcome, Verdict
from kernel import ids
from kernel.clock import SystemClock
from kernel.engine.live.base import READY
from kernel.engine.live.memory import MemoryLive
from kernel.engine.log.memory import MemoryLog
from kernel.engine.raw.clickhouse import ClickHouse
from kernel.period import DAY_MS
from kernel.quantity import UNITS_PER_ONE
from kernel.telemetry import Telemetry
from tests.raw_adapter import opened_with_tables

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


class Halting:
    """A store with a pause before and after every call, so that a worker can be ended on either side of it."""

    def __init__(self, store: Any) -> None:
        self._store = store

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._store, name)
        if not asyncio.iscoroutinefunction(found):
            return found

        async def call(*args: Any, **kwargs: Any) -> Any:
            await asyncio.sleep(0)
            result = await found(*args, **kwargs)
            await asyncio.sleep(0)
            return result

        return call


class World:
    """One lane on stores that outlive its workers."""

    def __init__(self, raw: ClickHouse) -> None:
        self.clock = SystemClock()
        self.log = MemoryLog(epoch=1, lanes=1, clock=self.clock)
        self.live = MemoryLive(self.clock)
        self.raw = raw
        self.store = UsageStore(raw)
        self.telemetry = Telemetry()
        self.retain_ms = 600_000
        self.told: dict[int, list[list[Outcome]]] = {}

    def publish(self, epoch: int, lane: int, offset: int, outcomes: Sequence[Outcome]) -> None:
        self.told.setdefault(offset, []).append(list(outcomes))

    @asynccontextmanager
    async def running(self) -> AsyncIterator[tuple[LaneWorker, Sink]]:
        log, live = Halting(self.log), Halting(self.live)
        sink = Sink(
            log=log,
            live=live,
            store=self.store,
            clock=self.clock,
            telemetry=self.telemetry,
            retain_ms=self.retain_ms,
            retain_bytes=2**20,
        )
        worker = LaneWorker(
            0,
            log=log,
            live=live,
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
                    await asyncio.sleep(0.01)  # what LIVE shows is told and handed to the sink in the next turns
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
    raw = await opened_with_tables(tmp_path / "raw")
    world = World(raw)
    await world.log.create()
    yield world
    await raw.close()


async def check_nothing_lost_nothing_twice(world: World, appended: dict[int, list[UsageEvent]]) -> None:
    """Compare LIVE, RAW and what was told with a naive count of the log."""
    seen: dict[bytes, bytes] = {}
    used: dict[tuple[bytes, bytes], Decimal] = {}
    verdicts: dict[tuple[int, int], str] = {}
    for offset, events in sorted(appended.items()):
        for index, one in enumerate(events):
            total = used.get((one.customer, one.feature), Decimal(0)) + Decimal(one.quantity)
            if one.digest in seen:
                verdicts[offset, index] = "duplicate" if seen[one.digest] == one.content else "conflict"
            elif one.feature == LIMITED and total > 5:
                verdicts[offset, index] = "blocked"
            else:
                verdicts[offset, index] = "counted"
                used[one.customer, one.feature] = total
                if one.digest != NO_DIGEST:
                    seen[one.digest] = one.content
    for customer in CUSTOMERS:
        expected = {feature: total for (who, feature), total in used.items() if who == customer}
        assert await world.used(customer) == expected
    rows = await world.raw.query("SELECT `offset`, `index`, verdict FROM events FINAL")
    assert len(rows) == len(verdicts)
    assert {(offset, index): verdict for offset, index, verdict in rows} == verdicts
    assert (await world.store.progress(1))[0][0] == (await world.log.bounds(0)).end
    for offset, times in world.told.items():
        assert all(told == times[0] for told in times)
        assert [one.verdict for one in times[0]] == [verdicts[offset, n] for n in range(len(times[0]))]


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


def some_events(chance: random.Random) -> list[UsageEvent]:
    return [
        event(
            chance.choice(CUSTOMERS),
            key=chance.choice(["", "a", "b", str(chance.random())]),
            feature=chance.choice([OPEN, LIMITED]),
        )
        for _ in range(chance.randint(1, 4))
    ]


async def subscribe_all(world: World) -> None:
    for customer in CUSTOMERS:
        await world.log.append(0, encode_account_record("gw", snapshot(customer, 1)))


@pytest.mark.parametrize("seed", range(4))
async def test_killed_at_any_await_nothing_is_lost_or_counted_twice(
    world: World, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The process ends between any two steps, again and again; the next one goes on from what LIVE and RAW say."""
    monkeypatch.setattr("aggregator.worker.lane.REBUILD_STALE_MS", 0)
    chance = random.Random(seed)
    await subscribe_all(world)
    appended: dict[int, list[UsageEvent]] = {}
    for turns in range(1, 60):
        events = some_events(chance)
        appended[await world.usage(*events)] = events
        async with world.running() as (_, sink):
            for _ in range(chance.choice([turns, turns, 40])):
                await asyncio.sleep(0)
            await asyncio.sleep(chance.choice([0, 0.002, 0.01]))
            if chance.random() < 0.3:
                flush = asyncio.create_task(sink.flush())
                await asyncio.sleep(chance.random() / 50)
                flush.cancel()
                await asyncio.gather(flush, return_exceptions=True)
    async with world.running() as (_, sink):
        await world.folded()
        await sink.flush()
    await check_nothing_lost_nothing_twice(world, appended)


async def test_two_workers_on_one_lane_are_harmless(world: World) -> None:
    """Ownership is only a hint: the write compares, and the loser starts again from what is there (DESIGN 3.5.3)."""
    chance = random.Random(7)
    await subscribe_all(world)
    appended: dict[int, list[UsageEvent]] = {}
    async with world.running() as (_, one), world.running() as (_, other):
        for _ in range(60):
            events = some_events(chance)
            appended[await world.usage(*events)] = events
            await asyncio.sleep(chance.random() / 200)
        await world.folded()
        await asyncio.sleep(0.3)
        await one.flush()
        await other.flush()
    await check_nothing_lost_nothing_twice(world, appended)


async def test_live_lost_is_made_again_and_answers_stay_true(world: World) -> None:
    """Header absent: the lane rebuilds itself from RAW, the rest is folded again from the log (DESIGN 3.9)."""
    chance = random.Random(3)
    await subscribe_all(world)
    appended: dict[int, list[UsageEvent]] = {}
    async with world.running() as (_, sink):
        for part in range(40):
            events = some_events(chance)
            appended[await world.usage(*events)] = events
            if part == 20:
                await world.folded()
                await sink.flush()
        await world.folded()
        accounts = (await world.live.dump(0))["accounts"]
        world.live.wipe()
        await world.folded()
        assert (await world.live.dump(0))["accounts"] == accounts
        await sink.flush()
    assert any(len(times) == 2 for times in world.told.values())
    await check_nothing_lost_nothing_twice(world, appended)


async def test_a_rebuild_that_stands_still_is_taken_over(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("aggregator.worker.lane.REBUILD_STALE_MS", 200)
    assert await world.live.begin_rebuild(0, token=b"left behind", expected_token=None)
    async with world.running():
        await asyncio.sleep(0.05)
        view = await world.live.view(0, ())
        assert view.header is not None
        assert view.header.token == b"left behind"
        await world.folded()


async def test_stores_that_are_away_are_waited_for(world: World) -> None:
    await subscribe_all(world)
    events = {await world.usage(one): [one] for one in [event(CUSTOMERS[0], "a")]}
    async with world.running() as (worker, sink):
        await world.folded()
        world.live.away = True
        one = event(CUSTOMERS[0], "b")
        events[await world.usage(one)] = [one]
        await asyncio.sleep(0.2)
        assert not worker.ready
        world.live.away = False
        await world.folded()
        assert worker.ready
        world.log.away = True
        await asyncio.sleep(0.2)
        assert not worker.ready
        world.log.away = False
        await world.folded()
        await sink.flush()
        assert worker.stopped is None
    await check_nothing_lost_nothing_twice(world, events)


async def until_stopped(worker: LaneWorker) -> str:
    async with asyncio.timeout(5):
        while worker.stopped is None:
            await asyncio.sleep(0.005)
    return worker.stopped


async def test_a_record_that_cannot_be_decoded_stops_the_lane_after_what_lies_before_it(world: World) -> None:
    await subscribe_all(world)
    good = await world.usage(event(CUSTOMERS[0], "a"))
    bad = await world.log.append(0, b"\xc1 no record")
    await world.usage(event(CUSTOMERS[0], "b"))
    async with world.running() as (worker, _):
        assert f"offset {bad}" in await until_stopped(worker)
        assert not worker.ready
        assert list(world.told) == [good]
        assert await world.used(CUSTOMERS[0]) == {OPEN: Decimal(1)}
    assert b'lane_stopped{lane="0"} 1.0' in world.telemetry.render()


async def test_another_log_stops_the_lane(world: World) -> None:
    await subscribe_all(world)
    async with world.running():
        await world.folded()
    world.log = MemoryLog(epoch=1, lanes=1, clock=world.clock)
    await world.log.create()
    async with world.running() as (worker, _):
        assert "another log" in await until_stopped(worker)


async def test_other_rules_stop_the_lane(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    async with world.running():
        await world.folded()
    monkeypatch.setattr("aggregator.worker.lane.RULES", RULES + 1)
    async with world.running() as (worker, _):
        assert "new epoch" in await until_stopped(worker)


async def test_a_log_that_begins_after_raw_stops_the_lane(world: World) -> None:
    await subscribe_all(world)
    await world.usage(event(CUSTOMERS[0], "a"))
    await world.log.trim(0, 3, keep_ms=-1, keep_bytes=0)
    async with world.running() as (worker, _):
        assert "begins at 3" in await until_stopped(worker)


async def test_raw_that_lost_what_was_sunk_is_filled_again_from_log_and_outcomes(world: World) -> None:
    chance = random.Random(5)
    await subscribe_all(world)
    appended: dict[int, list[UsageEvent]] = {}
    for _ in range(20):
        events = some_events(chance)
        appended[await world.usage(*events)] = events
    async with world.running() as (_, sink):
        await world.folded()
        await sink.flush()
        await asyncio.sleep(0.05)
    for table in ("events", "account_records", "progress"):
        await world.raw.command(f"TRUNCATE TABLE {table}")
    async with world.running() as (_, sink):
        await world.folded()
        async with asyncio.timeout(5):
            while not (await world.store.progress(1)).get(0, (0, 0))[0]:
                await asyncio.sleep(0.05)
        await sink.flush()
    await check_nothing_lost_nothing_twice(world, appended)


async def test_rows_that_raw_lost_below_progress_come_back_after_a_start(world: World) -> None:
    """A starting sink goes back to the oldest outcome kept: the same rows replace themselves (DESIGN 3.6)."""
    await subscribe_all(world)
    one = event(CUSTOMERS[0], "a")
    offset = await world.usage(one)
    async with world.running() as (_, sink):
        await world.folded()
        await sink.flush()
    await world.raw.command("TRUNCATE TABLE events")
    async with world.running():
        async with asyncio.timeout(5):
            while not await world.raw.query("SELECT 1 FROM events FINAL"):
                await asyncio.sleep(0.02)
    await check_nothing_lost_nothing_twice(world, {offset: [one]})


async def test_outcomes_are_given_up_oldest_first_once_sunk(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("aggregator.worker.lane_queue.OUTCOMES_MAX", 3)
    offsets = [await world.usage(event(CUSTOMERS[0])) for _ in range(5)]
    async with world.running() as (_, sink):
        await world.folded()
        await sink.flush()
        async with asyncio.timeout(5):
            while (await world.live.oldest_outcome(0)) != offsets[2]:
                await asyncio.sleep(0.01)
        view = await world.live.view(0, ())
        assert view.header is not None
        assert view.header.sunk == view.header.next == 5


async def test_a_cut_is_sunk_at_once(world: World) -> None:
    await subscribe_all(world)
    async with world.running():
        await world.folded()
        await asyncio.sleep(1.2)
        begun = world.clock.monotonic_ms()
        offset = await world.log.append(0, encode_account_record("gw", snapshot(CUSTOMERS[0], 2, cut=1)))
        while (await world.store.progress(1)).get(0, (0, 0))[0] <= offset:
            await asyncio.sleep(0.005)
        assert world.clock.monotonic_ms() - begun < 900
        first = await world.store.first_cut_position(ids.id_text(ids.CUSTOMER, CUSTOMERS[0]), 1)
        assert first == (1, 0, offset)


async def test_folding_waits_while_too_much_is_unsunk(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("aggregator.worker.sink.UNSUNK_EVENTS_MAX", 1)
    monkeypatch.setattr("aggregator.lane_record.FOLD_WRITE_EVENTS_MAX", 1)
    insert, gate = world.store.insert_events, asyncio.Event()

    async def hang(columns: EventColumns) -> None:
        await gate.wait()
        await insert(columns)

    monkeypatch.setattr(world.store, "insert_events", hang)
    for _ in range(5):
        await world.usage(event(CUSTOMERS[0]))
    async with world.running():
        async with asyncio.timeout(10):
            while not world.told:
                await asyncio.sleep(0.01)
        await asyncio.sleep(0.3)
        assert len(world.told) == 1
        gate.set()
        await world.folded()
    assert len(world.told) == 5


async def test_dead_letters_of_many_customers_stop_the_lane(world: World) -> None:
    """1 % of the last 10,000 events, at least 100, of at least 10 customers (DESIGN 8)."""
    customers = [bytes([n]) * 16 for n in range(20, 31)]
    for customer in customers:
        await world.log.append(0, encode_account_record("gw", snapshot(customer, 1)))
    for customer in customers:
        await world.usage(*[event(customer, quantity="oops") for _ in range(10)])
    async with world.running() as (worker, _):
        assert "dead letters" in await until_stopped(worker)


async def test_dead_letters_of_one_customer_do_not_stop_the_lane(world: World) -> None:
    await subscribe_all(world)
    await world.usage(*[event(CUSTOMERS[0], quantity="oops") for _ in range(300)])
    async with world.running() as (worker, sink):
        await world.folded()
        await sink.flush()
        assert worker.stopped is None
        assert await world.raw.query("SELECT verdict, count() FROM events FINAL GROUP BY verdict") == [("dead", 300)]


async def test_an_idle_lane_says_how_new_it_is(world: World) -> None:
    async with world.running():
        await world.folded()
        await asyncio.sleep(0.5)
        view = await world.live.view(0, ())
        assert view.header is not None
        assert 0 <= view.now_ms - view.header.seen_ms < 250


async def test_what_is_folded_and_sunk_is_trimmed_from_the_log(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("aggregator.worker.sink.TRIM_EVERY_MS", 0)
    world.retain_ms = 0
    await subscribe_all(world)
    async with world.running() as (_, sink):
        await world.folded()
        await sink.flush()
        async with asyncio.timeout(5):
            while (await world.log.bounds(0)).begin < 5:
                await asyncio.sleep(0.05)
                sink._due.set()


async def test_a_running_lane_survives_an_operators_rebuild(world: World) -> None:
    await subscribe_all(world)
    one = event(CUSTOMERS[0], "a")
    offset = await world.usage(one)
    async with world.running() as (_, sink):
        await world.folded()
        await sink.flush()
        view = await world.live.view(0, ())
        assert view.header is not None
        done = await rebuild_lane(
            0,
            log=world.log,
            live=world.live,
            store=world.store,
            clock=world.clock,
            telemetry=world.telemetry,
            expected_token=view.header.token,
        )
        assert done
        other = event(CUSTOMERS[0], "b")
        later = await world.usage(other)
        await world.folded()
        await sink.flush()
    await check_nothing_lost_nothing_twice(world, {offset: [one], later: [other]})
