"""The law of key filters: however few days stay exact, every history gets the same verdicts (DESIGN 3.11, ADR 7)."""

import asyncio
import copy
from collections.abc import Sequence
from unittest.mock import patch

from hypothesis import example, given
from hypothesis import strategies as st

from aggregator.fold_slice import SliceFold, condensed_generations, customer_state
from aggregator.lane_record import LaneRecord
from aggregator.row import EventColumns, account_record_row, rows_of
from aggregator.worker import condenser
from aggregator.worker.condenser import KeyCondenser
from aggregator.worker.key_lookup import looked_up
from aggregator.worker.rebuild import rebuild_lane
from aggregator.worker.sink import _storable
from catalog.terms import Snapshot, SubscriptionStatus
from ingest.event import NO_DIGEST, UsageEvent, content_digest, key_digest
from ingest.verdict import Outcome, Verdict
from kernel.clock import ManualClock
from kernel.engine.live.base import Known, Written
from kernel.engine.live.memory import MemoryLive
from kernel.engine.log.memory import MemoryLog
from kernel.limits import KEYS_EXACT_DAYS_MAX, KEYS_EXACT_DAYS_MIN
from kernel.period import DAY_MS
from kernel.telemetry import Telemetry
from tests.property.aggregator.test_history import (
    BEGIN_MS,
    CUSTOMERS,
    EPOCH,
    LANE,
    LIMITED,
    OPEN,
    ORGANIZATION,
    a_live,
    encoded,
    histories,
    sliced,
    terms,
)
from tests.simulation.raw import MemoryUsageStore, Tables

TELEMETRY = Telemetry()


class Everything(set[bytes]):
    """What a filter has that takes every digest for one of its own."""

    def __contains__(self, _digest: object) -> bool:
        return True


class Lane:
    """A lane with its RAW: records are folded, sunk and condensed; LIVE falls back or is made again."""

    def __init__(self, live: MemoryLive, exact_days: int, *, doubting: bool = False) -> None:
        self.live = live
        self.store = MemoryUsageStore(Tables())
        self.outcomes: dict[int, list[Outcome]] = {}
        self._exact_days = exact_days
        self._doubting = doubting

    async def fold(self, records: Sequence[LaneRecord]) -> None:
        """Fold records in one write, as the worker does, sink them and condense what is due."""
        customers = sorted({customer for record in records for customer in record.customers()})
        view = await self.live.view(LANE, customers)
        assert view.header is not None
        states = {who: customer_state(stored) for who, stored in zip(customers, view.accounts, strict=True)}
        known: dict[bytes, bytes | None] = {}
        while True:
            fold = SliceFold(view.header, LANE, states, known)
            for record in records:
                if record.snapshot is not None:
                    fold.account(record.offset, record.snapshot)
                else:
                    fold.usage(record.offset, record.time_ms, record.events)
            match await self.live.write(LANE, fold.write(0)):
                case Known(entries=entries, maybe=maybe):
                    known.update(entries)
                    place = (EPOCH, LANE, records)
                    known.update(await looked_up(self.store, TELEMETRY, *place, maybe, entries))  # type: ignore[arg-type]
                case Written():
                    break
                case moved:
                    raise AssertionError(moved)
        for offset, outcomes in fold.outcomes.items():
            assert self.outcomes.setdefault(offset, outcomes) == outcomes, "folded again to the same outcomes"
        await self._sink(records, view.header.token, view.header.sunk, fold)
        await self._condense()

    async def _sink(self, records: Sequence[LaneRecord], token: bytes, begun: int, fold: SliceFold) -> None:
        columns = EventColumns()
        for record in records:
            place = (EPOCH, LANE, record.offset, record.time_ms)
            if record.snapshot is not None:
                await self.store.insert_account_records([account_record_row(*place, record.snapshot)])
                continue
            outcomes = fold.outcomes.get(record.offset, [])
            events = [_storable(*judged) for judged in zip(record.events, outcomes, strict=True)]
            columns.extend(rows_of(*place, record.gateway, events, outcomes))
        await self.store.insert_events(columns)
        await self.store.write_progress(EPOCH, {LANE: (fold.next, fold.clock_ms)})
        assert await self.live.sank(LANE, token=token, begun=begun, sunk=fold.next, drop=())

    async def _condense(self) -> None:
        if self._exact_days == KEYS_EXACT_DAYS_MAX:
            return
        with patch.object(condenser, "CONDENSE_PAUSE_MS", 0):
            await KeyCondenser(LANE, self.live, self._exact_days).look()
        header = (await self.live.view(LANE, ())).header
        assert header is not None
        filters = self.live._lanes[LANE].filters
        condensed = condensed_generations(header.clock_ms, self._exact_days)
        assert not filters.keys() - set(condensed)
        keys = self.live._lanes[LANE].keys
        assert all(kept.startswith(b"d") for g in condensed for kept in keys.get(g, {}).values())
        if self._doubting:
            for generation in condensed:
                filters[generation] = Everything(filters.get(generation, ()))

    async def rebuild(self, records: Sequence[LaneRecord]) -> None:
        """Lose LIVE, and make it again from RAW."""
        clock = ManualClock(BEGIN_MS)
        log = MemoryLog(epoch=EPOCH, lanes=1, clock=clock)
        await log.create()
        for record in records:
            await log.append(LANE, encoded(record))
        self.live.wipe()
        made = await rebuild_lane(
            LANE,
            log=log,
            live=self.live,
            store=self.store,  # type: ignore[arg-type] # the simulation's RAW
            clock=clock,
            telemetry=TELEMETRY,
            expected_token=None,
            exact_days=self._exact_days,
        )
        assert made


def attempt(days: float, key: str, quantity: str = "1", feature: bytes = OPEN) -> UsageEvent:
    at_ms = BEGIN_MS + int(days * DAY_MS)
    return UsageEvent(
        organization=ORGANIZATION,
        customer=CUSTOMERS[0],
        feature=feature,
        event_time_us=at_ms * 1_000,
        at_ms=at_ms,
        clock_ms=None,
        quantity=quantity,
        key=key,
        digest=key_digest(b"s" * 32, ORGANIZATION, CUSTOMERS[0], "b", key) if key else NO_DIGEST,
        content=content_digest(feature, quantity),
        request=b"request1",
    )


def a_story(*attempts: tuple[float, str, str, bytes]) -> list[LaneRecord]:
    """Make a customer whose limited feature takes 2, then one record an attempt: day, key, quantity, feature."""
    snapshot = Snapshot(
        organization=ORGANIZATION,
        customer=CUSTOMERS[0],
        rev=1,
        status=SubscriptionStatus.ACTIVE,
        end_us=None,
        terms=terms(1, BEGIN_MS, 0, 2),
        next=None,
        cut=0,
    )
    events = [attempt(*one) for one in attempts]
    return [
        LaneRecord(offset=0, time_ms=BEGIN_MS, gateway="gw", snapshot=snapshot),
        *(
            LaneRecord(offset=offset, time_ms=event.at_ms, gateway="gw", events=[event])
            for offset, event in enumerate(events, 1)
        ),
    ]


@st.composite
def stories(draw: st.DrawFn) -> list[LaneRecord]:
    """Few keys over months, with pauses as long as generations are: most attempts find a key that was met before."""
    day, attempts = 0.0, []
    for _ in range(draw(st.integers(3, 12))):
        day += draw(st.sampled_from([0.0, 0.001, 2.0, 5.0, 10.0, 14.0, 19.0]))
        key = draw(st.sampled_from(["a", "a", "b", "c"]))
        quantity = draw(st.sampled_from(["1", "1", "2", "9", "oops"]))
        attempts.append((day, key, quantity, draw(st.sampled_from([OPEN, LIMITED]))))
    return a_story(*attempts)


HISTORIES = histories() | stories()
STORY = a_story(
    (0, "counted", "1", OPEN),
    (0, "blocked", "9", LIMITED),
    (0, "dead", "oops", OPEN),
    (0, "old", "1", OPEN),
    (20, "moves the clock", "1", OPEN),
    (21, "counted", "1", OPEN),
    (21, "counted", "2", OPEN),
    (22, "blocked", "1", LIMITED),
    (22, "blocked", "1", LIMITED),
    (23, "dead", "1", OPEN),
    (36, "old", "1", OPEN),
    (36, "old", "1", OPEN),
)


def test_the_story_goes_through_filters() -> None:
    """What the law is about happens in it: keys of every kind, asked for when only RAW knows them."""

    async def run() -> None:
        lane = Lane(await a_live(), KEYS_EXACT_DAYS_MIN)
        for record in STORY:
            await lane.fold([record])
        said = [outcomes[0].verdict for _, outcomes in sorted(lane.outcomes.items())]
        assert said == [
            *(Verdict.COUNTED, Verdict.BLOCKED, Verdict.DEAD, Verdict.COUNTED, Verdict.COUNTED),
            *(Verdict.REPEAT, Verdict.REPEAT, Verdict.COUNTED, Verdict.REPEAT, Verdict.DEAD),
            *(Verdict.COUNTED, Verdict.REPEAT),
        ]

    before = TELEMETRY.registry.get_sample_value("meterline_key_lookups_total", {"found": "yes"}) or 0
    asyncio.run(run())
    assert TELEMETRY.registry.get_sample_value("meterline_key_lookups_total", {"found": "yes"}) == before + 4


@given(HISTORIES, st.data())
def test_few_exact_days_change_no_verdict(records: list[LaneRecord], data: st.DataObject) -> None:
    asyncio.run(same_verdicts(records, data.draw(st.lists(st.booleans(), min_size=1)), data.draw(st.booleans())))


def test_few_exact_days_change_no_verdict_of_the_story() -> None:
    for doubting in (False, True):
        asyncio.run(same_verdicts(STORY, [True], doubting))
        asyncio.run(same_verdicts(STORY, [False, True, False], doubting))


async def same_verdicts(records: list[LaneRecord], cuts: list[bool], doubting: bool) -> None:
    exact = Lane(await a_live(), KEYS_EXACT_DAYS_MAX)
    condensed = Lane(await a_live(), KEYS_EXACT_DAYS_MIN, doubting=doubting)
    for part in sliced(records, cuts):
        await exact.fold(part)
        await condensed.fold(part)
    assert condensed.outcomes == exact.outcomes
    there, here = await exact.live.dump(LANE), await condensed.live.dump(LANE)
    assert (here["accounts"], here["header"]) == (there["accounts"], there["header"])


@given(HISTORIES, st.data())
@example(STORY, None)
def test_folded_again_after_the_rows_were_sunk_nothing_changes(
    records: list[LaneRecord], data: st.DataObject | None
) -> None:
    """LIVE falls back, and is lost, at any record, with RAW as it was: `fold` compares the outcomes."""
    backs = range(len(records) + 1) if data is None else [data.draw(st.integers(0, len(records)))]
    doubting = False if data is None else data.draw(st.booleans())

    async def run(back: int) -> None:
        lane = Lane(await a_live(), KEYS_EXACT_DAYS_MIN, doubting=doubting)
        photograph = copy.deepcopy(lane.live._lanes)
        for offset, record in enumerate(records, 1):
            await lane.fold([record])
            if offset == back:
                photograph = copy.deepcopy(lane.live._lanes)
        end = await lane.live.dump(LANE)
        lane.live._lanes = photograph
        for record in records[back:]:
            await lane.fold([record])
        assert (await lane.live.dump(LANE))["accounts"] == end["accounts"]
        progress = lane.store.tables.progress[EPOCH, LANE]
        await lane.rebuild(records)
        header = (await lane.live.view(LANE, ())).header
        assert header is not None
        assert (header.next, header.clock_ms) == progress
        again = await lane.live.dump(LANE)
        assert (again["accounts"], again["snapshots"]) == (end["accounts"], end["snapshots"])

    for back in backs:
        asyncio.run(run(back))


@given(HISTORIES, st.data())
@example(STORY, None)
def test_a_rebuild_with_few_exact_days_goes_on_to_the_same_verdicts(
    records: list[LaneRecord], data: st.DataObject | None
) -> None:
    cuts = range(len(records) + 1) if data is None else [data.draw(st.integers(0, len(records)))]

    async def run(cut: int) -> None:
        exact, condensed = Lane(await a_live(), KEYS_EXACT_DAYS_MAX), Lane(await a_live(), KEYS_EXACT_DAYS_MIN)
        for record in records:
            await exact.fold([record])
        for record in records[:cut]:
            await condensed.fold([record])
        await condensed.rebuild(records)
        for record in records[cut:]:
            await condensed.fold([record])
        assert condensed.outcomes == exact.outcomes

    for cut in cuts:
        asyncio.run(run(cut))
