"""Laws of the fold over random histories: slices, replays and rebuilds change no byte."""

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from aggregator.account import Account
from aggregator.correction_event import Correction, Sending, correction_event, counted_now, voided_by
from aggregator.fold import RULES
from aggregator.fold_slice import CustomerState, SliceFold, customer_state, dead_digest
from aggregator.lane_record import FoldedRecord, LaneRecord
from aggregator.row import EVENT_COLUMNS, EventRow, event_row
from aggregator.store import UsageStore
from aggregator.worker.rebuild import rebuild_lane
from aggregator.worker.sink import Sink
from catalog.terms import (
    ConsumptionModel,
    FeatureTerms,
    PoolChain,
    Snapshot,
    SubscriptionStatus,
    Terms,
    TopUp,
    encode_account_record,
)
from ingest.event import NO_DIGEST, TokenUse, UsageEvent, content_digest, encode_usage, key_digest
from ingest.verdict import Outcome, Verdict
from kernel import ids
from kernel.clock import ManualClock
from kernel.engine.live.base import READY, Known, LaneHeader, Written
from kernel.engine.live.memory import MemoryLive
from kernel.engine.log.memory import MemoryLog
from kernel.engine.raw.clickhouse import ClickHouse
from kernel.limits import BACKDATE_MS_MAX
from kernel.period import DAY_MS
from kernel.position import Position
from kernel.quantity import UNITS_PER_ONE
from kernel.telemetry import Telemetry

EPOCH, LANE = 1, 0
ORGANIZATION = b"o" * 16
CUSTOMERS = (b"1" * 16, b"2" * 16)
OPEN, LIMITED, SWITCH = b"f" * 16, b"l" * 16, b"s" * 16
BEGIN_MS = 1_700_000_000_000
FRESH = LaneHeader(epoch=EPOCH, token=b"t", rules=RULES, next=0, sunk=0, clock_ms=0, seen_ms=0, state=READY)
MINUTE_MS = 60_000


METERED = ConsumptionModel.METERED
MODELS = [METERED, METERED, ConsumptionModel.CREDITS, ConsumptionModel.BALANCE]


def terms(
    number: int, start_ms: int, since: int, included: int, model: ConsumptionModel = METERED, shape: int = 0
) -> Terms:
    """Terms of a model; `shape` picks among months, overdraft, windows of some days and chains."""
    features = (
        FeatureTerms(
            feature=OPEN,
            code="open",
            kind="metered",
            included=UNITS_PER_ONE,
            overage=True,
            unit_price="1.0000000015",
            credits="1",
        ),
        FeatureTerms(
            feature=LIMITED,
            code="limited",
            kind="metered",
            included=included * UNITS_PER_ONE,
            unit_price="0.5",
            credits="0.5",
            margin="20" if shape % 2 else None,
        ),
        FeatureTerms(feature=SWITCH, code="switch", kind="boolean"),
    )
    day = start_ms // DAY_MS
    return Terms(
        number=number,
        subscription="sub_1",
        plan="pln_1",
        start_us=start_ms * 1_000,
        anchor=day,
        since=max(day, since),
        free=False,
        features=features,
        model=model,
        months=(1, 3, 0)[shape % 3],
        window_days=(0, 0, 0, 30)[shape % 4],
        pool=included * UNITS_PER_ONE,
        overdraft=shape % 5 == 0,
        chain=PoolChain(term=number - 1, window=day - 40) if shape % 3 == 0 else None,
    )


def a_snapshot(draw, customer: bytes, now_ms: int) -> Snapshot:
    rev = draw(st.integers(1, 12))
    start_ms = BEGIN_MS - draw(st.sampled_from([0, 3, 40, 70])) * DAY_MS + draw(st.sampled_from([0, 5])) * 3_600_000
    day = now_ms // DAY_MS
    following = draw(st.none() | st.integers(0, 10))
    model, then = draw(st.sampled_from(MODELS)), draw(st.sampled_from(MODELS))
    shape, number = draw(st.integers(0, 60)), 1 + rev // 6
    top_up = TopUp(term=draw(st.sampled_from([number, 1])), window=start_ms // DAY_MS, amount=5 * UNITS_PER_ONE)
    return Snapshot(
        organization=ORGANIZATION,
        customer=customer,
        rev=rev,
        status=draw(st.sampled_from([SubscriptionStatus.ACTIVE] * 4 + [SubscriptionStatus.CANCELED])),
        end_us=draw(st.none() | st.just((now_ms + 2 * DAY_MS) * 1_000)),
        terms=terms(number, start_ms, 0, draw(st.integers(0, 8)), model, shape),
        next=None if following is None else terms(number + shape % 2, start_ms, day + 1, following, then, shape),
        cut=rev // 3,
        packs=draw(st.sampled_from([0, 3 * UNITS_PER_ONE])),
        top_ups=draw(st.sampled_from([(), (top_up,)])),
    )


def an_event(draw, now_ms: int, ahead_ms: dict[bytes, int]) -> UsageEvent:
    customer = draw(st.sampled_from(CUSTOMERS))
    at_ms = now_ms + draw(st.sampled_from([0, 0, -1, -10 * MINUTE_MS, -40 * DAY_MS, 30 * MINUTE_MS]))
    clock_ms = None
    if customer in ahead_ms:
        ahead_ms[customer] += draw(st.sampled_from([0, 0, DAY_MS, 20 * DAY_MS, -2 * DAY_MS]))
        clock_ms = at_ms + ahead_ms[customer]
    accepted_ms = at_ms if clock_ms is None else clock_ms
    late_ms = draw(st.sampled_from([0, 0, 3 * MINUTE_MS, DAY_MS, 20 * DAY_MS, BACKDATE_MS_MAX, -5 * MINUTE_MS]))
    feature = draw(st.sampled_from([OPEN, OPEN, LIMITED, LIMITED, SWITCH, b"x" * 16]))
    quantity = draw(st.sampled_from(["1", "1", "2.5", "0", "0.000000001", "oops"]))
    key = draw(st.sampled_from(["", "a", "b", "c", "d"]))
    tokens = draw(st.none() | st.sampled_from([token_use("0.7"), token_use("0.0000000005")]))
    return UsageEvent(
        organization=ORGANIZATION,
        customer=customer,
        feature=feature,
        event_time_us=(accepted_ms - late_ms) * 1_000,
        at_ms=at_ms,
        clock_ms=clock_ms,
        quantity=quantity,
        key=key,
        digest=key_digest(b"s" * 32, ORGANIZATION, customer, "b", key) if key else NO_DIGEST,
        content=content_digest(feature, quantity),
        request=draw(st.sampled_from([bytes(8), b"request1", b"request2"])),
        tokens=tokens,
    )


def token_use(cost: str) -> TokenUse:
    return TokenUse(
        model="openai/gpt-4o",
        input=1,
        output=1,
        cache_read=0,
        cache_write=0,
        input_cost=cost,
        output_cost="0",
        cache_read_cost="0",
        cache_write_cost="0",
        base_cost=cost,
        price_version="v",
        price_since_ms=0,
    )


def a_replay(draw, records: Sequence[LaneRecord], now_ms: int) -> UsageEvent | None:
    """An attempt on an event that was there before, whatever became of it; half of the time with its amount mended.

    A dead letter whose amount is mended is what code that can fold it sees.
    """
    there = [
        (Position(EPOCH, LANE, record.offset, index), event)
        for record in records
        for index, event in enumerate(record.events)
    ]
    died = [(place, event) for place, event in there if event.quantity == "oops"]
    if not there:
        return None
    position, event = draw(st.sampled_from(died or there))
    mended = draw(st.sampled_from([event.quantity, "1"]))
    digest = event.digest or dead_digest(position)
    return replace(event, at_ms=now_ms, quantity=mended, digest=digest, replays=position.to_bytes())


class Judged:
    """What a history's records came to so far, as the rows that RAW would have of those that count."""

    def __init__(self) -> None:
        self._fold = SliceFold(FRESH, LANE, {who: CustomerState(Account(), None) for who in CUSTOMERS}, {})
        self.rows: list[EventRow] = []

    def take(self, record: LaneRecord) -> None:
        if record.snapshot is not None:
            self._fold.account(record.offset, record.snapshot)
            return
        self._fold.usage(record.offset, record.time_ms, record.events)
        judged = zip(record.events, self._fold.outcomes[record.offset], strict=True)
        for index, (event, outcome) in enumerate(judged):
            if outcome.verdict is Verdict.COUNTED:
                values = event_row(EPOCH, LANE, record.offset, record.time_ms, "gw", index, event, outcome)
                self.rows.append(EventRow(**dict(zip(EVENT_COLUMNS, values, strict=True))))


def a_correction(draw, judged: Judged, now_ms: int, ahead_ms: dict[bytes, int]) -> UsageEvent | None:
    """A void or an amendment of what counts, now and then by a gateway that has not seen the latest one."""
    originals = [row for row in judged.rows if not row.corrects]
    if not originals:
        return None
    original = draw(st.sampled_from(originals))
    place = Position(original.epoch, original.lane, original.offset, original.index)
    before = [row for row in judged.rows if row.corrects == place.event_id()]
    if before and draw(st.integers(0, 3)) == 0:
        before.pop()
    if voided_by(before) is not None:
        return None
    value = draw(st.none() | st.sampled_from([Decimal(0), Decimal("0.7"), Decimal(1), Decimal(4)]))
    if value is not None and (original.model or value == counted_now(original, before)):
        return None
    at_ms = now_ms + draw(st.sampled_from([0, 0, -1]))
    customer = ids.id_bytes(original.customer)
    clock_ms = at_ms + ahead_ms[customer] if customer in ahead_ms else None
    sending = Sending(at_ms=at_ms, clock_ms=clock_ms, secret=b"s" * 32)
    return correction_event(original, before, Correction(value=value, reason="why"), sending)


@st.composite
def histories(draw) -> list[LaneRecord]:
    """Records of one lane over months: quick ones, and pauses that cross generations, windows and memories."""
    now_ms = BEGIN_MS
    ahead_ms = {CUSTOMERS[1]: 0} if draw(st.booleans()) else {}
    records = [
        LaneRecord(
            offset=n, time_ms=now_ms, gateway="gw", snapshot=replace(a_snapshot(draw, customer, now_ms), rev=1, cut=0)
        )
        for n, customer in enumerate(CUSTOMERS)
    ]
    judged = Judged()
    for record in records:
        judged.take(record)
    for offset in range(len(records), len(records) + draw(st.integers(1, 14))):
        now_ms += draw(st.sampled_from([1, 1, 1_000, 10 * MINUTE_MS, DAY_MS, 8 * DAY_MS, 36 * DAY_MS, 70 * DAY_MS]))
        if draw(st.integers(0, 4)) == 0:
            snapshot = a_snapshot(draw, draw(st.sampled_from(CUSTOMERS)), now_ms)
            records.append(LaneRecord(offset=offset, time_ms=now_ms, gateway="gw", snapshot=snapshot))
        else:
            events = [an_event(draw, now_ms, ahead_ms) for _ in range(draw(st.integers(1, 5)))]
            again = a_replay(draw, records, now_ms) if draw(st.booleans()) else None
            events += [again] * draw(st.integers(1, 2)) if again is not None else []
            corrected = a_correction(draw, judged, now_ms, ahead_ms) if draw(st.booleans()) else None
            events += [corrected] * draw(st.integers(1, 2)) if corrected is not None else []
            records.append(LaneRecord(offset=offset, time_ms=now_ms, gateway="gw", events=events))
        judged.take(records[-1])
    return records


@given(histories())
def test_a_replay_counts_only_in_the_place_of_its_dead_letter(records: list[LaneRecord]) -> None:
    """Once each; never for an event that was not dead, and never within the memory of a key for one forgotten."""

    async def run() -> None:
        outcomes = await fold(await a_live(), records)
        replayed: set[bytes] = set()
        for record in records:
            for event, outcome in zip(record.events, outcomes.get(record.offset, ()), strict=True):
                named = event.replayed()
                if named is None or outcome.verdict is not Verdict.COUNTED:
                    continue
                letter = outcomes[named.offset][named.index]
                assert (letter.verdict, letter.original) == (Verdict.DEAD, b"")
                assert event.replays not in replayed
                replayed.add(event.replays)

    asyncio.run(run())


async def a_live() -> MemoryLive:
    live = MemoryLive(ManualClock(BEGIN_MS))
    assert await live.begin_rebuild(LANE, token=FRESH.token, expected_token=None)
    assert await live.finish_rebuild(LANE, step=0, header=FRESH)
    return live


async def fold(live: MemoryLive, records: Sequence[LaneRecord]) -> dict[int, list[Outcome]]:
    """Fold records in one write, as the worker does; gives their outcomes."""
    customers = sorted({customer for record in records for customer in record.customers()})
    view = await live.view(LANE, customers)
    assert view.header is not None
    states = {who: customer_state(stored) for who, stored in zip(customers, view.accounts, strict=True)}
    known: dict[bytes, bytes] = {}
    while True:
        slice_ = SliceFold(view.header, LANE, states, known)
        for record in records:
            if record.snapshot is not None:
                slice_.account(record.offset, record.snapshot)
            else:
                slice_.usage(record.offset, record.time_ms, record.events)
        match await live.write(LANE, slice_.write(0)):
            case Known(entries=entries):
                known.update(entries)
            case Written():
                return slice_.outcomes
            case moved:
                raise AssertionError(moved)


def sliced(records: Sequence[LaneRecord], cuts: Sequence[bool]) -> Iterator[list[LaneRecord]]:
    part: list[LaneRecord] = []
    for index, record in enumerate(records):
        part.append(record)
        if cuts[index % len(cuts)]:
            yield part
            part = []
    if part:
        yield part


@given(histories(), st.lists(st.booleans(), min_size=1, max_size=8))
def test_slices_change_no_byte(records: list[LaneRecord], cuts: list[bool]) -> None:
    async def run() -> None:
        one_by_one, in_slices = await a_live(), await a_live()
        singly: dict[int, list[Outcome]] = {}
        together: dict[int, list[Outcome]] = {}
        for record in records:
            singly |= await fold(one_by_one, [record])
        for part in sliced(records, cuts):
            together |= await fold(in_slices, part)
        assert singly == together
        assert await one_by_one.dump(LANE) == await in_slices.dump(LANE)

    asyncio.run(run())


@given(histories(), st.data())
def test_folding_again_gives_the_same_outcomes(records: list[LaneRecord], data: st.DataObject) -> None:
    """LIVE falls back to an earlier state, whole: what is folded again is judged as it was, so answers stay true."""
    back = data.draw(st.integers(0, len(records)))

    async def run() -> None:
        first, fallen = await a_live(), await a_live()
        judged = await fold(first, records)
        if back:
            await fold(fallen, records[:back])
        again: dict[int, list[Outcome]] = {}
        for record in records[back:]:
            again |= await fold(fallen, [record])
        assert again == {offset: outcomes for offset, outcomes in judged.items() if offset >= back}
        assert await first.dump(LANE) == await fallen.dump(LANE)

    asyncio.run(run())


@given(histories())
def test_of_one_key_one_event_counts_in_35_days(records: list[LaneRecord]) -> None:
    """R-TRACK-11, R-TRACK-14."""

    async def run() -> None:
        outcomes = await fold(await a_live(), records)
        counted: dict[bytes, int] = {}
        lane_clock = 0
        for record in records:
            for event, outcome in zip(record.events, outcomes.get(record.offset, ()), strict=True):
                at_ms = min(event.at_ms, record.time_ms)
                lane_clock = max(lane_clock, at_ms)
                if outcome.verdict is not Verdict.COUNTED or not event.digest:
                    continue
                before = counted.get(event.digest)
                assert before is None or before < lane_clock - BACKDATE_MS_MAX
                counted[event.digest] = at_ms

    asyncio.run(run())


@given(st.integers(0, 20), st.lists(st.decimals(0, 8, places=3), max_size=30))
def test_a_hard_limit_is_never_passed_and_blocks_only_what_would_pass_it(included: int, amounts: list[Decimal]) -> None:
    """R-METER-4, R-TRACK-23."""
    customer = CUSTOMERS[0]
    snapshot = Snapshot(
        organization=ORGANIZATION,
        customer=customer,
        rev=1,
        status=SubscriptionStatus.ACTIVE,
        end_us=None,
        terms=terms(1, BEGIN_MS, 0, included),
        next=None,
        cut=0,
    )
    events = [
        UsageEvent(
            organization=ORGANIZATION,
            customer=customer,
            feature=LIMITED,
            event_time_us=BEGIN_MS * 1_000,
            at_ms=BEGIN_MS,
            clock_ms=None,
            quantity=str(amount),
            key="",
            digest=NO_DIGEST,
            content=bytes(8),
            request=bytes(8),
        )
        for amount in amounts
    ]

    async def run() -> None:
        records = [
            LaneRecord(offset=0, time_ms=BEGIN_MS, gateway="gw", snapshot=snapshot),
            LaneRecord(offset=1, time_ms=BEGIN_MS, gateway="gw", events=events),
        ]
        used = Decimal(0)
        for amount, outcome in zip(amounts, (await fold(await a_live(), records))[1], strict=True):
            fits = used + amount <= included
            assert outcome.verdict is (Verdict.COUNTED if fits or not amount else Verdict.BLOCKED)
            if outcome.verdict is Verdict.COUNTED:
                used += amount
        assert used <= included

    asyncio.run(run())


@pytest.fixture(scope="module")
def raw_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("raw")


@asynccontextmanager
async def a_store(folder: Path) -> AsyncIterator[UsageStore]:
    raw = await ClickHouse.open(f"chdb://{folder}")
    store = UsageStore(raw)
    await store.create()
    for table in ("events", "account_records", "progress"):
        await raw.command(f"TRUNCATE TABLE {table}")
    try:
        yield store
    finally:
        await raw.close()


def encoded(record: LaneRecord) -> bytes:
    if record.snapshot is not None:
        return encode_account_record(record.gateway, record.snapshot)
    return encode_usage(record.gateway, list(record.events))


async def test_a_rebuild_is_byte_identical(raw_folder: Path) -> None:
    """Whatever was sunk when LIVE was lost: the lane comes back as the fold had it, and goes on to the same end."""
    async with a_store(raw_folder) as store:
        loop = asyncio.get_running_loop()

        @settings(
            max_examples=max(15, settings().max_examples // 10),
            phases=[Phase.explicit, Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @given(histories(), st.data())
        def law(records: list[LaneRecord], data: st.DataObject) -> None:
            sunk = data.draw(st.integers(0, len(records)))
            asyncio.run_coroutine_threadsafe(rebuilt(store, records, sunk), loop).result(60)

        await asyncio.to_thread(law)


async def rebuilt(store: UsageStore, records: list[LaneRecord], sunk: int) -> None:
    for table in ("events", "account_records", "progress"):
        await store.raw.command(f"TRUNCATE TABLE {table}")
    clock, telemetry = ManualClock(BEGIN_MS), Telemetry()
    log = MemoryLog(epoch=EPOCH, lanes=1, clock=clock)
    await log.create()
    for record in records:
        await log.append(LANE, encoded(record))
    live = await a_live()
    sink = Sink(log=log, live=live, store=store, clock=clock, telemetry=telemetry, retain_ms=0, retain_bytes=0)
    assert await sink.begin(LANE, FRESH)
    running = asyncio.create_task(sink.run())
    for record in records[:sunk]:
        outcomes = (await fold(live, [record])).get(record.offset, [])
        header = (await live.view(LANE, ())).header
        assert header is not None
        sink.take(LANE, FoldedRecord(record=record, outcomes=outcomes, clock_ms=header.clock_ms))
    await sink.flush()
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    had = await live.dump(LANE)
    for record in records[sunk:]:
        await fold(live, [record])
    end = await live.dump(LANE)

    live.wipe()
    again = {"log": log, "live": live, "store": store, "clock": clock, "telemetry": telemetry}
    assert await rebuild_lane(LANE, **again, expected_token=None)
    came = await live.dump(LANE)
    for name in (b"token", b"seen", b"sunk"):
        for dump in (had, end, came):
            dump["header"].pop(name)
    assert came == had
    for record in records[sunk:]:
        await fold(live, [record])
    came = await live.dump(LANE)
    for name in (b"token", b"seen", b"sunk"):
        came["header"].pop(name)
    assert came == end
