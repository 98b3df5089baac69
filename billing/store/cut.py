"""What the calendar does to a subscription: the transaction that draws a line, opens a close and freezes what comes.

Source: DESIGN 3.8 (a); R-SUB-5.
"""

import msgspec
from sqlalchemy.ext.asyncio import AsyncConnection

from billing.showing import announced, in_force
from billing.store import account as accounts
from billing.store import close as closes
from billing.store import subscription as subscriptions
from billing.store import terms
from billing.store.addon import carry_over
from billing.store.begin import announce
from billing.store.close import CloseRow, CloseState
from billing.subscription import Subscription
from billing.turning import Bill, turn
from kernel import ids

CLOSE_ID = "cls_"


async def take(connection: AsyncConnection, listed: Subscription, real_ms: int) -> bool:
    """Do the next step of a subscription that was listed as due; False when it changed or a cut is open.

    The end of a pause is none of them: `gateway.resuming`.
    """
    subscription = await subscriptions.read(connection, listed.id)
    if subscription is None or subscription != listed:
        return False
    step = turn(subscription, announced(subscription, await terms.of(connection, subscription.id)))
    if not await _write(connection, subscription, step.after, step.bill, real_ms):
        return False
    if step.after.period_start_day != subscription.period_start_day:
        begun = in_force(step.after, await terms.of(connection, subscription.id))
        await carry_over(connection, subscription.id, begun)
    if step.announce:
        await announce(connection, step.after)
    return True


async def _write(
    connection: AsyncConnection, before: Subscription, after: Subscription, bill: Bill | None, real_ms: int
) -> bool:
    """Write the row, and with a bill take the customer's next cut and open its close; False while one is open."""
    if bill is None:
        await accounts.raise_rev(connection, [before.customer_id])
    elif await open_close(connection, before, bill, real_ms) is None:
        return False
    moved = await subscriptions.change(connection, before, after)
    assert moved, "the row was read in this transaction"
    return True


async def open_close(
    connection: AsyncConnection, subscription: Subscription, bill: Bill, real_ms: int, asked: str | None = None
) -> CloseRow | None:
    """Take the customer's next cut and open the close that bills it; None while another one is open.

    `asked` names the request for a change of plan that waits for it.
    """
    account = await accounts.read(connection, subscription.customer_id)
    assert account is not None, "who has a subscription has an account"
    cut = await accounts.take_cut(connection, account)
    if cut is None:
        return None
    close = CloseRow(
        **msgspec.structs.asdict(bill),
        id=ids.new_id(CLOSE_ID, real_ms),
        organization_id=subscription.organization_id,
        customer_id=subscription.customer_id,
        subscription_id=subscription.id,
        cut=cut,
        state=CloseState.CUT,
        invoice_id=None,
        live=None,
        raw=None,
        created_ms=real_ms,
        settled_ms=None,
        asked=asked,
    )
    await closes.add(connection, close)
    return close
