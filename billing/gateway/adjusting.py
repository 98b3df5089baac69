"""Adjusting: a correction that the seller makes by hand, as an invoice of its own (R-INV-5)."""

from collections.abc import Mapping
from typing import Any, Final

import msgspec
from sqlalchemy.ext.asyncio import AsyncConnection

from billing.gateway.paying import collect
from billing.gateway.simulator import gateway_of
from billing.money.invoice import Basis, Invoice, InvoiceDraft, InvoiceType, Source, source_of
from billing.money.payment import Payment, Refund
from billing.sale.purchase import adjustment_line
from billing.store import account as accounts
from billing.store import invoice as invoices
from billing.store import payment as payments
from billing.store import subscription as subscriptions
from catalog.definition import Organization
from catalog.store.customer import load_customer
from kernel import ids
from kernel.errors import rejected

ADJUSTMENT_ID: Final = "adj_"
REFUND_ID: Final = "ref_"


class AdjustmentWish(msgspec.Struct, frozen=True, kw_only=True):
    """What is asked for: minor units of the customer's currency, negative to give.

    What is given goes back to the card that paid with `refund`, to the account without; None: to the card if one paid.
    """

    customer: str
    amount_minor: int
    description: str
    metadata: Mapping[str, Any]
    refund: bool | None = None


async def adjust(
    connection: AsyncConnection, organization: Organization, wish: AdjustmentWish, real_ms: int
) -> Invoice:
    """Charge or credit a customer once, and return the invoice.

    A negative amount goes back to the newest payment that still has so much, if there is one, else it becomes account
    credit; the seller may say which (AMB-19). A positive one is charged to the card; without one, or where it is
    declined, the invoice stays outstanding and the subscription as it is (R-SUB-5). The currency is that of the
    customer's newest subscription, else the organization's. Raises Rejected: `customer_not_found`, `payment_not_found`
    when a refund is asked for and no payment has so much, `payment_failed`.
    """
    customer = await load_customer(connection, organization.id, wish.customer)
    newest = await subscriptions.current_of(connection, customer.id_text)
    account = await accounts.read(connection, customer.id_text)
    currency = (organization.currency if newest is None else newest.currency).lower()
    cut = 0 if account is None else account.cut
    now_ms = organization.now_ms(real_ms)
    paid = await _payment(connection, wish, customer.id_text, currency)
    line = adjustment_line(
        wish.description, wish.amount_minor, currency, term=0 if newest is None else newest.term, cut=cut
    )
    draft = InvoiceDraft(
        organization_id=organization.id_text,
        customer_id=customer.id_text,
        subscription_id=None if newest is None else newest.id,
        cut=cut,
        kind=InvoiceType.ADJUSTMENT,
        currency=currency,
        plan_name="" if newest is None else newest.plan_name,
        period_start_ms=now_ms,
        period_end_ms=now_ms,
        issued_ms=now_ms,
        due_ms=now_ms,
        lines=(line,),
        source=source_of(Source.ADJUSTMENT, ids.new_id(ADJUSTMENT_ID, real_ms)),
        basis=Basis(cut=cut, facts={"amountMinor": wish.amount_minor, "refunded": paid is not None}),
        metadata=wish.metadata,
        refunded=paid is not None,
    )
    invoice = await invoices.write(connection, draft, now_ms)
    if paid is not None:
        await _refund(connection, organization, invoice, paid, now_ms)
    await collect(connection, organization, invoice, real_ms)
    after = await invoices.read(connection, invoice.id)
    assert after is not None, "it was written in this transaction"
    return after


async def _payment(
    connection: AsyncConnection, wish: AdjustmentWish, customer_id: str, currency: str
) -> Payment | None:
    if wish.amount_minor > 0 or wish.refund is False:
        return None
    paid = await payments.refundable(connection, customer_id, currency, -wish.amount_minor)
    if paid is None and wish.refund:
        raise rejected("payment_not_found", "The customer has no payment of which so much is left to refund.")
    return paid


async def _refund(
    connection: AsyncConnection, organization: Organization, invoice: Invoice, paid: Payment, now_ms: int
) -> None:
    refund = Refund(
        id=ids.new_id(REFUND_ID, now_ms),
        organization_id=invoice.organization_id,
        customer_id=invoice.customer_id,
        payment_id=paid.id,
        invoice_id=invoice.id,
        amount_minor=invoice.refunded_minor,
        currency=invoice.currency,
        created_ms=now_ms,
    )
    gateway = gateway_of(organization)
    failure = "payments_off" if gateway is None else await gateway.refund(refund)
    if failure is not None:
        raise rejected("payment_failed", f"The refund failed ({failure}): nothing has changed.")
    await payments.record_refund(connection, refund)
