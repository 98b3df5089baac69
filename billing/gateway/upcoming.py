"""The upcoming invoice: what a close at this instant would write, from LIVE's totals, by the closer's own function."""

from collections.abc import Mapping, Sequence

from aggregator.account import Account, decode_account
from billing.life.frozen import PeriodTerms, standing
from billing.life.lifecycle import Command, due_of
from billing.life.showing import announced
from billing.life.subscription import Subscription
from billing.life.turning import turn
from billing.money.agreement import live_usage
from billing.money.closing import Billed, Close, Draws, Window, WindowUsage, plan_close
from billing.money.drawing import draws_of, live_draws
from billing.money.invoice import InvoiceDraft
from billing.sale.seat_billing import History, lines_of_close
from billing.store import account as accounts
from billing.store import close as closes
from billing.store import invoice as invoices
from billing.store import purchase, terms
from billing.store import seat as seats
from billing.store import subscription as subscriptions
from billing.worker.settling import close_of
from catalog.terms import Snapshot, decode_snapshot
from kernel import ids
from kernel.engine.live.base import READY, Live
from kernel.engine.sql.base import Sql
from kernel.errors import Unavailable, rejected
from kernel.lane import lane_of
from kernel.period import Interval


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
        periods = await terms.rating(connection, subscription.id)
        billed = (await invoices.billed(connection, [subscription.id]))[subscription.id]
        under_way = await closes.open_of(connection, subscription.id)
        top_ups = (await purchase.top_ups_of(connection, [customer_id]))[customer_id]
        seated = (await seats.history(connection, [customer_id]))[customer_id]
    counted = await account_of(live, lanes, customer_id)
    usage, draws = live_usage(counted), draws_of(subscription, periods, live_draws(counted), top_ups)
    if under_way is not None:
        close = close_of(under_way, subscription)
        draft = plan_close(close, periods, usage, billed, draws, lines_of_close(close, periods, seated))
    else:
        draft = _next(subscription, account.cut, periods, usage, billed, draws, seated)
    if draft is None:
        raise rejected("invoice_not_found", "Nothing is to be invoiced.")
    return draft


def _next(
    subscription: Subscription,
    cut: int,
    periods: Sequence[PeriodTerms],
    usage: Mapping[Window, WindowUsage],
    billed: Mapping[Window, Billed],
    draws: Draws,
    seated: History,
) -> InvoiceDraft | None:
    """Plan the first close to come that bills something: a window without overage gives no invoice (R-INT-4)."""
    for _ in range(Interval.YEARLY.months):
        due = due_of(subscription)
        if due is None or due.command is Command.RESUME:
            return None
        cut += 1
        step = turn(subscription, announced(subscription, standing(periods)))
        if step.bill is None:
            return None
        close = Close(subscription=step.after, cut=cut, bill=step.bill)
        draft = plan_close(close, periods, usage, billed, draws, lines_of_close(close, periods, seated))
        if draft is not None or step.bill.final or step.bill.base_term is not None:
            return draft
        subscription = step.after
    return None


async def account_of(live: Live, lanes: int, customer_id: str) -> Account:
    """Read a customer's account from LIVE; an empty one before its first record. Raises Unavailable."""
    return (await seen_of(live, lanes, customer_id))[0]


async def seen_of(live: Live, lanes: int, customer_id: str) -> tuple[Account, Snapshot | None]:
    """Read a customer's account and snapshot from LIVE in one look; None before its first one. Raises Unavailable."""
    customer = ids.id_bytes(customer_id)
    view = await live.view(lane_of(customer, lanes), [customer])
    if view.header is None or view.header.state != READY:
        raise Unavailable("the customer's lane is being rebuilt")
    found = view.accounts[0]
    account = Account() if found.account is None else decode_account(found.account)
    return account, None if found.snapshot is None else decode_snapshot(found.snapshot)
