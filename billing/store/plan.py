"""What a subscription's plan offers now, read in the transaction that freezes it."""

from sqlalchemy.ext.asyncio import AsyncConnection

from billing.frozen import PeriodTerms, freeze, prolonged
from billing.subscription import Subscription
from catalog.definition import Plan
from catalog.store.plan import load_plan
from kernel import ids
from kernel.errors import Rejected
from kernel.period import Period


async def offered(connection: AsyncConnection, subscription: Subscription) -> Plan | None:
    """Read the subscription's plan as it is sold now; None when it was removed."""
    try:
        return await load_plan(connection, ids.id_bytes(subscription.organization_id), subscription.plan_id)
    except Rejected:
        return None


async def frozen_for(
    connection: AsyncConnection, subscription: Subscription, last: PeriodTerms, period: Period
) -> PeriodTerms:
    """Freeze a coming period: the plan's configuration now, or the last terms when the plan is gone (R-PRICE-3)."""
    plan = await offered(connection, subscription)
    if plan is None:
        return prolonged(last, period.start, period.end)
    return freeze(plan, subscription, period.start, period.end, last.base_minor)
