"""Keys beyond the exact days on real Valkey and chDB: condensed, looked up, waited for, and made again by a rebuild."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from aggregator.store import UsageStore
from aggregator.worker import condenser
from aggregator.worker.lane import LaneWorker
from aggregator.worker.sink import Sink
from catalog.terms import encode_account_record
from ingest.event import UsageEvent, encode_usage
from ingest.verdict import Outcome, Verdict
from kernel.clock import ManualClock
from kernel.engine.live.base import READY
from kernel.engine.live.valkey import ValkeyLive
from kernel.engine.log.memory import MemoryLog
from kernel.engine.raw.clickhouse import ClickHouse
from kernel.engine.valkey_child import ValkeyChild
from kernel.errors import Unavailable
from kernel.limits import KEYS_EXACT_DAYS_MIN
from kernel.period import DAY_MS
from kernel.telemetry import Telemetry
from tests.story.test_aggregator import CUSTOMERS, LIMITED, START_US, event, snapshot

SUBS = 4
CUSTOMER = CUSTOMERS[0]


class RawAtTimes(ClickHouse):
    """The real RAW; `away` makes its queries fail, as a server that is gone."""

    away = False

    async def query(self, sql: str, parameters: Mapping[str, Any] | None = None) -> list[tuple[Any, ...]]:
        if self.away:
            raise Unavailable("RAW is away")
        return await super().query(sql, parameters)


class Lane:
    """One lane on a log whose time is the test's, with a fold that keeps as few days exact as may be."""

    def __init__(self, live: ValkeyLive, raw: RawAtTimes) -> None:
        self.clock = ManualClock(START_US // 1_000)
        self.log = MemoryLog(epoch=1, lanes=1, clock=self.clock)
        self.live, self.raw = live, raw
        self.told: dict[int, list[Outcome]] = {}
        ports: dict[str, Any] = {"log": self.log, "live": live, "store": UsageStore(raw), "telemetry": Telemetry()}
        self.sink = Sink(**ports, clock=self.clock, retain_ms=0, retain_bytes=2**20)
        self.worker = LaneWorker(
            0, **ports, clock=self.clock, sink=self.sink, publish=self._publish, exact_days=KEYS_EXACT_DAYS_MIN
        )

    def _publish(self, _epoch: int, _lane: int, offset: int, outcomes: Sequence[Outcome]) -> None:
        assert self.told.setdefault(offset, list(outcomes)) == list(outcomes)

    async def send(self, *events: UsageEvent) -> int:
        now_ms = self.clock.now_ms()
        now = [replace(one, at_ms=now_ms, event_time_us=now_ms * 1_000) for one in events]
        return await self.log.append(0, encode_usage("gw", now))

    async def judged(self, *events: UsageEvent) -> list[Verdict]:
        offset = await self.send(*events)
        await until(lambda: offset in self.told)
        await self.sink.flush()
        return [outcome.verdict for outcome in self.told[offset]]

    async def kept(self, kind: str) -> int:
        dump = await self.live.dump(0)
        if kind == "filter":
            return sum(int(held[b"keys"]) for name, held in dump.items() if name.startswith("filter:"))
        return sum(len(held) for name, held in dump.items() if name.startswith("keys:"))


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not holds():
            await asyncio.sleep(0.005)


@pytest.fixture
async def lane(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Lane]:
    monkeypatch.setattr(condenser, "CONDENSE_EVERY_MS", 20)
    monkeypatch.setattr(condenser, "CONDENSE_PAUSE_MS", 1)
    child = await ValkeyChild.start(tmp_path, "live", memory_bytes=256 * 1024**2, fsync="everysec")
    raw = await RawAtTimes.open(f"chdb://{tmp_path / 'raw'}")
    live = await ValkeyLive.open(child.url, lanes=1, subs=SUBS)
    await UsageStore(raw).create()
    lane = Lane(live, raw)
    await lane.log.create()
    tasks = [asyncio.create_task(lane.worker.run()), asyncio.create_task(lane.sink.run())]
    try:
        yield lane
        assert (lane.worker.stopped, lane.sink.stopped) == (None, None)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await live.close()
        await raw.close()
        await child.stop()


async def test_keys_beyond_the_exact_days_are_known_by_raw(lane: Lane) -> None:
    many = [event(CUSTOMER, f"key {number}") for number in range(300)]
    blocked = event(CUSTOMER, "blocked", "9", LIMITED)
    dead = event(CUSTOMER, "dead", "oops")
    await lane.log.append(0, encode_account_record("gw", snapshot(CUSTOMER, 1)))
    assert set(await lane.judged(*many)) == {Verdict.COUNTED}
    assert await lane.judged(blocked, dead) == [Verdict.BLOCKED, Verdict.DEAD]
    lane.clock.advance(19 * DAY_MS)
    assert await lane.judged(event(CUSTOMER, "new")) == [Verdict.COUNTED]
    async with asyncio.timeout(30):
        while await lane.kept("filter") < 301:
            await asyncio.sleep(0.01)
    assert await lane.kept("entry") == 2, "the new one and the dead one"

    first, conflicting = many[7], event(CUSTOMER, "key 8", "2")
    small = event(CUSTOMER, "blocked", "1", LIMITED)
    assert await lane.judged(first, conflicting, event(CUSTOMER, "key 301"), small, dead) == [
        *(Verdict.DUPLICATE, Verdict.CONFLICT, Verdict.COUNTED, Verdict.COUNTED, Verdict.DEAD)
    ]
    assert (await lane.judged(small, small)) == [Verdict.DUPLICATE] * 2

    lane.raw.away = True
    offset = await lane.send(many[9], event(CUSTOMER, "key 302"))
    await until(lambda: not lane.worker.ready)
    await asyncio.sleep(0.2)
    assert offset not in lane.told, "without RAW there is no verdict, and never a wrong one"
    lane.raw.away = False
    await until(lambda: offset in lane.told)
    assert [outcome.verdict for outcome in lane.told[offset]] == [Verdict.DUPLICATE, Verdict.COUNTED]
    await lane.sink.flush()

    was = await lane.live.dump(0)
    await lane.live._connections.one(("FLUSHALL",))
    async with asyncio.timeout(30):
        while (header := (await lane.live.view(0, ())).header) is None or header.state != READY:
            await asyncio.sleep(0.01)
    now = await lane.live.dump(0)
    assert {name: held for name, held in now.items() if name != "header"} == {
        name: held for name, held in was.items() if name != "header"
    }
    assert await lane.judged(many[11], event(CUSTOMER, "key 303")) == [Verdict.DUPLICATE, Verdict.COUNTED]

    lane.clock.advance(17 * DAY_MS)
    assert await lane.judged(many[12]) == [Verdict.COUNTED], "more than 35 days are over"
    lane.clock.advance(50 * DAY_MS)
    assert await lane.judged(event(CUSTOMER, "much later")) == [Verdict.COUNTED]
    assert await lane.kept("filter") == 0
