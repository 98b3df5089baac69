"""Moving an organization's test clock, and billing what has become due by it.

Invariants: only a sandbox has one; the first setting may be any instant while the organization has neither events nor
subscriptions, after that time only moves forward. Source: DESIGN 4; R-CLOCK-1..4, R-CLOCK-6.
"""

import asyncio
from typing import Final

import msgspec
from sqlalchemy.ext.asyncio import AsyncConnection

from aggregator.store import UsageStore
from aggregator.usage import EventFilter
from billing.store import clock as clocks
from billing.store import close as closes
from billing.store import subscription as subscriptions
from billing.store.clock import COMPLETED, FAILED, RUNNING, ClockRun
from billing.store.close import CloseRow, CloseState
from billing.worker.closer import Closer
from catalog.definition import Organization
from catalog.store.organization import load_organization, set_clock
from kernel import ids
from kernel.engine.sql.base import Sql
from kernel.errors import MeterlineError, invalid, rejected
from kernel.limits import TEST_CLOCK_MS_MAX, TEST_CLOCK_MS_MIN
from kernel.period import instant_text
from kernel.telemetry import logger

_log = logger("test clock")

# A call answers with the finished run when billing takes less; clients give up after 30 s, so 20 leave room.
BILL_WAIT_SECONDS: Final = 20
ITEMS_MAX: Final = 1_000


class Move(msgspec.Struct, frozen=True, kw_only=True):
    """Where to: a number of days ahead or an instant, one of them; `bill` runs what is due then."""

    advance_days: int | None
    target_ms: int | None
    bill: bool


def must_be_sandbox(organization: Organization) -> None:
    """Raise Rejected `sandbox_only` in production."""
    if organization.livemode:
        raise rejected("sandbox_only", "Only a sandbox organization has a test clock.")


async def has_events(closer: Closer, usage_store: UsageStore, organization: Organization) -> bool:
    """Tell whether the organization ever sent an event that reached the log. Raises Unavailable while RAW is away."""
    await closer.flush()
    return bool(await usage_store.events(EventFilter(organization=organization.id_text), limit=1))


async def move(
    connection: AsyncConnection, organization_id: bytes, wish: Move, real_ms: int, *, with_events: bool
) -> ClockRun:
    """Set the clock and open a run, in one transaction; `with_events` says that the organization has events."""
    organization = await load_organization(connection, organization_id)
    assert organization is not None, "the caller belongs to it"
    now_ms = organization.now_ms(real_ms)
    target_ms = now_ms + (wish.advance_days or 0) * 86_400_000 if wish.target_ms is None else wish.target_ms
    if not TEST_CLOCK_MS_MIN <= target_ms <= TEST_CLOCK_MS_MAX:
        first_day, last_day = instant_text(TEST_CLOCK_MS_MIN)[:10], instant_text(TEST_CLOCK_MS_MAX)[:10]
        raise invalid("frozenTime", f"must lie between {first_day} and {last_day}")
    empty = not with_events and not await subscriptions.any_of(connection, organization.id_text)
    first = organization.clock_ms is None and empty
    if target_ms < now_ms and not first:
        raise invalid("frozenTime", "must not be before the organization's now: the clock only moves forward")
    await set_clock(connection, organization_id, target_ms)
    run = ClockRun(
        id=ids.new_id(clocks.RUN_ID, real_ms),
        organization_id=organization.id_text,
        status=RUNNING if wish.bill else COMPLETED,
        started_ms=now_ms,
        target_ms=target_ms,
        created_ms=real_ms,
    )
    await clocks.add(connection, run)
    return run


async def bill(sql: Sql, closer: Closer, run: ClockRun) -> None:
    """Bill what is due, and finish the run; what takes longer than BILL_WAIT_SECONDS goes on in the background."""
    closing = closer.close_in_background(run.organization_id)
    try:
        summary = await asyncio.wait_for(asyncio.shield(closing), BILL_WAIT_SECONDS)
    except TimeoutError:
        return
    except MeterlineError as error:
        _log.warning("billing waits", organization=run.organization_id, reason=str(error))
        return
    if summary.waiting:
        return
    failed = summary.stopped or closer.has_stopped(run.organization_id)
    async with sql.transaction() as connection:
        await clocks.finish(connection, run.id, FAILED if failed else COMPLETED)


async def latest(sql: Sql, closer: Closer, organization: Organization) -> tuple[ClockRun, list[CloseRow]] | None:
    """Read the latest run and its first ITEMS_MAX closes; one that runs no more, by all of them, is finished here."""
    async with sql.snapshot() as connection:
        run = await clocks.latest(connection, organization.id_text)
        if run is None:
            return None
        items = await closes.since(connection, organization.id_text, run.created_ms, ITEMS_MAX)
        states = await closes.states_since(connection, organization.id_text, run.created_ms)
        pending = await closer.has_due(connection, organization.id_text)
    if run.status == RUNNING and not pending and CloseState.CUT not in states:
        failed = CloseState.STOPPED in states or closer.has_stopped(organization.id_text)
        status = FAILED if failed else COMPLETED
        async with sql.transaction() as connection:
            await clocks.finish(connection, run.id, status)
        run = msgspec.structs.replace(run, status=status)
    return run, items
