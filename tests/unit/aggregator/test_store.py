"""The store of raw facts on each adapter: what was folded comes back exactly, to rebuild, closer and reader alike."""

from collections.abc import AsyncIterator
from decimal import Decimal
from pathlib import Path
from random import Random

import msgspec
import pytest
from msgspec.structs import replace

import aggregator.store.account as account_pages
from aggregator.account import Draws, WindowDraws
from aggregator.books import Books
from aggregator.replay import replay_of
from aggregator.row import (
    EVENT_COLUMNS,
    METERED_COLUMNS,
    EventColumns,
    EventRow,
    account_record_row,
    corrected_of,
    rows_of,
)
from aggregator.store import UsageStore
from aggregator.store.account import AccountSums, KeyRow, SnapshotRow, WindowSum
from aggregator.store.cut import CutDraws, CutTotal, InvoiceLineEvents
from aggregator.store.key import AskedKey
from aggregator.usage import EventFilter, Granularity, ListCursor, UsageQuery, cursor_key, position_of
from aggregator.worker.rebuild import rebuilt_account
from catalog.terms import Snapshot, SubscriptionStatus, decode_snapshot
from ingest.event import Corrected, TokenUse, UsageEvent
from ingest.refusal import RefusedRequest
from ingest.verdict import Drawn, Outcome, Verdict
from kernel import ids
from kernel.period import DAY_US
from kernel.position import Position
from tests.raw_adapter import RawOpener

T0_MS = 1_760_000_000_000  # 2025-10-09T08:53:20Z
ORG, OTHER_ORG = bytes([1]) * 16, bytes([2]) * 16
CALLS, TOKENS = bytes([3]) * 16, bytes([4]) * 16
ORG_TEXT, OTHER_TEXT = (ids.id_text(ids.ORGANIZATION, raw) for raw in (ORG, OTHER_ORG))
CALLS_TEXT = ids.id_text(ids.FEATURE, CALLS)
WINDOW, WINDOW_END = 20_362, 20_393


def customer(number: int) -> bytes:
    return number.to_bytes(16, "big")


def customer_text(number: int) -> str:
    return ids.id_text(ids.CUSTOMER, customer(number))


def event(number: int = 0, *, quantity: str = "1", at_ms: int = T0_MS, **changes: object) -> UsageEvent:
    values: dict[str, object] = {
        "organization": ORG,
        "customer": customer(number),
        "feature": CALLS,
        "event_time_us": at_ms * 1_000,
        "at_ms": at_ms,
        "clock_ms": None,
        "quantity": quantity,
        "key": "",
        "digest": b"",
        "content": bytes(8),
        "request": bytes(8),
    }
    return UsageEvent(**{**values, **changes})  # type: ignore[arg-type] # a test's shorthand


def counted(cut: int = 1, **changes: object) -> Outcome:
    values: dict[str, object] = {"term": 1, "window": WINDOW, "window_end": WINDOW_END, "cut": cut}
    return Outcome(verdict=Verdict.COUNTED, **{**values, **changes})  # type: ignore[arg-type] # a test's shorthand


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("raw")


@pytest.fixture
async def store(raw_opener: RawOpener, folder: Path) -> AsyncIterator[UsageStore]:
    raw = await raw_opener(folder)
    store = UsageStore(raw)
    await store.create()
    for table in ("events", "account_records", "progress", "refusals", "books"):
        await raw.command(f"TRUNCATE TABLE {table}")
    yield store
    await raw.close()


async def write(
    store: UsageStore, lane: int, offset: int, *joined: tuple[UsageEvent, Outcome], time_ms: int = T0_MS + 1_000_000
) -> None:
    columns = EventColumns()
    add(columns, lane, offset, *joined, time_ms=time_ms)
    await store.insert_events(columns)


def add(
    columns: EventColumns,
    lane: int,
    offset: int,
    *joined: tuple[UsageEvent, Outcome],
    time_ms: int = T0_MS + 1_000_000,
) -> None:
    events, outcomes = [e for e, _ in joined], [o for _, o in joined]
    columns.extend(rows_of(0, lane, offset, time_ms, "gw", events, outcomes))


async def write_snapshot(store: UsageStore, lane: int, offset: int, snapshot: Snapshot) -> None:
    await store.insert_account_records([account_record_row(0, lane, offset, T0_MS, snapshot)])


def snapshot(number: int, rev: int, cut: int = 0) -> Snapshot:
    return Snapshot(
        organization=ORG,
        customer=customer(number),
        rev=rev,
        status=SubscriptionStatus.ACTIVE,
        end_us=None,
        terms=None,
        next=None,
        cut=cut,
    )


async def test_a_row_comes_back_exactly(store: UsageStore) -> None:
    sent = event(
        7,
        quantity="999999999999.000000001",
        event_time_us=T0_MS * 1_000 + 123_456,
        clock_ms=T0_MS - 99,
        key="k'\\\n\t😀",
        digest=bytes(range(16)),
        content=b"\xff" * 8,
        request=b"\x00\x01" * 4,
        has_timestamp=False,
        properties=(("path", "/a'b"), ("path", "again"), ("", "")),
        replays=Position(1, 2, 2**47, 3).to_bytes(),
    )
    original = Position(0, 3, 2**47, 511)
    outcome = Outcome(
        verdict=Verdict.DUPLICATE, code="", original=original.to_bytes(), original_at_ms=T0_MS - 5, limited=False
    )
    await write(store, 3, 2**47 + 1, (event(7), counted()), (sent, outcome), time_ms=T0_MS + 7)
    assert await store.event(ORG_TEXT, Position(0, 3, 2**47 + 1, 1)) == EventRow(
        organization=ORG_TEXT,
        customer=customer_text(7),
        feature=CALLS_TEXT,
        event_time=T0_MS * 1_000 + 123_456,
        epoch=0,
        lane=3,
        offset=2**47 + 1,
        index=1,
        at=T0_MS,
        accepted_at=T0_MS - 99,
        clock_ms=T0_MS - 99,
        has_timestamp=False,
        quantity="999999999999.000000001",
        key="k'\\\n\t😀",
        digest=bytes(range(16)).hex(),
        content="ff" * 8,
        request="0001" * 4,
        properties=(("path", "/a'b"), ("path", "again"), ("", "")),
        gateway="gw",
        verdict="duplicate",
        code="",
        term=0,
        window=0,
        window_end=0,
        cut=0,
        original=original.event_id(),
        original_at=T0_MS - 5,
        limited=False,
        replays=Position(1, 2, 2**47, 3).event_id(),
    )


TOKENS_USED = TokenUse(
    model="anthropic/claude-sonnet-4.6",
    input=10_000,
    output=500,
    cache_read=7_000,
    cache_write=1_000,
    input_cost="0.006",
    output_cost="0.0075",
    cache_read_cost="0.0021",
    cache_write_cost="0.00375",
    base_cost="0.01935",
    price_version="genai-prices 0.0.30",
    price_since_ms=T0_MS - 1,
)


async def test_a_correction_is_found_by_its_event_and_an_event_by_its_key(store: UsageStore) -> None:
    """ADR 10."""
    sent, other = event(7, digest=b"k" * 16), event(7, digest=b"h" * 16)
    blocked = Outcome(verdict=Verdict.BLOCKED, code="included_limit_reached")
    await write(store, 3, 10, (sent, blocked), (other, blocked), (sent, counted()), (other, blocked))
    place = Position(0, 3, 10, 2)
    facts = {"term": 1, "window": 20_000, "window_end": 20_031, "pool": "credits", "cost": 2**62, "taken": 5}
    corrects = Corrected(position=place.to_bytes(), number=1, void=False, quantity="1.5", **facts)
    less = replace(sent, quantity="-0.000000001", digest=b"c" * 16, corrects=corrects)
    more = replace(less, quantity="2", corrects=replace(corrects, number=2))
    elsewhere = replace(less, corrects=replace(corrects, position=Position(0, 3, 10, 1).to_bytes()))
    await write(store, 3, 11, (less, counted()), (elsewhere, counted()), (more, blocked), (more, counted()))
    found, latest = await store.keyed_events(ORG_TEXT, customer_text(7), [b"h" * 16, b"k" * 16])
    assert (found.offset, found.index, found.verdict, found.corrects) == (10, 2, "counted", "")
    assert (latest.index, latest.verdict) == (3, "blocked")
    assert await store.keyed_events(ORG_TEXT, customer_text(7), [b"h" * 16]) == [latest]
    assert await store.keyed_events(ORG_TEXT, customer_text(8), [b"k" * 16]) == []
    first, second = await store.corrections_of(found)
    assert (first.index, first.quantity, first.corrects) == (0, "-0.000000001", place.event_id())
    assert (second.index, second.verdict) == (3, "counted")
    assert (corrected_of(first), corrected_of(second)) == (corrects, more.corrects)
    assert replay_of(first, at_ms=1, clock_ms=None).corrects == corrects
    assert await store.corrections_of(first) == []


async def test_draws_that_came_to_nothing_are_known_to_have_been(store: UsageStore) -> None:
    """The fold keeps their window until it is forgotten, and so does a rebuild (ADR 10)."""

    def drew(number: int) -> Drawn:
        return Drawn(pool="credits", cost=number, plan=number, packs=0, top_ups=0, overdraft=0, left=0)

    at_ms = WINDOW * DAY_US // 1_000
    used = [event(7, at_ms=at_ms), event(7, at_ms=at_ms, quantity="-1"), event(8, at_ms=at_ms, quantity="0")]
    drawn = [counted(drawn=drew(5)), counted(drawn=drew(-5)), counted(drawn=drew(0))]
    await write(store, 3, 10, *zip(used, drawn, strict=True))
    seven, eight = [row async for page in store.account_rows(0, 3, before_offset=11) for row in page]
    assert [row.sums[0].drew for row in (seven, eight)] == [True, False]
    assert rebuilt_account(seven, 1, 1).draws == {
        (1, WINDOW): WindowDraws(end=WINDOW_END, now=Draws(), at_cut=Draws()),
    }
    assert rebuilt_account(eight, 1, 1).draws == {}


async def test_what_an_event_drew_and_its_tokens_come_back_exactly(store: UsageStore) -> None:
    """R-AI-11."""
    tokens = TOKENS_USED
    drawn = Drawn(
        pool="balance",
        cost=23_220_000,
        plan=1,
        packs=2**63 - 1,
        top_ups=3,
        overdraft=4,
        left=-5,
        margin="20",
        currency="jpy",
    )
    sent = event(1, quantity="10500", tokens=tokens)
    await write(store, 0, 0, (event(1), counted()))
    await write(
        store, 0, 1, (event(1), counted()), (sent, counted(drawn=drawn)), (sent, Outcome(verdict=Verdict.BLOCKED))
    )
    await write(store, 0, 2, (event(1), counted()))
    rows = [await store.event(ORG_TEXT, Position(0, 0, *place)) for place in ((0, 0), (1, 0), (1, 1), (1, 2), (2, 0))]
    assert [row and (row.model, row.pool) for row in rows] == [
        ("", ""),
        ("", ""),
        (tokens.model, "balance"),
        (tokens.model, ""),
        ("", ""),
    ]
    row = rows[2]
    assert row is not None
    names = EVENT_COLUMNS[EVENT_COLUMNS.index("cost") :]
    assert dict(zip(names, (getattr(row, name) for name in names), strict=True)) == {
        "cost": "0.02322",
        "drawn_plan": "0.000000001",
        "drawn_packs": "9223372036.854775807",
        "drawn_top_ups": "0.000000003",
        "overdraft": "0.000000004",
        "pool_left": "-0.000000005",
        "currency": "jpy",
        "margin": "20",
        "model": tokens.model,
        "input_tokens": 10_000,
        "output_tokens": 500,
        "cache_read_tokens": 7_000,
        "cache_write_tokens": 1_000,
        "input_cost": "0.006",
        "output_cost": "0.0075",
        "cache_read_cost": "0.0021",
        "cache_write_cost": "0.00375",
        "base_cost": "0.01935",
        "price_version": "genai-prices 0.0.30",
        "price_since_ms": T0_MS - 1,
        "corrects": "",
        "correction": "",
    }


async def test_short_and_whole_rows_share_an_insert(store: UsageStore) -> None:
    columns = EventColumns()
    drawn = Drawn(pool="credits", cost=5, plan=5, packs=0, top_ups=0, overdraft=0, left=0)
    for offset, outcome in enumerate((counted(), counted(drawn=drawn), counted(), counted(drawn=drawn))):
        columns.extend(rows_of(0, 0, offset, T0_MS, "gw", [event(1)] * 2, [outcome] * 2))
    assert [len(column) for column in columns.data] == [8] * len(EVENT_COLUMNS)
    await store.insert_events(columns)
    rows = await store.raw.query("SELECT `offset`, pool, toString(cost) FROM events FINAL ORDER BY `offset`, `index`")
    full, none = ("credits", "0.000000005"), ("", "0")
    assert [row[1:] for row in rows] == [none, none, full, full, none, none, full, full]


async def test_draws_at_cut_sum_each_customer_up_to_its_own_cut_and_the_one_before(store: UsageStore) -> None:
    def drew(cut: int, amount: int, **changes: object) -> tuple[UsageEvent, Outcome]:
        drawn = Drawn(pool="balance", cost=9, plan=amount, packs=0, top_ups=2 * amount, overdraft=3 * amount, left=0)
        used = event(1, feature=CALLS if cut % 2 else TOKENS)
        if cut > 1:
            used = msgspec.structs.replace(used, tokens=msgspec.structs.replace(TOKENS_USED, price_version=f"e{cut}"))
        return used, counted(cut, drawn=drawn, **changes)

    later = {"window": WINDOW_END, "window_end": WINDOW_END + 30}
    await write(store, 0, 0, drew(1, 1), drew(2, 10), drew(3, 100), drew(2, 7, **later), (event(1), counted(1)))
    await write(store, 0, 1, drew(1, 1, window_end=WINDOW_END - 3), (event(2), counted(1)))
    blocked = Outcome(verdict=Verdict.BLOCKED, term=1, window=WINDOW, window_end=WINDOW_END, cut=1)
    await write(store, 0, 2, (event(1), blocked))

    def draws(amount: int) -> Draws:
        return Draws(plan=amount, top_ups=2 * amount, overdraft=3 * amount)

    def window(begin: int, end: int, at_cut: int, before: int) -> CutDraws:
        return CutDraws(
            customer=customer_text(1),
            term=1,
            window=begin,
            window_end=end,
            at_cut=draws(at_cut),
            before=draws(before),
            price_versions=("e2",),
        )

    found = await store.draws_at_cut(ORG_TEXT, {customer_text(1): 2, customer_text(2): 5})
    assert found == [window(WINDOW, WINDOW_END, 12, 2), window(WINDOW_END, WINDOW_END + 30, 7, 0)]
    assert await store.draws_at_cut(ORG_TEXT, {}) == []


async def test_an_event_takes_effect_at_the_lower_of_the_gateways_and_the_logs_time(store: UsageStore) -> None:
    await write(store, 0, 0, (event(), counted()), (event(at_ms=T0_MS + 50), counted()), time_ms=T0_MS + 20)
    slow, fast = [await store.event(ORG_TEXT, Position(0, 0, 0, index)) for index in (0, 1)]
    assert slow is not None and fast is not None  # noqa: PT018 - both are there
    assert (slow.at, slow.accepted_at, fast.at, fast.accepted_at) == (T0_MS, T0_MS, T0_MS + 20, T0_MS + 20)


async def test_an_event_of_another_organization_is_not_there(store: UsageStore) -> None:
    await write(store, 0, 0, (event(), counted()))
    assert await store.event(OTHER_TEXT, Position(0, 0, 0, 0)) is None
    assert await store.event(ORG_TEXT, Position(0, 0, 0, 1)) is None
    assert await store.event(ORG_TEXT, Position(1, 0, 0, 0)) is None


def query(**changes: object) -> UsageQuery:
    values: dict[str, object] = {
        "organization": ORG_TEXT,
        "customer": customer_text(1),
        "feature": CALLS_TEXT,
        "granularity": Granularity.DAY,
        "from_us": T0_MS * 1_000 // DAY_US * DAY_US,
        "to_us": (T0_MS * 1_000 // DAY_US + 1) * DAY_US,
    }
    return UsageQuery(**{**values, **changes})  # type: ignore[arg-type] # a test's shorthand


async def test_rows_inserted_again_change_no_sum(store: UsageStore) -> None:
    for _ in range(3):
        await write(store, 0, 4, (event(1, quantity="0.1"), counted()), (event(1, quantity="0.2"), counted()))
    assert (await store.series(query())).total == Decimal("0.3")
    assert [total.units for total in await store.totals_at_cut(ORG_TEXT, {customer_text(1): 1})] == [300_000_000]
    [page] = [page async for page in store.account_rows(0, 0, before_offset=5)]
    assert [row.sums[0].units for row in page] == [300_000_000]


async def test_a_series_sums_counted_events_of_the_asked_half_open_interval(store: UsageStore) -> None:
    day = T0_MS * 1_000 // DAY_US * DAY_US
    times = (day - 1, day, day + DAY_US - 1, day + DAY_US, day + 2 * DAY_US, day + 3 * DAY_US)
    joined = [(event(1, quantity=str(10**n), event_time_us=time), counted()) for n, time in enumerate(times)]
    refused = [(event(1, quantity="5"), Outcome(verdict=verdict)) for verdict in Verdict if verdict != Verdict.COUNTED]
    others = [
        (event(2, quantity="7"), counted()),
        (event(1, quantity="7", feature=TOKENS), counted()),
        (event(1, quantity="7", organization=OTHER_ORG), counted()),
    ]
    await write(store, 0, 0, *joined, *refused, *others)
    series = await store.series(query(to_us=day + 3 * DAY_US))
    assert [(bucket.start_us, bucket.quantity) for bucket in series.buckets] == [
        (day, Decimal(110)),
        (day + DAY_US, Decimal(1000)),
        (day + 2 * DAY_US, Decimal(10_000)),
    ]
    assert series.total == Decimal(11_110)
    everybody = await store.series(query(customer=None))
    assert everybody.total == Decimal(117)
    hours = await store.series(query(granularity=Granularity.HOUR))
    assert [str(bucket.quantity) for bucket in hours.buckets] == ["10", *["0"] * 22, "100"]


async def test_progress_only_rises(store: UsageStore) -> None:
    assert await store.progress(0) == {}
    await store.write_progress(0, {0: (10, T0_MS), 3: (4, T0_MS + 1)})
    await store.write_progress(0, {0: (7, T0_MS + 5), 3: (5, T0_MS + 2)})
    await store.write_progress(1, {0: (1, 1)})
    await store.write_progress(0, {})
    assert await store.progress(0) == {0: (10, T0_MS), 3: (5, T0_MS + 2)}


async def all_keys(store: UsageStore, *, before: int, since_ms: int = 0) -> list[KeyRow]:
    pages = store.key_rows(0, 1, before_offset=before, since_clock_ms=since_ms, begin_clock_ms=0)
    return [row async for page in pages for row in page]


async def test_key_rows_are_what_left_an_entry_with_the_lanes_clock(
    store: UsageStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(account_pages, "PAGE_ROWS", 7)  # many full pages, broken within records
    random = Random(5)
    verdicts, expected, clock = list(Verdict), [], 0
    columns = EventColumns()
    for offset in range(0, 400, 2):  # the odd ones are account records
        joined = []
        for index in range(random.randrange(1, 6)):
            at_ms = T0_MS + offset * 10 + random.randrange(-500, 500)
            verdict = random.choice(verdicts)
            digest = random.randbytes(16) if random.random() < 0.7 else b""
            letter = Position(0, 1, 0, 0) if random.random() < 0.3 else None
            sent = event(
                1,
                at_ms=at_ms,
                digest=digest,
                content=random.randbytes(8),
                request=random.randbytes(8),
                replays=b"" if letter is None else letter.to_bytes(),
            )
            joined.append((sent, Outcome(verdict=verdict)))
            clock = max(clock, at_ms)
            kept = digest and verdict in (Verdict.COUNTED, Verdict.BLOCKED, Verdict.REFUSED)
            if (kept or verdict == Verdict.DEAD) if letter is None else verdict == Verdict.COUNTED:
                expected.append(
                    KeyRow(
                        position=Position(0, 1, offset, index),
                        verdict=verdict,
                        digest=digest,
                        content=sent.content,
                        request=sent.request,
                        at_ms=at_ms,
                        clock_ms=clock,
                    )
                )
        add(columns, 1, offset, *joined)
        if offset == 2:
            add(columns, 2, offset, *joined)  # another lane
        if offset % 80 == 78:
            await store.insert_events(columns)
            columns = EventColumns()
    assert await all_keys(store, before=400) == expected
    below = [row for row in expected if row.position.offset < 100]
    assert await all_keys(store, before=100) == below
    since = T0_MS + 2_003
    assert await all_keys(store, before=400, since_ms=since) == [row for row in expected if row.clock_ms >= since]
    assert await all_keys(store, before=400, since_ms=T0_MS * 2) == []


def asked_key(digest: bytes, offset: int, index: int = 0, number: int = 1) -> AskedKey:
    return AskedKey(organization=ORG, customer=customer(number), digest=digest, offset=offset, index=index)


async def ruling(store: UsageStore, *asked: AskedKey, epoch: int = 0) -> dict[bytes, tuple[Verdict, Position]]:
    rows = await store.ruling_rows(epoch, 1, asked)
    return {digest: (row.verdict, row.position) for digest, row in rows.items()}


async def test_the_ruling_row_is_the_last_below_each_events_own_place(store: UsageStore) -> None:
    one, two = b"1" * 16, b"2" * 16
    blocked, again = Outcome(verdict=Verdict.BLOCKED), Outcome(verdict=Verdict.DUPLICATE)
    await write(store, 1, 10, (event(1, digest=one), blocked), (event(1, digest=one), counted()))
    await write(store, 1, 20, (event(1, digest=one), again), (event(1, digest=two), Outcome(verdict=Verdict.DEAD)))
    await write(store, 1, 20, (event(1, digest=one), again), (event(1, digest=two), Outcome(verdict=Verdict.DEAD)))
    dead_again = Outcome(verdict=Verdict.DEAD, original=Position(0, 1, 20, 1).to_bytes())
    await write(store, 1, 30, (event(1, digest=two), dead_again), (event(1), counted()))
    first, second = (Verdict.BLOCKED, Position(0, 1, 10, 0)), (Verdict.COUNTED, Position(0, 1, 10, 1))
    dead = (Verdict.DEAD, Position(0, 1, 20, 1))
    assert await ruling(store, asked_key(one, 10, 0), asked_key(two, 20, 1)) == {}, "never the event itself"
    assert await ruling(store, asked_key(one, 10, 1)) == {one: first}
    assert await ruling(store, asked_key(one, 11), asked_key(two, 20, 2)) == {one: second, two: dead}
    assert await ruling(store, asked_key(two, 99), asked_key(one, 10, 1)) == {one: first, two: dead}, (
        "bounds are a key's own"
    )
    assert await ruling(store, asked_key(b"3" * 16, 99)) == {}


async def test_the_ruling_row_has_what_an_entry_has(store: UsageStore) -> None:
    sent = event(1, digest=b"1" * 16, content=b"content1", request=b"request1", at_ms=T0_MS + 7)
    await write(store, 1, 10, (sent, counted()))
    [row] = (await store.ruling_rows(0, 1, [asked_key(b"1" * 16, 11)])).values()
    assert row == KeyRow(
        position=Position(0, 1, 10, 0),
        verdict=Verdict.COUNTED,
        digest=b"1" * 16,
        content=b"content1",
        request=b"request1",
        at_ms=T0_MS + 7,
        clock_ms=T0_MS + 7,
    )


async def test_the_ruling_row_of_an_older_epoch_lies_below_and_other_lanes_are_not_asked(store: UsageStore) -> None:
    digest = b"1" * 16
    await write(store, 2, 70, (event(1, digest=digest), counted()))
    assert await ruling(store, asked_key(digest, 99)) == {}, "a lane of this epoch is another customer's"
    assert await ruling(store, asked_key(digest, 5), epoch=1) == {digest: (Verdict.COUNTED, Position(0, 2, 70, 0))}
    assert await ruling(store, asked_key(digest, 5, number=2), epoch=1) == {}, "another customer"


async def test_many_keys_are_looked_up_in_one_query(store: UsageStore) -> None:
    keys = [number.to_bytes(16, "big") for number in range(512)]
    await write(store, 1, 10, *((event(number % 5, digest=key), counted()) for number, key in enumerate(keys)))
    asked = [asked_key(key, 11, number=number % 5) for number, key in enumerate(keys)]
    assert await ruling(store, *asked) == {
        key: (Verdict.COUNTED, Position(0, 1, 10, index)) for index, key in enumerate(keys)
    }


async def test_account_rows_give_clock_and_sums_per_cut_of_every_customer(
    store: UsageStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(account_pages, "PAGE_CUSTOMERS", 2)
    await write(store, 1, 0, (event(1, quantity="1.5"), counted(1)), (event(2, quantity="4"), counted(1)))
    await write(store, 1, 1, (event(1, quantity="0.25"), counted(1)), (event(1, quantity="8"), counted(2)))
    later = event(1, quantity="100", at_ms=T0_MS + 9)
    await write(store, 1, 2, (later, Outcome(verdict=Verdict.BLOCKED, code="included_limit_reached")))
    await write(store, 1, 3, (event(3, clock_ms=5), Outcome(verdict=Verdict.REFUSED)))
    await write(store, 1, 4, (event(4), counted(window=WINDOW - 31, window_end=WINDOW, term=9, limited=False)))
    await write(store, 1, 5, (event(5), counted()))
    await write(store, 2, 0, (event(6), counted()))
    found = [row async for page in store.account_rows(0, 1, before_offset=5) for row in page]

    def usage(cut: int, units: int, **changes: int) -> WindowSum:
        values = {"term": 1, "window": WINDOW, "window_end": WINDOW_END, **changes}
        return WindowSum(feature=CALLS, cut=cut, units=units, **values)

    assert found == [
        AccountSums(customer=customer(1), clock_ms=T0_MS + 9, sums=(usage(1, 1_750_000_000), usage(2, 8 * 10**9))),
        AccountSums(customer=customer(2), clock_ms=T0_MS, sums=(usage(1, 4 * 10**9),)),
        AccountSums(customer=customer(3), clock_ms=5, sums=()),
        AccountSums(
            customer=customer(4), clock_ms=T0_MS, sums=(usage(1, 10**9, term=9, window=WINDOW - 31, window_end=WINDOW),)
        ),
    ]


async def test_snapshots_are_the_greatest_rev_below_the_offset(
    store: UsageStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(account_pages, "PAGE_CUSTOMERS", 1)
    for offset, (number, rev, cut) in enumerate([(1, 1, 0), (1, 3, 2), (1, 2, 1), (2, 1, 0), (1, 4, 3)]):
        for _ in range(2):
            await write_snapshot(store, 1, offset, snapshot(number, rev, cut))
    found = [row async for page in store.snapshots(0, 1, before_offset=4) for row in page]
    assert [(row.customer, row.rev, row.cut) for row in found] == [(customer(1), 3, 2), (customer(2), 1, 0)]
    assert isinstance(found[0], SnapshotRow)
    assert decode_snapshot(found[0].snapshot) == snapshot(1, 3, 2)
    assert [row async for page in store.snapshots(0, 2, before_offset=4) for row in page] == []


async def test_totals_at_cut_sum_each_customer_up_to_its_own_cut(store: UsageStore) -> None:
    for number in (1, 2):
        joined = [(event(number, quantity=str(10**cut)), counted(cut)) for cut in (1, 2, 3)]
        await write(store, number, 0, *joined, (event(number, quantity="5"), Outcome(verdict=Verdict.BLOCKED)))
    await write(
        store, 1, 1, (event(1, quantity="0.000000001"), counted(2, window=WINDOW_END, window_end=WINDOW_END + 30))
    )
    await write(store, 1, 2, (event(3), counted()), (event(1, organization=OTHER_ORG), counted()))
    found = await store.totals_at_cut(ORG_TEXT, {customer_text(1): 2, customer_text(2): 1, customer_text(9): 4})

    def total(number: int, units: int, before: int, window: int = WINDOW, end: int = WINDOW_END) -> CutTotal:
        return CutTotal(
            customer=customer_text(number),
            feature=CALLS_TEXT,
            term=1,
            window=window,
            window_end=end,
            units=units,
            units_before=before,
        )

    assert found == [
        total(1, 110 * 10**9, 10 * 10**9),
        total(1, 1, 0, WINDOW_END, WINDOW_END + 30),
        total(2, 10 * 10**9, 0),
    ]
    assert await store.totals_at_cut(ORG_TEXT, {}) == []
    assert await store.totals_at_cut(OTHER_TEXT, {customer_text(2): 3}) == []


async def test_the_first_position_of_a_cut_is_its_first_record(store: UsageStore) -> None:
    for offset, (number, rev, cut) in enumerate([(1, 1, 0), (1, 2, 1), (2, 1, 0), (1, 3, 1), (1, 4, 3)]):
        await write_snapshot(store, 1, 100 + offset, snapshot(number, rev, cut))
    assert await store.first_cut_position(customer_text(1), 1) == (0, 1, 101)
    assert await store.first_cut_position(customer_text(1), 2) == (0, 1, 104)
    assert await store.first_cut_position(customer_text(1), 4) is None
    asked = {customer_text(1): 1, customer_text(2): 1, customer_text(3): 0}
    assert await store.first_cut_positions(asked) == {customer_text(1): (0, 1, 101)}
    assert await store.first_cut_positions({}) == {}


async def test_the_events_behind_a_line_come_in_pages_and_sum_to_it(store: UsageStore) -> None:
    for offset in range(6):
        joined = [
            (event(1, quantity=str(2**n), event_time_us=T0_MS * 1_000 - offset), counted(1 + offset // 2))
            for n in range(3)
        ]
        other = (event(1, quantity="99"), counted(2, window=WINDOW_END, window_end=WINDOW_END + 30))
        await write(store, 1, offset, *joined, other, (event(1), Outcome(verdict=Verdict.BLOCKED, cut=2)))
    line = InvoiceLineEvents(
        organization=ORG_TEXT, customer=customer_text(1), feature=CALLS_TEXT, term=1, window=WINDOW, cut_after=1, cut=2
    )
    seen: list[EventRow] = []
    while page := await store.line_events(line, limit=4, after=position_of(seen[-1]) if seen else None):
        assert len(page) <= 4
        seen += page
    assert [position_of(row)[2:] for row in seen] == [(offset, index) for offset in (2, 3) for index in range(3)]
    [total, _] = await store.totals_at_cut(ORG_TEXT, {customer_text(1): 2})
    assert sum(Decimal(row.quantity) for row in seen) * 10**9 == total.units - total.units_before


def refusal(number: int, *, at_ms: int = T0_MS, **changes: object) -> RefusedRequest:
    values: dict[str, object] = {
        "id": ids.id_text(ids.REFUSAL, number.to_bytes(16, "big")),
        "organization": ORG,
        "customer": "acme",
        "feature": "calls",
        "quantity": "1",
        "key": "",
        "at_ms": at_ms,
        "code": "customer_not_found",
        "message": "no such customer",
        "body": '{"a": "\'"}',
    }
    return RefusedRequest(**{**values, **changes})  # type: ignore[arg-type] # a test's shorthand


async def test_a_refusal_comes_back_to_its_organization_alone(store: UsageStore) -> None:
    kept = refusal(5)
    await store.insert_refusals([kept, refusal(6, organization=OTHER_ORG)])
    found = await store.refusal(ORG_TEXT, kept.id)
    assert found is not None
    assert (found.at, found.code, found.body, found.quantity) == (T0_MS, kept.code, kept.body, "1")
    assert await store.refusal(OTHER_TEXT, kept.id) is None


async def test_a_list_filters_by_everything_that_it_may_be_asked(store: UsageStore) -> None:
    await write(
        store,
        1,
        0,
        (event(1, key="k1"), counted()),
        (event(1, feature=TOKENS, at_ms=T0_MS + 5), counted()),
        (event(2), counted()),
        (event(1, key="k1"), Outcome(verdict=Verdict.DUPLICATE)),
        (event(1), Outcome(verdict=Verdict.REFUSED, code="feature_not_in_plan")),
        (event(1, organization=OTHER_ORG), counted()),
    )
    await store.insert_refusals([refusal(1), refusal(2, customer="other"), refusal(3, organization=OTHER_ORG)])

    async def listed(**changes: object) -> list[object]:
        asked = EventFilter(organization=ORG_TEXT, **changes)  # type: ignore[arg-type] # a test's shorthand
        found = await store.events(asked, limit=50)
        return [
            item.index if isinstance(item, EventRow) else int.from_bytes(ids.id_bytes(item.id), "big") * 100
            for item in found
        ]

    assert await listed() == [1, 4, 3, 2, 0]
    assert await listed(refusals=True) == [1, 4, 3, 2, 0, 200, 100]
    assert await listed(customer=customer_text(2)) == [2]
    assert await listed(customer=customer_text(1), customer_names=("acme",), refusals=True) == [1, 4, 3, 0, 100]
    assert await listed(feature=ids.id_text(ids.FEATURE, TOKENS), feature_names=("tokens",), refusals=True) == [1]
    assert await listed(verdict=Verdict.REFUSED, refusals=True) == [4, 200, 100]
    assert await listed(key="k1", refusals=True) == [3, 0]
    assert await listed(from_us=T0_MS * 1_000 + 1, refusals=True) == [1]
    assert await listed(to_us=T0_MS * 1_000 + 1, refusals=True) == [4, 3, 2, 0, 200, 100]
    assert await listed(to_us=T0_MS * 1_000, refusals=True) == []


async def test_pages_show_everything_once_while_events_arrive(store: UsageStore) -> None:
    random = Random(11)
    for offset in range(20):
        joined = [
            (event(1, event_time_us=(T0_MS + random.randrange(4)) * 1_000), Outcome(verdict=Verdict.REFUSED))
            for _ in range(3)
        ]
        await write(store, offset % 3, offset, *joined)
    await store.insert_refusals([refusal(number, at_ms=T0_MS + number % 4) for number in range(1, 30)])
    whole = await store.events(EventFilter(organization=ORG_TEXT, refusals=True), limit=1_000)
    assert len(whole) == 60 + 29
    seen, after, arrived = [], None, 0
    while True:
        page = await store.events(EventFilter(organization=ORG_TEXT, refusals=True, after=after), limit=7)
        seen += page
        if len(page) < 7:
            break
        time_us, last = cursor_key(page[-1])
        after = ListCursor(time_us=time_us, id=last, position=Position.from_event_id(last))
        arrived += 1
        await write(store, 0, 1_000 + arrived, (event(1, at_ms=T0_MS + 100), counted()))  # newer than all
    assert seen == whole


async def test_columns_keep_the_order_of_the_rows(store: UsageStore) -> None:
    columns = EventColumns()
    for offset in range(3):
        columns.extend(rows_of(0, 0, offset, T0_MS, "gw", [event(n) for n in range(4)], [counted()] * 4))
    columns.extend(rows_of(0, 0, 9, T0_MS, "gw", [], []))
    assert len(columns) == 12
    assert [len(column) for column in columns.data] == [12] * len(METERED_COLUMNS)
    assert columns.data[EVENT_COLUMNS.index("offset")] == [0] * 4 + [1] * 4 + [2] * 4
    await store.insert_events(columns)
    await store.insert_events(EventColumns())
    assert await store.raw.query("SELECT count() FROM events FINAL") == [(12,)]


async def test_books_come_back_and_the_latest_rule(store: UsageStore) -> None:
    first = Books(next=5, events=7, verdicts={"counted": 6, "dead": 1}, carried=2, difference=3, lost=4)
    later = Books(next=5, events=7, verdicts={"counted": 6, "dead": 1}, carried=2, lost=7)
    await store.keep_books(1, {0: first, 3: Books()}, T0_MS)
    assert await store.books(1) == {0: first, 3: Books()}
    await store.keep_books(1, {0: later}, T0_MS + 1)
    assert await store.books(1) == {0: later, 3: Books()}
    assert await store.books(2) == {}


async def test_rows_are_counted_by_record_once_each(store: UsageStore) -> None:
    refused = Outcome(verdict=Verdict.REFUSED, code="not_found")
    for _ in range(2):  # the same rows again are the same rows
        await write(store, 2, 10, (event(1), counted()), (event(2), counted()), (event(3), refused))
    await write(store, 2, 11, (event(1), refused))
    await write(store, 2, 12, (event(1), counted()))
    await write(store, 3, 10, (event(1), counted()))
    assert sorted(await store.rows_by_record(0, 2, 10, 12)) == [
        (10, "counted", 2),
        (10, "refused", 1),
        (11, "refused", 1),
    ]
    assert await store.rows_by_record(0, 2, 12, 12) == []
    assert await store.rows_by_verdict(0, 2, 10, 13) == {"counted": 3, "refused": 2}
