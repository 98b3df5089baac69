"""Taking a cut: the one transaction that draws the line, opens the close and freezes what comes (DESIGN 3.8 a)."""

from sqlalchemy.ext.asyncio import AsyncConnection

from billing.store import account as accounts
from billing.store import close as closes
from billing.store import subscription as subscriptions
from billing.store import terms
from billing.store.close import CloseRow, CloseState
from billing.store.plan import frozen_for
from billing.subscription import Subscription, turn
from kernel import ids

CLOSE_ID = "cls_"


async def take(connection: AsyncConnection, listed: Subscription, real_ms: int) -> CloseRow | None:
    """Take the next cut of a subscription that was listed as due; None when it changed or a cut is open."""
    subscription = await subscriptions.read(connection, listed.id)
    account = await accounts.read(connection, listed.customer_id)
    if subscription != listed or account is None:
        return None
    cut = await accounts.take_cut(connection, account)
    if cut is None:
        return None
    step = turn(subscription)
    moved = await subscriptions.change(connection, subscription, step.after)
    assert moved, "the row was read in this transaction"
    if step.freeze is not None:
        last = (await terms.of(connection, subscription.id))[-1]
        await terms.put(connection, subscription.id, await frozen_for(connection, step.after, last, step.freeze))
    close = CloseRow(
        id=ids.new_id(CLOSE_ID, real_ms),
        organization_id=subscription.organization_id,
        customer_id=subscription.customer_id,
        subscription_id=subscription.id,
        cut=cut,
        start_day=step.start_day,
        through_day=step.through_day,
        end_us=step.end_us,
        final=step.final,
        state=CloseState.CUT,
        invoice_id=None,
        live=None,
        raw=None,
        created_ms=real_ms,
        settled_ms=None,
    )
    await closes.add(connection, close)
    return close
