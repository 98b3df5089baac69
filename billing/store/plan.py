"""What a subscription's plan offers now, read in the transaction that freezes it."""

from sqlalchemy.ext.asyncio import AsyncConnection

from billing.life.plan_ending import CANCEL, ended_with
from billing.life.subscription import Subscription
from catalog.definition import Plan
from catalog.store.plan import load_plan
from kernel import ids
from kernel.errors import Rejected


class Shelf:
    """Plans as one transaction has read them: each is read once, however many subscriptions are on it."""

    def __init__(self, connection: AsyncConnection, *plans: Plan) -> None:
        """`plans` are those that the transaction has read already."""
        self._connection = connection
        self._plans: dict[tuple[str, str], Plan | None] = {
            (ids.id_text(ids.ORGANIZATION, plan.organization), plan.id): plan for plan in plans
        }

    async def offered(self, organization_id: str, plan_id: str) -> Plan | None:
        """Read a plan as it is sold now; None when it was removed."""
        key = (organization_id, plan_id)
        if key not in self._plans:
            self._plans[key] = await offered(self._connection, organization_id, plan_id)
        return self._plans[key]


async def offered(connection: AsyncConnection, organization_id: str, plan_id: str) -> Plan | None:
    """Read a plan as it is sold now; None when it was removed."""
    try:
        return await load_plan(connection, ids.id_bytes(organization_id), plan_id)
    except Rejected:
        return None


async def as_plan_ends(
    connection: AsyncConnection, subscription: Subscription, now_ms: int, shelf: Shelf | None = None
) -> Subscription:
    """Make a subscription with what its plan's deletion does at the renewal, which the caller writes (R-PLAN-9)."""
    shelf = shelf or Shelf(connection)
    plan = await shelf.offered(subscription.organization_id, subscription.plan_id)
    if plan is None or plan.ending is None:
        return subscription
    target = None
    if plan.ending != CANCEL:
        target = await shelf.offered(subscription.organization_id, plan.ending)
    return ended_with(subscription, plan, target, now_ms)
