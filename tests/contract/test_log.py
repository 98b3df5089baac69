"""The log port's law book: each sentence of `kernel/engine/log/base.py`, on every adapter (see conftest)."""

import asyncio
import time
from typing import Any

import pytest

from kernel.engine.log.base import Bounds, Log
from kernel.errors import LogMissing, LogSealed, OffsetGone, Unavailable, Unknown
from kernel.limits import APPEND_WAIT_MS, RECORD_BYTES_MAX

EVERYTHING = 10**12


async def data(log: Log, lane: int, start: int = 0, *, records_max: int = 1_000, wait_ms: int = 0) -> list[bytes]:
    return [record.data for record in await log.read(lane, start, records_max=records_max, wait_ms=wait_ms)]


async def fill(log: Log, lane: int, count: int, size: int = 1) -> None:
    for number in range(count):
        await log.append(lane, bytes([number % 256]) * size)


# --- lanes and offsets -------------------------------------------------------------------------------------------


async def test_a_lane_has_dense_offsets_from_0_and_lanes_know_nothing_of_each_other(log: Log) -> None:
    assert [await log.append(0, b"a"), await log.append(0, b"b"), await log.append(1, b"c")] == [0, 1, 0]
    assert await log.append(0, b"d") == 2
    assert await data(log, 0) == [b"a", b"b", b"d"]
    assert await data(log, 1) == [b"c"]


async def test_create_makes_the_lanes_of_the_epoch_empty(log: Log) -> None:
    assert [await log.bounds(lane) for lane in range(log.lanes)] == [Bounds(begin=0, end=0)] * log.lanes


async def test_create_leaves_lanes_that_exist_as_they_are(log: Log) -> None:
    await fill(log, 0, 3)
    await log.trim(0, 1, keep_ms=EVERYTHING, keep_bytes=0)
    await log.create()
    assert await log.bounds(0) == Bounds(begin=1, end=3)
    assert await data(log, 0, 1) == [b"\x01", b"\x02"]


async def test_the_epoch_names_the_log(log_case: Any) -> None:
    other: Log = await log_case.unmade()
    await log_case.log.append(0, b"a")
    await other.create()
    assert await other.bounds(0) == Bounds(begin=0, end=0)
    await other.append(0, b"b")
    assert await data(log_case.log, 0) == [b"a"]


# --- append ------------------------------------------------------------------------------------------------------


async def test_appends_of_one_caller_keep_their_order(log: Log) -> None:
    offsets = [await log.append(0, b"%d" % number) for number in range(50)]
    assert offsets == list(range(50))
    assert await data(log, 0) == [b"%d" % number for number in range(50)]


async def test_each_of_many_appends_under_way_gets_the_offset_of_its_own_record(log: Log) -> None:
    offsets = await asyncio.gather(*(log.append(0, b"%d" % number) for number in range(100)))
    assert sorted(offsets) == list(range(100))
    records = await log.read(0, 0, records_max=100, wait_ms=0)
    assert {record.offset: record.data for record in records} == {
        offset: b"%d" % number for number, offset in enumerate(offsets)
    }


async def test_a_record_may_be_any_bytes_of_full_size(log: Log) -> None:
    record = bytes(range(256)) * (RECORD_BYTES_MAX // 256)
    await log.append(0, record)
    await log.append(0, b"")
    assert await data(log, 0) == [record, b""]


async def test_append_raises_log_missing_when_the_lane_was_never_made(log_case: Any) -> None:
    other: Log = await log_case.unmade()
    with pytest.raises(LogMissing):
        await other.append(0, b"a")
    with pytest.raises(LogMissing):
        await log_case.log.append(log_case.log.lanes, b"a")
    await other.create()
    assert await other.append(0, b"b") == 0, "what was refused left nothing"


async def test_append_is_unknown_after_the_wait_and_never_sent_twice(log_case: Any) -> None:
    log: Log = log_case.log
    await log.append(0, b"before")
    await log_case.freeze()
    began = time.monotonic()
    ends = await asyncio.gather(*(log.append(0, b"%d" % number) for number in range(40)), return_exceptions=True)
    took_ms = (time.monotonic() - began) * 1000
    assert all(isinstance(end, Unknown) for end in ends)
    assert took_ms < APPEND_WAIT_MS + 1_000
    await log_case.thaw()
    after = [await log.append(0, b"after %d" % number) for number in range(3)]
    found = await data(log, 0)
    assert [found[offset] for offset in after] == [b"after 0", b"after 1", b"after 2"]
    assert len(found) == len(set(found)), "one append left two records"


async def test_a_cancelled_append_does_not_disturb_the_next_one(log_case: Any) -> None:
    log: Log = log_case.log
    await log_case.freeze()
    cancelled = asyncio.create_task(log.append(0, b"cancelled"))
    await asyncio.sleep(0.05)
    cancelled.cancel()
    with pytest.raises(asyncio.CancelledError):
        await cancelled
    await log_case.thaw()
    offset = await log.append(0, b"next")
    assert (await data(log, 0))[offset] == b"next"


# --- seal --------------------------------------------------------------------------------------------------------


async def test_a_sealed_lane_takes_no_record_and_what_is_there_is_read_and_trimmed(log: Log) -> None:
    await fill(log, 0, 3)
    assert not await log.sealed()
    await log.seal()
    assert await log.sealed()
    for lane in range(log.lanes):
        with pytest.raises(LogSealed):
            await log.append(lane, b"late")
    await log.seal()
    await log.create()
    assert [await log.bounds(0), await log.bounds(1)] == [Bounds(begin=0, end=3), Bounds(begin=0, end=0)]
    assert await data(log, 0) == [b"\x00", b"\x01", b"\x02"]
    assert await log.trim(0, 2, keep_ms=EVERYTHING, keep_bytes=0) == 2
    assert await data(log, 0, 2) == [b"\x02"]


async def test_what_succeeded_while_the_lane_was_sealed_lies_below_its_end(log: Log) -> None:
    offsets: list[int] = []

    async def writer(lane: int) -> None:
        try:
            while True:
                offsets.append(await log.append(lane, b"x"))
                await asyncio.sleep(0)  # the memory adapter answers at once
        except Unknown:
            return

    writers = [asyncio.create_task(writer(number % log.lanes)) for number in range(20)]
    await asyncio.sleep(0.05)
    await log.seal()
    ends = [await log.bounds(lane) for lane in range(log.lanes)]
    await asyncio.gather(*writers)
    assert [await log.bounds(lane) for lane in range(log.lanes)] == ends
    assert len(offsets) == sum(bounds.end for bounds in ends) > 0


async def test_the_next_epoch_is_not_sealed_with_the_one_before(log_case: Any) -> None:
    await log_case.log.seal()
    other: Log = await log_case.unmade()
    await other.create()
    assert not await other.sealed()
    assert await other.append(0, b"a") == 0


async def test_a_log_that_was_never_made_cannot_be_sealed(log_case: Any) -> None:
    other: Log = await log_case.unmade()
    for question in (other.seal, other.sealed):
        with pytest.raises(LogMissing):
            await question()


# --- read --------------------------------------------------------------------------------------------------------


async def test_read_returns_records_from_the_offset_on_in_order_and_at_most_so_many(log: Log) -> None:
    await fill(log, 0, 10)
    records = await log.read(0, 4, records_max=3, wait_ms=1_000)
    assert [record.offset for record in records] == [4, 5, 6]
    assert [record.data for record in records] == [b"\x04", b"\x05", b"\x06"]
    assert await data(log, 0, 8, records_max=100) == [b"\x08", b"\x09"]


async def test_fewer_records_than_asked_for_reach_the_end_that_the_lane_had(log: Log) -> None:
    await fill(log, 0, 50, size=RECORD_BYTES_MAX)  # more than any adapter fetches at once
    assert len(await log.read(0, 0, records_max=1_000, wait_ms=0)) == 50
    assert len(await log.read(0, 0, records_max=49, wait_ms=1_000)) == 49

    async def write() -> None:
        for number in range(200):
            await log.append(0, bytes(number * 100))
            await asyncio.sleep(0)

    writing = asyncio.create_task(write())
    place, reads = 50, 0
    while not writing.done():
        end = (await log.bounds(0)).end
        found = await log.read(0, place, records_max=3, wait_ms=0)
        assert len(found) == 3 or place + len(found) >= end
        place, reads = place + len(found), reads + 1
        await asyncio.sleep(0)
    await writing
    assert reads > 10


async def test_a_record_carries_the_logs_own_time(log: Log) -> None:
    before = time.time_ns() // 1_000_000
    await log.append(0, b"a")
    after = time.time_ns() // 1_000_000
    (record,) = await log.read(0, 0, records_max=1, wait_ms=0)
    assert before <= record.time_ms <= after


async def test_read_without_a_wait_returns_an_empty_list_at_once(log: Log) -> None:
    began = time.monotonic()
    assert await data(log, 0) == []
    assert time.monotonic() - began < 0.5


async def test_read_waits_for_the_first_record_then_returns_it_at_once(log: Log) -> None:
    reading = asyncio.create_task(data(log, 0, wait_ms=5_000))
    await asyncio.sleep(0.05)
    assert not reading.done()
    began = time.monotonic()
    await log.append(0, b"a")
    assert await reading == [b"a"]
    assert time.monotonic() - began < 1


async def test_read_returns_an_empty_list_after_its_wait(log: Log) -> None:
    await log.append(0, b"a")
    began = time.monotonic()
    assert await data(log, 0, 1, wait_ms=200) == []
    assert 0.15 < time.monotonic() - began < 1.5


async def test_a_reader_that_waits_holds_nobody_up(log: Log) -> None:
    waiting = [asyncio.create_task(data(log, lane, wait_ms=5_000)) for lane in range(log.lanes) for _ in range(8)]
    await asyncio.sleep(0.05)
    began = time.monotonic()
    for lane in range(log.lanes):
        await log.append(lane, b"a")
        assert (await log.bounds(lane)).end == 1
    assert await asyncio.gather(*waiting) == [[b"a"]] * len(waiting)
    assert time.monotonic() - began < 1


async def test_read_raises_offset_gone_before_the_oldest_kept_record(log: Log) -> None:
    await fill(log, 0, 5)
    await log.trim(0, 3, keep_ms=EVERYTHING, keep_bytes=0)
    with pytest.raises(OffsetGone):
        await data(log, 0, 2, wait_ms=10)
    assert await data(log, 0, 3) == [b"\x03", b"\x04"]


async def test_read_raises_offset_gone_before_the_begin_of_a_lane_that_holds_nothing(log: Log) -> None:
    await fill(log, 0, 5)
    await log.trim(0, 5, keep_ms=EVERYTHING, keep_bytes=0)
    with pytest.raises(OffsetGone):
        await data(log, 0, 4, wait_ms=10)
    assert await data(log, 0, 5) == []


async def test_read_raises_offset_gone_beyond_the_end(log: Log) -> None:
    with pytest.raises(OffsetGone):
        await data(log, 0, 1)
    await fill(log, 0, 3)
    with pytest.raises(OffsetGone):
        await data(log, 0, 4, wait_ms=10)
    assert await data(log, 0, 3) == []


async def test_read_bounds_and_trim_raise_log_missing_without_the_lane(log_case: Any) -> None:
    other: Log = await log_case.unmade()
    with pytest.raises(LogMissing):
        await data(other, 0)
    with pytest.raises(LogMissing):
        await other.bounds(0)
    with pytest.raises(LogMissing):
        await other.trim(0, 1, keep_ms=0, keep_bytes=0)


async def test_all_but_append_is_unavailable_while_the_log_is_away(log_case: Any) -> None:
    log: Log = log_case.log
    await fill(log, 0, 2)
    await log_case.freeze()
    began = time.monotonic()
    ends = await asyncio.gather(
        data(log, 0),
        log.bounds(0),
        log.trim(0, 1, keep_ms=0, keep_bytes=0),
        log.create(),
        log.volume(),
        return_exceptions=True,
    )
    assert [type(end) for end in ends] == [Unavailable] * 5
    assert time.monotonic() - began < 3
    await log_case.thaw()
    assert (await log.bounds(0)).end == 2
    assert (await data(log, 0, 1)) == [b"\x01"]


# --- bounds and trim ---------------------------------------------------------------------------------------------


async def test_bounds_tell_the_oldest_kept_and_the_next_to_be_written(log: Log) -> None:
    assert await log.bounds(0) == Bounds(begin=0, end=0)
    await fill(log, 0, 4)
    assert await log.bounds(0) == Bounds(begin=0, end=4)
    await log.trim(0, 3, keep_ms=EVERYTHING, keep_bytes=0)
    assert await log.bounds(0) == Bounds(begin=3, end=4)


async def test_trim_everything_and_the_end_stays(log: Log) -> None:
    await fill(log, 0, 4)
    assert await log.trim(0, 4, keep_ms=EVERYTHING, keep_bytes=0) == 4
    assert await log.bounds(0) == Bounds(begin=4, end=4)
    assert await log.append(0, b"next") == 4
    assert await log.bounds(0) == Bounds(begin=4, end=5)


async def test_trim_never_removes_at_or_above_before(log: Log) -> None:
    await fill(log, 0, 6)
    await asyncio.sleep(0.01)
    assert await log.trim(0, 2, keep_ms=0, keep_bytes=0) == 2
    assert await log.trim(0, 0, keep_ms=0, keep_bytes=0) == 2
    assert await data(log, 0, 2) == [b"\x02", b"\x03", b"\x04", b"\x05"]


async def test_trim_beyond_the_end_stops_at_the_end(log: Log) -> None:
    await fill(log, 0, 3)
    assert await log.trim(0, 100, keep_ms=0, keep_bytes=0) == 3
    assert await log.bounds(0) == Bounds(begin=3, end=3)


async def test_trim_of_an_empty_lane_changes_nothing(log: Log) -> None:
    assert await log.trim(0, 5, keep_ms=0, keep_bytes=0) == 0
    assert await log.bounds(0) == Bounds(begin=0, end=0)


async def test_trim_keeps_what_is_young_and_within_the_bytes(log: Log) -> None:
    await fill(log, 0, 5, size=10)
    assert await log.trim(0, 5, keep_ms=EVERYTHING, keep_bytes=EVERYTHING) == 0
    assert await log.bounds(0) == Bounds(begin=0, end=5)


async def test_trim_removes_what_is_older_than_it_is_to_keep(log: Log) -> None:
    await fill(log, 0, 3)
    await asyncio.sleep(0.3)
    await fill(log, 0, 2)
    assert await log.trim(0, 5, keep_ms=150, keep_bytes=EVERYTHING) == 3


async def test_trim_removes_what_lies_beyond_the_bytes_to_keep(log: Log) -> None:
    await fill(log, 0, 10, size=1_000)
    assert await log.trim(0, 10, keep_ms=EVERYTHING, keep_bytes=3_500) == 7
    assert await log.trim(0, 10, keep_ms=EVERYTHING, keep_bytes=3_000) == 7
    assert await log.trim(0, 10, keep_ms=EVERYTHING, keep_bytes=2_999) == 8
    await log.append(0, b"x" * 2_500)
    assert await log.trim(0, 10, keep_ms=EVERYTHING, keep_bytes=3_500) == 9


async def test_volume_grows_with_appends_and_shrinks_with_trimming(log: Log) -> None:
    before = await log.volume()
    await fill(log, 0, 40, size=200_000)
    await fill(log, 1, 40, size=200_000)
    full = await log.volume()
    assert full.bytes >= before.bytes + 80 * 200_000
    assert full.bytes_max is None or full.bytes_max > full.bytes
    for lane in range(2):
        await log.trim(lane, 40, keep_ms=EVERYTHING, keep_bytes=0)
    until = time.monotonic() + 10
    while (left := (await log.volume()).bytes) >= full.bytes - 60 * 200_000:
        assert time.monotonic() < until, f"{left} of {full.bytes} bytes are left; a server's buffers may keep some"
        await asyncio.sleep(0.1)


# --- close -------------------------------------------------------------------------------------------------------


async def test_appends_under_way_end_as_unknown_when_the_log_is_closed(log_case: Any) -> None:
    log: Log = log_case.log
    await log_case.freeze()
    under_way = [asyncio.create_task(log.append(0, b"a")) for _ in range(30)]
    await asyncio.sleep(0.05)
    began = time.monotonic()
    await log.close()
    ends = await asyncio.gather(*under_way, return_exceptions=True)
    assert [type(end) for end in ends] == [Unknown] * 30
    assert time.monotonic() - began < 1


async def test_a_closed_log_answers_nothing(log: Log) -> None:
    await log.close()
    with pytest.raises(Unknown):
        await log.append(0, b"a")
    with pytest.raises(Unavailable):
        await log.bounds(0)
