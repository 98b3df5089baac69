"""The live port's law book: each sentence of `kernel/engine/live/base.py`, on every adapter (see conftest)."""

import asyncio
import time
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Self

import msgspec
import pytest

from kernel import limits
from kernel.engine.live.base import (
    READY,
    REBUILDING,
    AccountState,
    FoldWrite,
    KeyWrite,
    Known,
    LaneHeader,
    Live,
    Moved,
    Written,
)
from kernel.errors import Unavailable

LANES = 2  # of every case, see conftest
TOKEN = b"\x00\xfftoken \n"
HEADER = LaneHeader(epoch=3, token=TOKEN, rules=2, next=10, sunk=4, clock_ms=1_000, seen_ms=2_000, state=READY)
ANN, BOB = b"a" * 16, bytes(range(240, 256))


def digest(number: int) -> bytes:
    """Sixteen bytes whose last two spread over every sub-hash."""
    return b"\x00\xff\r\n" + bytes(8) + number.to_bytes(4, "big")


def entry(number: int) -> bytes:
    return bytes([number % 256]) * 34


def key(generation: int, number: int, value: int | None = None) -> KeyWrite:
    return KeyWrite(generation=generation, digest=digest(number), entry=entry(number if value is None else value))


def change(expected: LaneHeader = HEADER, **fields: Any) -> FoldWrite:
    """A change that changes nothing, but for `fields`."""
    kept = {"next": expected.next, "clock_ms": expected.clock_ms, "seen_ms": expected.seen_ms}
    sequences = dict.fromkeys(("generations", "fresh", "drop_generations", "keys"), ())
    mappings: dict[str, Any] = {name: {} for name in ("snapshots", "accounts", "outcomes")}
    return FoldWrite(**{"expected": expected, **kept, **sequences, **mappings, **fields})


async def make_ready(live: Live, lane: int = 0, header: LaneHeader = HEADER) -> None:
    assert await live.begin_rebuild(lane, token=header.token, expected_token=None)
    assert await live.finish_rebuild(lane, step=0, header=header)


async def header_of(live: Live, lane: int = 0) -> LaneHeader | None:
    return (await live.view(lane, [])).header


async def everything(live: Live, lane: int = 0) -> Any:
    return (
        await live.dump(lane),
        await live.oldest_outcome(lane),
        await live.outcomes(lane, range(30), epoch=HEADER.epoch),
    )


FULL: dict[str, Any] = {
    "next": 12,
    "clock_ms": 1_500,
    "seen_ms": 2_500,
    "generations": [5, 6],
    "fresh": [digest(1), digest(2), digest(3)],
    "keys": [key(5, 1), key(6, 2), key(6, 3)],
    "snapshots": {ANN: b"terms \x00 of ann"},
    "accounts": {ANN: b"\x00\x01ann", BOB: b"bob"},
    "outcomes": {10: b"ten", 11: b"\x00eleven"},
}


# --- view --------------------------------------------------------------------------------------------------------


async def test_view_of_an_absent_lane_has_no_header_and_no_values(live: Live) -> None:
    view = await live.view(0, [ANN, BOB])
    assert (view.header, view.catalog) == (None, None)
    assert view.accounts == [AccountState(snapshot=None, account=None)] * 2


async def test_view_tells_header_catalog_accounts_and_lives_own_time(live: Live) -> None:
    await make_ready(live)
    await live.raise_catalog(7)
    await live.write(0, change(**FULL))
    before = time.time_ns() // 1_000_000
    view = await live.view(0, [BOB, b"c" * 16, ANN])
    assert before <= view.now_ms <= time.time_ns() // 1_000_000
    assert view.catalog == 7
    assert view.header == msgspec.structs.replace(HEADER, next=12, clock_ms=1_500, seen_ms=2_500)
    assert view.accounts == [
        AccountState(snapshot=None, account=b"bob"),
        AccountState(snapshot=None, account=None),
        AccountState(snapshot=b"terms \x00 of ann", account=b"\x00\x01ann"),
    ]


async def test_view_is_one_atomic_look(live: Live) -> None:
    await make_ready(live)
    done = False

    async def write_on() -> None:
        header = HEADER
        for number in range(11, 120):
            value = b"%d" % number
            moved = change(header, next=number, snapshots={ANN: value}, accounts={ANN: value, BOB: value})
            assert isinstance(await live.write(0, moved), Written)
            header = msgspec.structs.replace(header, next=number)
            await asyncio.sleep(0)

    writing = asyncio.create_task(write_on())
    while not done:
        done = writing.done()
        view = await live.view(0, [ANN, BOB])
        assert view.header is not None
        wanted = b"%d" % view.header.next if view.header.next > 10 else None
        assert view.accounts == [
            AccountState(snapshot=wanted, account=wanted),
            AccountState(snapshot=None, account=wanted),
        ]
        await asyncio.sleep(0)
    await writing


async def test_lanes_know_nothing_of_each_other(live: Live) -> None:
    other = msgspec.structs.replace(HEADER, token=b"other")
    await make_ready(live, 1)
    await make_ready(live, 11, other)
    before = await everything(live, 11)
    await live.write(1, change(**FULL))
    assert await everything(live, 11) == before
    assert (await live.look({11: [digest(1)]}, [5, 6])).entries == {11: [None]}
    assert await live.begin_rebuild(1, token=b"new", expected_token=TOKEN)
    assert await everything(live, 11) == before


# --- look --------------------------------------------------------------------------------------------------------


async def test_look_finds_entries_by_lane_aligned_with_the_digests_asked(live: Live) -> None:
    await make_ready(live, 0)
    await make_ready(live, 1)
    await live.write(0, change(keys=[key(5, number) for number in range(0, 40, 2)]))
    await live.write(1, change(keys=[key(5, 1)]))
    look = await live.look({0: [digest(n) for n in range(40)], 1: [digest(1), digest(0)]}, [5])
    assert look.ready == {0: True, 1: True}
    assert look.entries == {0: [None if n % 2 else entry(n) for n in range(40)], 1: [entry(1), None]}


async def test_look_tells_the_newest_generations_entry_whatever_the_order_asked(live: Live) -> None:
    await make_ready(live)
    await live.write(0, change(keys=[key(9, 1, 9), key(10, 1, 10), key(8, 1, 8), key(8, 2, 8), key(7, 3, 7)]))
    asked = {0: [digest(1), digest(2), digest(3)]}
    for generations in ([8, 9, 10], [10, 9, 8], [9, 10, 8]):
        assert (await live.look(asked, generations)).entries == {0: [entry(10), entry(8), None]}
    assert (await live.look(asked, [9])).entries == {0: [entry(9), None, None]}
    assert (await live.look(asked, [])).entries == {0: [None, None, None]}


async def test_look_tells_the_catalog_and_lives_time_even_without_digests(live: Live) -> None:
    await live.raise_catalog(4)
    before = time.time_ns() // 1_000_000
    look = await live.look({}, [5])
    assert (look.catalog, look.ready, look.entries) == (4, {}, {})
    assert before <= look.now_ms <= time.time_ns() // 1_000_000


async def test_look_at_a_lane_that_is_absent_or_not_ready_finds_nothing(live: Live) -> None:
    await live.begin_rebuild(1, token=TOKEN, expected_token=None)
    await live.fill(1, token=TOKEN, step=0, keys=[key(5, 1)], snapshots={}, accounts={})
    look = await live.look({0: [digest(1)], 1: [digest(1)]}, [5])
    assert look.ready == {0: False, 1: False}
    assert look.entries == {0: [None], 1: [None]}


async def test_look_takes_many_digests_and_changes_nothing(live: Live) -> None:
    await make_ready(live)
    await live.write(0, change(keys=[key(5, 9_999), key(4, 0)]))
    before = await everything(live)
    look = await live.look({0: [digest(n) for n in range(10_000)]}, [4, 5])
    found = look.entries[0]
    assert (found[0], found[9_999], len(found)) == (entry(0), entry(9_999), 10_000)
    assert set(found[1:-1]) == {None}
    assert await everything(live) == before


# --- write -------------------------------------------------------------------------------------------------------


async def test_write_writes_everything(live: Live) -> None:
    await make_ready(live)
    written = await live.write(0, change(**FULL))
    assert isinstance(written, Written)
    assert abs(written.now_ms - time.time_ns() // 1_000_000) < 1_000
    dump, oldest, outcomes = await everything(live)
    assert dump == {
        "header": {
            b"epoch": b"3",
            b"token": TOKEN,
            b"rules": b"2",
            b"next": b"12",
            b"sunk": b"4",
            b"clock": b"1500",
            b"seen": b"2500",
            b"state": b"ready",
        },
        "accounts": FULL["accounts"],
        "snapshots": FULL["snapshots"],
        "keys:5": {digest(1): entry(1)},
        "keys:6": {digest(2): entry(2), digest(3): entry(3)},
    }
    assert oldest == 10
    assert outcomes == [None] * 10 + [b"ten", b"\x00eleven"] + [None] * 18


async def test_a_later_write_replaces_values_and_keeps_the_others(live: Live) -> None:
    await make_ready(live)
    await live.write(0, change(**FULL))
    header = msgspec.structs.replace(HEADER, next=12)
    again = change(header, next=13, keys=[key(6, 2, 99)], accounts={ANN: b"new"}, outcomes={12: b"twelve"})
    assert isinstance(await live.write(0, again), Written)
    dump, _, outcomes = await everything(live)
    assert dump["accounts"] == {ANN: b"new", BOB: b"bob"}
    assert dump["snapshots"] == FULL["snapshots"]
    assert dump["keys:6"] == {digest(2): entry(99), digest(3): entry(3)}
    assert outcomes[10:13] == [b"ten", b"\x00eleven", b"twelve"]


@pytest.mark.parametrize(
    "differs", [{"epoch": 4}, {"token": b"other"}, {"rules": 3}, {"next": 9}, {"next": 11}], ids=lambda d: next(iter(d))
)
async def test_write_is_moved_unless_what_it_was_computed_from_is_there(live: Live, differs: dict[str, Any]) -> None:
    await make_ready(live)
    before = await everything(live)
    end = await live.write(0, change(msgspec.structs.replace(HEADER, **differs), **FULL))
    assert end == Moved(header=HEADER)
    assert await everything(live) == before


async def test_write_compares_only_epoch_token_rules_and_next(live: Live) -> None:
    await make_ready(live)
    other = msgspec.structs.replace(HEADER, sunk=0, clock_ms=0, seen_ms=0)
    assert isinstance(await live.write(0, change(other, **FULL)), Written)


async def test_write_to_a_lane_that_is_absent_or_not_ready_is_moved(live: Live) -> None:
    assert await live.write(0, change(**FULL)) == Moved(header=None)
    await live.begin_rebuild(0, token=TOKEN, expected_token=None)
    before = await everything(live)
    rebuilding = await header_of(live)
    assert rebuilding is not None
    assert await live.write(0, change(rebuilding, **FULL)) == Moved(header=rebuilding)
    assert await everything(live) == before


async def test_write_is_known_when_a_digest_taken_for_new_has_an_entry(live: Live) -> None:
    await make_ready(live)
    keys = [key(4, 1, 4), key(5, 1, 5), key(4, 2, 4), key(3, 3, 3)]
    await live.write(0, change(keys=keys))
    before = await everything(live)
    full = {**FULL, "generations": [4, 5], "fresh": [digest(n) for n in (7, 3, 2, 1)]}
    assert await live.write(0, change(**full)) == Known(entries={digest(1): entry(5), digest(2): entry(4)})
    assert await everything(live) == before, "all or nothing"
    full |= {"generations": [5, 6], "fresh": [digest(2), digest(3)]}
    assert isinstance(await live.write(0, change(**full)), Written), "other generations are not looked at"


async def test_moved_comes_before_known(live: Live) -> None:
    await make_ready(live)
    await live.write(0, change(keys=[key(5, 1)]))
    stale = change(msgspec.structs.replace(HEADER, next=3), generations=[5], fresh=[digest(1)])
    assert isinstance(await live.write(0, stale), Moved)


async def test_a_digest_that_was_not_taken_for_new_is_overwritten(live: Live) -> None:
    await make_ready(live)
    await live.write(0, change(keys=[key(5, 1)]))
    assert isinstance(await live.write(0, change(generations=[5], keys=[key(5, 1, 77)])), Written)
    assert (await live.look({0: [digest(1)]}, [5])).entries == {0: [entry(77)]}


async def test_write_drops_generations(live: Live) -> None:
    await make_ready(live)
    await live.write(0, change(keys=[key(generation, n) for generation in (1, 2, 12) for n in range(20)]))
    assert isinstance(await live.write(0, change(drop_generations=[1, 7])), Written)
    dump, _, _ = await everything(live)
    assert {name for name in dump if name.startswith("keys:")} == {"keys:2", "keys:12"}


async def test_drops_wait_for_the_write(live: Live) -> None:
    await make_ready(live)
    await live.write(0, change(keys=[key(1, 1), key(5, 2)]))
    assert isinstance(await live.write(0, change(generations=[5], fresh=[digest(2)], drop_generations=[1])), Known)
    moved = change(msgspec.structs.replace(HEADER, next=1), drop_generations=[1])
    assert isinstance(await live.write(0, moved), Moved)
    assert "keys:1" in await live.dump(0)


async def test_a_change_that_carries_nothing_refreshes_seen_alone_and_compares_all_the_same(live: Live) -> None:
    await make_ready(live)
    await live.write(0, change(**FULL))
    header = await header_of(live)
    assert header is not None
    before = await everything(live)
    assert isinstance(await live.write(0, change(header, seen_ms=9_999)), Written)
    assert await header_of(live) == msgspec.structs.replace(header, seen_ms=9_999)
    before[0]["header"][b"seen"] = b"9999"
    assert await everything(live) == before
    assert isinstance(await live.write(0, change(seen_ms=10_000)), Moved)


async def test_a_change_without_events_moves_next(live: Live) -> None:
    await make_ready(live)
    assert isinstance(await live.write(0, change(next=11)), Written)
    header = await header_of(live)
    assert header is not None
    assert header.next == 11


async def test_write_takes_a_full_slice(live: Live) -> None:
    await make_ready(live)
    customers = [number.to_bytes(16, "big") for number in range(512)]
    full = change(
        next=522,
        generations=[1, 2, 3, 4, 5],
        fresh=[digest(n) for n in range(512)],
        keys=[key(5, n) for n in range(512)],
        snapshots=dict.fromkeys(customers, b"terms" * 50),
        accounts={customer: bytes(200) for customer in customers},
        outcomes={10 + n: b"outcome" for n in range(512)},
    )
    assert isinstance(await live.write(0, full), Written)
    dump = await live.dump(0)
    assert [len(dump[name]) for name in ("accounts", "snapshots", "keys:5")] == [512] * 3
    assert await live.outcomes(0, range(10, 522), epoch=HEADER.epoch) == [b"outcome"] * 512


async def test_counters_stay_exact_to_48_bits(live: Live) -> None:
    far = 2**48 - 1
    header = msgspec.structs.replace(HEADER, next=far - 1, sunk=far - 3, clock_ms=far, seen_ms=far)
    await make_ready(live, 0, header)
    assert await header_of(live) == header
    assert isinstance(await live.write(0, change(header, next=far, outcomes={far - 1: b"last"})), Written)
    assert await live.oldest_outcome(0) == far - 1
    assert await live.sank(0, token=TOKEN, begun=far - 3, sunk=far - 2, drop=[])
    assert await header_of(live) == msgspec.structs.replace(header, next=far, sunk=far - 2)


async def test_of_two_writes_computed_from_the_same_state_one_happens(live: Live) -> None:
    await make_ready(live)
    ends = await asyncio.gather(
        *(live.write(0, change(next=11, accounts={ANN: b"%d" % number})) for number in range(20))
    )
    assert [isinstance(end, Written) for end in ends].count(True) == 1
    winner = next(number for number, end in enumerate(ends) if isinstance(end, Written))
    assert (await live.view(0, [ANN])).accounts[0].account == b"%d" % winner


# --- outcomes and the sink ---------------------------------------------------------------------------------------


async def test_outcomes_are_none_where_none_was_written_or_it_is_dropped(live: Live) -> None:
    assert await live.outcomes(0, [1, 2], epoch=HEADER.epoch) == [None, None]
    assert await live.oldest_outcome(0) is None
    await make_ready(live)
    await live.write(0, change(outcomes={9: b"nine", 10: b"ten", 100: b"hundred"}))
    assert await live.outcomes(0, [100, 8, 9, 9], epoch=HEADER.epoch) == [b"hundred", None, b"nine", b"nine"]
    assert await live.outcomes(0, [100, 8], epoch=HEADER.epoch + 1) == [None, None]
    assert await live.outcomes(0, [], epoch=HEADER.epoch) == []
    assert await live.oldest_outcome(0) == 9
    assert await live.sank(0, token=TOKEN, begun=4, sunk=9, drop=[9, 55])
    assert await live.outcomes(0, [9, 10], epoch=HEADER.epoch) == [None, b"ten"]
    assert await live.oldest_outcome(0) == 10


async def test_sank_raises_sunk_and_nothing_else(live: Live) -> None:
    await make_ready(live)
    assert await live.sank(0, token=TOKEN, begun=4, sunk=8, drop=[])
    assert await header_of(live) == msgspec.structs.replace(HEADER, sunk=8)


async def test_sank_is_false_and_nothing_happens_unless_all_is_as_it_began(live: Live) -> None:
    assert not await live.sank(0, token=TOKEN, begun=4, sunk=5, drop=[])
    await make_ready(live)
    await live.write(0, change(outcomes={1: b"one"}))
    before = await everything(live)
    assert not await live.sank(0, token=b"other", begun=4, sunk=5, drop=[1])
    assert not await live.sank(0, token=TOKEN, begun=3, sunk=5, drop=[1])
    assert await everything(live) == before
    await live.begin_rebuild(0, token=b"new", expected_token=TOKEN)
    assert not await live.sank(0, token=b"new", begun=0, sunk=5, drop=[])


async def test_sank_drops_many(live: Live) -> None:
    await make_ready(live)
    await live.write(0, change(outcomes=dict.fromkeys(range(10000), b"x")))
    assert await live.sank(0, token=TOKEN, begun=4, sunk=9, drop=range(9_999))
    assert await live.oldest_outcome(0) == 9_999


# --- rebuild -----------------------------------------------------------------------------------------------------


async def test_begin_rebuild_empties_the_lane_and_sets_rebuilding(live: Live) -> None:
    await make_ready(live)
    await live.write(0, change(**FULL))
    assert await live.begin_rebuild(0, token=b"new", expected_token=TOKEN)
    header = await header_of(live)
    assert header is not None
    assert (header.state, header.token) == (REBUILDING, b"new")
    dump, oldest, outcomes = await everything(live)
    assert (dump.pop("header")[b"token"], dump) == (b"new", {"accounts": {}, "snapshots": {}})
    assert (oldest, set(outcomes)) == (None, {None})
    assert await live.rebuild_step(0) == (b"new", 0)


async def test_begin_rebuild_is_false_unless_the_token_is_the_one_expected(live: Live) -> None:
    assert not await live.begin_rebuild(0, token=b"new", expected_token=TOKEN)
    assert await header_of(live) is None
    await make_ready(live)
    before = await everything(live)
    assert not await live.begin_rebuild(0, token=b"new", expected_token=None)
    assert not await live.begin_rebuild(0, token=b"new", expected_token=b"other")
    assert not await live.begin_rebuild(0, token=b"new", expected_token=b"")
    assert await everything(live) == before


async def test_a_rebuild_may_be_taken_over(live: Live) -> None:
    assert await live.begin_rebuild(0, token=b"one", expected_token=None)
    assert await live.fill(0, token=b"one", step=0, keys=[key(5, 1)], snapshots={ANN: b"s"}, accounts={ANN: b"a"})
    assert await live.begin_rebuild(0, token=b"two", expected_token=b"one")
    assert await live.rebuild_step(0) == (b"two", 0)
    assert not await live.fill(0, token=b"one", step=1, keys=[], snapshots={}, accounts={ANN: b"late"})
    assert set(await live.dump(0)) == {"header", "accounts", "snapshots"}
    assert (await live.view(0, [ANN])).accounts == [AccountState(snapshot=None, account=None)]


async def test_fill_writes_a_part_and_raises_its_counter(live: Live) -> None:
    await live.begin_rebuild(0, token=TOKEN, expected_token=None)
    assert await live.fill(0, token=TOKEN, step=0, keys=[key(5, 1)], snapshots={ANN: b"s"}, accounts={ANN: b"a"})
    assert await live.rebuild_step(0) == (TOKEN, 1)
    assert await live.fill(0, token=TOKEN, step=1, keys=[key(5, 2)], snapshots={}, accounts={BOB: b"b"})
    assert await live.rebuild_step(0) == (TOKEN, 2)
    dump = await live.dump(0)
    assert dump["keys:5"] == {digest(1): entry(1), digest(2): entry(2)}
    assert (dump["snapshots"], dump["accounts"]) == ({ANN: b"s"}, {ANN: b"a", BOB: b"b"})


async def test_fill_takes_more_than_a_call_may_carry(live: Live) -> None:
    await live.begin_rebuild(0, token=TOKEN, expected_token=None)
    accounts = {number.to_bytes(16, "big"): b"%d" % number for number in range(12_001)}
    assert await live.fill(0, token=TOKEN, step=0, keys=[], snapshots={}, accounts=accounts)
    assert (await live.dump(0))["accounts"] == accounts


async def test_fill_is_false_unless_the_lane_is_rebuilding_with_the_token_at_the_step(live: Live) -> None:
    async def tried(token: bytes, step: int) -> bool:
        return await live.fill(0, token=token, step=step, keys=[key(5, 1)], snapshots={}, accounts={ANN: b"a"})

    assert not await tried(TOKEN, 0)
    assert await header_of(live) is None
    await live.begin_rebuild(0, token=TOKEN, expected_token=None)
    before = await everything(live)
    assert [await tried(b"other", 0), await tried(TOKEN, 1)] == [False, False]
    assert await everything(live) == before
    await live.finish_rebuild(0, step=0, header=HEADER)
    assert not await tried(TOKEN, 0)
    assert (await live.view(0, [ANN])).accounts[0].account is None


async def test_finish_rebuild_writes_the_header_which_makes_the_lane_ready(live: Live) -> None:
    await live.begin_rebuild(0, token=TOKEN, expected_token=None)
    await live.fill(0, token=TOKEN, step=0, keys=[key(5, 1)], snapshots={}, accounts={ANN: b"a"})
    assert await live.finish_rebuild(0, step=1, header=HEADER)
    assert await header_of(live) == HEADER
    assert await live.rebuild_step(0) is None
    look = await live.look({0: [digest(1)]}, [5])
    assert (look.ready, look.entries) == ({0: True}, {0: [entry(1)]})
    assert isinstance(await live.write(0, change(**{**FULL, "fresh": []})), Written)


async def test_finish_rebuild_is_false_unless_it_is_rebuilding_with_the_headers_token_at_the_step(live: Live) -> None:
    assert not await live.finish_rebuild(0, step=0, header=HEADER)
    assert await header_of(live) is None
    await live.begin_rebuild(0, token=TOKEN, expected_token=None)
    assert not await live.finish_rebuild(0, step=1, header=HEADER)
    assert not await live.finish_rebuild(0, step=0, header=msgspec.structs.replace(HEADER, token=b"other"))
    assert await live.rebuild_step(0) == (TOKEN, 0)
    assert await live.finish_rebuild(0, step=0, header=HEADER)
    assert not await live.finish_rebuild(0, step=0, header=msgspec.structs.replace(HEADER, next=99))
    assert await header_of(live) == HEADER


async def test_rebuild_step_is_none_when_there_is_no_rebuild(live: Live) -> None:
    assert await live.rebuild_step(0) is None
    await make_ready(live)
    assert await live.rebuild_step(0) is None


async def test_a_rebuild_of_the_same_state_comes_out_byte_identical(live: Live) -> None:
    await make_ready(live)
    await live.write(0, change(**FULL))
    header = await header_of(live)
    assert header is not None
    before = await live.dump(0)
    await live.begin_rebuild(0, token=b"new", expected_token=TOKEN)
    await live.fill(0, token=b"new", step=0, keys=FULL["keys"], snapshots=FULL["snapshots"], accounts=FULL["accounts"])
    await live.finish_rebuild(0, step=1, header=msgspec.structs.replace(header, token=b"new"))
    after = await live.dump(0)
    assert after.pop("header") | {b"token": TOKEN} == before.pop("header")
    assert after == before


# --- members and channels ----------------------------------------------------------------------------------------


async def test_beat_enters_a_member_and_lists_who_is_there_in_the_order_of_their_names(live: Live) -> None:
    assert await live.beat("b", lasts_ms=60_000) == ["b"]
    assert await live.beat("c é", lasts_ms=60_000) == ["b", "c é"]
    assert await live.beat("a", lasts_ms=60_000) == ["a", "b", "c é"]
    assert await live.beat("b", lasts_ms=60_000) == ["a", "b", "c é"]


async def test_beat_takes_a_member_out(live: Live) -> None:
    await live.beat("a", lasts_ms=60_000)
    await live.beat("b", lasts_ms=60_000)
    assert await live.beat("a", lasts_ms=0) == ["b"]
    assert await live.beat("never there", lasts_ms=0) == ["b"]


async def test_a_member_whose_time_is_over_is_forgotten(live: Live) -> None:
    await live.beat("short", lasts_ms=800)
    assert await live.beat("long", lasts_ms=60_000) == ["long", "short"]
    await asyncio.sleep(0.5)
    assert await live.beat("short", lasts_ms=800) == ["long", "short"], "a beat begins its time anew"
    await asyncio.sleep(0.4)
    assert await live.beat("long", lasts_ms=60_000) == ["long", "short"]
    await asyncio.sleep(0.45)
    assert await live.beat("long", lasts_ms=60_000) == ["long"]


class Listener:
    """What a gateway was told."""

    def __init__(self, live: Live, gateway: str, lanes: Sequence[int]) -> None:
        self.told: list[tuple[int, int, int, bytes]] = []
        self._live, self._gateway, self._lanes = live, gateway, lanes

    async def __aenter__(self) -> Self:
        ready = asyncio.Event()
        listening = self._live.listen(self._gateway, self._lanes, lambda *told: self.told.append(told), ready.set)
        self.task = asyncio.create_task(listening)
        await asyncio.wait_for(ready.wait(), 5)
        return self

    async def __aexit__(self, *_: object) -> None:
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)

    async def heard(self, count: int) -> list[tuple[int, int, int, bytes]]:
        """Wait for `count`, and a while for one too many."""
        until = time.monotonic() + 5
        while len(self.told) < count and time.monotonic() < until:
            await asyncio.sleep(0.001)
        await asyncio.sleep(0.05)
        return self.told


async def test_a_write_tells_each_gateway_the_outcomes_of_its_offsets(live: Live) -> None:
    await make_ready(live, 0)
    await make_ready(live, 1)
    far = 2**48 - 2
    async with Listener(live, "gw_a", [0, 1]) as a, Listener(live, "gw_b", [1]) as b, Listener(live, "gw_a", [0]) as c:
        outcomes = {10: b"ten", 11: b"\x00eleven\r\n", 12: b"twelve", far: b"far"}
        publish = {10: "gw_a", 11: "gw_b", far: "gw_a", 12: "nobody"}
        assert isinstance(await live.write(1, change(next=13, outcomes=outcomes, publish=publish)), Written)
        assert isinstance(await live.write(0, change(outcomes={3: b"three"}, publish={3: "gw_a"})), Written)
        assert sorted(await a.heard(3)) == [(0, 3, 3, b"three"), (1, 3, 10, b"ten"), (1, 3, far, b"far")]
        assert await b.heard(1) == [(1, 3, 11, b"\x00eleven\r\n")]
        assert await c.heard(1) == [(0, 3, 3, b"three")]


async def test_only_a_write_that_happened_tells_and_an_offset_without_outcomes_is_not_told(live: Live) -> None:
    await make_ready(live)
    await live.write(0, change(keys=[key(5, 1)], outcomes={7: b"old"}))
    async with Listener(live, "gw", [0]) as listener:
        telling: dict[str, Any] = {"outcomes": {8: b"no"}, "publish": {8: "gw"}}
        moved = change(msgspec.structs.replace(HEADER, next=3), **telling)
        assert isinstance(await live.write(0, moved), Moved)
        assert isinstance(await live.write(0, change(generations=[5], fresh=[digest(1)], **telling)), Known)
        written = change(outcomes={9: b"yes"}, publish={7: "gw", 8: "gw", 9: "gw"})
        assert isinstance(await live.write(0, written), Written)
        assert await listener.heard(1) == [(0, 3, 9, b"yes")]


async def test_what_is_told_is_written_and_comes_in_the_order_of_the_writes(live: Live) -> None:
    await make_ready(live)
    header, kept = HEADER, []
    async with Listener(live, "gw", [0]) as listener:
        for number in range(10, 60):
            outcomes = {number: b"%d" % number}
            assert isinstance(
                await live.write(0, change(header, next=number + 1, outcomes=outcomes, publish={number: "gw"})), Written
            )
            header = msgspec.structs.replace(header, next=number + 1)
            kept.append((0, 3, number, b"%d" % number))
        assert await listener.heard(50) == kept


async def test_who_does_not_listen_any_more_is_not_told(live: Live) -> None:
    await make_ready(live)
    async with Listener(live, "gw", [0]) as listener:
        pass
    assert listener.task.cancelled()
    await live.write(0, change(outcomes={9: b"yes"}, publish={9: "gw"}))
    async with Listener(live, "gw", [0]) as again:
        assert await again.heard(0) == []
    assert listener.told == []


async def test_a_rebuild_leaves_the_members_alone(live: Live) -> None:
    await live.beat("a", lasts_ms=60_000)
    await make_ready(live, 0)
    assert await live.begin_rebuild(0, token=b"new", expected_token=TOKEN)
    assert await live.beat("b", lasts_ms=60_000) == ["a", "b"]


async def test_listening_outlives_a_time_in_which_nothing_is_told(live: Live) -> None:
    await make_ready(live)
    async with Listener(live, "gw", [0]) as listener:
        await asyncio.sleep(2.2)
        await live.write(0, change(outcomes={9: b"yes"}, publish={9: "gw"}))
        assert await listener.heard(1) == [(0, 3, 9, b"yes")]


async def test_who_listens_notices_within_some_seconds_that_the_store_is_away(live_case: Any) -> None:
    async with Listener(live_case.live, "gw", [0, 1]) as listener:
        await live_case.freeze()
        began = time.monotonic()
        with pytest.raises(Unavailable):
            await asyncio.wait_for(listener.task, 8)
        assert time.monotonic() - began < 4
        with pytest.raises(Unavailable):
            await asyncio.wait_for(live_case.live.listen("gw", [0], lambda *_: None, lambda: None), 8)
        await live_case.thaw()
    await make_ready(live_case.live)
    async with Listener(live_case.live, "gw", [0]) as listener:
        await live_case.live.write(0, change(outcomes={9: b"yes"}, publish={9: "gw"}))
        assert await listener.heard(1) == [(0, 3, 9, b"yes")]


# --- catalog, wipe, time, errors ---------------------------------------------------------------------------------


async def test_the_catalogs_version_is_none_at_first_rises_and_never_falls(live: Live) -> None:
    assert await live.catalog() is None
    await live.raise_catalog(9)
    assert await live.catalog() == 9
    await live.raise_catalog(8)
    assert await live.catalog() == 9
    await live.raise_catalog(10)
    assert await live.catalog() == 10


async def test_the_catalogs_version_is_told_by_every_look_at_any_lane(live: Live) -> None:
    await live.raise_catalog(9)
    assert [(await live.view(lane, [])).catalog for lane in range(LANES)] == [9] * LANES
    assert (await live.look({}, [5])).catalog == 9
    for lanes in ([0], [1], [1, 0]):
        assert (await live.look({lane: [digest(1)] for lane in lanes}, [5])).catalog == 9


async def test_a_rebuild_leaves_the_catalogs_version_alone(live: Live) -> None:
    await live.raise_catalog(9)
    await make_ready(live, 1)
    assert await live.begin_rebuild(1, token=b"new", expected_token=TOKEN)
    assert (await live.view(1, [])).catalog == 9
    assert (await live.look({1: []}, [])).catalog == 9


async def catalogs(live: Live) -> list[int | None]:
    """Tell the version by every way to ask."""
    views = [(await live.view(lane, [])).catalog for lane in range(LANES)]
    looks = [(await live.look(asked, [5])).catalog for asked in ({}, {1: [digest(1)]}, {0: [], 1: []})]
    return [await live.catalog(), *views, *looks]


async def test_what_a_store_knew_of_the_catalog_before_it_was_started_again_is_not_believed(live_case: Any) -> None:
    live: Live = live_case.live
    assert await live.raise_catalog(9)
    assert set(await catalogs(live)) == {9}
    await live_case.restart()
    assert set(await catalogs(live)) == {None}, "its last writes may be lost"
    assert not await live.raise_catalog(9), "it may have been read from SQL before the restart"
    assert set(await catalogs(live)) == {None}
    assert await live.raise_catalog(8)
    assert set(await catalogs(live)) == {9}, "what is held is still the greater one"
    assert await live.raise_catalog(10)
    assert set(await catalogs(live)) == {10}


async def test_the_catalogs_version_is_believed_as_long_as_somebody_compares_it_with_sql(live_case: Any) -> None:
    live: Live = live_case.live
    await live.raise_catalog(9)
    await live_case.age(limits.CATALOG_SEEN_MS_MAX - 5_000)
    assert set(await catalogs(live)) == {9}
    await live_case.age(5_001)
    assert set(await catalogs(live)) == {None}
    assert await live.raise_catalog(9)
    assert set(await catalogs(live)) == {9}
    await live_case.age(-5_000)
    assert set(await catalogs(live)) == {None}, "a time to come is another clock's"


async def test_a_store_that_lost_everything_is_absent(live_case: Any) -> None:
    live: Live = live_case.live
    await make_ready(live)
    await live.raise_catalog(9)
    await live.write(0, change(**FULL))
    await live_case.wipe()
    assert (await header_of(live), await live.catalog()) == (None, None)
    assert await live.write(0, change(**FULL)) == Moved(header=None)
    assert await live.dump(0) == {"header": {}, "accounts": {}, "snapshots": {}}
    assert await live.outcomes(0, [10], epoch=HEADER.epoch) == [None]
    await make_ready(live)
    assert await header_of(live) == HEADER


async def test_now_is_lives_own_time(live: Live) -> None:
    before = time.time_ns() // 1_000_000
    now_ms = await live.now_ms()
    assert before <= now_ms <= time.time_ns() // 1_000_000


async def test_every_method_is_unavailable_while_the_store_is_away_and_works_again_after(live_case: Any) -> None:
    live: Live = live_case.live
    await make_ready(live)
    calls: list[Callable[[], Coroutine[Any, Any, object]]] = [
        lambda: live.view(0, [ANN]),
        lambda: live.look({0: [digest(1)]}, [5]),
        lambda: live.write(0, change(seen_ms=1)),
        lambda: live.outcomes(0, [1], epoch=HEADER.epoch),
        lambda: live.oldest_outcome(0),
        lambda: live.sank(0, token=b"", begun=0, sunk=0, drop=[]),
        lambda: live.condense(0, token=b"", generation=1, keep=b"d", mark=0, cursor=b"", rebuilding=False),
        lambda: live.begin_rebuild(0, token=b"", expected_token=b"?"),
        lambda: live.fill(0, token=b"", step=0, keys=[], snapshots={}, accounts={}),
        lambda: live.finish_rebuild(0, step=5, header=HEADER),
        lambda: live.rebuild_step(0),
        lambda: live.beat("a", lasts_ms=1),
        live.catalog,
        lambda: live.raise_catalog(1),
        lambda: live.dump(0),
        live.now_ms,
    ]
    await live_case.freeze()
    began = time.monotonic()
    ends = await asyncio.gather(*(call() for call in calls), return_exceptions=True)
    assert [type(end) for end in ends] == [Unavailable] * len(calls)
    assert time.monotonic() - began < 3
    await live_case.thaw()
    for call in calls:
        await call()
