"""Carrying out a change of plan at its settled cut: invoice, payment and new terms are one transaction.

Invariant: the terms change exactly when the invoice is written and, where a card is asked, paid; a change that is
refused at its cut leaves a close that billed nothing, and everything else as it was (R-CHG-8, AMB-50). Source: ADR 9.
"""

import msgspec
from sqlalchemy.ext.asyncio import AsyncConnection

from billing.gateway.changing import check_changeable, frozen_for
from billing.gateway.paying import must_collect
from billing.gateway.returning import return_top_ups
from billing.life.showing import in_force
from billing.money.closing import Close
from billing.money.invoice import Basis, InvoiceDraft, Source, source_of
from billing.sale.switching import charged_change
from billing.store import account as accounts
from billing.store import close as closes
from billing.store import invoice as invoices
from billing.store import subscription as subscriptions
from billing.store import terms
from billing.store.change import held_at, write_switch
from billing.store.close import CloseRow, CloseState
from billing.store.plan import offered
from billing.worker.settled import Counted, Settled
from catalog.plan_rule import check_kept, check_sold
from catalog.store.organization import load_organization
from kernel import ids
from kernel.engine.sql.base import Sql
from kernel.errors import Rejected, rejected


async def settle_change(sql: Sql, close: CloseRow, counted: Counted, real_ms: int) -> Settled:
    """Settle a close that a change of plan waits for; nothing when another settled it.

    `counted` are RAW's sums at the customer's cut.
    """
    try:
        async with sql.transaction() as connection:
            row = await _open(connection, close)
            if row is not None:
                return await _switch(connection, row, counted, real_ms)
    except Rejected as refused:
        async with sql.transaction() as connection:
            if await _open(connection, close) is not None:
                await _settle(connection, close, None, real_ms, refused.refusal.code)
                return Settled(settled=1)
    return Settled()


async def _open(connection: AsyncConnection, close: CloseRow) -> CloseRow | None:
    [row] = await closes.read_all(connection, [close.id])
    return row if row.state is CloseState.CUT else None


async def _switch(connection: AsyncConnection, close: CloseRow, counted: Counted, real_ms: int) -> Settled:
    target = close.change
    assert target is not None, "the close is one of a change"
    if close.refusal is not None:
        raise rejected(close.refusal, "What was asked for while it waited took its place.")
    organization = await load_organization(connection, ids.id_bytes(close.organization_id))
    subscription = await subscriptions.read(connection, close.subscription_id)
    assert organization is not None, "an organization is never removed"
    assert subscription is not None, "a subscription is never removed"
    now_ms = organization.now_ms(real_ms)
    check_changeable(subscription, now_ms)
    plan = await offered(connection, close.organization_id, target.plan_id)
    if plan is None:
        raise rejected("plan_unavailable", "The plan is not sold any more.")
    (check_kept if plan.id == subscription.plan_id else check_sold)(plan)
    current = in_force(subscription, await terms.of(connection, subscription.id))
    account = await accounts.new_term(connection, close.organization_id, close.customer_id)
    following = await frozen_for(connection, subscription, current, plan, target.interval, account.terms, close.end_us)
    held = await held_at(connection, subscription, current, counted.totals, counted.drawn, close.end_us)
    value = Close(subscription=subscription, cut=close.cut, bill=close.bill)
    draft = charged_change(value, current, following, held, organization)
    invoice = await invoices.write(connection, changed_by(draft, close, counted), now_ms)
    await must_collect(connection, organization, invoice, real_ms)
    await write_switch(connection, subscription, following, now_ms)
    await _settle(connection, close, invoice.id, real_ms, None)
    await return_top_ups(connection, subscription, current, following, now_ms, real_ms)  # usage drew until now
    return Settled(settled=1, invoices=1)


def changed_by(draft: InvoiceDraft, close: CloseRow, counted: Counted) -> InvoiceDraft:
    """Say what made the invoice, and by which AI prices its overdrafts came."""
    versions = counted.price_versions(draft.lines)
    basis = msgspec.structs.replace(draft.basis or Basis(cut=close.cut), price_versions=versions)
    return msgspec.structs.replace(draft, source=source_of(Source.CHANGE, close.id), basis=basis)


async def _settle(
    connection: AsyncConnection, close: CloseRow, invoice_id: str | None, real_ms: int, refusal: str | None
) -> None:
    organization = await load_organization(connection, ids.id_bytes(close.organization_id))
    assert organization is not None, "an organization is never removed"
    await closes.settle(connection, close, invoice_id, organization.now_ms(real_ms), refusal)
    await accounts.settle_cut(connection, close.customer_id, close.cut)
