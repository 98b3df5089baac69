"""Setting an outstanding invoice's status by hand: paid elsewhere, or void (contract row 108).

Invariants: an invoice's lines, amounts and number never change (R-INV-10); a void one is owed no more and bills its
usage for good: it takes no account credit and no carried amounts, which later invoices find again, and what it charged
for the running period counts as not paid (R-PRO-6). What was bought with it stays: voiding forgives; but what is left
of a top-up then never becomes account credit (AMB-20).
"""

from enum import StrEnum
from typing import Final

import msgspec
from sqlalchemy.ext.asyncio import AsyncConnection

from billing.gateway.canceling import carry_out
from billing.life.lifecycle import Command, Decision, decide
from billing.life.paused import parts_of
from billing.life.showing import in_force
from billing.life.turning import replaced, without_begun
from billing.money.invoice import PAID, VOID, Invoice, Line, LineKind
from billing.sale.switching import base_paid_minor
from billing.store import credit, terms
from billing.store import invoice as invoices
from billing.store import subscription as subscriptions
from billing.store.begin import announce
from catalog.definition import Organization
from kernel.errors import rejected
from kernel.period import DAY_MS

_BASE: Final = (LineKind.PLAN_BASE, LineKind.PRORATION_CHARGE)


class SettableStatus(StrEnum):
    """What an outstanding invoice may be set to."""

    PAID = PAID
    VOID = VOID


async def set_status(
    connection: AsyncConnection, organization: Organization, invoice_id: str, status: SettableStatus, real_ms: int
) -> Invoice:
    """Set an outstanding invoice paid or void, and return it; a past due subscription that owes nothing is active.

    Raises Rejected: `invoice_not_found`, `no_outstanding_invoice` for one that is not outstanding.
    """
    invoice = await invoices.read(connection, invoice_id, organization.id_text)
    if invoice is None:
        raise rejected("invoice_not_found", f"There is no invoice {invoice_id}.")
    now_ms = organization.now_ms(real_ms)
    if not await invoices.set_status(connection, invoice, status.value, now_ms):
        raise rejected("no_outstanding_invoice", f"Invoice {invoice_id} is {invoice.status}, not outstanding.")
    if status is SettableStatus.VOID:
        await credit.give_back(connection, invoice)
        await _unpaid(connection, invoice)
    await _recovered(connection, invoice, now_ms)
    after = await invoices.read(connection, invoice_id)
    assert after is not None, "it was read in this transaction"
    return after


async def _unpaid(connection: AsyncConnection, invoice: Invoice) -> None:
    """Let the period that runs count as paid with what the void invoice credited, and no more."""
    live = None if invoice.subscription_id is None else await subscriptions.read(connection, invoice.subscription_id)
    if live is None or not live.live:
        return
    periods = await terms.of(connection, live.id)
    current = in_force(live, periods)
    parts = parts_of(periods, current)
    lines = [line for _, line in await invoices.lines(connection, invoice.id)]
    own = {part.term for part in parts}
    if invoice.period_start_ms < parts[0].since_ms // DAY_MS * DAY_MS or not any(_is_base(line, own) for line in lines):
        return
    credited = -sum(line.amount_minor for line in lines if line.kind is LineKind.PRORATION_CREDIT)
    unpaid = msgspec.structs.replace(current, paid_minor=min(base_paid_minor(current), credited))
    await terms.put(connection, live.id, unpaid)


def _is_base(line: Line, own: set[int]) -> bool:
    return line.kind in _BASE and line.feature_id is None and line.term in own


async def _recovered(connection: AsyncConnection, invoice: Invoice, now_ms: int) -> None:
    """Take a subscription out of past due when no invoice that made it so is outstanding any more (R-SUB-5, R-DUN-3).

    One whose trial ended with a declined charge is active on its paid plan only now (R-DISC-4).
    A scheduled pause comes then, unless its day came while the subscription was past due: that day it renewed.
    """
    subscription = None
    if invoice.subscription_id is not None:
        subscription = await subscriptions.read(connection, invoice.subscription_id)
    if subscription is None or await invoices.any_outstanding(connection, subscription.id):
        return
    decision = decide(subscription, Command.PAY, now_ms * 1000)
    if isinstance(decision, Decision):
        pause = without_begun(subscription.pause, now_ms * 1000)
        after = replaced(subscription, status=decision.status, was_paid=True, pause=pause, updated_ms=now_ms)
        await carry_out(connection, subscription, after)
        if pause is not None:
            await announce(connection, after)
