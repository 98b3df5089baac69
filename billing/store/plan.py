"""What a subscription's plan offers now, read in the transaction that freezes it."""

from sqlalchemy.ext.asyncio import AsyncConnection

from catalog.definition import Plan
from catalog.store.plan import load_plan
from kernel import ids
from kernel.errors import Rejected


class Shelf:
    """Plans as one transaction has read them: each is read once, however many subscriptions are on it."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection
        self._plans: dict[tuple[str, str], Plan | None] = {}

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
