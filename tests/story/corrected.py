"""What corrects an event of a billing story: made from RAW's rows and appended, as a gateway does."""

import asyncio
from decimal import Decimal

from aggregator.correction_event import Correction, Sending, correction_event, voided_by
from aggregator.row import EventRow
from aggregator.usage import EventFilter
from ingest.event import encode_usage
from ingest.verdict import Verdict
from kernel import ids
from kernel.lane import lane_of
from kernel.period import parse_instant_us
from tests.story.test_billing import LANES, World


async def counted(world: World, customer: str) -> list[EventRow]:
    """A customer's events that count, corrections among them, oldest first."""
    await world.sink.flush()
    organization = world.catalog.organizations()[0]
    asked = EventFilter(organization=organization.id_text, customer=customer, verdict=Verdict.COUNTED)
    found = [row for row in await world.store.events(asked, limit=1_000) if isinstance(row, EventRow)]
    return sorted(found, key=lambda row: (row.lane, row.offset, row.index))


async def correct(world: World, row: EventRow, value: str | None, accepted: str) -> None:
    """Make `row` count `value`, or nothing (None); `accepted` is the test clock. A void one stays as it is."""
    before = await world.store.corrections_of(row)
    if voided_by(before) is not None:
        return
    sending = Sending(at_ms=world.clock.now_ms(), clock_ms=parse_instant_us(accepted) // 1_000, secret=b"s")
    asked = Correction(value=None if value is None else Decimal(value))
    lane = lane_of(ids.id_bytes(row.customer), LANES)
    offset = await world.log.append(lane, encode_usage("gw_test", [correction_event(row, before, asked, sending)]))
    async with asyncio.timeout(10):
        while (header := (await world.live.view(lane, [])).header) is None or header.next <= offset:
            await asyncio.sleep(0.001)
