"""The upcoming invoice: what a close at this instant would write, from LIVE's totals, by the closer's own function."""

from aggregator.account import Account, decode_account
from billing.agreement import live_usage
from billing.closing import Close, plan_close
from billing.invoice import InvoiceDraft
from billing.store import account as accounts
from billing.store import close as closes
from billing.store import invoice as invoices
from billing.store import subscription as subscriptions
from billing.store import terms
from billing.subscription import Subscription, turn
from billing.worker.settling import close_of
from kernel import ids
from kernel.engine.live.base import READY, Live
from kernel.engine.sql.base import Sql
from kernel.errors import Unavailable, rejected
from kernel.lane import lane_of


async def upcoming(sql: Sql, live: Live, lanes: int, customer_id: str) -> InvoiceDraft:
    """Plan the next invoice of a customer's live subscription.

    While a close is under way it is that one's. Raises Rejected `no_active_subscription`, or `invoice_not_found` when
    nothing is to come; Unavailable while LIVE is.
    """
    async with sql.snapshot() as connection:
        subscription = await subscriptions.live_of(connection, customer_id)
        account = await accounts.read(connection, customer_id)
        if subscription is None or account is None:
            raise rejected("no_active_subscription", "The customer has no live subscription.")
        if subscription.free:
            raise rejected("invoice_not_found", "A free plan has no invoices.")
        periods = await terms.of(connection, subscription.id)
        billed = (await invoices.billed(connection, [subscription.id]))[subscription.id]
        under_way = await closes.open_of(connection, subscription.id)
    close = next_close(subscription, account.cut + 1) if under_way is None else close_of(under_way, subscription)
    draft = plan_close(close, periods, live_usage(await account_of(live, lanes, customer_id)), billed)
    if draft is None:
        raise rejected("invoice_not_found", "Nothing is to be invoiced.")
    return draft


def next_close(subscription: Subscription, cut: int) -> Close:
    """Make the close that the subscription's next cut opens."""
    step = turn(subscription)
    return Close(
        subscription=step.after,
        cut=cut,
        start_day=step.start_day,
        through_day=step.through_day,
        end_us=step.end_us,
        final=step.final,
    )


async def account_of(live: Live, lanes: int, customer_id: str) -> Account:
    """Read a customer's account from LIVE; an empty one before its first record. Raises Unavailable."""
    customer = ids.id_bytes(customer_id)
    view = await live.view(lane_of(customer, lanes), [customer])
    if view.header is None or view.header.state != READY:
        raise Unavailable("the customer's lane is being rebuilt")
    encoded = view.accounts[0].account
    return Account() if encoded is None else decode_account(encoded)
