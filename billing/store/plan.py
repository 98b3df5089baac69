"""What a subscription's plan offers now, read in the transaction that freezes it."""

from sqlalchemy.ext.asyncio import AsyncConnection

from catalog.definition import Plan
from catalog.store.plan import load_plan
from kernel import ids
from kernel.errors import Rejected


async def offered(connection: AsyncConnection, organization_id: str, plan_id: str) -> Plan | None:
    """Read a plan as it is sold now; None when it was removed."""
    try:
        return await load_plan(connection, ids.id_bytes(organization_id), plan_id)
    except Rejected:
        return None
