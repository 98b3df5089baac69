"""Subscriptions in SQL."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final

import msgspec
from sqlalchemy import BigInteger, Row, and_, bindparam, case, cast, func, insert, literal, or_, select, union, update
from sqlalchemy.ext.asyncio import AsyncConnection

from billing import tables
from billing.life.lifecycle import due_of
from billing.life.subscription import ENDED, Subscription
from catalog.definition import SANDBOX
from catalog.tables import customers, organizations, plans
from catalog.terms import SubscriptionStatus
from kernel.period import DAY_US

# Rounds an instant up: what is due within a millisecond is due when it is over.
_MS_US: Final = 1_000
_s = tables.subscriptions.c
_COLUMNS: Final = [_s[name] for name in Subscription.__struct_fields__]
_OVER: Final = tuple(status.value for status in sorted(ENDED))
_LIVE: Final = and_(_s.started, _s.status.not_in(_OVER))


def _subscription(row: Row[Any]) -> Subscription:
    return msgspec.convert(row, Subscription, from_attributes=True)


def _row(subscription: Subscription) -> dict[str, Any]:
    due, scheduled = due_of(subscription), subscription.scheduled
    row: dict[str, Any] = msgspec.to_builtins(subscription)
    row["due_ms"] = None if due is None else -(-due.at_us // _MS_US)
    row["scheduled_plan_id"] = None if scheduled is None else scheduled.plan_id
    return row


async def add(connection: AsyncConnection, subscription: Subscription) -> None:
    """Write a new subscription. Raises IntegrityError when the customer has a live one."""
    await connection.execute(insert(tables.subscriptions).values(**_row(subscription)))


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
    query = select(*_COLUMNS).where(_s.customer_id == customer_id, _LIVE)
    row = (await connection.execute(query)).first()
    return None if row is None else _subscription(row)


async def unfinished_of(connection: AsyncConnection, customer_id: str) -> list[Subscription]:
    """List a customer's subscriptions that are not over and whose terms have not begun (R-SUB-3)."""
    query = select(*_COLUMNS).where(_s.customer_id == customer_id, _s.started.is_(False), _s.status.not_in(_OVER))
    return [_subscription(row) for row in await connection.execute(query.order_by(_s.term))]


async def current_of(connection: AsyncConnection, customer_id: str) -> Subscription | None:
    """Read a customer's live subscription, else its newest, whatever its state (R-SUB-11)."""
    return (await current_of_all(connection, [customer_id])).get(customer_id)


async def current_of_all(connection: AsyncConnection, customer_ids: Sequence[str]) -> dict[str, Subscription]:
    """Read of each customer the live subscription, else the newest; a customer without any is absent."""
    order = (_s.customer_id, case((_LIVE, 0), else_=1), _s.term.desc())
    found: dict[str, Subscription] = {}
    for row in await connection.execute(select(*_COLUMNS).where(_s.customer_id.in_(customer_ids)).order_by(*order)):
        if row.customer_id not in found:
            found[row.customer_id] = _subscription(row)
    return found


async def ever_paid(connection: AsyncConnection, customer_id: str) -> bool:
    """Tell whether a subscription of the customer was ever active on a paid plan (R-DISC-4, AMB-48)."""
    query = select(_s.id).where(_s.customer_id == customer_id, _s.was_paid).limit(1)
    return (await connection.execute(query)).first() is not None


async def mark_paid(connection: AsyncConnection, ids: Collection[str]) -> None:
    """Say of subscriptions that they were active on a paid plan: what they owed for a period is settled (R-DISC-4)."""
    if ids:
        await connection.execute(update(tables.subscriptions).where(_s.id.in_(ids)).values(was_paid=True))


async def by_checkout(connection: AsyncConnection, token: str) -> Subscription | None:
    """Read the subscription that a checkout's token is for; None when the token is not valid any more."""
    row = (await connection.execute(select(*_COLUMNS).where(_s.checkout_token == token))).first()
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
    """List the live subscriptions that are on a plan or move to it, by id, those after `after`."""
    query = select(*_COLUMNS).where(_on(plan_id), _LIVE, _s.id > after)
    rows = await connection.execute(query.order_by(_s.id).limit(limit))
    return [_subscription(row) for row in rows]


async def plan_in_use(connection: AsyncConnection, plan_id: str) -> bool:
    """Tell whether a subscription that is not over is on the plan or moves to it (R-PLAN-10)."""
    query = select(_s.id).where(_on(plan_id), _s.status.not_in(_OVER)).limit(1)
    return (await connection.execute(query)).first() is not None


async def currency_in_use(
    connection: AsyncConnection, plan_id: str, price_id: str | None, currencies: Collection[str]
) -> str | None:
    """Name the first of the currencies in which a subscription that is not over pays the plan, or moves to it.

    With a `price_id` only those at this price of it count, beside those that move to the plan. None: nobody does.
    """
    here = _s.plan_id == plan_id if price_id is None else _s.price_id == price_id
    query = select(_s.currency).where(
        or_(here, _s.scheduled_plan_id == plan_id), _s.status.not_in(_OVER), _s.currency.in_(currencies)
    )
    return (await connection.execute(query.order_by(_s.currency).limit(1))).scalar_one_or_none()


def _on(plan_id: str) -> Any:
    return or_(_s.plan_id == plan_id, _s.scheduled_plan_id == plan_id)


async def plans_in_use(connection: AsyncConnection, after: int, until: int) -> list[tuple[str, str]]:
    """List `(organization, plan)` that changed after a version of the catalog, up to another, with live subscriptions.

    So are the plans of the changes that are scheduled for them.
    """
    changed = and_(plans.c.version > after, plans.c.version <= until)
    on = select(_s.organization_id, _s.plan_id).join(plans, plans.c.id == _s.plan_id)
    to = select(_s.organization_id, _s.scheduled_plan_id).join(plans, plans.c.id == _s.scheduled_plan_id)
    found = await connection.execute(union(on.where(changed, _LIVE), to.where(changed, _LIVE)))
    return [(organization_id, plan_id) for organization_id, plan_id in found]


async def deleted_plans_kept(connection: AsyncConnection) -> list[tuple[str, str]]:
    """List `(organization, plan)` of deleted plans with live subscriptions that are to go on on them (R-PLAN-9).

    Those that are paused are not meant, nor those that change to another plan or end with their period.
    """
    ends = cast(_s.period_end_day, BigInteger) * DAY_US
    goes_on = or_(_s.end_us.is_(None), and_(_s.free.is_(False), _s.end_us > ends))
    query = (
        select(_s.organization_id, _s.plan_id)
        .join(plans, plans.c.id == _s.plan_id)
        .where(plans.c.ending.is_not(None), _LIVE, _s.status != SubscriptionStatus.PAUSED.value, goes_on)
        .where(or_(_s.scheduled_plan_id.is_(None), _s.scheduled_plan_id == _s.plan_id))
        .distinct()
    )
    return [(organization_id, plan_id) for organization_id, plan_id in await connection.execute(query)]


async def archived_owners(connection: AsyncConnection) -> list[tuple[str, str]]:
    """List `(organization, customer)` of archived customers with a subscription that is not over.

    A former version may have left some.
    """
    query = select(_s.organization_id, _s.customer_id).join(customers, customers.c.id == _s.customer_id)
    rows = await connection.execute(query.where(customers.c.archived, _s.status.not_in(_OVER)).distinct())
    return [(organization_id, customer_id) for organization_id, customer_id in rows]


async def any_of(connection: AsyncConnection, organization_id: str) -> bool:
    """Tell whether the organization ever had a subscription."""
    query = select(_s.id).where(_s.organization_id == organization_id).limit(1)
    return (await connection.execute(query)).first() is not None


async def due(
    connection: AsyncConnection, *, real_now_ms: int, settle_ms: int, organization_id: str | None, limit: int
) -> list[Subscription]:
    """List subscriptions for which the calendar has something and whose customer has no open cut.

    Oldest first within an organization, and the organization first in which something is due longest. Due is what lies
    behind the organization's clock less the settling delay, and a final cut that waits is due at once.
    `settle_ms` is the delay of a production organization that set none; a sandbox has none (DESIGN 8).
    """
    found: list[Subscription] = []
    for owner, by_ms in await _owners_of_due(connection, real_now_ms, settle_ms, organization_id, limit):
        query = (
            select(*_COLUMNS)
            .join(tables.accounts, tables.accounts.c.customer_id == _s.customer_id)
            .where(_s.organization_id == owner, _s.due_ms <= by_ms, tables.accounts.c.open_cut.is_(None))
        )
        rows = await connection.execute(query.order_by(_s.due_ms, _s.id).limit(limit - len(found)))
        found += [_subscription(row) for row in rows]
        if len(found) == limit:
            break
    return found


async def _owners_of_due(
    connection: AsyncConnection, real_now_ms: int, settle_ms: int, organization_id: str | None, limit: int
) -> list[tuple[str, int]]:
    """List organizations in which something is due, oldest first, each with the instant up to which it is.

    One step in an index an organization: neither statement reads a subscription that is not due.
    """
    by_ms = organization_now(real_now_ms) - settled_after(settle_ms)
    oldest = (
        select(_s.due_ms)
        .join(tables.accounts, tables.accounts.c.customer_id == _s.customer_id)
        .where(_s.organization_id == organizations.c.id, _s.due_ms <= by_ms, tables.accounts.c.open_cut.is_(None))
        .order_by(_s.due_ms)
        .limit(1)
        .correlate(organizations)
        .scalar_subquery()
    )
    listed = select(organizations.c.id, by_ms.label("by_ms"), oldest.label("oldest")).subquery()
    query = select(listed.c.id, listed.c.by_ms).where(listed.c.oldest.is_not(None))
    if organization_id is not None:
        query = query.where(listed.c.id == organization_id)
    rows = await connection.execute(query.order_by(listed.c.oldest, listed.c.id).limit(limit))
    return [(owner, by) for owner, by in rows]


def settled_after(settle_ms: int) -> Any:
    """Tell in SQL how long an organization waits with a close; `settle_ms` as in `due`."""
    o = organizations.c
    none = case((o.environment == SANDBOX, 0), else_=literal(settle_ms, BigInteger))
    return func.coalesce(o.settle_ms, none)


def organization_now(real_now_ms: int) -> Any:
    """Tell in SQL an organization's now, unix milliseconds: its test clock's, or the real one."""
    return func.coalesce(organizations.c.clock_ms, real_now_ms)


# A row that is written over is the one that was read when it is still at these.
_GUARDS: Final = ("status", "started", "term", "period_start_day", "next_day", "end_us")


async def change(connection: AsyncConnection, before: Subscription, after: Subscription) -> bool:
    """Write `after` where the row still is at `before`'s status, terms, boundary and end; False when it moved on."""
    was, is_now = _row(before), _row(after)
    written = await connection.execute(
        update(tables.subscriptions)
        .where(_s.id == before.id, *(_s[name].is_not_distinct_from(was[name]) for name in _GUARDS))
        .values(**_changed(was, is_now))
    )
    return written.rowcount == 1


async def change_all(connection: AsyncConnection, steps: Sequence[tuple[Subscription, Subscription]]) -> None:
    """Write `(before, after)` of subscriptions that this transaction read, in a statement for each set of columns."""
    alike: dict[tuple[str, ...], list[dict[str, Any]]] = {}
    for before, after in steps:
        changed = _changed(_row(before), _row(after))
        named = {f"new_{name}": value for name, value in changed.items()}
        alike.setdefault(tuple(changed), []).append({"own_id": before.id, **named})
    for names, rows in alike.items():
        own = update(tables.subscriptions).where(_s.id == bindparam("own_id"))
        await connection.execute(own.values({name: bindparam(f"new_{name}") for name in names}), rows)


def _changed(was: Mapping[str, Any], is_now: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in is_now.items() if value != was[name] or name == "updated_ms"}
