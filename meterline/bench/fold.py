"""The fold alone, in a process of its own: a lane of the embedded log filled beforehand, folded and written to LIVE.

Prints one JSON object. Its floor decodes the same records and adds the same quantities into a dict, in a tight loop.
`main` takes the number of events as its argument.
"""

import asyncio
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import msgspec
import uvloop

from aggregator.store import UsageStore
from aggregator.worker.lane import LaneWorker
from aggregator.worker.sink import Sink
from catalog.terms import FeatureTerms, Snapshot, SubscriptionStatus, Terms, encode_account_record
from ingest.event import BODY_KEY, NO_REQUEST, UsageEvent, content_digest, decode_usage, encode_usage, key_digest
from ingest.verdict import Outcome
from kernel import ids
from kernel.clock import SystemClock
from kernel.engine.live.base import Live
from kernel.engine.log.base import Log
from kernel.engine.opening import open_live, open_log, open_raw
from kernel.errors import Fatal
from kernel.limits import LOG_KEEP_MS, RECORD_EVENTS_MAX
from kernel.quantity import to_units
from kernel.record import decode_record
from kernel.settings import Settings
from kernel.telemetry import Telemetry, configure_logs
from meterline.child import children, cpu_seconds

CUSTOMERS: Final = 1_000
_SECRET: Final = b"bench"
_READ_RECORDS: Final = 512
_PATIENCE_SECONDS: Final = 120


class FoldLoad(msgspec.Struct, frozen=True, kw_only=True):
    """What was measured: seconds and processor seconds of the fold, of the stores, and of the floor."""

    events: int
    seconds: float
    cpu_seconds: float
    store_cpu_seconds: float
    floor_seconds: float


async def measure(events: int, folder: Path) -> FoldLoad:
    """Fill one lane, fold it, and run the floor over the same bytes."""
    settings = Settings(data_dir=folder, lanes=1)
    clock, telemetry = SystemClock(), Telemetry()
    log = await open_log(settings, epoch=1, lanes=1, clock=clock)
    live = await open_live(settings, clock, lanes=1)
    raw = await open_raw(settings)
    try:
        await log.create()
        store = UsageStore(raw)
        await store.create()
        sink = Sink(
            log=log,
            live=live,
            store=store,
            clock=clock,
            telemetry=telemetry,
            retain_ms=LOG_KEEP_MS,
            retain_bytes=1 << 30,
        )
        organization, feature = ids.new_bytes(clock.now_ms()), ids.new_bytes(clock.now_ms())
        customers = [ids.new_bytes(clock.now_ms()) for _ in range(CUSTOMERS)]
        for customer in customers:
            await log.append(
                0, encode_account_record("bench", _snapshot(organization, customer, feature, clock.now_ms()))
            )
        await _fold(log, live, store, sink, clock, telemetry, CUSTOMERS, 0)
        for first in range(0, events, RECORD_EVENTS_MAX):
            numbers = range(first, min(first + RECORD_EVENTS_MAX, events))
            made = [_event(organization, customers[n % CUSTOMERS], feature, n, clock.now_ms()) for n in numbers]
            await log.append(0, encode_usage("bench", made))
        stores = children(_own_pid())
        before = time.process_time(), sum(map(cpu_seconds, stores))
        seconds = await _fold(log, live, store, sink, clock, telemetry, None, events)
        after = time.process_time(), sum(map(cpu_seconds, stores))
        return FoldLoad(
            events=events,
            seconds=seconds,
            cpu_seconds=after[0] - before[0],
            store_cpu_seconds=after[1] - before[1],
            floor_seconds=await _floor(log, events),
        )
    finally:
        for port in (live, log, raw):
            await port.close()


async def _fold(
    log: Log,
    live: Live,
    store: UsageStore,
    sink: Sink,
    clock: SystemClock,
    telemetry: Telemetry,
    records: int | None,
    events: int,
) -> float:
    """Run a lane's worker until it folded `records` records, or told `events` verdicts; returns the seconds."""
    told, done = 0, asyncio.Event()

    def publish(_epoch: int, _lane: int, _offset: int, outcomes: Sequence[Outcome]) -> None:
        nonlocal told
        told += len(outcomes)
        if told == events:
            done.set()

    worker = LaneWorker(
        0, log=log, live=live, store=store, sink=sink, publish=publish, clock=clock, telemetry=telemetry
    )
    began = time.perf_counter()
    task = asyncio.create_task(worker.run())
    try:
        async with asyncio.timeout(_PATIENCE_SECONDS):
            if records is None:
                await done.wait()
            else:
                while (header := (await live.view(0, [])).header) is None or header.next < records:  # noqa: ASYNC110 - LIVE has no event for it
                    await asyncio.sleep(0.01)
        return time.perf_counter() - began
    except TimeoutError as error:
        raise Fatal(f"the fold told {told} of {events} verdicts: {worker.stopped or 'too slow'}") from error
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def _floor(log: Log, events: int) -> float:
    """Decode the same records and add the same quantities, with nothing else."""
    data: list[bytes] = []
    start = CUSTOMERS
    while records := await log.read(0, start, records_max=_READ_RECORDS, wait_ms=0):
        data += [record.data for record in records]
        start = records[-1].offset + 1
    began = time.perf_counter()
    totals: dict[tuple[bytes, bytes], int] = {}
    count = 0
    for record in data:
        for event in decode_usage(decode_record(record)):
            key = (event.customer, event.feature)
            totals[key] = totals.get(key, 0) + to_units(event.quantity)
            count += 1
    seconds = time.perf_counter() - began
    assert count == events, "the floor read what was written"
    return seconds


def _snapshot(organization: bytes, customer: bytes, feature: bytes, now_ms: int) -> Snapshot:
    day = now_ms // 86_400_000 - 1
    granted = FeatureTerms(feature=feature, code="calls", kind="metered", included=None)
    terms = Terms(
        number=1,
        subscription="sub_bench",
        plan="pln_bench",
        start_us=day * 86_400_000_000,
        anchor=day,
        since=day,
        free=True,
        features=(granted,),
    )
    return Snapshot(
        organization=organization,
        customer=customer,
        rev=1,
        status=SubscriptionStatus.ACTIVE,
        end_us=None,
        terms=terms,
        next=None,
        cut=0,
    )


def _event(organization: bytes, customer: bytes, feature: bytes, number: int, now_ms: int) -> UsageEvent:
    key, quantity = f"bench-{number}", str(number % 7 + 1)
    return UsageEvent(
        organization=organization,
        customer=customer,
        feature=feature,
        event_time_us=now_ms * 1_000,
        at_ms=now_ms,
        clock_ms=None,
        quantity=quantity,
        key=key,
        digest=key_digest(_SECRET, organization, customer, BODY_KEY, key),
        content=content_digest(feature, quantity),
        request=NO_REQUEST,
    )


def _own_pid() -> int:
    return int(Path("/proc/self").resolve().name)


def main() -> None:
    """Measure in a temporary folder and print the result."""
    configure_logs("error")
    with tempfile.TemporaryDirectory(prefix="meterline-bench-") as folder:
        result = uvloop.run(measure(int(sys.argv[1]), Path(folder)))
    print(msgspec.json.encode(result).decode())
