"""The next steps of subscriptions that the calendar has, in one transaction: ends of pauses, and cuts.

Where one of them raises they are taken one by one, so that only that one stops.
"""

from collections.abc import Sequence
from itertools import chain

from sqlalchemy.ext.asyncio import AsyncConnection

from billing.gateway.resuming import take_up_when_due
from billing.life.lifecycle import Command, Due, due_of
from billing.life.subscription import Subscription
from billing.store import cut as cuts
from billing.store import subscription as subscriptions
from billing.worker.apart import Fault, apart
from kernel.engine.sql.base import Sql


async def step(connection: AsyncConnection, listed: Subscription, real_ms: int) -> bool:
    """Do what is due of a subscription that was listed; False when it changed or a cut of its customer is open."""
    return bool(await step_all(connection, [listed], real_ms))


async def step_apart(
    sql: Sql, listed: Sequence[Subscription], real_ms: int
) -> tuple[list[str], list[Fault[Subscription]]]:
    """Do what `step_all` does, in one transaction; returns also those whose step raises, and leaves them as they are.

    Raises Unavailable while SQL is away.
    """

    async def together(some: Sequence[Subscription]) -> list[str]:
        async with sql.transaction() as connection:
            return await step_all(connection, some, real_ms)

    taken, faults = await apart(listed, together)
    return list(chain.from_iterable(taken)), faults


async def step_all(connection: AsyncConnection, listed: Sequence[Subscription], real_ms: int) -> list[str]:
    """Do what is due of many subscriptions; returns the customers of those that took their step."""
    taken = await cuts.take_all(connection, [one for one in listed if not _resumes(one)], real_ms)
    for one in listed:
        if _resumes(one) and await subscriptions.read(connection, one.id) == one:
            await take_up_when_due(connection, one, _due(one).at_us // 1000, real_ms)
            taken.append(one.customer_id)
    return taken


def _resumes(subscription: Subscription) -> bool:
    return _due(subscription).command is Command.RESUME


def _due(subscription: Subscription) -> Due:
    due = due_of(subscription)
    assert due is not None, "it was listed as due"
    return due
