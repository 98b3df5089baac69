"""The simulator of RAW agrees with the real store on chDB, in everything that the pipeline asks of it."""

import random

from aggregator.row import EventColumns, account_record_row, rows_of
from aggregator.store import UsageStore
from aggregator.store.key import AskedKey
from catalog.terms import Snapshot, SubscriptionStatus
from ingest.event import UsageEvent
from ingest.verdict import Drawn, Outcome, Verdict
from kernel import ids
from kernel.engine.raw.clickhouse import ClickHouse
from tests.simulation.raw import MemoryUsageStore, Tables

START_MS = 1_767_225_600_000
ORGANIZATION = b"o" * 16
CUSTOMERS = [bytes([n]) * 16 for n in range(1, 5)]
FEATURES = [b"f" * 16, b"g" * 16]
DIGESTS = [bytes([n]) * 16 for n in range(4)]
VERDICTS = (Verdict.COUNTED, Verdict.COUNTED, Verdict.BLOCKED, Verdict.REFUSED, Verdict.DUPLICATE, Verdict.DEAD)


def _event(chance: random.Random, at_ms: int) -> UsageEvent:
    return UsageEvent(
        organization=ORGANIZATION,
        customer=chance.choice(CUSTOMERS),
        feature=chance.choice(FEATURES),
        event_time_us=at_ms * 1_000,
        at_ms=at_ms,
        clock_ms=None,
        quantity=chance.choice(("1", "0.000000001", "7.5")),
        key="",
        digest=chance.choice((b"", chance.randbytes(16), *DIGESTS)),
        content=chance.randbytes(8),
        request=bytes(8),
        replays=chance.choice((b"", b"", b"\x01" + bytes(10))),
    )


def _outcome(chance: random.Random) -> Outcome:
    verdict = chance.choice(VERDICTS)
    if verdict is not Verdict.COUNTED:
        original = chance.choice((b"", b"\x01" * 11)) if verdict is Verdict.DEAD else b""
        return Outcome(verdict=verdict, original=original)
    end = chance.choice((20_480, 20_485))
    return Outcome(
        verdict=verdict, term=1, window=20_454, window_end=end, cut=chance.choice((1, 2, 3)), drawn=_drawn(chance)
    )


def _drawn(chance: random.Random) -> Drawn | None:
    if chance.random() < 0.5:
        return None
    plan, packs, top_ups, overdraft = (chance.choice((0, 1, 10**12)) for _ in range(4))
    return Drawn(pool="credits", cost=7, plan=plan, packs=packs, top_ups=top_ups, overdraft=overdraft, left=-5)


async def _write(stores, chance: random.Random) -> None:
    for offset in range(40):
        lane, at_ms = chance.randrange(2), START_MS + offset * 1_000
        if chance.random() < 0.3:
            snapshot = Snapshot(
                organization=ORGANIZATION,
                customer=chance.choice(CUSTOMERS),
                rev=chance.randrange(1, 9),
                status=SubscriptionStatus.ACTIVE,
                end_us=None,
                terms=None,
                next=None,
                cut=chance.randrange(3),
            )
            row = account_record_row(1, lane, offset, at_ms, snapshot)
            for store in stores:
                await store.insert_account_records([row])
            continue
        events = [_event(chance, at_ms - chance.randrange(5_000)) for _ in range(chance.randrange(1, 4))]
        rows = rows_of(1, lane, offset, at_ms, "gw", events, [_outcome(chance) for _ in events])
        for store in stores:
            for _ in range(chance.choice((1, 2)) if store is stores[0] else 2):
                columns = EventColumns()
                columns.extend(rows)
                await store.insert_events(columns)
        for store in stores:
            await store.write_progress(1, {lane: (offset, at_ms)})
            await store.write_progress(1, {lane: (offset // 2, at_ms)})


async def _pages(pages) -> list:
    return [row async for page in pages for row in page]


async def _seen(store) -> dict:
    organization = ids.id_text(ids.ORGANIZATION, ORGANIZATION)
    texts = [ids.id_text(ids.CUSTOMER, customer) for customer in CUSTOMERS]
    seen = {"progress": await store.progress(1)}
    for lane in range(2):
        for before in (0, 17, 40):
            place = (1, lane)
            for since in (0, START_MS + 9_000):
                keys = store.key_rows(*place, before_offset=before, since_clock_ms=since, begin_clock_ms=0)
                seen["keys", lane, before, since] = await _pages(keys)
            seen["accounts", lane, before] = [
                (row.customer, row.clock_ms, sorted(row.sums, key=repr))
                for row in await _pages(store.account_rows(*place, before_offset=before))
            ]
            for customer in CUSTOMERS:
                asked = [
                    AskedKey(organization=ORGANIZATION, customer=customer, digest=digest, offset=before + n, index=n)
                    for n, digest in enumerate(DIGESTS)
                ]
                for epoch in (1, 2):
                    seen["ruling", epoch, lane, before, customer] = await store.ruling_rows(epoch, lane, asked)
            seen["snapshots", lane, before] = await _pages(store.snapshots(*place, before_offset=before))
    for text in texts:
        seen["keyed", text] = await store.keyed_events(organization, text, [*DIGESTS, b"?" * 16])
    for cut in (1, 2, 3):
        cuts = dict.fromkeys(texts, cut)
        seen["totals", cut] = await store.totals_at_cut(organization, cuts)
        seen["draws", cut] = await store.draws_at_cut(organization, cuts)
        seen["positions", cut] = await store.first_cut_positions(cuts)
        seen["position", cut] = await store.first_cut_position(texts[0], cut)
    return seen


async def test_the_simulated_raw_agrees_with_the_real_one(tmp_path) -> None:
    raw = await ClickHouse.open(f"chdb://{tmp_path / 'raw'}")
    try:
        real, simulated = UsageStore(raw), MemoryUsageStore(Tables())
        await real.create()
        await _write((real, simulated), random.Random(3))
        there, here = await _seen(real), await _seen(simulated)
        assert here.keys() == there.keys()
        for asked, answer in there.items():
            assert here[asked] == answer, asked
    finally:
        await raw.close()
