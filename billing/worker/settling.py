"""Settling closes: one transaction writes invoices and outbox and lets the next cuts come (DESIGN 3.8 e)."""

from collections.abc import Mapping, Sequence

import msgspec

from billing.gateway.paying import collect, past_due
from billing.life.subscription import Subscription
from billing.money.agreement import Difference
from billing.money.closing import Close, plan_close
from billing.money.drawing import draws_of
from billing.money.invoice import Basis, InvoiceDraft, Line, Source, source_of
from billing.money.payment import FAILED
from billing.sale.seat_billing import lines_of_close
from billing.store import account as accounts
from billing.store import close as closes
from billing.store import credit, purchase, terms
from billing.store import invoice as invoices
from billing.store import seat as seats
from billing.store import subscription as subscriptions
from billing.store.close import UNCOLLECTED, CloseRow, CloseState
from billing.worker.settled import Counted, Settled
from catalog.store.customer import archived_of
from catalog.store.organization import load_organization
from kernel import ids
from kernel.engine.sql.base import Sql


async def settle(sql: Sql, found: Sequence[CloseRow], counted: Mapping[str, Counted], real_ms: int) -> Settled:
    """Write the invoices of one organization's closes in one transaction; those that another settled are passed over.

    Of a customer who was archived or deleted since, nothing is collected, a final close included (R-CUST-9, AMB-35).
    `counted` are RAW's sums at each customer's cut.
    """
    if not found:
        return Settled()
    async with sql.transaction() as connection:
        organization = await load_organization(connection, ids.id_bytes(found[0].organization_id))
        assert organization is not None, "an organization is never removed"
        now_ms = organization.now_ms(real_ms)
        rows = await closes.read_all(connection, [close.id for close in found])
        waiting = [close for close in rows if close.state is CloseState.CUT]
        owners = [close.subscription_id for close in waiting]
        own = await subscriptions.read_all(connection, owners)
        periods = await terms.rating_all(connection, owners)
        billed = await invoices.billed(connection, owners)
        customers = [close.customer_id for close in waiting]
        top_ups = await purchase.top_ups_of(connection, customers)
        seated = await seats.history(connection, customers)
        known = await credit.balances(connection, customers)  # one close a customer: none changes another's
        gone = await archived_of(connection, customers)
        drafts: dict[str, InvoiceDraft] = {}
        for close in waiting:
            if close.customer_id in gone:
                continue
            subscription = own[close.subscription_id]
            value = close_of(close, subscription)
            extra = lines_of_close(value, periods[subscription.id], seated[close.customer_id])
            own_count = counted[close.customer_id]
            draft = plan_close(
                value,
                periods[subscription.id],
                own_count.totals,
                billed[subscription.id],
                draws_of(subscription, periods[subscription.id], own_count.drawn, top_ups[close.customer_id]),
                extra,
            )
            if draft is not None:
                drafts[close.id] = sourced(draft, close, extra, own_count)
        written = await invoices.write_all(connection, list(drafts.values()), now_ms, known)
        invoiced: dict[str, str | None] = {close.id: None for close in waiting}
        subscription_of = {close.id: own[close.subscription_id] for close in waiting}
        begun = {one.id for one in waiting if one.bill.base_term is not None and one.customer_id not in gone}
        for close_id, invoice in zip(drafts, written, strict=True):
            invoiced[close_id] = invoice.id
            if await collect(connection, organization, invoice, real_ms) in FAILED:
                await past_due(connection, subscription_of[close_id], now_ms)
                begun.discard(close_id)
        paid = [subscription_of[close_id] for close_id in begun]
        await subscriptions.mark_paid(connection, [one.id for one in paid if not one.was_paid])
        refused = {close.id: UNCOLLECTED for close in waiting if close.customer_id in gone}
        await closes.settle_all(connection, invoiced, now_ms, refused)
        await accounts.settle_cuts(connection, {close.customer_id: close.cut for close in waiting})
    return Settled(settled=len(waiting), invoices=len(written))


def sourced(draft: InvoiceDraft, close: CloseRow, seat_lines: Sequence[Line], counted: Counted) -> InvoiceDraft:
    """Say what made the invoice, which counts of seats it charged, and by which AI prices its overdrafts came."""
    held = {line.feature_id: int(line.used) for line in seat_lines if line.feature_id and line.used}
    versions = counted.price_versions(draft.lines)
    basis = msgspec.structs.replace(draft.basis or Basis(cut=close.cut), seats=held, price_versions=versions)
    return msgspec.structs.replace(draft, source=source_of(Source.CLOSE, close.id), basis=basis)


async def stop(sql: Sql, close: CloseRow, found: Difference | None, refusal: str | None = None) -> bool:
    """Stop a close on which LIVE and RAW differ, keeping both sides; None: its writing raised, or refused by a code."""
    async with sql.transaction() as connection:
        return await closes.stop(connection, close, None if found is None else (found.live, found.raw), refusal)


def close_of(row: CloseRow, subscription: Subscription) -> Close:
    """Make the value that `plan_close` takes."""
    return Close(subscription=subscription, cut=row.cut, bill=row.bill)
