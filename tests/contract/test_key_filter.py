"""The live port's law of key filters (ADR 7): each sentence about them in `live/base.py`, on every adapter."""

from hashlib import blake2b
from pathlib import Path
from typing import Any

import msgspec
import pytest

from kernel.engine.live.base import READY, FoldWrite, KeyWrite, Known, LaneHeader, Live, Written
from kernel.engine.live.valkey import ValkeyLive
from kernel.limits import CONDENSE_ENTRIES
from tests.contract.conftest import server

TOKEN = b"token"
HEADER = LaneHeader(epoch=3, token=TOKEN, rules=2, next=10, sunk=4, clock_ms=1_000, seen_ms=2_000, state=READY)
DEAD = b"d"


def digest(number: int) -> bytes:
    """Sixteen bytes as real ones are: anywhere, and in any sub-hash."""
    return blake2b(b"%d" % number, digest_size=16).digest()


def entry(kind: bytes, number: int) -> bytes:
    return kind + bytes([number % 256]) * 33


def key(generation: int, number: int, kind: bytes = b"n") -> KeyWrite:
    return KeyWrite(generation=generation, digest=digest(number), entry=entry(kind, number))


def change(**fields: Any) -> FoldWrite:
    kept: dict[str, Any] = {"expected": HEADER, "next": 10, "clock_ms": 1_000, "seen_ms": 2_000}
    sequences = dict.fromkeys(("generations", "fresh", "drop_generations", "keys"), ())
    mappings: dict[str, Any] = {name: {} for name in ("snapshots", "accounts", "outcomes")}
    return FoldWrite(**{**kept, **sequences, **mappings, **fields})


async def make_ready(live: Live, *keys: KeyWrite, lane: int = 0) -> None:
    assert await live.begin_rebuild(lane, token=TOKEN, expected_token=None)
    assert await live.finish_rebuild(lane, step=0, header=HEADER)
    if keys:
        assert isinstance(await live.write(lane, change(keys=keys)), Written)


async def condense(live: Live, generation: int, *, lane: int = 0, mark: int = 4, rebuilding: bool = False) -> int:
    """Go through a generation once; tells how many entries were moved."""
    cursor, moved = b"", 0
    while True:
        step = await live.condense(
            lane, token=TOKEN, generation=generation, keep=DEAD, mark=mark, cursor=cursor, rebuilding=rebuilding
        )
        assert step is not None
        moved += step.moved
        mark += rebuilding
        if not step.cursor:
            return moved
        cursor = step.cursor


async def asked(live: Live, numbers: range, *generations: int) -> Known | Written:
    """Ask a write about digests that it takes for new, and write nothing."""
    answer = await live.write(0, change(generations=generations, fresh=[digest(n) for n in numbers]))
    assert isinstance(answer, Known | Written)
    return answer


async def test_condense_moves_entries_into_the_filter(live: Live) -> None:
    await make_ready(live, *(key(5, n) for n in range(100)), *(key(6, n) for n in range(100, 103)))
    assert await condense(live, 5) == 100
    dump = await live.dump(0)
    assert "keys:5" not in dump
    assert dump["filter:5"] == {b"keys": b"100"}
    assert dump["keys:6"].keys() == {digest(n) for n in range(100, 103)}
    assert await condense(live, 5) == 0


async def test_a_digest_that_was_moved_may_be_there_and_others_are_not(live: Live) -> None:
    await make_ready(live, *(key(5, n) for n in range(1_000)))
    await condense(live, 5)
    assert await asked(live, range(1_000), 5) == Known(entries={}, maybe=frozenset(digest(n) for n in range(1_000)))
    assert isinstance(await asked(live, range(1_000, 9_000), 5), Written)
    assert isinstance(await asked(live, range(10), 4, 6), Written), "other generations are not looked at"
    look = await live.look({0: [digest(5_000), digest(7), digest(8)], 1: [digest(7)]}, [5])
    assert look.entries == {0: [None] * 3, 1: [None]}
    assert look.maybe.get(0) == {1, 2}
    assert not look.maybe.get(1)


async def test_a_digest_that_shares_eight_bytes_is_taken_for_one_that_was_moved(live: Live) -> None:
    await make_ready(live, key(5, 1))
    await condense(live, 5)
    other = digest(1)[:8] + bytes(6) + digest(1)[14:]
    assert await live.write(0, change(generations=[5], fresh=[other])) == Known(entries={}, maybe=frozenset([other]))


async def test_entries_that_begin_with_what_is_kept_stay(live: Live) -> None:
    await make_ready(live, *(key(5, n, DEAD if n % 3 else b"r") for n in range(30)))
    assert await condense(live, 5) == 10
    dump = await live.dump(0)
    assert dump["keys:5"] == {digest(n): entry(DEAD, n) for n in range(30) if n % 3}
    assert await asked(live, range(2), 5) == Known(entries={digest(1): entry(DEAD, 1)}, maybe=frozenset([digest(0)]))
    assert await condense(live, 5) == 0


async def test_the_newest_rules_among_entries_and_filters(live: Live) -> None:
    await make_ready(live, key(4, 1), key(5, 2), key(6, 1), key(4, 3, DEAD), key(5, 3))
    for generation in (4, 5):
        await condense(live, generation)
    known = await asked(live, range(1, 5), 4, 5, 6)
    assert known == Known(
        entries={digest(1): entry(b"n", 1), digest(3): entry(DEAD, 3)}, maybe=frozenset([digest(2), digest(3)])
    ), "a newer entry hides a filter, an older one is told with it"
    look = await live.look({0: [digest(n) for n in range(1, 5)]}, [6, 4, 5])
    assert look.entries == {0: [entry(b"n", 1), None, entry(DEAD, 3), None]}
    assert look.maybe[0] == {1, 2}


async def test_entries_written_later_stand_beside_the_filter(live: Live) -> None:
    await make_ready(live, key(5, 1))
    await condense(live, 5)
    assert isinstance(await live.write(0, change(keys=[key(5, 1, DEAD), key(5, 2)])), Written)
    assert await asked(live, range(1, 3), 5) == Known(entries={digest(1): entry(DEAD, 1), digest(2): entry(b"n", 2)})
    assert await condense(live, 5) == 1


async def test_a_dropped_generation_takes_its_filter_along(live: Live) -> None:
    await make_ready(live, *(key(g, n) for g in (5, 6) for n in range(20)))
    await condense(live, 5)
    await condense(live, 6)
    assert isinstance(await live.write(0, change(drop_generations=[5])), Written)
    dump = await live.dump(0)
    assert {name for name in dump if name.startswith(("keys:", "filter:"))} == {"filter:6"}
    assert isinstance(await asked(live, range(20), 5), Written)


async def test_a_part_is_bounded_and_at_every_moment_all_are_known(live: Live) -> None:
    count = 3 * CONDENSE_ENTRIES
    await make_ready(live, *(key(5, n) for n in range(count)))
    cursor, steps = b"", 0
    while True:
        step = await live.condense(0, token=TOKEN, generation=5, keep=DEAD, mark=4, cursor=cursor, rebuilding=False)
        assert step is not None
        assert step.moved <= 2 * CONDENSE_ENTRIES, "a scan may tell a little more than it was asked for"
        steps += 1
        known = await asked(live, range(count), 5)
        assert isinstance(known, Known)
        assert known.entries.keys() | known.maybe == {digest(n) for n in range(count)}
        if not step.cursor:
            break
        cursor = step.cursor
    assert steps >= 2
    assert "keys:5" not in await live.dump(0)


async def test_a_cursor_that_the_store_does_not_know_loses_nothing(live: Live) -> None:
    count = 4 * CONDENSE_ENTRIES
    await make_ready(live, *(key(5, n) for n in range(count)))
    first = await live.condense(0, token=TOKEN, generation=5, keep=DEAD, mark=4, cursor=b"", rebuilding=False)
    assert first is not None
    await live.write(0, change(keys=[key(5, count + n) for n in range(count)]))  # the hash is another one now
    for cursor in (first.cursor, first.cursor, b""):
        await live.condense(0, token=TOKEN, generation=5, keep=DEAD, mark=4, cursor=cursor, rebuilding=False)
    known = await asked(live, range(2 * count), 5)
    assert isinstance(known, Known)
    assert known.entries.keys() | known.maybe == {digest(n) for n in range(2 * count)}
    while await condense(live, 5):
        pass
    assert (await live.dump(0))["filter:5"] == {b"keys": b"%d" % (2 * count)}


@pytest.mark.parametrize("differs", [{"token": b"other"}, {"mark": 5}, {"rebuilding": True, "mark": 0}], ids=str)
async def test_condense_is_none_unless_the_lane_is_ready_with_the_token_and_sunk_so_far(
    live: Live, differs: dict[str, Any]
) -> None:
    await make_ready(live, key(5, 1))
    before = await live.dump(0)
    claim = {"token": TOKEN, "generation": 5, "keep": DEAD, "mark": 4, "cursor": b"", "rebuilding": False}
    assert await live.condense(0, **{**claim, **differs}) is None
    assert await live.condense(1, **claim) is None, "a lane that is absent"
    assert await live.dump(0) == before
    assert await live.sank(0, token=TOKEN, begun=4, sunk=10, drop=[])
    assert await live.condense(0, **{**claim, "mark": 9}) is not None


async def test_a_rebuild_condenses_step_by_step(live: Live) -> None:
    claim = {"token": TOKEN, "generation": 5, "keep": DEAD, "cursor": b"", "rebuilding": True}
    assert await live.begin_rebuild(0, token=TOKEN, expected_token=None)
    assert await live.fill(0, token=TOKEN, step=0, keys=[key(5, n) for n in range(9)], snapshots={}, accounts={})
    assert await live.condense(0, **claim, mark=0) is None
    assert await live.condense(0, **{**claim, "token": b"other"}, mark=1) is None
    assert await live.condense(0, **{**claim, "rebuilding": False}, mark=0) is None
    assert await live.rebuild_step(0) == (TOKEN, 1)
    assert await condense(live, 5, mark=1, rebuilding=True) == 9
    under_way = await live.rebuild_step(0)
    assert under_way is not None
    assert under_way[1] > 1
    assert await live.condense(0, **claim, mark=1) is None
    assert await live.finish_rebuild(0, step=under_way[1], header=HEADER)
    known = await asked(live, range(10), 5)
    assert known == Known(entries={}, maybe=frozenset(digest(n) for n in range(9)))


async def test_a_rebuild_begins_without_filters(live: Live) -> None:
    await make_ready(live, key(5, 1))
    await condense(live, 5)
    assert await live.begin_rebuild(0, token=b"new", expected_token=TOKEN)
    assert await live.finish_rebuild(0, step=0, header=msgspec.structs.replace(HEADER, token=b"new"))
    assert not [name for name in await live.dump(0) if name.startswith("filter:")]
    look = await live.look({0: [digest(1)]}, [5])
    assert (look.entries, look.maybe.get(0)) == ({0: [None]}, frozenset())


async def test_lanes_have_their_own_filters(live: Live) -> None:
    await make_ready(live, key(5, 1))
    await make_ready(live, key(5, 1), lane=1)
    await condense(live, 5)
    assert (await live.look({1: [digest(1)]}, [5])).entries == {1: [entry(b"n", 1)]}
    assert isinstance(await asked(live, range(1, 2), 5), Known)


async def test_the_header_is_what_it_was(live: Live) -> None:
    await make_ready(live, key(5, 1))
    before = (await live.view(0, [])).header, (await live.dump(0))["header"]
    await condense(live, 5)
    assert ((await live.view(0, [])).header, (await live.dump(0))["header"]) == before


async def test_a_filter_takes_a_fraction_of_the_memory(tmp_path: Path) -> None:
    """The figures of docs/operations.md: run with `-s` to see them."""
    count, part = 200_000, 2_000
    async with server(tmp_path, "live", "everysec") as child:
        live = await ValkeyLive.open(child.url, lanes=1)

        async def bytes_a_key(name: str) -> float:
            size = await live._connections.one(("MEMORY", "USAGE", f"{{0}}{name}:5:0", "SAMPLES", 0))
            assert isinstance(size, int)
            return size / count

        await make_ready(live)
        for begin in range(0, count, part):
            await live.write(0, change(keys=[key(5, n) for n in range(begin, begin + part)]))
        exact = await bytes_a_key("k")
        while await condense(live, 5):
            pass
        filtered = await bytes_a_key("f")
        print(f"bytes a key: {exact:.1f} exact, {filtered:.1f} in a filter")
        await live.close()
    assert 60 < exact < 90
    assert filtered < 8
