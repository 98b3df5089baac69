"""Settling closes: one transaction writes invoices and outbox and lets the next cuts come (DESIGN 3.8 e)."""

from collections.abc import Mapping, Sequence

import msgspec

from billing.agreement import Difference
from billing.closing import Close, Window, WindowUsage, plan_close
from billing.invoice import Source, source_of
from billing.store import account as accounts
from billing.store import close as closes
from billing.store import invoice as invoices
from billing.store import subscription as subscriptions
from billing.store import terms
from billing.store.close import CloseRow, CloseState
from billing.subscription import Subscription
from billing.worker.settled import Settled
from catalog.store.organization import load_organization
from kernel import ids
from kernel.engine.sql.base import Sql


async def settle(
    sql: Sql, found: Sequence[CloseRow], totals: Mapping[str, Mapping[Window, WindowUsage]], real_ms: int
) -> Settled:
    """Write the invoices of one organization's closes in one transaction; those that another settled are passed over.

    `totals` are RAW's sums at each customer's cut. Raises IntegrityError when another closer committed meanwhile.
    """
    if not found:
        return Settled()
    done = Settled()
    async with sql.transaction() as connection:
        organization = await load_organization(connection, ids.id_bytes(found[0].organization_id))
        assert organization is not None, "an organization is never removed"
        now_ms = organization.now_ms(real_ms)
        rows = await closes.read_all(connection, [close.id for close in found])
        waiting = [close for close in rows if close.state is CloseState.CUT]
        owners = [close.subscription_id for close in waiting]
        own = await subscriptions.read_all(connection, owners)
        periods = await terms.of_all(connection, owners)
        billed = await invoices.billed(connection, owners)
        for close in waiting:
            subscription = own[close.subscription_id]
            draft = plan_close(
                close_of(close, subscription),
                periods[subscription.id],
                totals[close.customer_id],
                billed[subscription.id],
            )
            invoice = None
            if draft is not None:
                sourced = msgspec.structs.replace(draft, source=source_of(Source.CLOSE, close.id))
                invoice = await invoices.write(connection, sourced, now_ms)
            await closes.settle(connection, close, None if invoice is None else invoice.id, now_ms)
            await accounts.settle_cut(connection, close.customer_id, close.cut)
            done = done + Settled(settled=1, invoices=invoice is not None)
    return done


async def stop(sql: Sql, close: CloseRow, found: Difference) -> bool:
    """Stop a close on which LIVE and RAW differ, keeping both sides."""
    async with sql.transaction() as connection:
        return await closes.stop(connection, close, found.live, found.raw)


def close_of(row: CloseRow, subscription: Subscription) -> Close:
    """Make the value that `plan_close` takes."""
    return Close(subscription=subscription, cut=row.cut, bill=row.bill)
