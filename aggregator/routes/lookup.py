"""Where an event is that RAW does not have yet, and how fresh RAW is."""

from collections.abc import Iterable

import msgspec

from aggregator.row import EVENT_COLUMNS, EventRow, event_row
from aggregator.store import UsageStore
from aggregator.usage_answer import Stage
from ingest.event import decode_usage
from ingest.verdict import Outcome, Verdict, decode_outcomes
from kernel.engine.live.base import READY, Live
from kernel.engine.log.base import Log
from kernel.errors import OffsetGone, Unavailable
from kernel.position import Position
from kernel.record import USAGE, decode_record


async def find_event(
    store: UsageStore, log: Log, live: Live, organization: bytes, organization_text: str, position: Position
) -> tuple[EventRow, Stage] | None:
    """Find an event of an organization wherever it is; its row has no verdict while the event is not judged.

    RAW is asked again when LIVE has forgotten the outcome of an event that the log still holds: it was stored since.
    """
    for _ in range(2):
        stored = await store.event(organization_text, position)
        if stored is not None:
            return stored, Stage.RAW
        found = await _find_in_log(log, live, organization, position)
        if found is None or found[1] is Stage.LIVE:
            return found
        header = (await live.view(position.lane, [])).header
        if header is None or header.sunk <= position.offset:
            return found
    return found


async def _find_in_log(log: Log, live: Live, organization: bytes, position: Position) -> tuple[EventRow, Stage] | None:
    epoch, lane, offset, index = position
    if epoch != log.epoch or lane >= log.lanes:
        return None
    try:
        records = await log.read(lane, offset, records_max=1, wait_ms=0)
    except OffsetGone:
        return None
    if not records:
        return None
    envelope = decode_record(records[0].data)
    events = decode_usage(envelope) if envelope.kind == USAGE else []
    if index >= len(events) or events[index].organization != organization:
        return None
    [outcomes] = await live.outcomes(lane, [offset], epoch=epoch)
    outcome = Outcome(verdict=Verdict.COUNTED) if outcomes is None else decode_outcomes(outcomes)[index]
    values = event_row(epoch, lane, offset, records[0].time_ms, envelope.gateway, index, events[index], outcome)
    row = EventRow(**dict(zip(EVENT_COLUMNS, values, strict=True)))
    if outcomes is None:
        return msgspec.structs.replace(row, verdict=""), Stage.LOG
    return row, Stage.LIVE


async def as_of_ms(store: UsageStore, live: Live, epoch: int, lanes: Iterable[int]) -> int | None:
    """Tell up to when RAW holds everything that was accepted in all of `lanes`; None when a lane does not say.

    A lane that is folded and stored to its end is as fresh as LIVE's last look at the log; else its clock in `progress`
    says how far it came.
    """
    progress = await store.progress(epoch)
    times: list[int] = []
    for lane in lanes:
        stored, clock_ms = progress.get(lane, (0, 0))
        try:
            header = (await live.view(lane, [])).header
        except Unavailable:
            header = None
        if header is not None and header.state == READY and header.next <= max(stored, header.sunk):
            clock_ms = max(clock_ms, header.seen_ms)
        times.append(clock_ms)
    return min(times, default=0) or None
