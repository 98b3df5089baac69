"""Add-ons of subscriptions in SQL, and the terms that have their features."""

from collections.abc import Sequence
from typing import Any, Final

import msgspec
from sqlalchemy import BigInteger, Row, cast, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from billing import tables
from billing.life.frozen import PeriodTerms, refrozen
from billing.life.subscription import ENDED, Subscription
from billing.sale.addon import SubscriptionAddon, frozen_addon, joined, opened
from billing.store.plan import Shelf
from billing.store.subscription import organization_now, settled_after
from billing.tables import subscriptions
from catalog import addon as rule
from catalog.definition import Addon, Plan
from catalog.store.addon import load_addon
from catalog.tables import addons as sold
from catalog.tables import organizations
from kernel import ids
from kernel.period import DAY_MS

_x = tables.subscription_addons.c
_s = subscriptions.c
_COLUMNS: Final = [_x[name] for name in SubscriptionAddon.__struct_fields__]
_OVER: Final = tuple(status.value for status in sorted(ENDED))


def _addon(row: Row[Any]) -> SubscriptionAddon:
    return SubscriptionAddon(**row._asdict())


async def add(connection: AsyncConnection, addon: SubscriptionAddon) -> None:
    """Write an activation. Raises IntegrityError when the add-on is active already."""
    await connection.execute(insert(tables.subscription_addons).values(**msgspec.structs.asdict(addon)))


async def end(connection: AsyncConnection, addon: SubscriptionAddon, ended_ms: int) -> None:
    """Say that an add-on was switched off."""
    await connection.execute(
        update(tables.subscription_addons).where(_x.id == addon.id).values(ended_ms=ended_ms, next_day=None)
    )


async def active_of(connection: AsyncConnection, subscription_id: str) -> list[SubscriptionAddon]:
    """List a subscription's active add-ons, oldest first."""
    query = select(*_COLUMNS).where(_x.subscription_id == subscription_id, _x.ended_ms.is_(None))
    return [_addon(row) for row in await connection.execute(query.order_by(_x.activated_ms, _x.id))]


async def owners(connection: AsyncConnection, subscription_ids: Sequence[str]) -> set[str]:
    """Tell which of the subscriptions have active add-ons."""
    query = select(_x.subscription_id).where(_x.subscription_id.in_(subscription_ids), _x.ended_ms.is_(None))
    return {subscription_id for (subscription_id,) in await connection.execute(query)}


async def read(connection: AsyncConnection, row_id: str) -> SubscriptionAddon | None:
    """Read one activation."""
    row = (await connection.execute(select(*_COLUMNS).where(_x.id == row_id))).first()
    return None if row is None else _addon(row)


async def renewed(connection: AsyncConnection, addon: SubscriptionAddon, next_day: int) -> None:
    """Say when the month after the one that is charged now begins."""
    await connection.execute(update(tables.subscription_addons).where(_x.id == addon.id).values(next_day=next_day))


async def due(
    connection: AsyncConnection, organization_id: str | None, real_now_ms: int, settle_ms: int, limit: int
) -> list[SubscriptionAddon]:
    """List active add-ons of live free subscriptions whose month has ended, oldest first; delays are the closer's."""
    query = (
        select(*_COLUMNS)
        .join(subscriptions, _s.id == _x.subscription_id)
        .join(organizations, organizations.c.id == _x.organization_id)
        .where(
            _x.ended_ms.is_(None),
            _x.next_day.is_not(None),  # lets the index pass over those that are charged with their subscription
            _s.free,
            _s.status.not_in(_OVER),
            cast(_x.next_day, BigInteger) * DAY_MS + settled_after(settle_ms) <= organization_now(real_now_ms),
        )
    )
    if organization_id is not None:
        query = query.where(_x.organization_id == organization_id)
    return [_addon(row) for row in await connection.execute(query.order_by(_x.next_day, _x.id).limit(limit))]


async def using(connection: AsyncConnection, addon_id: str, after: str, limit: int) -> list[str]:
    """List the ids of subscriptions, not over, on which an add-on is active: those after `after`."""
    query = (
        select(_x.subscription_id)
        .join(subscriptions, _s.id == _x.subscription_id)
        .where(_x.addon_id == addon_id, _x.ended_ms.is_(None), _s.status.not_in(_OVER), _x.subscription_id > after)
    )
    return list(await connection.scalars(query.order_by(_x.subscription_id).limit(limit)))


async def in_use(connection: AsyncConnection, after: int, until: int) -> list[tuple[str, str]]:
    """List `(organization, add-on)` that changed after a version of the catalog, up to another, and somebody has."""
    query = (
        select(_s.organization_id, _x.addon_id)
        .join(subscriptions, _s.id == _x.subscription_id)
        .join(sold, sold.c.id == _x.addon_id)
        .where(sold.c.version > after, sold.c.version <= until, _x.ended_ms.is_(None), _s.status.not_in(_OVER))
        .distinct()
    )
    return [(organization_id, addon_id) for organization_id, addon_id in await connection.execute(query)]


async def addon_in_use(connection: AsyncConnection, addon_id: str) -> bool:
    """Tell whether an add-on is active on a subscription that is not over (R-ADDON-11)."""
    query = (
        select(_x.id)
        .join(subscriptions, _s.id == _x.subscription_id)
        .where(_x.addon_id == addon_id, _x.ended_ms.is_(None), _s.status.not_in(_OVER))
    )
    return (await connection.execute(query.limit(1))).first() is not None


async def with_addons(
    connection: AsyncConnection,
    subscription: Subscription,
    period: PeriodTerms,
    current: PeriodTerms,
    shelf: Shelf | None = None,
) -> PeriodTerms:
    """Join the active add-ons, as they are sold now, to terms that follow `current`.

    Of another plan, those that it has or that do not fit it are left out (R-CHG-13). One without a price in the terms'
    currency keeps what it had. `shelf` has what the transaction read of plans before.
    """
    active = await active_of(connection, subscription.id)
    if not active:
        return joined(period, ())
    plan = await (shelf or Shelf(connection)).offered(subscription.organization_id, period.plan_id)
    brought = []
    for one in active:
        sold = await load_addon(connection, ids.id_bytes(subscription.organization_id), one.addon_id, archived=True)
        had = current.feature(one.feature_id)
        kept = None if had is None or had.addon != one.addon_id else msgspec.structs.replace(had, paid_apart=False)
        if plan is not None and _goes_on(sold, plan, current):
            kept = frozen_addon(sold, plan, period) or kept
        elif plan is not None:
            kept = None
        if kept is not None:
            brought.append(kept)
    return joined(period, brought)


async def with_wider_addons(
    connection: AsyncConnection, subscription: Subscription, now: PeriodTerms, current: PeriodTerms
) -> PeriodTerms:
    """Apply to terms in force what helps of the active add-ons as they are sold now (R-BH-1)."""
    for granted in (await with_addons(connection, subscription, current, current)).features:
        if granted.addon:
            now = opened(now, granted)
    return now


async def frozen_anew(
    connection: AsyncConnection, subscription: Subscription, period: PeriodTerms, current: PeriodTerms
) -> PeriodTerms:
    """Freeze terms that follow `current` anew: the plan as it is sold now, unless it is gone, and active add-ons.

    What the plan itself grants of an add-on's feature is in the catalog alone once the two are joined.
    """
    shelf = Shelf(connection)
    plan = await shelf.offered(subscription.organization_id, period.plan_id)
    fresh = period if plan is None else refrozen(period, plan)
    return await with_addons(connection, subscription, fresh, current, shelf)


def _goes_on(addon: Addon, plan: Plan, current: PeriodTerms) -> bool:
    return plan.id == current.plan_id or rule.offered(addon, plan)


async def carry_over(connection: AsyncConnection, subscription_id: str, begun: PeriodTerms) -> None:
    """End the add-ons that terms which have begun do not have any more; on a free plan the others' months begin."""
    for one in await active_of(connection, subscription_id):
        granted = begun.feature(one.feature_id)
        if granted is None or granted.addon != one.addon_id:
            await end(connection, one, max(begun.since_day * DAY_MS, begun.start_us // 1000))
        elif begun.free and one.next_day is None:
            own = update(tables.subscription_addons).where(_x.id == one.id)
            await connection.execute(own.values(next_day=begun.since_day))
