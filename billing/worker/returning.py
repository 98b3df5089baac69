"""Giving back what is left of top-ups at the settled cut that a change of plan took as it ended their terms.

Invariants: a close grants once, because it is settled in the transaction that grants and the credit names it; it grants
no more than was bought on invoices that are not void, since what is void nobody pays. There is no invoice: nothing is
billed. Source: AMB-20; ADR 9.
"""

from billing.money.drawing import top_ups_left
from billing.money.rating import money_of_units
from billing.store import account as accounts
from billing.store import close as closes
from billing.store import credit, purchase, terms
from billing.store import subscription as subscriptions
from billing.store.close import CloseRow, CloseState
from billing.worker.settled import Counted, Settled
from catalog.store.organization import load_organization
from kernel import ids
from kernel.engine.sql.base import Sql


async def settle_return(sql: Sql, close: CloseRow, counted: Counted, real_ms: int) -> Settled:
    """Grant what is left of the ended terms' top-ups as account credit; nothing when another settled the close.

    `counted` are RAW's sums at the customer's cut, which the following terms' snapshot drew.
    """
    async with sql.transaction() as connection:
        [row] = await closes.read_all(connection, [close.id])
        if row.state is not CloseState.CUT:
            return Settled()
        organization = await load_organization(connection, ids.id_bytes(close.organization_id))
        subscription = await subscriptions.read(connection, close.subscription_id)
        assert organization is not None, "an organization is never removed"
        assert subscription is not None, "a subscription is never removed"
        now_ms = organization.now_ms(real_ms)
        periods = await terms.of(connection, subscription.id)
        ended = [one for one in periods if one.term == close.returns_term and one.since_day <= close.through_day][-1]
        top_ups = (await purchase.top_ups_of(connection, [close.customer_id]))[close.customer_id]
        paid = (await purchase.top_ups_of(connection, [close.customer_id], void=False))[close.customer_id]
        left = top_ups_left(subscription, ended, counted.drawn, top_ups, close.through_day)
        most = top_ups_left(subscription, ended, {}, paid, close.through_day)
        amount = money_of_units(min(left, most), ended.currency)
        if amount.minor:
            granted = credit.of_top_ups_left(close.organization_id, close.customer_id, amount, close.id, now_ms)
            await credit.grant(connection, granted)
        await closes.settle(connection, close, None, now_ms)
        await accounts.settle_cut(connection, close.customer_id, close.cut)
    return Settled(settled=1)
