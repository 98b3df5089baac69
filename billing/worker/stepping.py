"""The next step of a subscription that the calendar has, in one transaction: the end of a pause, or a cut."""

from sqlalchemy.ext.asyncio import AsyncConnection

from billing.gateway.resuming import take_up_when_due
from billing.lifecycle import Command, due_of
from billing.store import cut as cuts
from billing.store import subscription as subscriptions
from billing.subscription import Subscription


async def step(connection: AsyncConnection, listed: Subscription, real_ms: int) -> bool:
    """Do what is due of a subscription that was listed; False when it changed or a cut of its customer is open."""
    due = due_of(listed)
    assert due is not None, "it was listed as due"
    if due.command is not Command.RESUME:
        return await cuts.take(connection, listed, real_ms)
    subscription = await subscriptions.read(connection, listed.id)
    if subscription is None or subscription != listed:
        return False
    await take_up_when_due(connection, subscription, due.at_us // 1000, real_ms)
    return True
