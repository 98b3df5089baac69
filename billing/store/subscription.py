"""Subscriptions in SQL."""

from collections.abc import Sequence
from typing import Any, Final

import msgspec
from sqlalchemy import BigInteger, Row, and_, case, cast, func, insert, literal, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from billing import tables
from billing.subscription import Subscription
from catalog.definition import SANDBOX
from catalog.tables import organizations
from catalog.terms import SubscriptionStatus
from kernel.period import DAY_MS

_s = tables.subscriptions.c
_COLUMNS: Final = [_s[name] for name in Subscription.__struct_fields__]


def _subscription(row: Row[Any]) -> Subscription:
    return msgspec.convert(row, Subscription, from_attributes=True)


async def add(connection: AsyncConnection, subscription: Subscription) -> None:
    """Write a new subscription. Raises IntegrityError when the customer has a live one."""
    await connection.execute(insert(tables.subscriptions).values(**msgspec.structs.asdict(subscription)))


async def read(
    connection: AsyncConnection, subscription_id: str, organization_id: str | None = None
) -> Subscription | None:
    """Read a subscription, of one organization when that is given; None when there is none."""
    query = select(*_COLUMNS).where(_s.id == subscription_id)
    if organization_id is not None:
        query = query.where(_s.organization_id == organization_id)
    row = (await connection.execute(query)).first()
    return None if row is None else _subscription(row)


async def read_all(connection: AsyncConnection, ids: Sequence[str]) -> dict[str, Subscription]:
    """Read subscriptions by id."""
    rows = await connection.execute(select(*_COLUMNS).where(_s.id.in_(ids)))
    return {row.id: _subscription(row) for row in rows}


async def live_of(connection: AsyncConnection, customer_id: str) -> Subscription | None:
    """Read a customer's live subscription; None when it has none."""
    query = select(*_COLUMNS).where(_s.customer_id == customer_id, _s.status == SubscriptionStatus.ACTIVE)
    row = (await connection.execute(query)).first()
    return None if row is None else _subscription(row)


async def newest_of(connection: AsyncConnection, customer_id: str) -> Subscription | None:
    """Read a customer's newest subscription, whatever its state."""
    query = select(*_COLUMNS).where(_s.customer_id == customer_id).order_by(_s.term.desc()).limit(1)
    row = (await connection.execute(query)).first()
    return None if row is None else _subscription(row)


async def page(
    connection: AsyncConnection,
    organization_id: str,
    *,
    customer_id: str | None,
    status: str | None,
    limit: int,
    after: tuple[int, str] | None,
) -> list[Subscription]:
    """List subscriptions newest first, those after `(created_ms, id)`."""
    query = select(*_COLUMNS).where(_s.organization_id == organization_id)
    if customer_id is not None:
        query = query.where(_s.customer_id == customer_id)
    if status is not None:
        query = query.where(_s.status == status)
    if after is not None:
        created_ms, last = after
        query = query.where(or_(_s.created_ms < created_ms, and_(_s.created_ms == created_ms, _s.id < last)))
    rows = await connection.execute(query.order_by(_s.created_ms.desc(), _s.id.desc()).limit(limit))
    return [_subscription(row) for row in rows]


async def of_plan(connection: AsyncConnection, plan_id: str, after: str, limit: int) -> list[Subscription]:
    """List the live subscriptions of a plan by id, those after `after`."""
    query = select(*_COLUMNS).where(_s.plan_id == plan_id, _s.status == SubscriptionStatus.ACTIVE, _s.id > after)
    rows = await connection.execute(query.order_by(_s.id).limit(limit))
    return [_subscription(row) for row in rows]


async def plan_in_use(connection: AsyncConnection, plan_id: str) -> bool:
    """Tell whether a live subscription is on the plan."""
    query = select(_s.id).where(_s.plan_id == plan_id, _s.status == SubscriptionStatus.ACTIVE).limit(1)
    return (await connection.execute(query)).first() is not None


async def any_of(connection: AsyncConnection, organization_id: str) -> bool:
    """Tell whether the organization ever had a subscription."""
    query = select(_s.id).where(_s.organization_id == organization_id).limit(1)
    return (await connection.execute(query)).first() is not None


async def due(
    connection: AsyncConnection, *, real_now_ms: int, settle_ms: int, organization_id: str | None, limit: int
) -> list[Subscription]:
    """List paid subscriptions whose next cut is due and whose customer has no open one, oldest boundary first.

    Due is a live one whose period ended, by its organization's clock less the settling delay, and a canceled one whose
    final cut is still to be taken. `settle_ms` is the delay of a production organization that set none; a sandbox has
    none (DESIGN 8).
    """
    o = organizations.c
    own = func.coalesce(o.settle_ms, _settle(settle_ms))
    now = func.coalesce(o.clock_ms, real_now_ms)
    end_ms = cast(_s.period_end_day, BigInteger) * literal(DAY_MS, BigInteger)  # days in 32 bits, milliseconds are not
    ended = and_(_s.status == SubscriptionStatus.ACTIVE, end_ms + own <= now)
    query = (
        select(*_COLUMNS)
        .join(organizations, o.id == _s.organization_id)
        .join(tables.accounts, tables.accounts.c.customer_id == _s.customer_id)
        .where(or_(ended, _s.final_due), _s.free.is_(False), tables.accounts.c.open_cut.is_(None))
    )
    if organization_id is not None:
        query = query.where(_s.organization_id == organization_id)
    rows = await connection.execute(query.order_by(_s.period_end_day, _s.id).limit(limit))
    return [_subscription(row) for row in rows]


def _settle(settle_ms: int) -> Any:
    return case((organizations.c.environment == SANDBOX, 0), else_=literal(settle_ms, BigInteger))


async def change(connection: AsyncConnection, before: Subscription, after: Subscription) -> bool:
    """Write `after` where the row still is at `before`'s status, period and end; False when it moved on."""
    changed = {
        name: value
        for name, value in msgspec.structs.asdict(after).items()
        if value != getattr(before, name) or name == "updated_ms"
    }
    written = await connection.execute(
        update(tables.subscriptions)
        .where(
            _s.id == before.id,
            _s.status == before.status,
            _s.period_start_day == before.period_start_day,
            _s.end_us.is_not_distinct_from(before.end_us),
        )
        .values(**changed)
    )
    return written.rowcount == 1
